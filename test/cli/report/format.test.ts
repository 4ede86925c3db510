/** Numbers and times of a report. */
import * as assert from 'uvu/assert';
import {
  clock,
  counted,
  dateTime,
  digits,
  durationText,
  endOfRange,
  latencyText,
  percent,
} from '../../../src/cli/report/format.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/report/format');

/** Text without the spaces that keep number and unit together. */
const plain = (text: string) => text.replaceAll('\u00a0', ' ');

for (const [ms, latency, cell] of [
  [0, '0 µs', '0'],
  [0.000_5, '0.5 µs', '0.0005'],
  [0.051_23, '51.2 µs', '0.0512'],
  [1, '1 ms', '1'],
  [3.071, '3.07 ms', '3.07'],
  [999, '999 ms', '999'],
  [1234, '1.23 s', '1,230'],
  [130_000, '130 s', '130,000'],
] as const)
  test(`${ms} ms is ${latency}, and ${cell} in a cell`, () => {
    assert.is(plain(latencyText(ms)), latency);
    assert.is(digits(ms), cell);
  });

for (const [share, text] of [
  [0, '0 %'],
  [0.000_05, '< 0.01 %'],
  [0.000_2, '0.02 %'],
  [0.123_4, '12.3 %'],
  [0.998, '99.8 %'],
  [0.999_95, '> 99.99 %'],
  [1, '100 %'],
] as const)
  test(`a share of ${share} is ${text}`, () => {
    assert.is(plain(percent(share)), text);
  });

for (const [ms, text] of [
  [0, '0 ms'],
  [200, '200 ms'],
  [1500, '1.5 s'],
  [60_000, '1 min'],
  [125_000, '2 min 5 s'],
  [3_600_000, '1 h'],
  [12_000_000, '3 h 20 min'],
  [349_200_000, '4 d 1 h'],
] as const)
  test(`a duration of ${ms} ms is ${text}`, () => {
    assert.is(durationText(ms), text);
  });

test('times are in UTC, with the digits that the precision needs', () => {
  const time = Date.UTC(2026, 10, 29, 23, 59, 58, 123);
  assert.is(dateTime(time), '2026-11-29 23:59:58');
  assert.equal(
    [1, 100, 1000, 60_000].map((precision) => clock(time, precision)),
    ['23:59:58.123', '23:59:58.1', '23:59:58', '23:59'],
  );
  assert.is(endOfRange(time, time + 1000), '23:59:59');
  assert.is(dateTime(Date.UTC(10_316, 0, 1)), '+010316-01-01 00:00:00');
  assert.is(endOfRange(time, time + 2000), '2026-11-30 00:00:00');
});

test('one thing has no plural', () => {
  assert.equal(
    [0, 1, 2000].map((count) => counted(count, 'connect')),
    ['0 connects', '1 connect', '2,000 connects'],
  );
});

test.run();
