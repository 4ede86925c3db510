/**
 * The order of events of several rings by their times.
 *
 * Times are u64 in ns of CLOCK_MONOTONIC, which pass 2^53 after 104 days of uptime. They are compared as
 * numbers relative to a recent time, exact for differences up to 104 days.
 */
export class TimeOrder {
  /**
   * The halves of the time that others are relative to. -0, because V8 does not keep it as a small integer: a
   * field that once holds only such and then 2^31 or more invalidates all compiled code that reads the rings.
   */
  #high = 0;
  #low = -0;
  /** The largest time that was delivered. */
  #latest = Number.NEGATIVE_INFINITY;
  /** The largest time that the last look at the rings has found. */
  #newest = Number.NEGATIVE_INFINITY;
  #outOfOrder = 0;

  /** The number of samples delivered after one with a later time. */
  get outOfOrder(): number {
    return this.#outOfOrder;
  }

  /**
   * Begins a look at the rings at the time `now`. Returns the largest time to deliver after it. Samples with
   * later times stay in the rings until the next look: while the rings are looked at one after the other, an
   * earlier sample may be written to one of them behind the look. Times of another clock may all be later,
   * so samples that the last look has found are always delivered.
   */
  begin(now: bigint): number {
    const [high, low] = [Number(now >> 32n), Number(now & 0xffff_ffffn)];
    const passed = (high - this.#high) * 2 ** 32 + (low - this.#low);
    [this.#high, this.#low] = [high, low];
    this.#latest -= passed;
    const until = Math.max(0, this.#newest - passed);
    this.#newest = Number.NEGATIVE_INFINITY;
    return until;
  }

  /** Returns a time, in halves, relative to the last `begin`. */
  relative(low: number, high: number): number {
    return (high - this.#high) * 2 ** 32 + (low - this.#low);
  }

  /** A look has found samples, `time` the latest of a ring. */
  found(time: number): void {
    if (time > this.#newest) this.#newest = time;
  }

  /** A sample is delivered. */
  deliver(time: number): void {
    if (time < this.#latest) this.#outOfOrder++;
    else this.#latest = time;
  }
}
