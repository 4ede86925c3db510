/** Maps in maps: programs look them up, this process replaces them. */
import * as assert from 'uvu/assert';
import { rawTracepoint } from '../../src/asm/hooks.ts';
import { struct, u32, u64 } from '../../src/asm/layout.ts';
import { array, hash, perCpuHash } from '../../src/asm/map.ts';
import { arrayOfMaps, hashOfMaps } from '../../src/asm/map-of-maps.ts';
import { target } from '../../src/asm/target.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { BpfMap } from '../../src/loader/map.ts';
import { Session } from '../../src/loader/session.ts';
import { needsRoot, suite } from '../harness.ts';
import { cannotRun, withProgram } from './run-program.ts';

const test = suite('live/map-of-maps', { seconds: 30 });

const Count = struct({ n: u64 });
const inner = hash('inner', { key: u32, value: Count, maxEntries: 8 });

test.skipIf(cannotRun, 'a program looks up an inner map and uses it', () => {
  const Key = struct({ user: u32 });
  const outer = hashOfMaps('outer', { key: Key, inner, maxEntries: 4 });
  withProgram(
    [outer],
    (b) => {
      const key = b.stack(Key);
      key.user.set(b.arg(0).as(u32));
      b.lookup(outer, key, {
        found: (found) => {
          const map = b.keep(found);
          b.lookup(map, 5, {
            found: ({ n }) => n.atomicAdd(1),
            missing: () => {
              const first = b.stack(Count);
              first.n.set(100);
              b.update(map, 5, first);
              b.exit(2);
            },
          });
          b.exit(3);
        },
        missing: () => b.exit(1),
      });
    },
    ({ run, map }) => {
      const kernel = new Kernel();
      assert.is(run(7n), 1, 'no map for this key');
      const [one, two] = [BpfMap.create(kernel, inner), BpfMap.create(kernel, { ...inner, name: 'larger' })];
      map(outer).update({ user: 7 }, one);
      map(outer).update({ user: 8 }, two);
      assert.equal([run(7n), run(7n), run(8n)], [2, 3, 2]);
      assert.equal([one.lookup(5), two.lookup(5)], [{ n: 101n }, { n: 100n }]);
      const ids = [...map(outer).entries()].map(([key, id]) => [key.user, typeof id]);
      assert.equal(ids.sort(), [
        [7, 'number'],
        [8, 'number'],
      ]);
      // The update replaces the inner map atomically; the old map is unchanged.
      map(outer).update({ user: 7 }, two);
      assert.is(run(7n), 3);
      assert.equal([one.lookup(5), two.lookup(5)], [{ n: 101n }, { n: 101n }]);
      // The outer map keeps its inner maps alive.
      two.close();
      assert.equal([run(7n), run(8n)], [3, 3]);
      assert.is(map(outer).delete({ user: 7 }), true);
      assert.is(run(7n), 1);
      one.close();
    },
  );
});

test.skipIf(cannotRun, 'an array of arrays takes two indexes', () => {
  const row = array('row', { value: u64, maxEntries: 3 });
  const table = arrayOfMaps('table', { inner: row, maxEntries: 2 });
  withProgram(
    [table],
    (b) => {
      const [line, column] = [b.stack(u32), b.stack(u32)];
      line.set(b.arg(0).as(u32));
      column.set(b.arg(1).as(u32));
      b.lookup(table, line, {
        found: (found) =>
          b.lookup(found, column, { found: (cell) => b.exit(cell.get()), missing: () => b.exit(9) }),
        missing: () => b.exit(8),
      });
    },
    ({ run, map }) => {
      const second = BpfMap.create(new Kernel(), row);
      second.update(2, 77n);
      map(table).update(1, second);
      assert.equal([run(1n, 2n), run(1n, 3n), run(0n, 0n), run(2n, 0n)], [77, 9, 8, 8]);
      second.close();
    },
  );
});

test.skipIf(
  needsRoot,
  'an inner map with other properties is refused, and the error names the required ones',
  () => {
    const kernel = new Kernel();
    const outer = BpfMap.create(kernel, arrayOfMaps('outer', { inner, maxEntries: 1 }));
    const other = BpfMap.create(kernel, hash('other', { key: u64, value: Count, maxEntries: 8 }));
    assert.throws(
      () => outer.update(0, other as never),
      /update the map 'outer'.*EINVAL.*an inner map must have the type, sizes and flags of 'inner'/,
    );
    assert.throws(
      () => outer.update(0, 3 as never),
      /map 'outer' contains maps; pass an open BpfMap, not 3 \(.*test\.ts:\d+\)$/,
    );
    other.close();
    outer.close();
  },
);

test.skipIf(needsRoot, 'a session opens and fills maps of maps, also with per-CPU maps', () => {
  const counts = perCpuHash('counts', { key: u32, value: u64, maxEntries: 4 });
  const [day, night] = [counts, { ...counts, name: 'night' }];
  const times = arrayOfMaps('times', { inner: counts, maps: [day, night] });
  const program = rawTracepoint('sched_process_exec', target(process.arch), (b) => {
    b.lookup(times, 1, {
      found: (map) => b.lookup(map, 1, { found: (n) => n.set(n.get().add(1)), missing: () => b.exit() }),
      missing: () => b.exit(),
    });
  });
  const session = Session.open({ name: 'times', programs: [program] }, { debug: true });
  try {
    session.map(night).update(3, session.kernel.possibleCpus.map(BigInt));
    assert.equal(session.map(day).lookup(3), undefined);
    assert.is(new Set([0, 1].map((index) => session.map(times).lookup(index))).size, 2);
  } finally {
    session.close();
  }
});

test.run();
