/**
 * How the rings are read, and who gets what was read.
 */
import { fitsRing, type LostHandler, recordSize, type SampleHandler } from './perf-ring.ts';

/**
 * When to read: as soon as `events` samples wait on a CPU; or when a ring holds `watermarkBytes` (an eighth of it if not given, which
 * leaves the reader the rest of it for being late), and every
 * `flushMs` milliseconds. Being woken costs the traced process some 8 us each time: a watermark is for floods.
 */
export type Wakeup =
  | { readonly events: number }
  | { readonly watermarkBytes?: number; readonly flushMs: number };

/** CPUs that came or went while reading; one that was away for a moment is in both lists. */
export interface CpuChange {
  /** They came online and have a ring now. */
  readonly online: readonly number[];
  /** They went offline. What their rings held has been read, and nothing more can come from there. */
  readonly offline: readonly number[];
  /**
   * How long, in ms, the CPUs in `online` may have run before they had a ring: samples that programs wrote there meanwhile are
   * lost, and not counted.
   */
  readonly gapMs: number;
}

/** How to read, and who gets what was read. Handlers are called from the event loop, and in `drain` and `close`. */
export interface PerfBufferOptions {
  /** Pages of memory of each CPU's ring, a power of two. */
  readonly pagesPerCpu: number;
  /** Each sample by itself if not given. */
  readonly wakeup?: Wakeup;
  /** Bytes of the largest sample that programs write. */
  readonly sampleBytes: number;
  readonly onSample: SampleHandler;
  readonly onLost?: LostHandler;
  /**
   * Gets the exceptions of all handlers and the errors of reading; reading continues. Without `onError`, or
   * if it throws, the error is thrown: by `drain` and `close` after they have read everything, otherwise from
   * the event loop (`uncaughtException`).
   */
  readonly onError?: (error: unknown) => void;
  /** Called when CPUs came or went, within a second of it, or two where one was away for less than that. */
  readonly onCpus?: (change: CpuChange) => void;
  /** Called once a second, after a look at the rings. */
  readonly onTick?: () => void;
}

/** @throws {RangeError} where a sample doesn't fit, or a number makes no sense. */
export function checkOptions(
  { pagesPerCpu, sampleBytes, wakeup }: PerfBufferOptions,
  pageSize: number,
): void {
  if (!Number.isInteger(pagesPerCpu) || pagesPerCpu < 1 || (pagesPerCpu & (pagesPerCpu - 1)) !== 0)
    throw new RangeError(`${pagesPerCpu} pages for a perf ring: it has to be a power of two`);
  const ringBytes = pagesPerCpu * pageSize;
  if (!fitsRing(sampleBytes, ringBytes))
    throw new RangeError(
      `a sample of ${sampleBytes} bytes, ${recordSize(sampleBytes)} as a record, doesn't fit a perf ring of ${ringBytes} bytes: more pages are needed`,
    );
  if (!wakeup) return;
  const [name, value, most] =
    'events' in wakeup
      ? ['events', wakeup.events, 0xffff_ffff]
      : ['watermark', wakeup.watermarkBytes ?? 1, ringBytes - 1];
  if (!Number.isInteger(value) || value < 1 || value > most)
    throw new RangeError(`a wake-up at ${value} ${name}: from 1 to ${most} is possible`);
  if ('flushMs' in wakeup && !(wakeup.flushMs >= 1))
    throw new RangeError(`a flush every ${wakeup.flushMs} ms: 1 and more is possible`);
}

/** The same for one ring, with what isn't given filled in. */
export function ringWakeup({ pagesPerCpu, wakeup = { events: 1 } }: PerfBufferOptions, pageSize: number) {
  if ('events' in wakeup) return wakeup;
  return { watermarkBytes: wakeup.watermarkBytes ?? (pagesPerCpu * pageSize) / 8 };
}
