/** b.count in maps and log2, run by the kernel. */
import * as assert from 'uvu/assert';
import { getCurrentPidTgid } from '../../src/asm/helpers.ts';
import { rawTracepoint } from '../../src/asm/hooks.ts';
import { u32, u64 } from '../../src/asm/layout.ts';
import { array, hash, lruHash, type MapSpec, perCpuArray, perCpuHash } from '../../src/asm/map.ts';
import { hashOfMaps } from '../../src/asm/map-of-maps.ts';
import { target } from '../../src/asm/target.ts';
import { Session } from '../../src/loader/session.ts';
import { needsRoot, suite } from '../harness.ts';
import { getuidProcess } from '../loader/tools.ts';
import { cannotRun, withProgram } from './run-program.ts';

const test = suite('live/counting', { seconds: 60 });

const layout = { key: u32, value: u64, maxEntries: 4 };

for (const map of [
  hash('counts', layout),
  lruHash('counts', layout),
  perCpuHash('counts', layout),
  array('counts', layout),
  perCpuArray('counts', layout),
] as MapSpec<typeof u32, typeof u64>[])
  test.skipIf(cannotRun, `a count starts at 0 and grows, in a map of type ${map.type}`, () =>
    withProgram(
      [map],
      (b) => {
        const amount = b.keep(b.arg(1));
        b.count(map, b.arg(0).as(u32), amount);
      },
      ({ run, map: opened }) => {
        run(2n, 5n);
        run(2n, 1n << 40n);
        run(3n, 1n);
        const read = (key: number) => [opened(map).lookup(key) ?? 0n].flat().reduce((sum, n) => sum + n, 0n);
        assert.equal([read(2), read(3), read(1)], [5n + (1n << 40n), 1n, 0n]);
      },
    ),
  );

test.skipIf(cannotRun, 'keys that do not fit in the map are not counted, and nothing else changes', () => {
  const small = hash('small', { ...layout, maxEntries: 1 });
  const slots = array('slots', { value: u64, maxEntries: 2 });
  withProgram(
    [small, slots],
    (b) => {
      const key = b.keep(b.arg(0).as(u32));
      b.count(small, key);
      b.count(slots, key);
    },
    ({ run, map }) => {
      for (const key of [1n, 9n, 1n]) run(key);
      assert.equal([...map(small).entries()], [[1, 2n]]);
      assert.equal([map(slots).lookup(0), map(slots).lookup(1)], [0n, 2n]);
    },
  );
});

test.skipIf(cannotRun, 'log2 is right for 0 and for every power of two and its neighbors', () => {
  const counts = array('counts', { value: u64, maxEntries: 64 });
  withProgram(
    [counts],
    (b) => {
      const slot = b.keep(b.arg(0).get().log2());
      b.count(counts, slot);
      b.exit(slot);
    },
    ({ run, map }) => {
      const wanted = (n: bigint) => Math.max(n.toString(2).length - 1, 0);
      const numbers = Array.from({ length: 64 }, (_, bit) => 1n << BigInt(bit)).flatMap((power) => [
        power - 1n,
        power,
        power + 1n,
      ]);
      numbers.push(0xffff_ffff_ffff_ffffn);
      for (const number of numbers) assert.is(run(number), wanted(number), String(number));
      const total = [...map(counts).entries()].reduce((sum, [, count]) => sum + count, 0n);
      assert.is(total, BigInt(numbers.length));
    },
  );
});

test.skipIf(cannotRun, 'count works on an inner map', () => {
  const inner = hash('inner', layout);
  const outer = hashOfMaps('outer', { key: u32, inner, maxEntries: 1 });
  withProgram(
    [inner, outer],
    (b) => b.lookup(outer, 1, { found: (map) => b.count(b.keep(map), 7) }),
    ({ run, map }) => {
      map(outer).update(1, map(inner));
      run();
      run();
      assert.is(map(inner).lookup(7), 2n);
    },
  );
});

test.skipIf(needsRoot, 'processes that start at the same time are all counted', async () => {
  const counts = hash('counts', { key: u64, value: u64, maxEntries: 10_240 });
  const session = Session.open({
    name: 'calls',
    programs: [
      rawTracepoint('sys_enter', target(process.arch), (b) => {
        const number = b.keep(b.arg(1));
        const key = b.keep(b.call(getCurrentPidTgid).rsh(32)).lsh(32).or(number);
        b.count(counts, key);
      }),
    ],
  });
  try {
    const getuid = process.arch === 'arm64' ? 174n : 102n;
    const processes = [getuidProcess(5000), getuidProcess(7000)];
    await Promise.all(processes.map((each) => each.go()));
    const seen = processes.map(({ pid }) => session.map(counts).lookup((BigInt(pid) << 32n) | getuid));
    // Node itself calls getuid a few times at startup.
    for (const [n, times] of [5000n, 7000n].entries())
      assert.ok((seen[n] ?? 0n) >= times && (seen[n] ?? 0n) < times + 100n, `${seen[n]} of ${times}`);
  } finally {
    session.close();
  }
});

test.run();
