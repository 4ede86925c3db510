/**
 * The latencies of many connects: count, sum, extremes, and an exponential histogram. Adding the latencies of
 * another interval, key or machine is exact.
 */
import {
  OVERFLOW_SLOT,
  SLOT_COUNT,
  slotOf,
  UNDERFLOW_SLOT,
  upperBoundNs,
} from '../../programs/latency-buckets.ts';

/** Counts per slot of the histogram, and the exact sum and extremes, in ns. */
export class Latencies {
  count = 0;
  sumNs = 0;
  /** Infinity if there are no latencies. */
  minNs = Number.POSITIVE_INFINITY;
  maxNs = 0;
  /** The connects per slot (`latency-buckets.ts`). */
  readonly slots: Float64Array;

  constructor(slots = new Float64Array(SLOT_COUNT)) {
    this.slots = slots;
  }

  /** Adds one connect. */
  record(latencyNs: number): void {
    this.count += 1;
    this.sumNs += latencyNs;
    this.minNs = Math.min(this.minNs, latencyNs);
    this.maxNs = Math.max(this.maxNs, latencyNs);
    const slot = slotOf(latencyNs);
    this.slots[slot] = (this.slots[slot] ?? 0) + 1;
  }

  /** Adds all connects of `other`. */
  add(other: Latencies): void {
    this.count += other.count;
    this.sumNs += other.sumNs;
    this.minNs = Math.min(this.minNs, other.minNs);
    this.maxNs = Math.max(this.maxNs, other.maxNs);
    for (let slot = 0; slot < SLOT_COUNT; slot++)
      this.slots[slot] = (this.slots[slot] ?? 0) + (other.slots[slot] ?? 0);
  }

  /**
   * The estimated latency in ns that a share `quantile` (0 to 1) of the connects does not exceed: the
   * geometric mean of its bucket's boundaries, but not outside the extremes. Undefined if there are no
   * latencies.
   */
  quantileNs(quantile: number): number | undefined {
    if (this.count === 0) return undefined;
    const rank = Math.max(1, Math.ceil(quantile * this.count));
    let seen = 0;
    for (let slot = UNDERFLOW_SLOT; slot < SLOT_COUNT; slot++) {
      seen += this.slots[slot] ?? 0;
      if (seen >= rank) return Math.min(Math.max(this.#middleNs(slot), this.minNs), this.maxNs);
    }
    return this.maxNs;
  }

  #middleNs(slot: number): number {
    if (slot === UNDERFLOW_SLOT) return this.minNs;
    if (slot === OVERFLOW_SLOT) return this.maxNs;
    return Math.sqrt(upperBoundNs(slot - 1) * upperBoundNs(slot));
  }
}

/** The histograms of a block. */
const BLOCK = 32;

/** Returns a function that makes zeroed slots. It allocates them in blocks, which is faster. */
export function slotAllocator(): () => Float64Array<ArrayBuffer> {
  let block = new Float64Array(0);
  let used = 0;
  return () => {
    if (used === block.length) [block, used] = [new Float64Array(BLOCK * SLOT_COUNT), 0];
    used += SLOT_COUNT;
    return block.subarray(used - SLOT_COUNT, used);
  };
}
