import * as assert from 'uvu/assert';
import { CorruptRingError } from '../../../src/loader/errors.ts';
import { fitsRing, PerfRing, recordSize } from '../../../src/loader/perf-buffer/perf-ring.ts';
import { suite } from '../../harness.ts';
import { FakeRing } from '../fake.ts';

const test = suite('loader/perf-buffer/perf-ring');

const PAGE = 4096;
const never = (): void => assert.unreachable('no loss was written');

/** A payload of `size` bytes that encodes its number and the position of each byte. */
function payload(size: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, index) => (seed * 31 + index * 7) & 0xff);
}

/** Reads all records. Samples are copies of their first `size` bytes. */
function read(
  ring: PerfRing,
  size: number,
  limit?: number,
): { samples: Uint8Array[]; lost: number[]; records: number } {
  const samples: Uint8Array[] = [];
  const lost: number[] = [];
  const records = ring.drain(
    (view, offset) => samples.push(new Uint8Array(view.buffer, offset, size).slice()),
    (count) => lost.push(count),
    limit,
  );
  return { samples, lost, records };
}

test('an empty ring has no records, and its tail stays', () => {
  const fake = new FakeRing(PAGE);
  assert.equal(read(new PerfRing(fake.mapping, 0), 8), { samples: [], lost: [], records: 0 });
  assert.is(fake.tail, 0n);
});

test('samples come in order with their CPU and size, and the tail reaches the head', () => {
  const fake = new FakeRing(PAGE);
  for (const seed of [1, 2, 3]) fake.sample(payload(20, seed));
  const seen: unknown[] = [];
  new PerfRing(fake.mapping, 7).drain((view, offset, size, cpu) => {
    seen.push([view.getUint8(offset), size, cpu]);
  }, never);
  assert.equal(seen, [
    [31, 20, 7],
    [62, 20, 7],
    [93, 20, 7],
  ]);
  assert.is(fake.tail, fake.head);
});

test('the tail is written once, after the last record', () => {
  const fake = new FakeRing(PAGE);
  fake.sample(payload(8, 1));
  fake.sample(payload(8, 2));
  const tails: bigint[] = [];
  new PerfRing(fake.mapping, 0).drain(() => tails.push(fake.tail), never);
  assert.equal(tails, [0n, 0n]);
  assert.is(fake.tail, fake.head);
});

test('at most limit records are read, and the rest stays', () => {
  const fake = new FakeRing(PAGE);
  for (let seed = 0; seed < 5; seed++) fake.sample(payload(8, seed));
  const ring = new PerfRing(fake.mapping, 0);
  assert.is(read(ring, 8, 3).records, 3);
  assert.equal(read(ring, 8, 3).samples, [payload(8, 3), payload(8, 4)]);
});

// Beyond 2^32 and 2^53, and with every position of the record's end in the ring.
for (const start of [0n, 2n ** 32n, 2n ** 53n])
  test(`wrapped records are joined in a ring of one page, from byte ${start}`, () => {
    for (let at = 0; at < PAGE; at += 8) {
      const fake = new FakeRing(PAGE, start + BigInt(at));
      const ring = new PerfRing(fake.mapping, 0);
      fake.sample(payload(76, at));
      fake.lost(at);
      fake.sample(payload(12, at + 1));
      const { samples, lost } = read(ring, 12);
      assert.equal(samples, [payload(76, at).slice(0, 12), payload(12, at + 1)]);
      assert.equal(lost, [at]);
      assert.is(fake.tail, fake.head);
    }
  });

test('a wrapped record is complete', () => {
  const fake = new FakeRing(PAGE, BigInt(PAGE - 40));
  fake.sample(payload(1004, 3));
  assert.equal(read(new PerfRing(fake.mapping, 0), 1004).samples, [payload(1004, 3)]);
});

test('a completely full ring is read', () => {
  const fake = new FakeRing(PAGE, 16n);
  for (let seed = 0; seed < PAGE / 32; seed++) fake.sample(payload(20, seed));
  assert.is(read(new PerfRing(fake.mapping, 0), 20).samples.length, PAGE / 32);
});

test('records of other types are skipped', () => {
  const fake = new FakeRing(PAGE);
  fake.record(5, new Uint8Array(24)); // PERF_RECORD_THROTTLE
  fake.sample(payload(4, 1));
  fake.record(77, new Uint8Array(0));
  const { samples, records } = read(new PerfRing(fake.mapping, 0), 4);
  assert.equal(samples, [payload(4, 1)]);
  assert.is(records, 3);
});

for (const [what, size] of [
  ['no', 0],
  ['fewer than a header of', 4],
  ['no multiple of eight', 13],
  ['more than there are', 64],
] as const)
  test(`a record with a size of ${what} bytes is an error, and reading continues after it`, () => {
    const fake = new FakeRing(PAGE);
    const ring = new PerfRing(fake.mapping, 3);
    fake.sample(payload(4, 1));
    fake.record(9, new Uint8Array(16), size);
    const seen: number[] = [];
    const drain = () => ring.drain((view, offset) => seen.push(view.getUint8(offset)), never);
    assert.throws(drain, (error: unknown) => error instanceof CorruptRingError && error.cpu === 3);
    assert.equal(seen, [31]);
    assert.is(fake.tail, fake.head);
    fake.sample(payload(4, 2));
    assert.is(drain(), 1);
    assert.equal(seen, [31, 62]);
  });

test('a sample longer than its record is an error', () => {
  const fake = new FakeRing(PAGE);
  fake.record(9, new Uint8Array([13, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]));
  assert.throws(() => read(new PerfRing(fake.mapping, 0), 1), /sample of 13 bytes in a record of 24/);
});

test('a head further from the tail than the size of the ring is an error, and reading continues', () => {
  const fake = new FakeRing(PAGE);
  fake.head = BigInt(PAGE + 8);
  const ring = new PerfRing(fake.mapping, 0);
  assert.throws(() => read(ring, 1), /4104 bytes past its tail/);
  fake.sample(payload(4, 1));
  assert.equal(read(ring, 4).samples, [payload(4, 1)]);
});

test('a handler that throws does not get a sample twice', () => {
  const fake = new FakeRing(PAGE);
  fake.sample(payload(4, 1));
  fake.sample(payload(4, 2));
  const ring = new PerfRing(fake.mapping, 0);
  const failing = () => {
    throw new Error('handler');
  };
  assert.throws(() => ring.drain(failing, never), 'handler');
  assert.equal(read(ring, 4).samples, [payload(4, 2)]);
});

test('a handler may call drain: each sample comes once and in order', () => {
  const fake = new FakeRing(PAGE, BigInt(PAGE - 24));
  for (const seed of [1, 2, 3]) fake.sample(payload(4, seed));
  const ring = new PerfRing(fake.mapping, 0);
  const seen: number[] = [];
  const onSample = (view: DataView, offset: number): void => {
    seen.push(view.getUint8(offset));
    ring.drain(onSample, never);
  };
  ring.drain(onSample, never);
  assert.equal(seen, [31, 62, 93]);
  assert.is(fake.tail, fake.head);
});

test('a handler may call release: the mapping is not accessed afterwards', () => {
  const fake = new FakeRing(PAGE);
  for (const seed of [1, 2]) fake.sample(payload(4, seed));
  const ring = new PerfRing(fake.mapping, 0);
  assert.is(
    ring.drain(() => ring.release(), never),
    1,
  );
  assert.is(fake.tail, 0n);
  assert.is(read(ring, 4).records, 0);
});

test('a mapping that is not a ring is refused', () => {
  const fake = new FakeRing(PAGE);
  new BigUint64Array(fake.mapping)[131] = 4000n;
  assert.throws(() => new PerfRing(fake.mapping, 0), /not a perf ring/);
});

test('a record has a header, a size, and padding to 8 bytes', () => {
  // Measured: the kernel reports 5 bytes as 12.
  assert.is(recordSize(5), 8 + 4 + 12);
  assert.is(recordSize(12), 24);
  assert.is(recordSize(64), 80);
});

test('a sample fits if a lost record fits beside it', () => {
  const most = PAGE - 24 - 8 - 12;
  assert.is(fitsRing(most, PAGE), true);
  assert.is(fitsRing(most + 1, PAGE), false);
  assert.is(fitsRing(65_516, 2 ** 20), true);
  assert.is(fitsRing(65_517, 2 ** 20), false, 'the size of a record has 16 bits');
});

test.run();
