import * as assert from 'uvu/assert';
import { CorruptRingError } from '../../../src/loader/errors.ts';
import { Ring, type RingSampleHandler } from '../../../src/loader/ring-buffer/ring.ts';
import { suite } from '../../harness.ts';
import { DISCARD, FakeRingBuffer, PAGE } from './fake-ring.ts';

const test = suite('loader/ring-buffer/ring');

function open(memory: FakeRingBuffer): Ring {
  return new Ring('events', memory.consumer, memory.producer, PAGE);
}

/** Reads, and returns the values of the records. */
function read(ring: Ring, limit?: number): number[] {
  const values: number[] = [];
  ring.drain((view, offset) => values.push(view.getUint32(offset, true)), limit);
  return values;
}

test('committed records are read once, in order, and their space is freed', () => {
  const memory = new FakeRingBuffer(4096);
  const ring = open(memory);
  assert.equal(read(ring), []);
  for (const value of [1, 2, 3]) memory.write(value);
  assert.equal(read(ring), [1, 2, 3]);
  assert.is(memory.read, memory.written);
  assert.equal(read(ring), []);
});

test('a record has its exact size; the next one begins at a multiple of 8', () => {
  const memory = new FakeRingBuffer(4096);
  const sizes: number[] = [];
  for (const size of [0, 1, 7, 8, 9, 100]) memory.write(5, size);
  open(memory).drain((_view, _offset, size) => sizes.push(size));
  assert.equal(sizes, [0, 1, 7, 8, 9, 100]);
  assert.is(memory.read, 8 + 16 + 16 + 16 + 24 + 112);
});

test('reading stops at a busy record, and continues when it is committed', () => {
  const memory = new FakeRingBuffer(4096);
  const ring = open(memory);
  memory.write(1);
  const busy = memory.reserve(2);
  memory.write(3);
  assert.equal(read(ring), [1]);
  // The kernel wakes the reader when the record at this position is committed.
  assert.is(memory.read, busy);
  memory.commit(busy);
  assert.equal(read(ring), [2, 3]);
});

test('discarded records are skipped', () => {
  const memory = new FakeRingBuffer(4096);
  const ring = open(memory);
  memory.write(1);
  memory.commit(memory.reserve(2), 8, DISCARD);
  memory.write(3);
  assert.equal(read(ring), [1, 3]);
  assert.is(memory.read, memory.written);
});

test('records that cross the end are whole, also past 2^32 bytes', () => {
  for (const start of [4096 - 8, 4096 - 16, 2 ** 32 + 4096 - 8, 2 ** 40 - 8]) {
    const memory = new FakeRingBuffer(4096, start);
    const ring = open(memory);
    for (let value = 0; value < 300; value++) {
      memory.write(value, 20);
      assert.equal(read(ring), [value]);
    }
    assert.is(memory.read, start + 300 * 32);
  }
});

test('after it has published its position, the reader looks again', () => {
  const memory = new FakeRingBuffer(4096);
  const ring = open(memory);
  memory.write(1);
  const busy = memory.reserve(2);
  // A program commits after the reader saw its record busy, and before the reader publishes: no wake-up.
  const store = Atomics.store;
  try {
    Atomics.store = ((...args: Parameters<typeof store>) => {
      memory.commit(busy);
      return store(...args);
    }) as typeof store;
    assert.equal(read(ring), [1, 2]);
  } finally {
    Atomics.store = store;
  }
});

test('a limit counts discarded records, too', () => {
  const memory = new FakeRingBuffer(4096);
  const ring = open(memory);
  memory.commit(memory.reserve(0), 8, DISCARD);
  for (const value of [1, 2, 3]) memory.write(value);
  assert.equal(read(ring, 2), [1]);
  assert.is(memory.read, 32);
  assert.equal(read(ring), [2, 3]);
});

test('the position is published in batches of a quarter of the ring buffer', () => {
  const memory = new FakeRingBuffer(4096);
  for (let value = 0; value < 256; value++) memory.write(value);
  const published: number[] = [];
  open(memory).drain(() => published.push(memory.read));
  assert.equal([...new Set(published)], [0, 1024, 2048, 3072]);
  assert.is(memory.read, 4096);
});

test('an exception of a handler frees the records up to its own', () => {
  const memory = new FakeRingBuffer(4096);
  const ring = open(memory);
  for (const value of [1, 2]) memory.write(value);
  assert.throws(() =>
    ring.drain(() => {
      throw new Error('handler');
    }),
  );
  assert.is(memory.read, 16);
  assert.equal(read(ring), [2]);
});

test('a handler may drain, and release the ring', () => {
  const memory = new FakeRingBuffer(4096);
  const ring = open(memory);
  for (const value of [1, 2, 3]) memory.write(value);
  const seen: number[] = [];
  const onSample: RingSampleHandler = (view, offset) => {
    seen.push(view.getUint32(offset, true));
    ring.drain(onSample);
  };
  ring.drain(onSample);
  assert.equal(seen, [1, 2, 3]);
  memory.write(4);
  memory.write(5);
  ring.drain(() => ring.release());
  assert.is(memory.read, 48, 'nothing is written after the release');
  assert.equal(read(ring), []);
});

for (const [what, corrupt, message] of [
  [
    'a record is longer than what is written',
    (memory: FakeRingBuffer) => memory.word(0, 64),
    "the ring buffer 'events' is corrupt: a record of 64 bytes, and 32 are written; skipped the rest of the ring",
  ],
  [
    'the writers are more than the size ahead',
    (memory: FakeRingBuffer) => {
      memory.written = 8192;
    },
    "the ring buffer 'events' is corrupt: its writers are 8192 bytes ahead; skipped the rest of the ring",
  ],
] as const)
  test(`corrupt: ${what}`, () => {
    const memory = new FakeRingBuffer(4096);
    const ring = open(memory);
    memory.write(1);
    memory.write(2);
    corrupt(memory);
    assert.throws(
      () => read(ring),
      (error: unknown) =>
        error instanceof CorruptRingError && error.message === message && error.cpu === undefined,
    );
    assert.is(memory.read, memory.written);
    memory.write(3);
    assert.equal(read(ring), [3]);
  });

test('the end waits for busy records, and skips those that stay busy', () => {
  const memory = new FakeRingBuffer(4096);
  const ring = open(memory);
  memory.write(1);
  const busy = [memory.reserve(2), memory.reserve(3)];
  memory.write(4);
  const values: number[] = [];
  const before = performance.now();
  const skipped = ring.finish((view, offset) => {
    values.push(view.getUint32(offset, true));
    memory.commit(busy[0] as number);
  }, 20);
  assert.equal(values, [1, 2, 4]);
  assert.is(skipped, 1);
  assert.ok(performance.now() - before >= 19);
});

test('the end does not wait for records that are reserved after it began', () => {
  const memory = new FakeRingBuffer(4096);
  const ring = open(memory);
  memory.write(1);
  let more = 0;
  assert.is(
    ring.finish(() => {
      more++;
      memory.write(2);
    }, 20),
    0,
  );
  assert.is(more, 1);
});

test.run();
