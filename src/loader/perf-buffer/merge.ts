/** Merges the records of several rings by their times. */
import type { LostHandler, PerfRing, SampleHandler } from './perf-ring.ts';
import type { TimeOrder } from './time-order.ts';

/**
 * Reads the records of rings that share a `TimeOrder`.
 *
 * The rings are a binary heap by the time of their next records. The first ring delivers its records up to
 * the time of the second one. So a single busy ring costs no comparison of rings, and 256 rings cost eight.
 */
export class Merge {
  readonly #order: TimeOrder;
  /** The rings with records. Only the first one may be out of place. */
  #heap: PerfRing[] = [];
  /** The largest time to deliver. */
  #until = 0;

  constructor(order: TimeOrder) {
    this.#order = order;
  }

  /** Whether records are left to deliver before the next look. */
  get isDue(): boolean {
    return this.#first() <= this.#until;
  }

  /** Whether the rings hold records that only the next look delivers. */
  get holdsBack(): boolean {
    return this.#first() < Number.POSITIVE_INFINITY;
  }

  /**
   * Finds the records that the rings hold at the time `now`, of which some may be held back until the next
   * look. Without `now`, the rings are stopped, and all records are delivered.
   */
  look(rings: readonly PerfRing[], now?: bigint): void {
    const until = now === undefined ? Number.MAX_VALUE : this.#order.begin(now);
    for (const ring of rings) ring.look();
    this.#until = until;
    this.#heap = rings.filter(({ time }) => time < Number.POSITIVE_INFINITY);
    for (let place = this.#heap.length >> 1; place >= 0; place--) this.#sink(place);
  }

  /**
   * Delivers records that the last look has found, at most `limit`. Returns the number of records. A handler
   * may call `look` and `drain`. @throws {CorruptRingError} Call it again for the other records.
   */
  drain(onSample: SampleHandler, onLost: LostHandler, limit = Number.POSITIVE_INFINITY): number {
    let records = 0;
    try {
      while (records < limit && this.isDue) {
        const heap = this.#heap;
        const until = Math.min(this.#until, timeAt(heap, 1), timeAt(heap, 2));
        records += (heap[0] as PerfRing).drain(onSample, onLost, limit - records, until);
      }
    } finally {
      for (const ring of this.#heap) ring.free();
    }
    return records;
  }

  /** Restores the heap, and returns the time of its first record. */
  #first(): number {
    const heap = this.#heap;
    while (heap.length > 0 && timeAt(heap, 0) === Number.POSITIVE_INFINITY) {
      const last = heap.pop() as PerfRing;
      if (heap.length > 0) heap[0] = last;
    }
    this.#sink(0);
    return timeAt(heap, 0);
  }

  /** Moves a ring down to its place. */
  #sink(place: number): void {
    const heap = this.#heap;
    for (let at = place; ; ) {
      let child = 2 * at + 1;
      if (child >= heap.length) return;
      if (child + 1 < heap.length && timeAt(heap, child + 1) < timeAt(heap, child)) child++;
      if (timeAt(heap, at) <= timeAt(heap, child)) return;
      [heap[at], heap[child]] = [heap[child] as PerfRing, heap[at] as PerfRing];
      at = child;
    }
  }
}

/** The time of the next record of a ring in a heap. */
function timeAt(heap: readonly PerfRing[], place: number): number {
  return place < heap.length ? (heap[place] as PerfRing).time : Number.POSITIVE_INFINITY;
}
