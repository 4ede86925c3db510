/** The slow and failed connects of an interval, with a model of the programs that send them. */
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { KEPT, Samples } from '../../../src/cli/aggregate/samples.ts';
import type { Sample } from '../../../src/cli/aggregate/snapshot.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/aggregate/samples');

/**
 * Programs that send a connect at or above the threshold, until the limit, and the first failed one of a key
 * and result, until another limit.
 */
class Programs {
  readonly settings = { thresholdNs: 0, limit: 0, sent: 0, failedLimit: 0, failedSent: 0 };
  readonly samples = new Samples((settings) => Object.assign(this.settings, settings));
  sent = 0;
  #keys = new Set<string>();

  connect(ns: number, key = 'a', result = 'established'): void {
    const { settings } = this;
    const record = { lat_ms: ns / 1e6, result, key: { dest: key } } as unknown as Sample;
    const id = `${key} ${result}`;
    const isFirst = !this.#keys.has(id);
    this.#keys.add(id);
    if (isFirst && result !== 'established' && settings.failedSent < settings.failedLimit) {
      settings.failedSent += 1;
      this.samples.add(record);
      return;
    }
    if (ns < settings.thresholdNs || settings.sent >= settings.limit) return;
    settings.sent += 1;
    this.sent += 1;
    this.samples.add(record);
  }

  take(): number[] {
    return this.interval().slowest.map(({ lat_ms }) => Math.round(lat_ms * 1e6));
  }

  /** Ends an interval. */
  interval() {
    this.#keys.clear();
    return this.samples.take();
  }
}

const descending = (values: readonly number[]) => [...values].sort((a, b) => b - a);

test('in any order, they are the slowest ones, slowest first', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 1e9 }), { maxLength: 300 }), (latencies) => {
      const programs = new Programs();
      for (const ns of latencies) programs.connect(ns);
      assert.equal(programs.take(), descending(latencies).slice(0, KEPT));
    }),
  );
});

test('of a million connects few are sent', () => {
  const programs = new Programs();
  let seed = 1;
  const latencies = Array.from({ length: 1_000_000 }, () => {
    seed = (seed * 48_271) % 0x7fff_ffff;
    return seed;
  });
  for (const [i, ns] of latencies.entries()) {
    programs.connect(ns);
    if (i % 50_000 === 0) programs.samples.tick();
  }
  assert.ok(programs.sent < 1000, String(programs.sent));
  assert.equal(programs.take(), descending(latencies).slice(0, KEPT));
});

test('in a second, connects that become slower and slower are limited', () => {
  const programs = new Programs();
  for (let ns = 1; ns <= 100_000; ns++) programs.connect(ns);
  assert.ok(programs.sent <= 500, String(programs.sent));
  const before = programs.sent;
  programs.samples.tick();
  programs.connect(200_000);
  assert.is(programs.sent, before + 1);
});

test('after an interval with slow connects, a quick one is shown again', () => {
  const programs = new Programs();
  for (let i = 0; i < KEPT; i++) programs.connect(1e9);
  assert.is(programs.take().length, KEPT);
  programs.connect(1000);
  assert.equal(programs.take(), [], 'it is below the threshold');
  for (let seconds = 0; seconds < 12; seconds++) programs.samples.tick();
  programs.connect(1000);
  assert.equal(programs.take(), [1000]);
});

test('a fast failure is an example of its key and result, and not one of the slowest connects', () => {
  const programs = new Programs();
  const slow = () => {
    for (let i = 0; i < KEPT; i++) programs.connect(1e9);
  };
  for (let interval = 0; interval < 3; interval++) {
    slow();
    for (const key of ['a', 'b', 'a', 'b']) {
      programs.connect(1000, key, 'refused');
      programs.connect(2000, key, 'ETIMEDOUT');
    }
    const { slowest, failed } = programs.interval();
    assert.equal(
      slowest.map(({ lat_ms }) => lat_ms),
      new Array(KEPT).fill(1000),
    );
    const examples = failed.map(({ key, result, lat_ms }) => `${key.dest} ${result} ${lat_ms}`);
    assert.equal(examples.sort(), [
      'a ETIMEDOUT 0.002',
      'a refused 0.001',
      'b ETIMEDOUT 0.002',
      'b refused 0.001',
    ]);
  }
});

test('a slow failure is both', () => {
  const programs = new Programs();
  programs.connect(5e6, 'a', 'refused');
  const { slowest, failed } = programs.interval();
  assert.equal([slowest.length, failed.length], [1, 1]);
});

test('examples of failures are limited', () => {
  const programs = new Programs();
  for (let i = 0; i < KEPT; i++) programs.connect(1e9);
  for (let key = 0; key < 10_000; key++) programs.connect(1000, String(key), 'refused');
  const { failed } = programs.interval();
  assert.ok(failed.length >= 32 && failed.length <= 64, String(failed.length));
});

test.run();
