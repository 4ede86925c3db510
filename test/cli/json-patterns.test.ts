/** The pattern for times, compared with JavaScript's calendar. */
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { TIME } from '../../src/cli/json.ts';
import { formatTime } from '../../src/cli/record/wall-clock.ts';
import { suite } from '../harness.ts';

const test = suite('cli/json-patterns');

const pattern = new RegExp(TIME, 'u');
const two = (number: number) => String(number).padStart(2, '0');

test('the pattern accepts exactly the days of the calendar', () => {
  for (let year = 1896; year <= 2104; year++)
    for (let month = 0; month <= 13; month++)
      for (let day = 0; day <= 32; day++) {
        const text = `${year}-${two(month)}-${two(day)}`;
        const exists = new Date(Date.UTC(year, month - 1, day)).toISOString().startsWith(text);
        assert.is(pattern.test(`${text}T00:00:00.000000Z`), exists, text);
      }
});

test('the pattern accepts every time that the tracer writes', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }), (ns) => {
      assert.match(formatTime(ns), pattern);
    }),
  );
});

for (const text of [
  '2026-99-99T15:39:56.123456Z',
  '2026-11-25T24:00:00.000000Z',
  '2026-11-25T25:61:61.000000Z',
  '2026-11-25T23:59:60.000000Z',
  '2026-11-25T23:59:59.123Z',
  '2026-11-25T23:59:59.123456',
  '2026-11-25 23:59:59.123456Z',
  '\u0662026-11-25T23:59:59.123456Z',
  '2026-11-25T23:59:59.123456Z\n',
])
  test(`${JSON.stringify(text)} is not a time`, () => {
    assert.not(pattern.test(text));
  });

test.run();
