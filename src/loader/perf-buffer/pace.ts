/**
 * Whether a ring is busy. The thresholds follow from the cost of a wake-up, about 8 us for the traced
 * process: 2,000 of them per second are 1.6 % of a CPU.
 */

/** This many samples of a CPU at this rate end the wake-ups at each sample. */
const BURST = 32;
const BUSY_PER_MS = 2;
/** The wake-ups at each sample return when the rate has been below this one for this long. */
const QUIET_PER_MS = 0.5;
const QUIET_MS = 100;

/** The rate of one ring. */
export class Pace {
  #isBusy = false;
  /** The beginning of the current interval, and the records read until then. */
  #since = Number.NEGATIVE_INFINITY;
  #before = 0;

  /** Whether the ring is busy, after `records` in total at the time `now` in ms. */
  isBusy(records: number, now: number): boolean {
    const [count, elapsed] = [records - this.#before, now - this.#since];
    const [most, least] = [BURST / BUSY_PER_MS, QUIET_PER_MS * elapsed];
    if (this.#isBusy ? elapsed < QUIET_MS : elapsed <= most && count < BURST) return this.#isBusy;
    this.#isBusy = this.#isBusy ? count >= least : elapsed <= most || count >= BUSY_PER_MS * elapsed;
    this.#since = now;
    this.#before = records;
    return this.#isBusy;
  }
}
