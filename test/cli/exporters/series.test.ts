import * as assert from 'uvu/assert';
import { IDLE_MS, type Series, SeriesStore } from '../../../src/cli/exporters/series.ts';
import { suite } from '../../harness.ts';
import { type Connect, snapshotOf } from './connects.ts';

const test = suite('cli/exporters/series');

const connect = (dest: string, result = 'established', port = '443'): Connect => ({
  ...{ key: { dest, port }, result, latencyNs: 1_000_000, retransmits: 1 },
});

const describe = ({ key, result, latencies, retransmits }: Series): string =>
  `${key.dest}:${key.port} ${result} ${latencies.count} ${retransmits}`;

const total = (store: SeriesStore): number =>
  [...store].reduce((sum, { latencies }) => sum + latencies.count, 0);

test('connects add up by key and result, over intervals', () => {
  const store = new SeriesStore(100);
  store.add(snapshotOf([connect('a'), connect('a'), connect('b', 'refused')]));
  store.add(snapshotOf([connect('a'), connect('a', 'timed-out')]));
  assert.equal([...store].map(describe).sort(), [
    'a:443 established 3 3',
    'a:443 timed-out 1 1',
    'b:443 refused 1 1',
  ]);
});

test('keys without room are counted in "other", by result, and each dropped series once', () => {
  const store = new SeriesStore(8); // 6, and 2 for "other"
  const many = Array.from({ length: 20 }, (_, i) => connect(`10.0.0.${i}`));
  store.add(snapshotOf(many));
  store.add(snapshotOf(many));
  store.add(snapshotOf([connect('10.1.0.1', 'refused')]));
  assert.is(store.size, 8);
  assert.is(total(store), 41);
  assert.is(store.overflowed, 29);
  assert.is(store.dropped, 15);
  const others = [...store].filter(({ key }) => key.dest === 'other');
  assert.equal(others.map(describe), [
    'other:other established 28 28',
    // There is no room for more results, so all others share a series.
    'other:other other 1 1',
  ]);
});

test('the number of series never exceeds the limit, and no connect is lost', () => {
  for (const limit of [1, 2, 3, 10, 50]) {
    const store = new SeriesStore(limit);
    let made = 0;
    for (let i = 0; i < 40; i++) {
      const connects = Array.from({ length: 30 }, (_, j) => connect(`${i}.${j}`, `result-${(i * j) % 23}`));
      store.add(snapshotOf(connects, i * IDLE_MS));
      made += connects.length;
      assert.ok(store.size <= limit, `${store.size} series with a limit of ${limit}`);
    }
    // Connects of evicted series were exported before.
    assert.ok(total(store) <= made);
    assert.ok(limit < 10 || store.evicted > 0);
  }
});

test('an idle series makes room after 15 minutes, the least recently used one first', () => {
  const store = new SeriesStore(4); // 3, and 1 for "other"
  store.add(snapshotOf([connect('a'), connect('b'), connect('c')], 0));
  store.add(snapshotOf([connect('a')], 1000));
  store.add(snapshotOf([connect('d')], IDLE_MS - 1));
  assert.is(store.evicted, 0);
  assert.is(store.overflowed, 1);
  store.add(snapshotOf([connect('d')], IDLE_MS));
  store.add(snapshotOf([connect('e')], IDLE_MS));
  store.add(snapshotOf([connect('f')], IDLE_MS));
  assert.is(store.evicted, 2);
  const names = [...store].map(({ key }) => key.dest);
  assert.equal(names, ['a', 'd', 'e', 'other']);
});

test('the rows "other" of the kernel and of the exporter are one series', () => {
  const store = new SeriesStore(4);
  const byDest = (dest: string): Connect => ({ key: { dest }, result: 'established', latencyNs: 1 });
  store.add(snapshotOf(['other', 'a', 'b', 'c', 'd'].map(byDest)));
  const names = [...store].map(({ key, latencies }) => `${key.dest} ${latencies.count}`);
  assert.equal(names.sort(), ['a 1', 'b 1', 'c 1', 'other 2']);
});

test('series have different identities, also without keys', () => {
  for (const limit of [1, 2, 5]) {
    const store = new SeriesStore(limit);
    const all = (result: string): Connect => ({ key: {}, result, latencyNs: 1 });
    store.add(snapshotOf(['established', 'refused', 'aborted', 'timed-out', 'killed'].map(all)));
    const results = [...store].map(({ result }) => result);
    assert.is(new Set(results).size, results.length);
    assert.is(total(store), 5);
  }
});

test.run();
