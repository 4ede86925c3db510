import * as assert from 'uvu/assert';
import { perfEventArray, ringBuffer } from '../../src/asm/events.ts';
import { rawTracepoint } from '../../src/asm/hooks.ts';
import { struct, u32 } from '../../src/asm/layout.ts';
import type { Tool } from '../../src/asm/program.ts';
import { target } from '../../src/asm/target.ts';
import { Errno } from '../../src/loader/errno.ts';
import { KernelError, UnsupportedError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { BpfMap } from '../../src/loader/map.ts';
import { RingBuffer, type RingBufferOptions } from '../../src/loader/ring-buffer.ts';
import { Session } from '../../src/loader/session.ts';
import { suite } from '../harness.ts';
import type { FakeSyscalls } from './fake.ts';
import { FakeRingBuffer, fakeWith, PAGE } from './ring-buffer/fake-ring.ts';
import { until } from './tools.ts';

const test = suite('loader/ring-buffer');

const events = ringBuffer('events', struct({ value: u32, more: u32 }), { bytes: 4096 });

/** Opens a reader, and collects what it delivers. */
function open(memory: FakeRingBuffer, options: Partial<RingBufferOptions> = {}) {
  const fake = fakeWith(memory);
  const kernel = new Kernel(fake);
  const map = BpfMap.create(kernel, events);
  const values: number[] = [];
  const reader = RingBuffer.open(kernel, map as unknown as BpfMap, {
    onSample: (view, offset) => values.push(view.getUint32(offset, true)),
    ...options,
  });
  const wake = () => {
    for (const callback of fake.polls.values()) callback();
  };
  return { fake, map, reader, values, wake };
}

/** Waits until a reader has read once, after it was opened; a wake-up before does nothing. */
async function begun(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** A counter of lost events, as `BpfMap.view` gives it. */
function counter(): { count: number; readonly lost: NonNullable<RingBufferOptions['lost']> } {
  const made = { count: 0, lost: undefined as unknown as NonNullable<RingBufferOptions['lost']> };
  made.lost = { view: { get: () => made.count } } as unknown as typeof made.lost;
  return made;
}

test('the map has no keys and values, and its size as its number of entries', () => {
  const fake = fakeWith(new FakeRingBuffer(4096));
  const attributes: number[] = [];
  fake.answers.set(0, (attr) => {
    for (const at of [0, 4, 8, 12]) attributes.push(attr.getUint32(at, true));
    return undefined;
  });
  BpfMap.create(new Kernel(fake), events).close();
  assert.equal(attributes, [27, 0, 0, 4096]);
});

test('records are read after open, at a wake-up, in drain and in close', async () => {
  const memory = new FakeRingBuffer(4096);
  memory.write(1);
  const { reader, map, values, wake, fake } = open(memory);
  await until(() => values.length === 1);
  memory.write(2);
  wake();
  assert.equal(values, [1, 2]);
  memory.write(3);
  reader.drain();
  assert.equal(values, [1, 2, 3]);
  memory.write(4);
  reader.close();
  map.close();
  assert.equal(values, [1, 2, 3, 4]);
  assert.is(fake.open.size, 0);
  assert.is(fake.polls.size, 0);
  wake();
});

test('records without a wake-up are read at the interval', async () => {
  const memory = new FakeRingBuffer(4096);
  const { reader, values } = open(memory, { flushMs: 10 });
  await new Promise((resolve) => setTimeout(resolve, 5));
  memory.write(1);
  await until(() => values.length === 1);
  reader.close();
  assert.throws(
    () => open(memory, { flushMs: 0 }),
    /^flushMs of the ring buffer 'events' cannot be 0; use 1 or more/,
  );
});

test('a long read leaves turns of the event loop to others', async () => {
  const memory = new FakeRingBuffer(65_536);
  const fake = fakeWith(memory);
  const kernel = new Kernel(fake);
  const map = BpfMap.create(kernel, ringBuffer('events', u32, { bytes: 65_536 }));
  for (let value = 0; value < 4096; value++) memory.write(value);
  let [seen, turns] = [0, 0];
  const timer = setInterval(() => turns++, 1);
  const reader = RingBuffer.open(kernel, map as unknown as BpfMap, {
    onSample() {
      seen++;
      // 40 us each: 160 ms in all
      for (const end = performance.now() + 0.04; performance.now() < end; );
    },
  });
  await until(() => seen === 4096);
  clearInterval(timer);
  reader.close();
  assert.ok(turns >= 3, `${turns} turns`);
});

test('events that programs have counted as lost are reported once', async () => {
  const memory = new FakeRingBuffer(4096);
  const made = counter();
  made.count = 5; // lost before this reader
  const lost: number[] = [];
  const { reader, wake } = open(memory, { lost: made.lost, onLost: (count) => lost.push(count) });
  await begun();
  made.count = 8;
  wake();
  assert.equal(lost, [3]);
  wake();
  reader.drain();
  made.count = 9;
  reader.close();
  assert.equal(lost, [3, 1]);
  assert.is(reader.lost, 4);
});

test('a record that stays busy at the end counts as lost, and later ones are delivered', () => {
  const memory = new FakeRingBuffer(4096);
  const lost: number[] = [];
  const { reader, values } = open(memory, { onLost: (count) => lost.push(count) });
  memory.reserve(1);
  memory.write(2);
  reader.close();
  assert.equal(values, [2]);
  assert.equal(lost, [1]);
});

test('exceptions of handlers cost one event, and close throws them at its end', () => {
  const memory = new FakeRingBuffer(4096);
  const values: number[] = [];
  const { reader } = open(memory, {
    onSample(view, offset) {
      values.push(view.getUint32(offset, true));
      throw new Error(`handler ${values.length}`);
    },
  });
  for (const value of [1, 2]) memory.write(value);
  assert.throws(() => reader.close(), /handler 1.*handler 2/);
  assert.equal(values, [1, 2]);
});

test('a corrupt record is reported, and reading continues', async () => {
  const memory = new FakeRingBuffer(4096);
  const errors: string[] = [];
  const { reader, values, wake } = open(memory, { onError: (error) => errors.push(String(error)) });
  await begun();
  memory.write(1);
  memory.word(0, 400);
  wake();
  assert.is(errors.length, 1);
  memory.write(2);
  wake();
  assert.equal(values, [2]);
  reader.close();
});

test('a handler may close the reader', async () => {
  const memory = new FakeRingBuffer(4096);
  const values: number[] = [];
  const made = counter();
  const { reader, wake } = open(memory, {
    lost: made.lost,
    onSample(view, offset) {
      values.push(view.getUint32(offset, true));
      const isFirst = values.length === 1;
      reader.close();
      if (isFirst) made.count = 1; // a closed map cannot be read
    },
  });
  await begun();
  for (const value of [1, 2]) memory.write(value);
  wake();
  assert.equal(values, [1, 2]);
  assert.is(reader.lost, 0);
});

test('if memory or a wait fails, everything is freed', () => {
  for (const [fails, message] of [
    [{ mmap: 0 }, /^cannot map the ring buffer 'events', 4096 bytes: mmap: ENOMEM.*use fewer bytes/],
    [{ mmap: PAGE }, /^cannot map the ring buffer 'events', 12288 bytes: mmap: ENOMEM/],
    [{ poll: true }, /^cannot wait for events of the ring buffer 'events': epoll_ctl: EPERM/],
  ] as const) {
    const fake = fakeWith(new FakeRingBuffer(4096));
    const map = fake.onMmap;
    const mapped = new Set<unknown>();
    fake.onMmap = (fd, length, offset) => {
      if ('mmap' in fails && fails.mmap === offset) return -Errno.ENOMEM;
      const memory = map(fd, length, offset);
      mapped.add(memory);
      return memory;
    };
    fake.munmap = (memory) => (mapped.delete(memory) ? 0 : -Errno.EINVAL);
    if ('poll' in fails) fake.poll = () => -Errno.EPERM;
    const kernel = new Kernel(fake);
    const created = BpfMap.create(kernel, events) as unknown as BpfMap;
    assert.throws(
      () => RingBuffer.open(kernel, created, { onSample: () => {} }),
      (error: unknown) => error instanceof KernelError && message.test(error.message),
    );
    assert.is(mapped.size, 0);
  }
});

test('a kernel without ring buffers, and one with larger pages, are explained', () => {
  const fake = fakeWith(new FakeRingBuffer(4096));
  fake.answers.set(0, (attr) => (attr.getUint32(0, true) === 27 ? -Errno.EINVAL : undefined));
  assert.throws(
    () => BpfMap.create(new Kernel(fake), events),
    (error: unknown) =>
      error instanceof UnsupportedError &&
      error.since === '5.8' &&
      /^this kernel has no ring buffers \(Linux 5\.8 and later\): 'events' is one; use perfEventArray\('events', \.\.\.\)/.test(
        error.message,
      ),
  );
  const kernel = new Kernel(fakeWith(new FakeRingBuffer(4096)));
  Object.defineProperty(kernel, 'pageSize', { value: 65_536 });
  assert.throws(
    () => BpfMap.create(kernel, events),
    /^the ring buffer 'events' has 4096 bytes, which is less than a page of this kernel: use bytes: 65536 or more/,
  );
  const other = BpfMap.create(new Kernel(fake), perfEventArray('perf', u32)) as unknown as BpfMap;
  assert.throws(
    () => RingBuffer.open(kernel, other, { onSample: () => {} }),
    /^map 'perf' is not a ring buffer/,
  );
});

const program = rawTracepoint('sys_enter', target('x64'), (b) => b.exit());
const perf = perfEventArray('perf', struct({ value: u32 }));

/** Opens a session with a counter that the fake maps. */
function session(fake: FakeSyscalls, tool: Partial<Tool>, options: object): Session {
  const ring = fake.onMmap;
  fake.onMmap = (fd, length, offset) => {
    const isCounter = offset === 0 && length === PAGE && !fake.calls.slice(0, -1).includes(`mmap ${fd}`);
    // The counter is mapped before the ring buffer.
    if (isCounter && fake.calls.filter((call) => call.startsWith('mmap')).length === 1)
      return new ArrayBuffer(PAGE);
    return ring(fd, length, offset);
  };
  const whole: Tool = { name: 'tool', programs: [program], ...tool };
  return Session.open(whole, { kernel: new Kernel(fake), ...options });
}

test('a session delivers the events of several maps to their handlers', () => {
  const memory = new FakeRingBuffer(4096);
  const fake = fakeWith(memory);
  const seen: unknown[] = [];
  const opened = session(
    fake,
    { events: { ring: events, perf } },
    {
      onEvent: {
        ring: (event: unknown, cpu: unknown) => seen.push(['ring', event, cpu]),
        perf: (event: unknown, cpu: unknown) => seen.push(['perf', event, cpu]),
      },
    },
  );
  memory.write(7);
  fake.ring(1).sample(Uint8Array.of(9, 0, 0, 0));
  opened.close();
  assert.equal(
    seen.sort(),
    [
      ['perf', { value: 9 }, 1],
      ['ring', { value: 7, more: 0 }, undefined],
    ].sort(),
  );
  assert.is(fake.open.size, 0);
});

test('one second of a session with several maps is one tick', async () => {
  const fake = fakeWith(new FakeRingBuffer(4096));
  let ticks = 0;
  const handlers = { ring: () => {}, perf: () => {} };
  const opened = session(
    fake,
    { events: { ring: events, perf } },
    { onEvent: handlers, onTick: () => ticks++ },
  );
  await new Promise((resolve) => setTimeout(resolve, 1500));
  opened.close();
  assert.is(ticks, 1);
});

test('options and handlers must suit the events maps', () => {
  const refused = (tool: Partial<Tool>, options: object, message: RegExp) =>
    assert.throws(() => session(fakeWith(new FakeRingBuffer(4096)), tool, options), message);
  const onEvent = () => {};
  for (const option of ['pagesPerCpu', 'wakeup', 'onCpus'])
    refused(
      { events },
      { onEvent, [option]: 64 },
      new RegExp(
        `^the tool tool has no events in a perf event array, so ${option} has no effect; set bytes of ringBuffer\\(\\), or flags of b\\.output, for a ring buffer, or remove ${option} \\(`,
      ),
    );
  refused(
    { events: perf },
    { onEvent, flushMs: 5 },
    /^the tool tool has no events in a ring buffer, so flushMs has no effect; use wakeup: \{ flushMs \} for perf rings, or remove flushMs/,
  );
  refused(
    { events: { a: events, b: perf } },
    { onEvent: { a: onEvent } },
    /^the tool tool has events 'b', but no handler for them; pass onEvent: \{ b: \(event\) => \.\.\. \} to Session\.open/,
  );
  refused({ events: { a: events } }, { onEvent }, /^the tool tool has events 'a', but no handler for them/);
  refused(
    { events: { a: events } },
    { onEvent: { a: onEvent }, onSample: { a: onEvent } },
    /^the tool tool cannot have two handlers of its events 'a'; pass onEvent or onSample/,
  );
});

test.run();
