/**
 * Wake-ups that adapt to the rate of events: one for each event while events are rare, and one for many
 * while a CPU sends many. A timer then reads the rings in between. It runs only as long as a ring has such
 * wake-ups.
 */
import type { Closeable } from '../resources.ts';
import { uptime } from '../uptime.ts';
import type { CpuRing } from './cpu-ring.ts';

/** The longest time that a sample waits for the timer. */
const FLUSH_MS = 15;

/** Adapts the wake-ups of rings. */
export class AdaptiveWakeups implements Closeable {
  readonly #flush: () => void;
  #timer: NodeJS.Timeout | undefined;
  #isBusy = false;

  /** `flush` reads the rings, and then calls `adapt`. */
  constructor(flush: () => void) {
    this.#flush = flush;
  }

  /** Switches the wake-ups of the rings whose rates have changed. Call it after reading. */
  adapt(rings: readonly CpuRing[]): void {
    const now = uptime();
    this.#isBusy = false;
    for (const ring of rings) {
      ring.batchWakeups(ring.pace.isBusy(ring.records.read, now));
      this.#isBusy ||= ring.hasBatchedWakeups;
    }
    if (!this.#isBusy || this.#timer) return;
    this.#timer = setInterval(() => {
      // A program that runs during the switch can still send without a wake-up, so the timer reads once more.
      const wasBusy = this.#isBusy;
      this.#flush();
      if (!wasBusy && !this.#isBusy) this.close();
    }, FLUSH_MS);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
