/** Exceptions that handlers throw, with fake rings. */
import * as assert from 'uvu/assert';
import { perfEventArray } from '../../src/asm/events.ts';
import { struct, u32 } from '../../src/asm/layout.ts';
import { Errno } from '../../src/loader/errno.ts';
import { CorruptRingError, KernelError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { BpfMap } from '../../src/loader/map.ts';
import type { PerfBufferOptions } from '../../src/loader/perf-buffer/options.ts';
import { PerfBuffer } from '../../src/loader/perf-buffer.ts';
import { Session } from '../../src/loader/session.ts';
import { suite } from '../harness.ts';
import { caught, uncaughtIn } from '../uncaught.ts';
import { FakeSyscalls } from './fake.ts';
import { until } from './tools.ts';

const test = suite('loader/handlers');

const opened: PerfBuffer[] = [];
const uncaught = uncaughtIn(test);
test.after.each(() => {
  for (const buffer of opened.splice(0)) buffer.close();
});

interface Opened {
  readonly fake: FakeSyscalls;
  readonly buffer: PerfBuffer;
  /** The first byte of each sample that a handler got, including those for which it threw. */
  readonly seen: number[];
}

/** Rings whose handler throws `thrown(byte)` for the samples that have one. */
function open(
  thrown: (byte: number) => unknown,
  options: Partial<PerfBufferOptions> = {},
  fake = new FakeSyscalls(),
): Opened {
  const seen: number[] = [];
  const buffer = PerfBuffer.open(
    new Kernel(fake),
    BpfMap.create(new Kernel(fake), perfEventArray('events', u32)),
    {
      pagesPerCpu: 1,
      sampleBytes: 8,
      onSample(view, offset) {
        const byte = view.getUint8(offset);
        seen.push(byte);
        const error = thrown(byte);
        if (error !== undefined) throw error;
      },
      ...options,
    },
  );
  opened.push(buffer);
  return { fake, buffer, seen };
}

function write(fake: FakeSyscalls, cpu: number, ...bytes: number[]): void {
  for (const byte of bytes) fake.ring(cpu).sample(Uint8Array.of(byte, 0, 0, 0));
}

/** Resolves after all current immediates. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Resolves after the next check of the CPUs and `onTick`. */
const look = () => new Promise((resolve) => setTimeout(resolve, 1100));

const errors = new Map([2, 3, 5].map((byte) => [byte, new Error(`sample ${byte}`)]));
const some = (byte: number) => errors.get(byte);
const thrownBy = (...bytes: number[]) => bytes.map((byte) => errors.get(byte));

for (const when of ['wake-up', 'drain()', 'close()'] as const)
  for (const [whose, options] of [
    ['onError gets', { errors: true }],
    ['no onError gets', {}],
    ['onError throws', { errors: true, rethrows: true }],
  ] as const)
    test(`${when}, ${whose} the exceptions: each costs one event and is reported once`, async () => {
      const reported: unknown[] = [];
      const { errors: handled, rethrows } = { errors: false, rethrows: false, ...options };
      const onError = (error: unknown) => {
        reported.push(error);
        if (rethrows) throw error;
      };
      const { fake, buffer, seen } = open(some, handled ? { onError } : {});
      await settled();
      write(fake, 0, 1, 2, 3, 4);
      write(fake, 1, 5, 6);
      const thrown = caught(() => {
        if (when === 'wake-up') fake.wake(0);
        else if (when === 'drain()') buffer.drain();
        else buffer.close();
      });
      await settled();
      assert.equal(seen, [1, 2, 3, 4, 5, 6]);
      assert.equal(reported, handled ? thrownBy(2, 3, 5) : []);
      const elsewhere = handled && !rethrows ? [] : thrownBy(2, 3, 5);
      const inLoop = when === 'wake-up';
      assert.equal(uncaught, inLoop ? elsewhere : []);
      if (inLoop || elsewhere.length === 0) assert.is(thrown, undefined);
      else assert.equal((thrown as AggregateError).errors, elsewhere);
      buffer.close();
      assert.is(buffer.lost, 0);
      assert.is(fake.rings.size, 0);
      assert.is(fake.polls.size, 0);
      assert.is(fake.open.size, 1, 'only the map is open');
    });

test('a single exception is thrown as it is, of any type', async () => {
  for (const thrown of [errors.get(2), 'text', null, 0]) {
    const { fake, buffer, seen } = open((byte) => (byte === 2 ? thrown : undefined));
    write(fake, 0, 2, 3);
    assert.is(
      caught(() => buffer.close()),
      thrown,
    );
    assert.equal(seen, [2, 3]);
  }
});

test('after an exception reading and waiting for the rings continue', async () => {
  const { fake, seen } = open(some);
  await settled();
  write(fake, 0, 2);
  fake.wake(0);
  await settled();
  write(fake, 1, 4);
  fake.wake(1);
  assert.equal(seen, [2, 4]);
  assert.equal(uncaught, thrownBy(2));
});

for (const [what, bytes, expected] of [
  ['its own exception comes once', [1, 4, 6], [5]],
  ['the exceptions of the rest come from close()', [1, 2, 3], [2, 3]],
] as const)
  test(`if a handler closes and then throws, the rest is delivered, and ${what}`, async () => {
    const all: Opened = open((byte) => {
      if (byte !== 1) return some(byte);
      // If this throws, the handler does not reach its own exception.
      all.buffer.close();
      return errors.get(5);
    });
    await settled();
    const [first, ...others] = bytes;
    write(all.fake, 0, first, ...others);
    write(all.fake, 1, 7);
    all.fake.wake(0);
    assert.equal(all.seen, [...bytes, 7]);
    await settled();
    const [thrown, ...more] = uncaught;
    assert.equal(more, []);
    assert.equal(thrown instanceof AggregateError ? thrown.errors : [thrown], thrownBy(...expected));
    assert.is(all.fake.open.size, 1);
    assert.is(all.fake.rings.size, 0);
  });

test('a corrupt sample costs no other sample, during reading and in close', async () => {
  for (const closes of [false, true]) {
    const reported: unknown[] = [];
    const { fake, buffer, seen } = open(some, { onError: (error) => reported.push(error) });
    await settled();
    write(fake, 0, 1);
    fake.ring(0).record(9, new Uint8Array([0, 0, 0, 0, 0, 0, 0, 0, 13, 0, 0, 0, 1, 2, 3, 4]));
    write(fake, 0, 4);
    write(fake, 1, 6);
    if (closes) buffer.close();
    else buffer.drain();
    assert.equal(seen, [1, 4, 6]);
    assert.is(reported.length, 1);
    assert.instance(reported[0], CorruptRingError);
    assert.match(String(reported[0]), /sample of 13 bytes in a record of 24; skipped this sample$/);
  }
});

test('if onLost throws, the loss is counted once, and close still reads the last losses', async () => {
  const losses: number[] = [];
  const onLost = (count: number) => {
    losses.push(count);
    throw errors.get(2);
  };
  const { fake, buffer } = open(some, { onLost });
  fake.onRead = (fd, target) => {
    new DataView(target.buffer).setBigUint64(16, fake.rings.has(fd) ? 10n : 0n, true);
    return 24;
  };
  await settled();
  fake.ring(0).lost(4);
  fake.wake(0);
  await settled();
  assert.equal(uncaught, thrownBy(2));
  const thrown = caught(() => buffer.close()) as AggregateError;
  assert.equal(thrown.errors, thrownBy(2, 2));
  assert.equal(losses, [4, 6, 10]);
  assert.is(buffer.lost, 20);
  assert.is(fake.rings.size, 0);
});

for (const handled of [false, true])
  test(`an exception of onTick ${handled ? 'is passed to onError' : 'is an uncaughtException'}, with rings or without`, async () => {
    const reported: unknown[] = [];
    const onError = handled ? (error: unknown) => reported.push(error) : undefined;
    let sweeps = 0;
    const onTick = () => {
      sweeps++;
      throw errors.get(2);
    };
    open(some, { onTick, onError });
    const session = Session.open(
      { name: 'counter', programs: [] },
      { kernel: new Kernel(new FakeSyscalls()), onTick, onError },
    );
    try {
      await until(() => sweeps === 2);
      await settled();
      assert.equal(handled ? uncaught : reported, []);
      assert.equal(handled ? reported : uncaught, thrownBy(2, 2));
    } finally {
      session.close();
    }
  });

test('if handlers throw, the ring of an offline CPU is still read and freed', async () => {
  const changes: unknown[] = [];
  const onCpus = ({ offline }: { readonly offline: readonly number[] }) => {
    changes.push(offline);
    throw errors.get(5);
  };
  const { fake, buffer, seen } = open(some, { onCpus });
  await settled();
  write(fake, 1, 1, 2, 3, 4);
  fake.files.set('/sys/devices/system/cpu/online', '0\n');
  fake.answers.set(3, () => -Errno.EINVAL);
  await look();
  assert.equal(seen, [1, 2, 3, 4]);
  assert.equal(changes, [[1]]);
  assert.equal(buffer.cpus, [0]);
  assert.is(fake.rings.size, 1);
  const [first, second, third, fourth] = uncaught;
  assert.equal([first, second, fourth], thrownBy(2, 3, 5));
  assert.match(String(third), /delete from the map 'events'.*EINVAL/);
});

test('if a handler closes while CPUs go offline, their rings are read and freed', async () => {
  const fake = new FakeSyscalls();
  fake.files.set('/sys/devices/system/cpu/online', '0-2\n');
  fake.files.set('/sys/devices/system/cpu/possible', '0-2\n');
  const all: Opened = open(
    (byte) => {
      if (byte === 1) all.buffer.close();
      return undefined;
    },
    {},
    fake,
  );
  await settled();
  // The timer has already read the rings, so only the check of the CPUs reads these records.
  fake.onRead = (fd, target) => {
    const isLossy = fake.cpus.get(fd) === 2 && fake.rings.has(fd);
    new DataView(target.buffer).setBigUint64(16, isLossy ? 7n : 0n, true);
    return 24;
  };
  const readFile = fake.readFile.bind(fake);
  fake.readFile = (path) => {
    if (path === '/sys/kernel/uevent_seqnum' && all.seen.length === 0) {
      write(fake, 1, 1, 2);
      write(fake, 2, 3, 4);
      write(fake, 0, 5);
      fake.files.set('/sys/devices/system/cpu/online', '0\n');
    }
    return readFile(path);
  };
  await look();
  assert.equal([...all.seen].sort(), [1, 2, 3, 4, 5]);
  assert.is(all.buffer.lost, 7, 'counted once');
  assert.is(fake.rings.size, 0);
  assert.is(fake.polls.size, 0);
  assert.is(fake.open.size, 1, 'only the map is open');
});

test('if the ring of a CPU cannot be opened, others get theirs, and onError may close', async () => {
  for (const closes of [false, true]) {
    const reported: unknown[] = [];
    const all: Opened = open(some, {
      onError(error) {
        reported.push(error);
        if (closes) all.buffer.close();
      },
    });
    await settled();
    all.fake.files.set('/sys/devices/system/cpu/online', '0,2-3\n');
    all.fake.onPerfEventOpen = (_, cpu) => (cpu === 2 ? -Errno.EMFILE : undefined);
    write(all.fake, 1, 4);
    await look();
    assert.is(reported.length, 1);
    assert.equal(all.seen, [4]);
    assert.is(all.fake.rings.size, closes ? 0 : 2);
    assert.is(all.fake.open.size, closes ? 1 : 5, 'the map, and two events for each ring');
  }
});

test('a failed check of the CPUs is reported, and the next check finds the change', async () => {
  const reported: unknown[] = [];
  const { fake, buffer } = open(some, { onError: (error) => reported.push(error) });
  await settled();
  fake.files.set('/sys/kernel/uevent_seqnum', '7\n');
  fake.files.delete('/sys/devices/system/cpu/online');
  await look();
  assert.match(String(reported), /read \/sys\/devices\/system\/cpu\/online.*ENOENT/);
  fake.files.set('/sys/devices/system/cpu/online', '0\n');
  await look();
  assert.equal(buffer.cpus, [0]);
});

test('a failed wait is reported with its CPU, and the timer reads the ring', async () => {
  const reported: unknown[] = [];
  const { fake, seen } = open(some, { onError: (error) => reported.push(error) });
  await settled();
  for (const [fd, callback] of fake.polls) if (fake.cpus.get(fd) === 1) callback(Errno.EBADF);
  const [error] = reported as [KernelError];
  assert.is(reported.length, 1);
  assert.instance(error, KernelError);
  assert.match(
    error.message,
    /^cannot wait for events of CPU 1: epoll_wait: EBADF \(bad file descriptor\): only the timer reads this ring/,
  );
  write(fake, 1, 4);
  assert.equal(seen, []);
  await look();
  assert.equal(seen, [4]);
});

test('if a wait cannot begin, no ring stays open', () => {
  const fake = new FakeSyscalls();
  fake.poll = () => -Errno.EPERM;
  assert.throws(() => open(some, {}, fake), /cannot wait for events of CPU 0: epoll_ctl: EPERM/);
  assert.is(fake.rings.size, 0);
  assert.is(fake.open.size, 1);
});

test('exceptions of handlers never stop detach and close of a session', () => {
  for (const end of ['detach', 'close'] as const) {
    const fake = new FakeSyscalls();
    const events = perfEventArray('events', struct({ n: u32 }));
    const seen: number[] = [];
    const session = Session.open(
      { name: 'fake', programs: [], events },
      {
        kernel: new Kernel(fake),
        onEvent({ n }) {
          seen.push(n);
          const error = some(n);
          if (error) throw error;
        },
      },
    );
    write(fake, 0, 1, 2, 3, 4);
    const thrown = caught(() => session[end]()) as AggregateError;
    assert.equal(thrown.errors, thrownBy(2, 3));
    assert.equal(seen, [1, 2, 3, 4]);
    session.close();
    assert.is(fake.open.size, 0);
  }
});

test.run();
