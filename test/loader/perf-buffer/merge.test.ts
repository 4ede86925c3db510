import * as assert from 'uvu/assert';
import { Merge } from '../../../src/loader/perf-buffer/merge.ts';
import { PerfRing, sampleLayout } from '../../../src/loader/perf-buffer/perf-ring.ts';
import { TimeOrder } from '../../../src/loader/perf-buffer/time-order.ts';
import { suite } from '../../harness.ts';
import { FakeRing } from '../fake.ts';

const test = suite('loader/perf-buffer/merge');

const PAGE = 4096;
/** Past 2^53, where plain numbers have no odd values. */
const START = 2n ** 60n;

interface Rings {
  readonly fakes: readonly FakeRing[];
  readonly rings: readonly PerfRing[];
  readonly order: TimeOrder;
  readonly merge: Merge;
  /** What was delivered: times after `START`, and negative numbers of lost samples. */
  readonly seen: number[];
  look(now?: number): void;
  drain(limit?: number): number;
}

/** Rings whose samples are their time, at offset `timestamp`, or a time of the kernel without one. */
function open(count: number, timestamp: number | undefined = 0, start = 0n): Rings {
  const order = new TimeOrder();
  const fakes = Array.from({ length: count }, () => new FakeRing(PAGE, start, timestamp === undefined));
  const rings = fakes.map(({ mapping }, cpu) => new PerfRing(mapping, cpu, sampleLayout(timestamp), order));
  const merge = new Merge(order);
  const seen: number[] = [];
  return {
    ...{ fakes, rings, order, merge, seen },
    look: (now) => merge.look(rings, now === undefined ? undefined : START + BigInt(now)),
    drain: (limit) =>
      merge.drain(
        (view, offset) => seen.push(Number(view.getBigUint64(offset + (timestamp ?? 0), true) - START)),
        (lost) => seen.push(-lost),
        limit,
      ),
  };
}

/** Writes samples of these times. */
function write({ fakes }: Rings, cpu: number, ...times: number[]): void {
  for (const time of times) {
    const payload = new Uint8Array(12);
    new DataView(payload.buffer).setBigUint64(0, START + BigInt(time), true);
    fakes[cpu]?.sample(payload, START + BigInt(time));
  }
}

for (const [what, timestamp] of [
  ['a field', 0],
  ['the time that the kernel adds', undefined],
] as const)
  test(`samples of all rings come in the order of ${what}`, () => {
    const rings = open(3, timestamp);
    write(rings, 0, 1, 4, 9);
    write(rings, 1, 2, 3, 8);
    write(rings, 2, 5);
    rings.look(100);
    assert.is(rings.drain(), 7);
    assert.equal(rings.seen, [1, 2, 3, 4, 5, 8, 9]);
    assert.is(rings.order.outOfOrder, 0);
    for (const { tail, head } of rings.fakes) assert.is(tail, head);
  });

test('samples of one ring are sorted, and samples of the same time keep the order of the ring', () => {
  const rings = open(2, 0);
  const tagged = (time: number, tag: number) => {
    const payload = new Uint8Array(12);
    new DataView(payload.buffer).setBigUint64(0, START + BigInt(time), true);
    payload[8] = tag;
    return payload;
  };
  for (const [time, tag] of [
    [5, 1],
    [7, 2],
    [5, 3],
    [3, 4],
    [7, 5],
  ] as const)
    rings.fakes[1]?.sample(tagged(time, tag));
  rings.fakes[0]?.sample(tagged(5, 9));
  rings.look(100);
  const tags: number[] = [];
  rings.merge.drain(
    (view, offset) => tags.push(view.getUint8(offset + 8)),
    () => {},
  );
  assert.equal(tags, [4, 1, 3, 9, 2, 5]);
  assert.is(rings.order.outOfOrder, 0);
});

test('samples written after the look, and samples later than its time, wait for the next one', () => {
  const rings = open(2);
  write(rings, 1, 12);
  rings.look(10);
  write(rings, 0, 11);
  assert.is(rings.drain(), 0);
  assert.is(rings.merge.holdsBack, true);
  rings.look(20);
  rings.drain();
  assert.equal(rings.seen, [11, 12]);
  assert.is(rings.order.outOfOrder, 0);
});

test('times of a later clock delay a sample by one look', () => {
  const rings = open(2);
  write(rings, 0, 5000, 5002);
  write(rings, 1, 5001);
  rings.look(10);
  write(rings, 1, 5003);
  assert.is(rings.drain(), 0);
  rings.look(11);
  rings.drain();
  assert.equal(rings.seen, [5000, 5001, 5002]);
  rings.look(12);
  rings.drain();
  assert.equal(rings.seen, [5000, 5001, 5002, 5003]);
});

test('a look without a time delivers everything', () => {
  const rings = open(2);
  write(rings, 0, 500);
  write(rings, 1, 400);
  rings.look(10);
  rings.look();
  rings.drain();
  assert.equal(rings.seen, [400, 500]);
});

test('a late sample is delivered and counted', () => {
  const rings = open(2);
  write(rings, 0, 5, 6);
  rings.look(10);
  rings.drain();
  write(rings, 1, 4, 6, 11);
  rings.look(20);
  rings.drain();
  assert.equal(rings.seen, [5, 6, 4, 6, 11]);
  assert.is(rings.order.outOfOrder, 1);
});

test('stragglers that are delivered come once, also if the records before them are held back', () => {
  const rings = open(2);
  write(rings, 0, 1, 50, 2, 60, 3);
  write(rings, 1, 4);
  rings.look(10);
  rings.drain();
  assert.equal(rings.seen, [1, 2, 3, 4]);
  write(rings, 0, 55);
  rings.look(100);
  rings.drain();
  assert.equal(rings.seen, [1, 2, 3, 4, 50, 55, 60]);
  assert.is(rings.order.outOfOrder, 0);
  assert.is(rings.fakes[0]?.tail, rings.fakes[0]?.head);
});

test('with a limit the order holds, and the space of what was read is free', () => {
  const rings = open(2);
  write(rings, 0, 1, 6, 3, 7);
  write(rings, 1, 2, 4, 5, 8);
  rings.look(100);
  for (let left = 8; left > 0; left -= 2) {
    assert.is(rings.merge.isDue, true);
    assert.is(rings.drain(2), 2);
    assert.ok((rings.fakes[1]?.tail ?? 0n) > 0n || left > 6);
  }
  assert.is(rings.merge.isDue, false);
  assert.equal(rings.seen, [1, 2, 3, 4, 5, 6, 7, 8]);
});

test('a loss keeps its place before the sample that follows it', () => {
  const rings = open(2);
  rings.fakes[0]?.lost(3);
  write(rings, 0, 5);
  rings.fakes[0]?.lost(4);
  write(rings, 0, 9);
  write(rings, 1, 6);
  rings.look(100);
  rings.drain();
  assert.equal(rings.seen, [-3, 5, -4, 6, 9]);
  assert.is(rings.rings[0]?.lost, 7);
  assert.is(rings.order.outOfOrder, 0);
});

test('a sample that ends before its time keeps its place', () => {
  const rings = open(2, 16);
  const sizes: number[] = [];
  const long = new Uint8Array(28);
  new DataView(long.buffer).setBigUint64(16, START + 5n, true);
  rings.fakes[0]?.sample(long);
  rings.fakes[0]?.sample(new Uint8Array(4));
  rings.look(100);
  rings.merge.drain(
    (_view, _offset, size) => sizes.push(size),
    () => {},
  );
  assert.equal(sizes, [28, 4]);
});

test('a handler may look and drain: each sample comes once and in order', () => {
  const rings = open(3);
  write(rings, 0, 1, 5, 4);
  write(rings, 1, 2, 6);
  write(rings, 2, 3);
  let nested = false;
  const onSample = (view: DataView, offset: number): void => {
    rings.seen.push(Number(view.getBigUint64(offset, true) - START));
    if (nested) return;
    nested = true;
    write(rings, 2, 7);
    rings.merge.drain(onSample, () => {});
    rings.look(100);
    rings.merge.drain(onSample, () => {});
  };
  rings.look(50);
  rings.merge.drain(onSample, () => {});
  assert.equal(rings.seen, [1, 2, 3, 4, 5, 6, 7]);
  for (const { tail, head } of rings.fakes) assert.is(tail, head);
});

/** A small generator of reproducible numbers. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
}

// An independent model: all that is written is a list, which a stable sort puts in order.
for (let seed = 1; seed <= 40; seed++)
  test(`random rings, looks and limits deliver every sample once, in order except for late ones (${seed})`, () => {
    const next = numbers(seed);
    const count = 1 + next(seed % 4 === 0 ? 40 : 4);
    const rings = open(count, next(2) === 0 ? 0 : undefined, BigInt(PAGE - 8 * next(400)));
    const written: number[] = [];
    let now = 1000;
    for (let round = 0; round < 60; round++) {
      for (let writes = next(20); writes > 0; writes--) {
        now += next(5);
        const cpu = next(count);
        // Nested programs, and now and then a sample that is later or much earlier than the rest.
        const time = next(6) === 0 ? now - next(20) : next(40) === 0 ? now + next(30) : now;
        const { head = 0n, tail = 0n } = rings.fakes[cpu] ?? {};
        if (Number(head - tail) > PAGE - 64) continue;
        write(rings, cpu, time);
        written.push(time);
      }
      if (!rings.merge.isDue) rings.look(now);
      rings.drain(next(3) === 0 ? undefined : 1 + next(8));
    }
    rings.drain();
    rings.look();
    rings.drain();
    let latest = Number.NEGATIVE_INFINITY;
    let late = 0;
    for (const time of rings.seen) {
      if (time < latest) late++;
      latest = Math.max(latest, time);
    }
    assert.is(rings.order.outOfOrder, late);
    assert.equal(
      [...rings.seen].sort((a, b) => a - b),
      written.sort((a, b) => a - b),
    );
    for (const { tail, head } of rings.fakes) assert.is(tail, head);
  });

test('without late samples, random rings deliver in the order of a sorted list', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const next = numbers(seed);
    const rings = open(1 + next(9));
    const written: number[] = [];
    for (let writes = 0; writes < 300; writes++) {
      const time = next(1000);
      const cpu = next(rings.fakes.length);
      const { head = 0n } = rings.fakes[cpu] ?? {};
      if (Number(head) > PAGE - 64) continue;
      write(rings, cpu, time);
      written.push(time);
    }
    rings.look(1000);
    while (rings.drain(1 + next(30)) > 0);
    assert.equal(
      rings.seen,
      written.sort((a, b) => a - b),
    );
  }
});

test.run();
