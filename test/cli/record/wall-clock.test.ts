import * as assert from 'uvu/assert';
import { formatTime, wallClock } from '../../../src/cli/record/wall-clock.ts';
import { nativeSyscalls } from '../../../src/loader/koffi.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/record/wall-clock');

/**
 * Scripted clocks, read in turn: monotonic, time of day, monotonic.
 */
function clocks(...readings: readonly [bigint, bigint, bigint][]) {
  const all = readings.flat();
  const asked: number[] = [];
  return {
    asked,
    clock(clock: number): bigint {
      asked.push(clock);
      const reading = all.shift();
      if (reading === undefined) throw new Error('asked once more');
      return reading;
    },
  };
}

test('the time of day is the time of the event, not of the reading', () => {
  const day = 1_764_085_196_123_456_789n;
  const time = wallClock(clocks([1_000_000n, day + 1_000_000n, 1_000_100n]));
  assert.is(time(0n), formatTime(day - 50n));
});

test('if readings are too far apart, they are repeated, and the closest are used', () => {
  const { asked, clock } = clocks(
    [0n, 900_000n, 1_000_000n],
    [2_000_000n, 12_010_000n, 2_020_000n],
    [3_000_000n, 13_500_000n, 3_900_000n],
  );
  assert.is(wallClock({ clock })(1_000_000n), formatTime(11_000_000n));
  assert.equal(asked, [1, 0, 1, 1, 0, 1, 1, 0, 1]);
});

test('a change of the clock applies from the next event on', () => {
  const hour = 3_600_000_000_000n;
  const time = wallClock(clocks([0n, hour, 0n], [0n, 2n * hour, 0n]));
  assert.is(time(0n), '1970-01-01T01:00:00.000000Z');
  assert.is(time(0n), '1970-01-01T02:00:00.000000Z');
});

const times: [bigint, string][] = [
  [0n, '1970-01-01T00:00:00.000000Z'],
  [999n, '1970-01-01T00:00:00.000000Z'],
  [1_000n, '1970-01-01T00:00:00.000001Z'],
  [1_764_085_196_123_456_789n, '2025-11-25T15:39:56.123456Z'],
  [1_764_085_196_000_000_000n, '2025-11-25T15:39:56.000000Z'],
  [1_764_085_196_000_999_999n, '2025-11-25T15:39:56.000999Z'],
  [951_782_400_000_000_000n, '2000-02-29T00:00:00.000000Z'],
  [4_102_444_799_999_999_999n, '2099-12-31T23:59:59.999999Z'],
];
for (const [ns, text] of times)
  test(`${ns} ns are ${text}`, () => {
    assert.is(formatTime(ns), text);
    assert.is(new Date(text).getTime(), Number(ns / 1_000_000n));
  });

test('with the real clocks it is the current time', () => {
  const syscalls = nativeSyscalls();
  const before = Date.now();
  const text = wallClock(syscalls)(process.hrtime.bigint());
  const after = Date.now();
  const us = Number(text.slice(20, 26)) % 1000;
  const at = new Date(text).getTime() + us / 1000;
  assert.ok(at >= before - 1 && at <= after + 1, `${before} ${text} ${after}`);
});

test.run();
