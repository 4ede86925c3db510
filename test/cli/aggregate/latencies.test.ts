/** Histograms of latencies: exact boundaries, merges and the error of percentiles. */
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { Latencies } from '../../../src/cli/aggregate/latencies.ts';
import {
  FIRST_BUCKET,
  OVERFLOW_SLOT,
  SLOT_COUNT,
  slotOf,
  UNDERFLOW_SLOT,
  upperBoundNs,
} from '../../../src/programs/latency-buckets.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/aggregate/latencies');

/** Whether n ns > 2^(i/8) s, in integers: (n / 1e9)^8 > 2^i. */
function isAbove(ns: bigint, i: number): boolean {
  const [left, right] = [ns ** 8n, 1_000_000_000n ** 8n];
  return i >= 0 ? left > right << BigInt(i) : left << BigInt(-i) > right;
}

test('a latency lies between the boundaries of its slot', () => {
  const check = (ns: number) => {
    const slot = slotOf(ns);
    if (slot > UNDERFLOW_SLOT) assert.ok(isAbove(BigInt(ns), FIRST_BUCKET + slot - 1), `${ns} ${slot}`);
    if (slot < OVERFLOW_SLOT) assert.not(isAbove(BigInt(ns), FIRST_BUCKET + slot), `${ns} ${slot}`);
  };
  for (let slot = UNDERFLOW_SLOT; slot < OVERFLOW_SLOT; slot++) {
    const bound = Math.floor(upperBoundNs(slot));
    for (const ns of [bound - 1, bound, bound + 1]) check(ns);
  }
  fc.assert(fc.property(fc.integer({ min: 0, max: 300e9 }), check));
});

const latency = fc.oneof(fc.integer({ min: 0, max: 3e6 }), fc.integer({ min: 0, max: 200e9 }));

function latenciesOf(values: readonly number[]): Latencies {
  const latencies = new Latencies();
  for (const value of values) latencies.record(value);
  return latencies;
}

test('a merge equals the histogram of all latencies', () => {
  fc.assert(
    fc.property(fc.array(latency), fc.array(latency), (left, right) => {
      const merged = latenciesOf(left);
      merged.add(latenciesOf(right));
      assert.equal(merged, latenciesOf([...left, ...right]));
    }),
  );
});

test('a percentile is wrong by less than 4.5 %', () => {
  const inRange = fc.integer({ min: 1000, max: 120e9 });
  fc.assert(
    fc.property(
      fc.array(inRange, { minLength: 1 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (values, q) => {
        const sorted = [...values].sort((a, b) => a - b);
        const exact = sorted[Math.max(1, Math.ceil(q * values.length)) - 1] as number;
        const estimate = latenciesOf(values).quantileNs(q) as number;
        assert.ok(Math.abs(estimate / exact - 1) < 0.045, `${estimate} for ${exact}`);
      },
    ),
  );
});

test('without latencies there is no percentile', () => {
  assert.is(new Latencies().quantileNs(0.5), undefined);
  assert.is(new Latencies().slots.length, SLOT_COUNT);
});

test.run();
