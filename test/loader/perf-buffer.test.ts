import * as assert from 'uvu/assert';
import { perfEventArray } from '../../src/asm/events.ts';
import { u32 } from '../../src/asm/layout.ts';
import { Errno } from '../../src/loader/errno.ts';
import { NotPermittedError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { BpfMap } from '../../src/loader/map.ts';
import type { CpuChange, PerfBufferOptions } from '../../src/loader/perf-buffer/options.ts';
import { PerfBuffer } from '../../src/loader/perf-buffer.ts';
import { suite } from '../harness.ts';
import { FakeSyscalls } from './fake.ts';

const test = suite('loader/perf-buffer');

/** Buffers that a failed test leaves open would keep the process alive. */
const opened: PerfBuffer[] = [];
test.after.each(() => {
  for (const buffer of opened.splice(0)) buffer.close();
});

interface Opened {
  readonly fake: FakeSyscalls;
  readonly buffer: PerfBuffer;
  /** The first byte and the CPU of each sample. */
  readonly samples: [number, number][];
  readonly lost: [number, number][];
}

function open(options: Partial<PerfBufferOptions> = {}, fake = new FakeSyscalls()): Opened {
  const kernel = new Kernel(fake);
  const map = BpfMap.create(kernel, perfEventArray('events', u32));
  const samples: [number, number][] = [];
  const lost: [number, number][] = [];
  const buffer = PerfBuffer.open(kernel, map, {
    pagesPerCpu: 1,
    sampleBytes: 8,
    onSample: (view, offset, _size, cpu) => samples.push([view.getUint8(offset), cpu]),
    onLost: (count, cpu) => lost.push([count, cpu]),
    ...options,
  });
  opened.push(buffer);
  return { fake, buffer, samples, lost };
}

function byte(value: number): Uint8Array {
  return Uint8Array.of(value, 0, 0, 0);
}

/** Resolves after the first wait of the event loop. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
}

test('each ring is set in the map under the number of its CPU; an offline CPU has none', () => {
  const fake = new FakeSyscalls();
  fake.files.set('/sys/devices/system/cpu/online', '0,2-3,9\n');
  fake.files.set('/sys/devices/system/cpu/possible', '0-15\n');
  fake.onPerfEventOpen = (_, cpu) => (cpu === 2 ? -Errno.ENODEV : undefined);
  const updates: [number, number][] = [];
  fake.answers.set(0, (attr) => {
    assert.is(attr.getUint32(12, true), 16, 'one entry up to the highest possible CPU number');
    return undefined;
  });
  fake.answers.set(2, (attr) => {
    const [key, value] = [fake.at(attr.getBigUint64(8, true)), fake.at(attr.getBigUint64(16, true))];
    updates.push([
      new DataView(key.buffer).getUint32(0, true),
      new DataView(value.buffer).getUint32(0, true),
    ]);
    return 0;
  });
  const { buffer } = open({}, fake);
  assert.equal(buffer.cpus, [0, 3, 9]);
  assert.equal(
    updates.map(([cpu, fd]) => [cpu, fake.cpus.get(fd)]),
    [
      [0, 0],
      [3, 3],
      [9, 9],
    ],
  );
  buffer.close();
});

test('an error is thrown if no CPU has a ring', () => {
  const fake = new FakeSyscalls();
  fake.onPerfEventOpen = () => -Errno.ENODEV;
  assert.throws(() => open({}, fake), /any CPU.*ENODEV/);
});

test('any wake-up reads all rings', async () => {
  const { fake, buffer, samples } = open();
  await settled();
  fake.ring(0).sample(byte(1));
  fake.ring(1).sample(byte(2));
  fake.wake(1);
  assert.equal(samples, [
    [1, 0],
    [2, 1],
  ]);
  buffer.close();
});

test('records written before the event loop waits are read without a wake-up', async () => {
  const { fake, buffer, samples } = open();
  fake.ring(1).sample(byte(5));
  await settled();
  assert.equal(samples, [[5, 1]]);
  buffer.close();
});

test('the timer reads records without a wake-up, and calls onTick', async () => {
  let sweeps = 0;
  const { fake, buffer, samples } = open({ onTick: () => sweeps++ });
  await settled();
  fake.ring(1).sample(byte(5));
  await new Promise((resolve) => setTimeout(resolve, 1100));
  assert.equal(samples, [[5, 1]]);
  assert.is(sweeps, 1);
  buffer.close();
});

test('with a watermark the rings are read every flushMs, and onTick is still called once a second', async () => {
  let sweeps = 0;
  const { fake, buffer, samples } = open({
    wakeup: { watermarkBytes: 1000, flushMs: 20 },
    onTick: () => sweeps++,
  });
  await settled();
  fake.ring(0).sample(byte(3));
  await new Promise((resolve) => setTimeout(resolve, 200));
  assert.equal(samples, [[3, 0]]);
  assert.is(sweeps, 0);
  buffer.close();
});

test('the wakeup option is set in the perf events', () => {
  const seen: unknown[] = [];
  for (const wakeup of [undefined, { events: 7 }, { flushMs: 50 }, { watermarkBytes: 100, flushMs: 50 }]) {
    const fake = new FakeSyscalls();
    fake.files.set('/sys/devices/system/cpu/online', '0\n');
    fake.onPerfEventOpen = (attr) => {
      seen.push([attr.getUint32(40, true) & 0x4000, attr.getUint32(48, true)]);
      return undefined;
    };
    open({ wakeup, pagesPerCpu: 2 }, fake).buffer.close();
  }
  assert.equal(seen, [
    [0, 1],
    [0x4000, 2048], // the second event, for batched wake-ups
    [0, 7],
    [0x4000, 1024],
    [0x4000, 100],
  ]);
});

test('rings also open on kernels that do not count losses (before 6.0)', () => {
  const fake = new FakeSyscalls();
  fake.onPerfEventOpen = (attr) => ((attr.getBigUint64(32, true) & 16n) === 0n ? undefined : -Errno.EINVAL);
  const { buffer } = open({}, fake);
  assert.equal(buffer.cpus, [0, 1]);
  buffer.close();
});

test('losses are counted, and close adds those without a lost record', async () => {
  const { fake, buffer, lost } = open();
  await settled();
  fake.ring(0).lost(4);
  fake.wake(0);
  fake.onRead = (fd, target) => {
    new DataView(target.buffer).setBigUint64(
      16,
      fake.cpus.get(fd) === 0 && fake.rings.has(fd) ? 10n : 0n,
      true,
    );
    return 24;
  };
  assert.is(buffer.lost, 4);
  buffer.close();
  assert.is(buffer.lost, 10);
  assert.equal(lost, [
    [4, 0],
    [6, 0],
  ]);
});

test('many records are read in several turns of the event loop', async () => {
  const { fake, buffer } = open({
    pagesPerCpu: 64,
    onSample: () => {
      const end = performance.now() + 0.05;
      while (performance.now() < end);
    },
  });
  await settled();
  for (let count = 0; count < 10_000; count++) fake.ring(0).sample(byte(1));
  const before = performance.now();
  fake.wake(0);
  const turn = performance.now() - before;
  assert.ok(fake.ring(0).tail < fake.ring(0).head, 'one turn does not read the whole ring');
  assert.ok(turn < 400, `a turn took ${turn} ms`);
  while (fake.ring(0).tail < fake.ring(0).head) await new Promise((resolve) => setTimeout(resolve, 1));
  buffer.close();
});

test('close reads the last records, ends the wait, unmaps and closes everything', async () => {
  const { fake, buffer, samples } = open();
  await settled();
  fake.ring(1).sample(byte(9));
  const before = fake.calls.length;
  buffer.close();
  buffer.close();
  assert.equal(samples, [[9, 1]]);
  assert.is(fake.polls.size, 0);
  assert.is(fake.rings.size, 0);
  assert.is(fake.open.size, 1, 'only the map is open');
  assert.equal(
    fake.calls.slice(before).map((call) => call.replace(/ \d+/, '')),
    [...Array(4).fill('ioctl 0x2401'), 'munmap', 'close', 'close', 'munmap', 'close', 'close'],
    'each ring has two events',
  );
});

test('a handler may call close', async () => {
  const all: Opened = open({ onSample: () => all.buffer.close() });
  await settled();
  all.fake.ring(0).sample(byte(1));
  all.fake.ring(0).sample(byte(2));
  all.fake.wake(0);
  assert.is(all.fake.rings.size, 0);
});

test('onError receives the exception of a handler, and reading continues', async () => {
  const errors: unknown[] = [];
  let seen = 0;
  const { fake, buffer } = open({
    onSample: () => {
      seen++;
      if (seen === 1) throw new Error('first');
    },
    onError: (error) => errors.push((error as Error).message),
  });
  await settled();
  fake.ring(0).sample(byte(1));
  fake.ring(0).sample(byte(2));
  fake.wake(0);
  assert.is(seen, 2);
  assert.equal(errors, ['first']);
  buffer.close();
});

test('EPERM from mmap names the setting, and closes everything', () => {
  const fake = new FakeSyscalls();
  fake.files.set('/proc/sys/kernel/perf_event_mlock_kb', '516\n');
  fake.onMmap = (fd) => (fake.cpus.get(fd) === 1 ? -Errno.EPERM : undefined);
  assert.throws(
    () => open({}, fake),
    (error: unknown) =>
      error instanceof NotPermittedError &&
      /perf_event_mlock_kb \(now 516 KiB for each CPU\) need CAP_IPC_LOCK/.test(error.message),
  );
  assert.is(fake.open.size, 1, 'only the map is open');
  assert.is(fake.rings.size, 0);
});

for (const [capabilities, paranoid, message] of [
  ['000000c000000000', '3', /perf_event_paranoid is 3.*CAP_SYS_ADMIN.*sysctl kernel\.perf_event_paranoid=2/],
  ['000000c000000000', '2', /a policy forbids the call/],
  ['0000000000200000', '3', /a policy forbids the call/],
  ['0000008000000000', '3', /lacks CAP_PERFMON/],
] as const)
  test(`EACCES with capabilities ${capabilities} and perf_event_paranoid ${paranoid} says ${message.source}`, () => {
    const fake = new FakeSyscalls();
    fake.files.set('/proc/self/status', `CapEff:\t${capabilities}\n`);
    fake.files.set('/proc/sys/kernel/perf_event_paranoid', `${paranoid}\n`);
    fake.onPerfEventOpen = () => -Errno.EACCES;
    assert.throws(
      () => open({}, fake),
      (error: unknown) => error instanceof NotPermittedError && message.test(error.message),
    );
  });

test('if a ring cannot be enabled, everything is closed', () => {
  const fake = new FakeSyscalls();
  fake.onIoctl = () => -Errno.EINVAL;
  assert.throws(() => open({}, fake), /PERF_EVENT_IOC_ENABLE.*EINVAL/);
  assert.is(fake.open.size, 1);
  assert.is(fake.rings.size, 0);
});

for (const [options, message] of [
  [{ pagesPerCpu: 3 }, /power of two/],
  [{ pagesPerCpu: 0 }, /power of two/],
  [{ pagesPerCpu: 0.5 }, /power of two/],
  [{ sampleBytes: 4096 }, /4096 bytes \(4112 with its header\) does not fit/],
  [{ wakeup: { events: 0 } }, /events of a wake-up cannot be 0/],
  [{ wakeup: { watermarkBytes: 4096, flushMs: 10 } }, /watermarkBytes of a wake-up cannot be 4096/],
  [{ wakeup: 'often' as 'adaptive' }, /wakeup cannot be 'often'; use 'adaptive'/],
  [{ wakeup: { flushMs: 0 } }, /flushMs of a wake-up cannot be 0/],
] as const)
  test(`${JSON.stringify(options)} is refused before anything is opened`, () => {
    const fake = new FakeSyscalls();
    assert.throws(() => open(options, fake), message);
    assert.is(fake.calls.filter((call) => call.startsWith('perf')).length, 0);
  });

/** The perf events that the map's entries hold, by CPU, and the rings that events write to. */
function outputs(fake: FakeSyscalls): { map: Map<number, number>; redirected: [number, number][] } {
  const map = new Map<number, number>();
  const redirected: [number, number][] = [];
  fake.answers.set(2, (attr) => {
    const [key, value] = [fake.at(attr.getBigUint64(8, true)), fake.at(attr.getBigUint64(16, true))];
    map.set(new DataView(key.buffer).getUint32(0, true), new DataView(value.buffer).getUint32(0, true));
    return undefined;
  });
  const ioctl = fake.ioctl.bind(fake);
  fake.ioctl = (fd, request, argument) => {
    if (request === 0x2405) redirected.push([fd, argument]);
    return ioctl(fd, request, argument);
  };
  return { map, redirected };
}

test('while a CPU sends many samples, another event batches its wake-ups, and then the first one is back', async () => {
  const fake = new FakeSyscalls();
  const { map, redirected } = outputs(fake);
  const { buffer, samples, lost } = open({}, fake);
  await settled();
  const [first, other] = [map.get(0) as number, map.get(1)];
  for (let count = 0; count < 100; count++) {
    fake.ring(0).sample(byte(1));
    fake.wake(0);
  }
  assert.is(samples.length, 100);
  const second = map.get(0) as number;
  assert.ok(second !== first);
  assert.equal(
    redirected.filter(([, ring]) => ring === first),
    [[second, first]],
  );
  assert.is(map.get(1), other, 'the other CPU keeps its wake-ups');

  fake.ring(0).sample(byte(2));
  const written = performance.now();
  while (samples.length < 101) await new Promise((resolve) => setTimeout(resolve, 1));
  assert.ok(performance.now() - written < 500, 'the timer reads without a wake-up');
  await new Promise((resolve) => setTimeout(resolve, 400));
  assert.is(map.get(0), first);

  fake.onRead = (fd, target) => {
    const count =
      new Map([
        [first, 3n],
        [second, 4n],
      ]).get(fd) ?? 0n;
    new DataView(target.buffer).setBigUint64(16, count, true);
    return 24;
  };
  buffer.close();
  assert.equal(lost, [[7, 0]], 'the losses of both events');
  assert.is(fake.open.size, 1, 'only the map is open');
});

/** Refuses events whose reader is woken by bytes (the flag `watermark`). */
const refuseWatermark = (attr: DataView) =>
  (attr.getBigUint64(40, true) & (1n << 14n)) === 0n ? undefined : -Errno.EMFILE;

for (const [what, refuse] of [
  ['the second event', (fake: FakeSyscalls) => (fake.onPerfEventOpen = refuseWatermark)],
  ['its output', (fake: FakeSyscalls) => (fake.onIoctl = (_, request) => (request === 0x2405 ? -22 : 0))],
  ['the map', (fake: FakeSyscalls) => fake.answers.set(2, () => -Errno.EINVAL)],
] as const)
  test(`if the kernel refuses ${what}, each sample still wakes the reader`, async () => {
    const errors: unknown[] = [];
    const fake = new FakeSyscalls();
    if (what !== 'the map') refuse(fake);
    const { buffer, samples } = open({ onError: (error) => errors.push(error) }, fake);
    await settled();
    refuse(fake);
    const updates = () => fake.calls.filter((call) => call === 'bpf 2').length;
    const [opened, before] = [fake.calls.length, updates()];
    for (let count = 0; count < 100; count++) {
      fake.ring(0).sample(byte(1));
      fake.wake(0);
    }
    assert.is(samples.length, 100);
    assert.ok(updates() - before <= 1, 'it is tried once');
    assert.not.match(fake.calls.slice(opened).join(), /perfEventOpen/, 'events are opened with their rings');
    assert.equal(errors, []);
    buffer.close();
    assert.is(fake.open.size, 1, 'only the map is open');
  });

/** Resolves after the next check of the CPUs. */
const look = () => new Promise((resolve) => setTimeout(resolve, 1100));

test('the last records of an offline CPU are read, and a CPU that comes online gets a ring', async () => {
  const changes: CpuChange[] = [];
  const { fake, buffer, samples, lost } = open({ onCpus: (change) => changes.push(change) });
  await settled();
  fake.ring(1).sample(byte(1));
  let clock = 0n;
  fake.onRead = (fd, target) => {
    new DataView(target.buffer).setBigUint64(8, ++clock, true);
    new DataView(target.buffer).setBigUint64(16, fake.rings.has(fd) ? 2n : 0n, true);
    return 24;
  };
  fake.files.set('/sys/devices/system/cpu/online', '0\n');
  const before = fake.calls.length;
  await look();
  assert.equal(samples, [[1, 1]]);
  assert.equal(lost, [[2, 1]], 'losses without a lost record');
  assert.equal(buffer.cpus, [0]);
  assert.equal(
    fake.calls.slice(before).map((call) => call.replace(/ 1\d/, '')),
    ['bpf 3', 'munmap', 'close', 'close'],
    'the entry is deleted from the map, which would otherwise hold a reference to the event',
  );
  assert.equal(
    changes.splice(0).map(({ online, offline }) => [online, offline]),
    [[[], [1]]],
  );

  fake.files.set('/sys/devices/system/cpu/online', '0-1\n');
  await look();
  assert.equal(buffer.cpus, [0, 1]);
  const [change] = changes as [CpuChange];
  assert.equal([change.online, change.offline], [[1], []]);
  assert.ok(change.gapMs >= 900 && change.gapMs < 1900, `${change.gapMs} ms`);
  fake.ring(1).sample(byte(2));
  fake.wake(1);
  assert.equal(samples[1], [2, 1]);
  buffer.close();
  assert.is(fake.rings.size, 0);
});

test('a CPU that was offline for a moment gets a new ring', async () => {
  const changes: CpuChange[] = [];
  const fake = new FakeSyscalls();
  fake.files.set('/sys/kernel/uevent_seqnum', '1\n');
  let clock = 0n;
  const { buffer, samples } = open({ onCpus: (change) => changes.push(change) }, fake);
  await settled();
  fake.ring(1).sample(byte(1));
  fake.files.set('/sys/kernel/uevent_seqnum', '3\n');
  fake.onRead = (fd, target) => {
    new DataView(target.buffer).setBigUint64(8, fake.cpus.get(fd) === 1 ? 5n : ++clock, true);
    return 16;
  };
  const updates: number[] = [];
  fake.answers.set(2, (attr) => updates.push(fake.at(attr.getBigUint64(8, true))[0] ?? -1) && 0);
  await look();
  await look();
  assert.equal(buffer.cpus, [0, 1]);
  assert.equal(samples, [[1, 1]]);
  assert.equal(updates, [1]);
  assert.is(fake.calls.includes('bpf 3'), false, 'the new entry stays in the map');
  assert.equal(
    changes.map(({ online, offline, gapMs }) => [online, offline, gapMs > 1900]),
    [[[1], [1], true]],
  );
  fake.ring(1).sample(byte(2));
  fake.wake(1);
  assert.equal(samples[1], [2, 1]);
  buffer.close();
});

test('a CPU whose ring cannot be opened is reported once, and the others are read', async () => {
  const errors: unknown[] = [];
  const { fake, buffer, samples } = open({ onError: (error) => errors.push(error) });
  await settled();
  fake.files.set('/sys/devices/system/cpu/online', '0-2\n');
  fake.onPerfEventOpen = () => -Errno.EMFILE;
  await look();
  fake.files.set('/sys/devices/system/cpu/online', '0-3\n');
  fake.onPerfEventOpen = () => undefined;
  await look();
  assert.equal(buffer.cpus, [0, 1, 3]);
  assert.is(errors.length, 1);
  assert.match(String(errors[0]), /open the perf ring of CPU 2.*EMFILE/);
  fake.ring(0).sample(byte(4));
  fake.wake(0);
  assert.equal(samples, [[4, 0]]);
  buffer.close();
});

test('a handler may call close while the last records of a ring are read', async () => {
  const all: Opened = open({ onSample: () => all.buffer.close() });
  await settled();
  all.fake.ring(1).sample(byte(1));
  all.fake.ring(1).sample(byte(2));
  all.fake.files.set('/sys/devices/system/cpu/online', '0\n');
  await look();
  assert.is(all.fake.rings.size, 0);
  assert.is(all.fake.open.size, 1, 'only the map is open');
});

test.run();
