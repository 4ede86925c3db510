import * as assert from 'uvu/assert';
import { Pace } from '../../../src/loader/perf-buffer/pace.ts';
import { suite } from '../../harness.ts';

const test = suite('loader/perf-buffer/pace');

/** Sends `perMs` samples per ms for `ms` ms, read every `every` ms, and returns when the pace was busy. */
function run(pace: Pace, from: number, ms: number, perMs: number, every: number, before = 0) {
  const busy: boolean[] = [];
  let records = before;
  for (let now = every; now <= ms; now += every) {
    records = before + Math.floor(now * perMs);
    busy.push(pace.isBusy(records, from + now));
  }
  return { busy, records };
}

test('a low rate is never busy, however it is read', () => {
  for (const [perMs, every] of [
    [0, 1000],
    [0.1, 10],
    [1, 1],
    [1.9, 0.5],
  ] as const)
    assert.equal(new Set(run(new Pace(), 5, 2000, perMs, every).busy), new Set([false]), `${perMs} per ms`);
});

test('a high rate is busy after 32 samples, and quiet 100 to 200 ms after it falls', () => {
  const pace = new Pace();
  const { busy, records } = run(pace, 0, 50, 10, 0.1);
  const first = busy.indexOf(true);
  assert.ok(first >= 30 && first <= 70, `at read ${first}`);
  assert.equal(new Set(busy.slice(first)), new Set([true]));
  const after = run(pace, 50, 1000, 0.1, 15, records).busy;
  const quiet = after.indexOf(false);
  assert.ok(quiet * 15 >= 60 && quiet * 15 <= 220, `after ${quiet * 15} ms`);
  assert.equal(new Set(after.slice(quiet)), new Set([false]));
});

test('a rate between the limits changes nothing', () => {
  assert.equal(new Set(run(new Pace(), 0, 1000, 1, 1).busy), new Set([false]));
  const pace = new Pace();
  const { records } = run(pace, 0, 50, 10, 1);
  assert.equal(new Set(run(pace, 50, 1000, 1, 15, records).busy), new Set([true]));
});

test('a slow reader that finds many samples at once sees their rate', () => {
  const pace = new Pace();
  pace.isBusy(0, 0);
  assert.is(pace.isBusy(100, 1000), false);
  assert.is(pace.isBusy(100 + 10_000, 2000), true);
});

test.run();
