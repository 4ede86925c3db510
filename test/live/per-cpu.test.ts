/** Maps with one value per CPU. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { getCurrentPidTgid, getSmpProcessorId } from '../../src/asm/helpers.ts';
import { rawTracepoint } from '../../src/asm/hooks.ts';
import { bytes, chars, struct, u8, u32, u64 } from '../../src/asm/layout.ts';
import { globals, lruPerCpuHash, perCpuArray, perCpuHash } from '../../src/asm/map.ts';
import { target } from '../../src/asm/target.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { BpfMap, UpdateMode } from '../../src/loader/map.ts';
import { Session } from '../../src/loader/session.ts';
import { needsRoot, suite } from '../harness.ts';
import { cannotRun, withProgram } from './run-program.ts';

const test = suite('live/per-cpu', { seconds: 30 });

const kernel = new Kernel();
const cpus = needsRoot ? [] : kernel.possibleCpus;
const Value = struct({ ns: u64, comm: chars(8), flag: u8 });

for (const make of [perCpuHash, lruPerCpuHash])
  test.skipIf(needsRoot, `a ${make.name} holds a list of values for every key`, () => {
    const map = BpfMap.create(kernel, make('per_cpu', { key: u32, value: Value, maxEntries: 64 }));
    const values = cpus.map((cpu) => ({ ns: BigInt(cpu), comm: `cpu${cpu}`, flag: cpu & 255 }));
    map.update(2, values, UpdateMode.create);
    assert.equal(map.lookup(2), values);
    assert.is(map.lookup(3), undefined);
    assert.equal([...map.entries()], [[2, values]]);
    assert.is(map.delete(2), true);
    assert.equal([...map.keys()], []);
    map.close();
  });

test.skipIf(needsRoot, 'a perCpuArray starts with zeros for every CPU', () => {
  const map = BpfMap.create(kernel, perCpuArray('counts', { value: u64, maxEntries: 2 }));
  const zeros = cpus.map(() => 0n);
  assert.equal(
    [...map.entries()],
    [
      [0, zeros],
      [1, zeros],
    ],
  );
  map.close();
});

for (const size of [1, 7, 9])
  test.skipIf(needsRoot, `values of ${size} bytes are kept apart and complete`, () => {
    const map = BpfMap.create(kernel, perCpuHash('odd', { key: u32, value: bytes(size), maxEntries: 1 }));
    const values = cpus.map((cpu) => new Uint8Array(size).fill(cpu + 1));
    map.update(1, values);
    assert.equal(map.lookup(1), values);
    map.close();
  });

test.skipIf(cannotRun, 'a program sees the value of its own CPU', () => {
  const counts = perCpuHash('counts', { key: u32, value: struct({ n: u64 }), maxEntries: 4 });
  withProgram(
    [counts],
    (b) => {
      const missing = b.stack(counts.value);
      missing.n.set(1);
      b.lookup(counts, 7, {
        found: ({ n }) => n.set(n.get().add(1)),
        missing: () => b.update(counts, 7, missing),
      });
      b.exit(b.call(getSmpProcessorId));
    },
    ({ run, map }) => {
      const runs = cpus.map(() => 0n);
      for (let i = 0; i < 10; i++) {
        const index = cpus.indexOf(run());
        runs[index] = (runs[index] ?? 0n) + 1n;
      }
      const values =
        map(counts)
          .lookup(7)
          ?.map(({ n }) => n) ?? [];
      // The first update sets the value of its own CPU, and zero for the others.
      assert.equal(values, runs);
    },
  );
});

const TASKSET = '/usr/bin/taskset';
const cannotPin =
  needsRoot ||
  (kernel.onlineCpus.length < 2 && 'needs two CPUs') ||
  (!existsSync(TASKSET) && `needs ${TASKSET}`);

test.skipIf(cannotPin, 'runs on different CPUs are counted separately', async () => {
  const filter = globals('filter', struct({ pid: u32 }));
  const counts = perCpuArray('counts', { value: u64 });
  const program = rawTracepoint('sched_process_exec', target(process.arch), (b) => {
    const pid = b.keep(b.call(getCurrentPidTgid).rsh(32));
    b.if(b.global(filter).pid.ne(pid), () => b.exit());
    b.lookup(counts, 0, { found: (count) => count.set(count.get().add(1)) });
  });
  const session = Session.open({ name: 'execs', programs: [program] }, { kernel });
  try {
    const seen: bigint[][] = [];
    for (const cpu of kernel.onlineCpus.slice(0, 2)) {
      // taskset execs the program it runs: a second exec of the same process, on that CPU. It is called by
      // its path because the shell of busybox has a built-in taskset. The shell prints a line once it runs:
      // its own exec, which must not count, may finish after `spawn` has returned.
      const child = spawn('sh', ['-c', `echo; read _; exec ${TASKSET} -c ${cpu} true`], {
        stdio: ['pipe', 'pipe', 'ignore'],
      });
      await once(child.stdout, 'data');
      session.map(filter).view.pid.set(child.pid as number);
      child.stdin.end('\n');
      await once(child, 'exit');
      seen.push(session.map(counts).lookup(0) ?? []);
    }
    const total = (values: readonly bigint[] = []) => values.reduce((sum, value) => sum + value, 0n);
    assert.equal(seen.map(total), [2n, 4n]);
    const [first = 0, second = 0] = kernel.onlineCpus.map((cpu) => cpus.indexOf(cpu));
    assert.ok((seen[0]?.[first] ?? 0n) >= 1n, `CPU ${first} counted ${seen[0]}`);
    assert.ok((seen[1]?.[second] ?? 0n) >= 1n, `CPU ${second} counted ${seen[1]}`);
  } finally {
    session.close();
  }
});

test.run();
