/** Data shared between programs and this process, and constants. */
import * as assert from 'uvu/assert';
import { ldx } from '../../src/asm/constructors.ts';
import { getCurrentPidTgid } from '../../src/asm/helpers.ts';
import { rawTracepoint } from '../../src/asm/hooks.ts';
import {
  arrayOf,
  bytes,
  chars,
  s8,
  s16,
  s32,
  s64n,
  struct,
  u16be,
  u32,
  u32be,
  u64,
  u64n,
} from '../../src/asm/layout.ts';
import { array, constants, globals } from '../../src/asm/map.ts';
import { r1 } from '../../src/asm/registers.ts';
import { target } from '../../src/asm/target.ts';
import { KernelError, VerifierError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { nativeSyscalls } from '../../src/loader/koffi.ts';
import { BpfMap } from '../../src/loader/map.ts';
import { Session } from '../../src/loader/session.ts';
import { needsRoot, suite } from '../harness.ts';
import { getuidProcess } from '../loader/tools.ts';
import { cannotRun, withProgram } from './run-program.ts';

const test = suite('live/globals', { seconds: 30 });

const Stats = struct({
  runs: u64,
  least: u32,
  limits: struct({ low: s16, high: s64n }),
  port: u16be,
  name: chars(8),
  buckets: arrayOf(u32, 3),
});

test.skipIf(cannotRun, "programs and this process see each other's writes", () => {
  const stats = globals('stats', Stats);
  withProgram(
    [stats],
    (b) => {
      const { runs, least, limits, port } = b.global(stats);
      runs.atomicAdd(1);
      least.set(4_000_000_000);
      b.if(limits.low.lt(-5), () => limits.high.set(-3));
      b.exit(port.get());
    },
    ({ run, map }) => {
      const { runs, least, limits, port, name, buckets } = map(stats).view;
      assert.equal([runs.get(), least.get(), limits.high.get(), name.get()], [0n, 0, 0, '']);
      port.set(443);
      assert.is(run(), 443);
      assert.equal([runs.get(), least.get(), limits.high.get()], [1n, 4_000_000_000, 0]);
      limits.low.set(-6);
      run();
      assert.equal([runs.get(), limits.high.get()], [2n, -3]);
      assert.is(runs.exchange(10n), 2n);
      run();
      assert.is(runs.atomicAdd(-1n), 11n);
      name.set('tsbpf');
      buckets.at(2).set(9);
      assert.equal(map(stats).lookup(0), {
        runs: 10n,
        least: 4_000_000_000,
        limits: { low: -6, high: -3 },
        port: 443,
        name: 'tsbpf',
        buckets: [0, 0, 9],
      });
    },
  );
});

test.skipIf(cannotRun, 'reading and writing mapped data makes no system call', () => {
  let calls = 0;
  const native = nativeSyscalls();
  const counting = {
    ...native,
    bpf: (command: number, attr: Uint8Array) => {
      calls++;
      return native.bpf(command, attr);
    },
    mmap: (fd: number, length: number) => {
      calls++;
      return native.mmap(fd, length);
    },
  };
  const map = BpfMap.create(new Kernel(counting), globals('counted', struct({ n: u64 })));
  const before = calls;
  map.view.n.set(1n);
  assert.is(calls, before + 1);
  for (let i = 0; i < 100; i++) map.view.n.atomicAdd(1n);
  assert.is(map.view.n.get(), 101n);
  assert.is(calls, before + 1);
  map.close();
});

test.skipIf(needsRoot, 'numbers of every width, sign and byte order pass through memory unchanged', () => {
  const Numbers = struct({ s8, s16, s32, s64n, u16be, u32be, u64, u64n, raw: bytes(3) });
  const values = {
    s8: -128,
    s16: -2,
    s32: -(2 ** 31),
    s64n: -(2 ** 53) + 1,
    u16be: 0x1234,
    u32be: 0xfeed_beef,
    u64: 2n ** 64n - 1n,
    u64n: 2 ** 53 - 1,
    raw: Uint8Array.of(1, 2, 3),
  };
  const map = BpfMap.create(new Kernel(), globals('numbers', Numbers, values));
  const { view } = map;
  const read = () => Object.fromEntries(Object.entries(view).map(([name, cell]) => [name, cell.get()]));
  assert.equal(read(), values);
  for (const [name, cell] of Object.entries(view)) cell.set(values[name as 's8'] as never);
  assert.equal(map.lookup(0), values);
  assert.is(view.s8.atomicAdd(-1), -128);
  assert.is(view.s8.get(), 127, 'a sum wraps');
  assert.is(view.u64.atomicAdd(1n), 2n ** 64n - 1n);
  assert.is(view.u64.get(), 0n);
  assert.throws(() => view.u16be.atomicAdd(1), /numbers\.u16be is big-endian.*globals\.test\.ts:\d+\)$/);
  assert.throws(() => view.s8.set(128), /128 does not fit in s8.*globals\.test\.ts:\d+\)$/);
  assert.throws(() => view.s8.atomicAdd(0.5), /0\.5 is not a safe integer/);
  assert.throws(() => view.u64.atomicAdd(1 as unknown as bigint), /numbers\.u64 takes a bigint, not 1/);
  map.close();
});

test.skipIf(needsRoot, 'array elements are addressed by index', () => {
  const Pair = struct({ a: u32, b: u64 });
  const map = BpfMap.create(new Kernel(), globals('pairs', arrayOf(Pair, 2)));
  const { view } = map;
  assert.is(view.length, 2);
  view.at(1).b.set(7n);
  assert.equal(
    [...view].map(({ a, b }) => [a.get(), b.get()]),
    [
      [0, 0n],
      [0, 7n],
    ],
  );
  for (const index of [-1, 2, 0.5])
    assert.throws(
      () => view.at(index),
      /pairs has no element .*; it has the elements 0 to 1.*globals\.test\.ts:\d+\)$/,
    );
  map.close();
});

test.skipIf(needsRoot, 'maps larger than a page are mapped completely', () => {
  const map = BpfMap.create(new Kernel(), globals('large', arrayOf(u64, 5000)));
  map.view.at(4999).set(1n);
  assert.is(map.lookup(0)?.[4999], 1n);
  map.close();
});

test.skipIf(needsRoot, 'a closed map refuses access', () => {
  const map = BpfMap.create(
    new Kernel(),
    globals('short', struct({ n: u64, name: chars(4) }), { n: 1n, name: 'a' }),
  );
  const { n, name } = map.view;
  map.close();
  for (const use of [
    () => n.get(),
    () => n.set(1n),
    () => n.atomicAdd(1n),
    () => name.get(),
    () => name.set('b'),
  ])
    assert.throws(use, /the map 'short' was used after it was closed/);
  map.close();
});

test.skipIf(needsRoot, 'simultaneous additions by programs and this process lose nothing', async () => {
  const shared = globals('shared', struct({ pid: u32, count: u64, small: u32 }));
  const counts = rawTracepoint('sys_enter', target(process.arch), (b) => {
    const pid = b.keep(b.call(getCurrentPidTgid).rsh(32));
    const data = b.global(shared);
    b.if(data.pid.ne(pid), () => b.exit());
    data.count.atomicAdd(1);
    data.small.atomicAdd(1);
  });
  const session = Session.open({ name: 'sums', programs: [counts] });
  try {
    const { pid, count, small } = session.map(shared).view;
    const other = getuidProcess(200_000);
    pid.set(other.pid);
    let added = 0;
    let running = true;
    const done = other.go().finally(() => {
      running = false;
    });
    while (running) {
      for (let i = 0; i < 10_000; i++) {
        count.atomicAdd(1n);
        small.atomicAdd(1);
      }
      added += 10_000;
      await new Promise(setImmediate);
    }
    await done;
    const theirs = count.get() - BigInt(added);
    assert.ok(theirs >= 200_000n, `${theirs} by the other process`);
    assert.is(BigInt(small.get()), count.get(), 'both counters saw the same');
  } finally {
    session.close();
  }
});

test.skipIf(cannotRun, 'the verifier knows constants and skips code that they rule out', () => {
  const mode = constants('mode', struct({ verbose: u32, limit: u64 }), { verbose: 0, limit: 77n });
  // The verifier refuses to dereference a number in any reachable code.
  const body = (map: typeof mode) => (b: Parameters<Parameters<typeof withProgram>[1]>[0]) => {
    const { verbose, limit } = b.global(map);
    b.if(verbose.ne(0), () => b.emit(ldx(u64, r1, r1, 0), ldx(u64, r1, r1, 0)));
    b.exit(limit.get());
  };
  withProgram([mode], body(mode), ({ run, map }) => {
    assert.is(run(), 77);
    assert.equal(map(mode).lookup(0), { verbose: 0, limit: 77n });
    assert.throws(
      () => map(mode).update(0, { verbose: 1, limit: 1n }),
      (error: unknown) => error instanceof KernelError && error.errnoName === 'EPERM',
    );
  });
  const changing = array('changing', { value: mode.value });
  assert.throws(
    () => withProgram([changing], body(changing), () => {}),
    (error: unknown) => error instanceof VerifierError,
  );
});

test.run();
