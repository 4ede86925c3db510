/** The slowest connects of an interval, with a model of the programs that send them. */
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { KEPT, SlowestConnects } from '../../../src/cli/aggregate/slowest.ts';
import type { Sample } from '../../../src/cli/aggregate/snapshot.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/aggregate/slowest');

/** Programs that send a connect at or above the threshold, until the limit. */
class Programs {
  readonly settings = { thresholdNs: 0, limit: 0, sent: 0 };
  readonly slowest = new SlowestConnects((settings) => Object.assign(this.settings, settings));
  sent = 0;

  connect(ns: number): void {
    const { settings } = this;
    if (ns < settings.thresholdNs || settings.sent >= settings.limit) return;
    settings.sent += 1;
    this.sent += 1;
    this.slowest.add({ lat_ms: ns / 1e6 } as Sample);
  }

  take(): number[] {
    return this.slowest.take().map(({ lat_ms }) => Math.round(lat_ms * 1e6));
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
    if (i % 50_000 === 0) programs.slowest.tick();
  }
  assert.ok(programs.sent < 1000, String(programs.sent));
  assert.equal(programs.take(), descending(latencies).slice(0, KEPT));
});

test('in a second, connects that become slower and slower are limited', () => {
  const programs = new Programs();
  for (let ns = 1; ns <= 100_000; ns++) programs.connect(ns);
  assert.ok(programs.sent <= 500, String(programs.sent));
  const before = programs.sent;
  programs.slowest.tick();
  programs.connect(200_000);
  assert.is(programs.sent, before + 1);
});

test('after an interval with slow connects, a quick one is shown again', () => {
  const programs = new Programs();
  for (let i = 0; i < KEPT; i++) programs.connect(1e9);
  assert.is(programs.take().length, KEPT);
  programs.connect(1000);
  assert.equal(programs.take(), [], 'it is below the threshold');
  for (let seconds = 0; seconds < 12; seconds++) programs.slowest.tick();
  programs.connect(1000);
  assert.equal(programs.take(), [1000]);
});

test.run();
