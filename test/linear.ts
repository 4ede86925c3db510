/** Work that takes time in proportion to its input. */
import * as assert from 'uvu/assert';

/** The most that eight times the input may cost, in times: 64 would be quadratic. */
const MOST = 28;

/**
 * Fails if `large`, with eight times the input of `small`, takes much more than eight times the processor time. It
 * compares the best of several runs of each. The input should be so large that `small` takes some milliseconds.
 */
export function assertLinear(small: () => unknown, large: () => unknown): void {
  small(); // compiled by now
  const [base, grown] = [best(small, 6), best(large, 3)];
  const ratio = grown / Math.max(base, 2);
  assert.ok(ratio < MOST, `${base.toFixed(1)} ms, and ${grown.toFixed(1)} ms for eight times the input`);
}

/** The processor time of the fastest run in ms, which other processes do not prolong. */
function best(work: () => unknown, runs: number): number {
  let least = Number.POSITIVE_INFINITY;
  for (let run = 0; run < runs; run++) {
    const begin = process.cpuUsage();
    work();
    const { user, system } = process.cpuUsage(begin);
    least = Math.min(least, (user + system) / 1000);
  }
  return least;
}
