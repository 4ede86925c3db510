import * as assert from 'uvu/assert';
import { BUCKETS_PER_OCTAVE } from '../../../src/cli/exporter-options.ts';
import { boundarySlots, metricsText, seriesIn } from '../../../src/cli/exporters/prometheus.ts';
import { Durations, selfMetrics } from '../../../src/cli/exporters/self-metrics.ts';
import { SeriesStore } from '../../../src/cli/exporters/series.ts';
import { OVERFLOW_SLOT, upperBoundNs } from '../../../src/programs/latency-buckets.ts';
import { suite } from '../../harness.ts';
import { latenciesNs, snapshotOf } from './connects.ts';
import { samplesIn } from './samples.ts';

const test = suite('cli/exporters/prometheus');

const DURATION = 'tcp_connect_duration_seconds';

test('the boundaries are powers of 2 from 4 us to 128 s, and those between them', () => {
  for (const perOctave of BUCKETS_PER_OCTAVE) {
    const bounds = boundarySlots(perOctave).map((slot) => upperBoundNs(slot) / 1e9);
    assert.is(bounds.length, 25 * perOctave + 1);
    assert.ok(Math.abs((bounds[0] as number) * 2 ** 18 - 1) < 1e-9);
    assert.ok(Math.abs((bounds.at(-1) as number) - 128) < 1e-9);
    for (let i = perOctave; i < bounds.length; i++) {
      const ratio = (bounds[i] as number) / (bounds[i - perOctave] as number);
      assert.ok(Math.abs(ratio - 2) < 1e-9);
    }
  }
});

test('every bucket counts the connects up to its boundary', async () => {
  const store = new SeriesStore(10);
  const key = { dest: '192.0.2.1', port: '443' };
  const latencies = [...latenciesNs(5000, 2e6), 1, 900, 3_800, 15_000, 127e9, 128e9, 131e9];
  store.add(snapshotOf(latencies.map((latencyNs) => ({ key, result: 'established', latencyNs }))));
  for (const perOctave of BUCKETS_PER_OCTAVE) {
    const samples = samplesIn(await metricsText(store, perOctave, []));
    const buckets = samples.filter(({ name }) => name === `${DURATION}_bucket`);
    assert.is(buckets.length, 25 * perOctave + 2);
    for (const { labels, value } of buckets) {
      assert.equal(
        { ...labels, le: '' },
        { destination: '192.0.2.1', port: '443', result: 'established', le: '' },
      );
      const le = labels.le === '+Inf' ? Number.POSITIVE_INFINITY : Number(labels.le);
      assert.is(value, latencies.filter((each) => each / 1e9 <= le).length, `le=${labels.le}`);
    }
    const [sum] = samples.filter(({ name }) => name === `${DURATION}_sum`);
    const expected = latencies.reduce((a, b) => a + b) / 1e9;
    assert.ok(Math.abs((sum?.value ?? 0) / expected - 1) < 1e-12);
    assert.is(samples.find(({ name }) => name === `${DURATION}_count`)?.value, latencies.length);
  }
});

test('the longest and shortest latencies are in the outermost buckets', () => {
  const slots = boundarySlots(2);
  assert.ok(slots.every((slot) => slot > 0 && slot < OVERFLOW_SLOT));
});

test('labels are those of --by; an unknown part is empty; text is escaped', async () => {
  const store = new SeriesStore(10);
  const key = {
    net: '10.0.0.0/8',
    comm: 'a"b\\c\nd',
    pod: '-',
    unit: 'x.service',
    container: '-',
    user: 'root',
  };
  store.add(snapshotOf([{ key, result: 'timed-out', latencyNs: 127e9, retransmits: 6 }]));
  const samples = samplesIn(await metricsText(store, 2, []));
  const [retransmits] = samples.filter(({ name }) => name === 'tcp_connect_retransmits_total');
  assert.is(retransmits?.value, 6);
  assert.equal(retransmits?.labels, {
    ...{ network: '10.0.0.0/8', comm: 'a"b\\c\nd', pod: '', unit: 'x.service', container: '', user: 'root' },
    result: 'timed-out',
  });
});

test('at most as many lines as allowed, with all series and metrics about the process', async () => {
  for (const [lines, perOctave] of [
    [5000, 2],
    [5000, 8],
    [1000, 1],
    [1000, 8],
    [20_000, 4],
  ] as const) {
    const store = new SeriesStore(seriesIn(lines, perOctave));
    const connects = Array.from({ length: 1000 }, (_, i) => ({
      ...{ key: { dest: `10.0.${i >> 8}.${i & 255}`, port: '80' }, latencyNs: i * 1000 },
      result: i % 10 === 0 ? `E${i % 100}` : 'established',
    }));
    store.add(snapshotOf(connects));
    assert.is(store.size <= store.limit, true);
    const facts = {
      programs: ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => ({ name, runs: 1, runNs: 1 })),
      maps: ['a', 'b', 'c'].map((name) => ({ name, entries: 1, maxEntries: 2 })),
      losses: Array.from({ length: 8 }, (_, i) => [i, `cause ${i}`] as const),
    };
    const [reads, scrapes] = [new Durations(), new Durations()];
    const self = selfMetrics({
      ...{ build: { version: '1' }, facts, store, reads, scrapes, exports: { success: 1, failure: 0 } },
    });
    const text = await metricsText(store, perOctave, self);
    const count = text.trimEnd().split('\n').length;
    assert.ok(count <= lines, `${count} lines of ${lines}`);
    assert.ok(count > 0.7 * lines || lines === 1000, `only ${count} lines of ${lines}`);
    const counted = samplesIn(text).filter(({ name }) => name === `${DURATION}_count`);
    assert.is(
      counted.reduce((sum, { value }) => sum + value, 0),
      1000,
    );
  }
});

test.run();
