/** Time slots: bounded, aligned with the clock, and exact after any number of merges. */
import * as fc from 'fast-check';
import * as assert from 'uvu/assert';
import { MAX_SLOTS, TimeSlot, TimeSlots } from '../../../src/cli/report/time-slots.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/report/time-slots');

const BEGIN = Date.UTC(2026, 10, 29, 12, 34, 56, 789);

/** A connect: when it ended, in ms after `BEGIN`, and its latency in ns. */
type Connect = readonly [afterMs: number, latencyNs: number];

function slotsOf(connects: readonly Connect[]): TimeSlots {
  const slots = new TimeSlots();
  for (const [afterMs, latencyNs] of connects) {
    const slot = slots.at(BEGIN + afterMs);
    slot.answered.record(latencyNs);
    slot.results.set('established', (slot.results.get('established') ?? 0) + 1);
    slot.retransmits += latencyNs % 3;
  }
  return slots;
}

/** What is in a slot. */
function content({ answered, results, retransmits }: TimeSlot) {
  const { count, sumNs, minNs, maxNs, slots } = answered;
  return { count, sumNs, minNs, maxNs, slots: [...slots], results: [...results], retransmits };
}

test('merged slots have what a single pass with the final width counts', () => {
  // Up to a year, mostly close together; also before the first connect.
  const connect = fc.tuple(
    fc.oneof(fc.integer({ min: -5000, max: 60_000 }), fc.integer({ min: -1e7, max: 3e10 })),
    fc.integer({ min: 0, max: 4_000_000_000 }),
  );
  fc.assert(
    fc.property(fc.array(connect, { minLength: 1, maxLength: 200 }), (connects) => {
      const slots = slotsOf(connects);
      const found = slots.slots();
      const { widthMs, startMs } = slots;
      assert.ok(found.length <= MAX_SLOTS, `${found.length} slots`);
      assert.is(startMs % widthMs, 0);
      const expected = new Map<number, Connect[]>();
      for (const each of connects) {
        const number = Math.floor((BEGIN + each[0] - startMs) / widthMs);
        expected.set(number, [...(expected.get(number) ?? []), each]);
      }
      assert.ok(
        expected.has(0) && expected.has(found.length - 1),
        'the first and the last slot have connects',
      );
      for (const [number, slot] of found.entries()) {
        const own = expected.get(number);
        assert.is(slot !== undefined, own !== undefined);
        if (!slot || !own) continue;
        const single = new TimeSlot();
        for (const [, latencyNs] of own) {
          single.answered.record(latencyNs);
          single.retransmits += latencyNs % 3;
        }
        single.results.set('established', own.length);
        assert.equal(content(slot), content(single));
      }
    }),
  );
});

test('slots become no wider than necessary', () => {
  const slots = slotsOf([
    [0, 1],
    [100 * (MAX_SLOTS - 1), 1],
  ]);
  assert.is(slots.widthMs, 100);
  slots.at(BEGIN + 100 * MAX_SLOTS);
  assert.is(slots.widthMs, 200);
});

test('a range of the largest times fits', () => {
  const slots = new TimeSlots();
  for (const time of [-8.64e15, 8.64e15]) slots.include(time);
  assert.ok(slots.slots().length <= MAX_SLOTS);
});

test('slots with few connects merge until enough are left', () => {
  const connects = Array.from({ length: 300 }, (_, i): Connect => [i * 100, 1000]);
  const few = slotsOf(connects);
  few.coarsen(100, 30, connects.length);
  assert.is(few.widthMs, 1000);
  const many = slotsOf(connects);
  many.coarsen(100, 1, connects.length);
  assert.is(many.widthMs, 100);
});

test.run();
