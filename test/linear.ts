/** Asserts linear time. */
import * as assert from 'uvu/assert';

/** The maximum ratio of times for eight times the input; 64 would be quadratic. */
const MAX_RATIO = 28;

/**
 * Asserts that `large`, with eight times the input of `small`, takes at most a bit more than eight times its
 * CPU time. Compares the fastest of several runs of each. `small` should take some milliseconds.
 */
export function assertLinear(small: () => unknown, large: () => unknown): void {
  small(); // warms up the compiler
  const [base, grown] = [best(small, 6), best(large, 3)];
  const ratio = grown / Math.max(base, 2);
  assert.ok(ratio < MAX_RATIO, `${base.toFixed(1)} ms, and ${grown.toFixed(1)} ms for eight times the input`);
}

/** The CPU time of the fastest run in ms, which does not include other processes. */
function best(work: () => unknown, runs: number): number {
  let minimum = Number.POSITIVE_INFINITY;
  for (let run = 0; run < runs; run++) {
    const begin = process.cpuUsage();
    work();
    const { user, system } = process.cpuUsage(begin);
    minimum = Math.min(minimum, (user + system) / 1000);
  }
  return minimum;
}
