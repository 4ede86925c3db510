/** The options of perf buffers. */
import { inspect } from 'node:util';
import type { RingWakeup } from './cpu-ring.ts';
import { fitsRing, type LostHandler, recordSize, type SampleHandler, sampleLayout } from './perf-ring.ts';

/**
 * When the kernel wakes the reader: after a number of samples on one CPU (`events`), or when a ring holds
 * `watermarkBytes`, and every `flushMs` milliseconds in addition. `watermarkBytes` defaults to an eighth of
 * the ring. With `'adaptive'`, each sample wakes the reader. While a CPU sends more than 2,000 samples per
 * second, a timer of 15 ms and the half-full ring do instead.
 *
 * A wake-up costs the traced process about 8 us.
 * @example
 * ```ts
 * import type { Wakeup } from 'tsbpf';
 *
 * const everyEvent: Wakeup = { events: 1 };
 * const inBatches: Wakeup = { watermarkBytes: 64 * 1024, flushMs: 100 };
 * console.log(everyEvent, inBatches);
 * ```
 */
export type Wakeup =
  | 'adaptive'
  | { readonly events: number }
  | { readonly watermarkBytes?: number; readonly flushMs: number };

/**
 * CPUs that came online or went offline while reading. A CPU that was offline for a moment is in both lists.
 *
 * @example
 * ```ts
 * import type { CpuChange } from 'tsbpf';
 *
 * const onCpus = ({ online, gapMs }: CpuChange) => {
 *   if (online.length > 0) console.warn(`CPUs ${online.join()}: up to ${gapMs} ms of events are lost`);
 * };
 * onCpus({ online: [1], offline: [], gapMs: 900 });
 * ```
 */
export interface CpuChange {
  /** CPUs that came online and have a ring now. */
  readonly online: readonly number[];
  /** CPUs that went offline. All records of their rings have been read. */
  readonly offline: readonly number[];
  /**
   * The longest time that the CPUs in `online` ran without a ring, in ms. Samples that programs sent there in
   * this time are lost without being counted.
   */
  readonly gapMs: number;
}

/**
 * Options of `PerfBuffer.open`. Handlers run from the event loop, and in `drain` and `close`.
 *
 * @example
 * ```ts
 * import type { PerfBufferOptions } from 'tsbpf';
 *
 * const options: PerfBufferOptions = {
 *   pagesPerCpu: 64,
 *   sampleBytes: 4,
 *   wakeup: { watermarkBytes: 4096, flushMs: 100 },
 *   onSample: (view, offset) => console.log(view.getUint32(offset, true)),
 * };
 * console.log(options.pagesPerCpu);
 * ```
 */
export interface PerfBufferOptions {
  /** The size of each CPU's ring in pages of memory, a power of two. */
  readonly pagesPerCpu: number;
  /** When the kernel wakes the reader. Default: `'adaptive'`. */
  readonly wakeup?: Wakeup;
  /** The size of the largest sample that programs send, in bytes. */
  readonly sampleBytes: number;
  /**
   * The offset of a u64 in each sample, the time of the event in ns of CLOCK_MONOTONIC (bpf_ktime_get_ns).
   * Samples of all CPUs are delivered in the order of these times. Default: the time that the kernel adds to
   * each sample, which takes 8 bytes of the ring.
   */
  readonly timestamp?: number;
  /** Receives each sample. */
  readonly onSample: SampleHandler;
  /** Receives the number of samples that were lost because a CPU's ring was full. */
  readonly onLost?: LostHandler;
  /**
   * Receives the exceptions of all handlers and the errors of reading; reading continues. Without `onError`,
   * or if it throws, the error is thrown: by `drain` and `close` after they have read everything, otherwise
   * from the event loop (`uncaughtException`).
   */
  readonly onError?: (error: unknown) => void;
  /**
   * Called within a second after CPUs came online or went offline; within two if one was offline for less
   * than a second.
   */
  readonly onCpus?: (change: CpuChange) => void;
  /** Called once a second, after reading the rings. */
  readonly onTick?: () => void;
}

/** Checks the options. @throws {RangeError} if a sample does not fit a ring, or a number is out of range. */
export function checkOptions(
  { pagesPerCpu, sampleBytes, timestamp, wakeup }: PerfBufferOptions,
  pageSize: number,
): void {
  if (!Number.isInteger(pagesPerCpu) || pagesPerCpu < 1 || (pagesPerCpu & (pagesPerCpu - 1)) !== 0)
    throw new RangeError(`a perf ring cannot have ${pagesPerCpu} pages; use a power of two`);
  const ringBytes = pagesPerCpu * pageSize;
  if (!fitsRing(sampleBytes, ringBytes, sampleLayout(timestamp)))
    throw new RangeError(
      `a sample of ${sampleBytes} bytes (${recordSize(sampleBytes)} with its header) does not fit a perf ring of ${ringBytes} bytes; use more pages`,
    );
  if (timestamp !== undefined && sampleBytes < 8)
    throw new RangeError(
      `a sample of ${sampleBytes} bytes has no timestamp, which has 8 bytes; omit timestamp`,
    );
  if (timestamp !== undefined && !(timestamp % 4 === 0 && timestamp >= 0 && timestamp + 8 <= sampleBytes))
    throw new RangeError(
      `the timestamp of a sample cannot be at offset ${timestamp}; use a multiple of 4 up to ${sampleBytes - 8}`,
    );
  if (wakeup === undefined || wakeup === 'adaptive') return;
  if (typeof wakeup !== 'object' || wakeup === null || !('events' in wakeup || 'flushMs' in wakeup))
    throw new RangeError(
      `wakeup cannot be ${inspect(wakeup)}; use 'adaptive', { events }, or { watermarkBytes, flushMs }`,
    );
  const [name, value, most] =
    'events' in wakeup
      ? ['events', wakeup.events, 0xffff_ffff]
      : ['watermarkBytes', wakeup.watermarkBytes ?? 1, ringBytes - 1];
  if (!Number.isInteger(value) || value < 1 || value > most)
    throw new RangeError(`${name} of a wake-up cannot be ${value}; use 1 to ${most}`);
  if ('flushMs' in wakeup && !(wakeup.flushMs >= 1))
    throw new RangeError(`flushMs of a wake-up cannot be ${wakeup.flushMs}; use 1 or more`);
}

/** Returns the wake-up of each ring, with defaults filled in. */
export function ringWakeup(
  { pagesPerCpu, wakeup = 'adaptive' }: PerfBufferOptions,
  pageSize: number,
): RingWakeup {
  if (wakeup === 'adaptive') return { events: 1 };
  if ('events' in wakeup) return wakeup;
  return { watermarkBytes: wakeup.watermarkBytes ?? (pagesPerCpu * pageSize) / 8 };
}
