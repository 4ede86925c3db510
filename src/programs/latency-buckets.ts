/**
 * The buckets of latency histograms, in the kernel and in user space: those of an OpenTelemetry exponential
 * histogram of scale 3, from about 1 us to 128 s.
 *
 * Bucket `i` holds latencies in (2^(i/8), 2^((i+1)/8)] seconds. A latency that is estimated by the geometric
 * mean of its bucket's boundaries is wrong by less than 4.5 %. Histograms with the same boundaries merge by
 * adding counts.
 *
 * Source: OpenTelemetry metrics data model, "Exponential Histogram".
 */

/** The scale of the OpenTelemetry data model: 2^scale buckets per power of two. */
export const SCALE = 3;
/** The buckets of each power of two. */
export const PER_OCTAVE = 2 ** SCALE;
/** The first bucket, whose lower boundary is 2^-20 s (954 ns). */
export const FIRST_BUCKET = -20 * PER_OCTAVE;
/** The number of buckets; the upper boundary of the last one is 2^7 s (128 s). */
export const BUCKET_COUNT = 27 * PER_OCTAVE;
/** The slots of a histogram: one for shorter latencies, the buckets, and one for longer latencies. */
export const SLOT_COUNT = BUCKET_COUNT + 2;
/** The slot of latencies up to the lower boundary of the first bucket. */
export const UNDERFLOW_SLOT = 0;
/** The slot of latencies above the upper boundary of the last bucket. */
export const OVERFLOW_SLOT = BUCKET_COUNT + 1;

/** The upper boundary of a slot in ns; of the overflow slot, infinity. */
export function upperBoundNs(slot: number): number {
  return slot === OVERFLOW_SLOT ? Number.POSITIVE_INFINITY : 2 ** ((FIRST_BUCKET + slot) / PER_OCTAVE) * 1e9;
}

/** The slot of a latency in ns, as the programs compute it. */
export function slotOf(latencyNs: number): number {
  // The logarithm may round to a neighboring slot: compare with the boundaries.
  const estimate = Math.ceil(Math.log2(Math.max(latencyNs, 1) / 1e9) * PER_OCTAVE) - FIRST_BUCKET;
  let slot = Math.min(Math.max(estimate, UNDERFLOW_SLOT), OVERFLOW_SLOT);
  if (latencyNs > upperBoundNs(slot)) slot += 1;
  else if (slot > UNDERFLOW_SLOT && latencyNs <= upperBoundNs(slot - 1)) slot -= 1;
  return slot;
}
