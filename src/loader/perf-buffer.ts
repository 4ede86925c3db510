/**
 * The perf rings of all CPUs, read from the event loop.
 *
 * Every wake-up and the timer (`Turns`) read all rings, merged by the times of their samples (`Merge`). The
 * timer also calls `onTick` and looks for CPUs that went offline or came online.
 *
 * `guarded` calls every handler, so that an exception of a handler costs one event only.
 */
import { Errno } from './errno.ts';
import { KernelError } from './errors.ts';
import { guarded, type Report, reportLater, throwAtEnd } from './handlers.ts';
import type { Kernel } from './kernel.ts';
import type { BpfMap } from './map.ts';
import { AdaptiveWakeups } from './perf-buffer/adaptive.ts';
import { type CpuRing, openCpuRing } from './perf-buffer/cpu-ring.ts';
import { CpuWatch, type RingChanges } from './perf-buffer/cpu-watch.ts';
import { Merge } from './perf-buffer/merge.ts';
import { type CpuChange, checkOptions, type PerfBufferOptions, ringWakeup } from './perf-buffer/options.ts';
import type { LostHandler } from './perf-buffer/perf-ring.ts';
import { TimeOrder } from './perf-buffer/time-order.ts';
import { allOrNothing, type Closeable } from './resources.ts';
import { Clock } from './syscalls.ts';
import { BATCH, TICK_MS, Turns } from './turns.ts';
import { uptime } from './uptime.ts';

/** Opens the ring of a CPU. Returns undefined if the CPU is offline. */
type OpenRing = (cpu: number) => CpuRing | undefined;

/**
 * Reads the perf rings of all online CPUs from the event loop.
 *
 * A `Session` reads the events of its tool itself. The caller of `PerfBuffer.open` owns the buffer and closes
 * it; it keeps the process alive until then. The end of the process frees the rings. Source: man 2
 * perf_event_open.
 * @example
 * ```ts
 * import { BpfMap, Kernel, PerfBuffer, perfEventArray, struct, u32 } from 'tsbpf';
 *
 * const kernel = new Kernel();
 * const map = BpfMap.create(kernel, perfEventArray('events', struct({ pid: u32 })));
 * const buffer = PerfBuffer.open(kernel, map as unknown as BpfMap, {
 *   pagesPerCpu: 64,
 *   sampleBytes: 4,
 *   onSample: (view, offset, size, cpu) => console.log(view.getUint32(offset, true), size, cpu),
 * });
 * buffer.close();
 * map.close();
 * ```
 */
export class PerfBuffer implements Closeable {
  #rings: readonly CpuRing[];
  /** Rings of CPUs that went offline, until all their records are read. */
  readonly #retiring = new Set<CpuRing>();
  readonly #kernel: Kernel;
  readonly #openRing: OpenRing;
  readonly #order: TimeOrder;
  readonly #merge: Merge;
  readonly #map: BpfMap;
  readonly #watch: CpuWatch;
  readonly #options: PerfBufferOptions;
  /** Reports the errors of work that the event loop started. */
  readonly #report: Report;
  #lost = 0;
  readonly #turns = new Turns(() => this.#readSome());
  /** Undefined if the wake-ups do not adapt. */
  readonly #adaptive: AdaptiveWakeups | undefined;
  #closed = false;

  private constructor(
    kernel: Kernel,
    rings: readonly CpuRing[],
    openRing: OpenRing,
    order: TimeOrder,
    map: BpfMap,
    watch: CpuWatch,
    options: PerfBufferOptions,
  ) {
    this.#kernel = kernel;
    this.#rings = rings;
    this.#openRing = openRing;
    this.#order = order;
    this.#merge = new Merge(order);
    this.#map = map;
    this.#watch = watch;
    this.#options = options;
    const { wakeup = 'adaptive' } = options;
    this.#adaptive = wakeup === 'adaptive' ? new AdaptiveWakeups(() => this.#turns.wake()) : undefined;
    this.#report = reportLater(options.onError);
  }

  /**
   * Opens a ring for each online CPU, sets it in `map` under the CPU's number, and begins to read. A CPU that
   * comes online later gets its ring then. The caller closes the buffer, and the map after it.
   * @throws {RangeError} if a sample does not fit a ring, or an option is out of range.
   * @throws {NotPermittedError} @throws {KernelError}
   */
  static open(kernel: Kernel, map: BpfMap, options: PerfBufferOptions): PerfBuffer {
    checkOptions(options, kernel.pageSize);
    const order = new TimeOrder();
    const { pagesPerCpu: pages, timestamp, wakeup = 'adaptive' } = options;
    const adaptive = wakeup === 'adaptive';
    const settings = { pages, timestamp, order, adaptive, wakeup: ringWakeup(options, kernel.pageSize) };
    const openRing = (cpu: number) => openCpuRing(kernel, map, cpu, settings);
    const watch = new CpuWatch(kernel);
    return allOrNothing((resources) => {
      const rings = kernel.onlineCpus.flatMap((cpu) => {
        const ring = openRing(cpu);
        return ring ? [resources.add(ring)] : [];
      });
      if (rings.length === 0)
        throw new KernelError({
          syscall: 'perf_event_open',
          errno: Errno.ENODEV,
          tried: 'open a perf ring on any CPU',
          hint: 'every CPU of /sys/devices/system/cpu/online went offline meanwhile; try again',
        });
      const buffer = new PerfBuffer(kernel, rings, openRing, order, map, watch, options);
      buffer.#begin();
      return buffer;
    });
  }

  /** The numbers of the CPUs that have a ring. */
  get cpus(): readonly number[] {
    return this.#rings.map((ring) => ring.cpu);
  }

  /**
   * The number of samples lost so far because a ring was full. The kernel reports a loss with the next
   * sample, or in `close`.
   */
  get lost(): number {
    return this.#lost;
  }

  /**
   * The number of samples so far that were delivered after one with a later time. A program that is
   * interrupted between taking the time and the output can send a sample so late.
   */
  get outOfOrder(): number {
    return this.#order.outOfOrder;
  }

  /**
   * Reads the records that the rings hold now, without waiting for a wake-up. Without `onError`, it throws
   * the exceptions of handlers after all records are read: a single one as it is, several as an
   * `AggregateError`.
   */
  drain(): void {
    throwAtEnd(this.#options.onError, (report) => this.#readAll(report));
  }

  /**
   * Stops the rings, reads their last records, and frees them. Throws the errors of `drain` after everything
   * is freed.
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#turns.close();
    this.#adaptive?.close();
    const rings = [...this.#rings, ...this.#retiring];
    throwAtEnd(this.#options.onError, (report) => {
      try {
        for (const ring of rings) ring.stop();
        this.#read(report);
        this.#merge.look(rings.map(({ records }) => records));
        this.#read(report);
        for (const ring of rings) ring.finish(this.#lossHandler(report));
      } finally {
        for (const ring of rings) ring.close();
      }
    });
  }

  /** Calls `close`, at the end of a `using` declaration's block. */
  [Symbol.dispose](): void {
    this.close();
  }

  #begin(): void {
    for (const ring of this.#rings) this.#wait(ring);
    const { wakeup } = this.#options;
    this.#turns.begin(typeof wakeup === 'object' && 'flushMs' in wakeup ? wakeup.flushMs : TICK_MS, () => {
      guarded(() => this.#checkCpus(), this.#report)();
      if (!this.#closed) guarded(this.#options.onTick, this.#report)();
    });
  }

  #wait(ring: CpuRing): void {
    ring.wait(() => this.#turns.wake(), this.#report);
  }

  /** Opens rings for CPUs that came online, and closes the rings of CPUs that went offline. */
  #checkCpus(): void {
    const changes = this.#watch.check(this.#rings);
    if (!changes) return;
    const change = this.#replaceRings(changes);
    if (!this.#closed && change.online.length + change.offline.length > 0) this.#options.onCpus?.(change);
  }

  #replaceRings({ dead, withoutRing, since }: RingChanges): CpuChange {
    this.#rings = this.#rings.filter((ring) => !dead.includes(ring));
    for (const ring of dead) this.#retiring.add(ring);
    const opened = withoutRing.flatMap((cpu) => this.#openLate(cpu) ?? []);
    const gapMs = uptime() - since;
    if (opened.length > 0) this.#turns.afterWaiting();
    for (const ring of dead) this.#retire(ring);
    return { online: opened.map((ring) => ring.cpu), offline: dead.map((ring) => ring.cpu), gapMs };
  }

  /**
   * Opens the ring of a CPU that came online. Returns undefined if that fails; reading the other rings
   * continues.
   */
  #openLate(cpu: number): CpuRing | undefined {
    // The `onError` handler may have closed the buffer.
    if (this.#closed) return undefined;
    try {
      const ring = this.#openRing(cpu);
      if (!ring) return undefined;
      this.#rings = [...this.#rings, ring];
      guarded(() => this.#wait(ring), this.#report)();
      return ring;
    } catch (error) {
      this.#watch.exclude(cpu);
      this.#report(error);
      return undefined;
    }
  }

  /** Reads the last records of an offline CPU's ring, and frees it. */
  #retire(ring: CpuRing): void {
    if (!this.#closed) this.#readAll(this.#report);
    if (!this.#closed) ring.finish(this.#lossHandler(this.#report));
    // If a handler called close(), the ring is already read and freed.
    if (this.#closed) return;
    this.#retiring.delete(ring);
    // Without this the map would keep the event. The event of a new ring for the same CPU stays.
    if (!this.#rings.some(({ cpu }) => cpu === ring.cpu))
      guarded(() => void this.#map.delete(ring.cpu), this.#report)();
    ring.close();
  }

  /** Reads some records. Returns whether the rings may have more. */
  #readSome(): boolean {
    if (!this.#merge.isDue) this.#look();
    const isFull = this.#read(this.#report, BATCH) === BATCH;
    if (!this.#closed) this.#adaptive?.adapt(this.#rings);
    return isFull || this.#merge.holdsBack;
  }

  /** Reads all records that the rings hold now. */
  #readAll(report: Report): void {
    // The rest of what a turn has begun, or the handler's caller.
    this.#read(report);
    this.#look();
    this.#read(report);
    if (!this.#merge.holdsBack) return;
    this.#look();
    this.#read(report);
  }

  /** Finds the records that the rings hold now. */
  #look(): void {
    // The time is read before any ring, so that all earlier records are found.
    const now = this.#kernel.syscalls.clock(Clock.monotonic);
    this.#merge.look(
      [...this.#rings, ...this.#retiring].map(({ records }) => records),
      now,
    );
  }

  /** Reads the records that the last look has found, or at most `limit`. Returns the number of records. */
  #read(report: Report, limit?: number): number {
    const onSample = guarded(this.#options.onSample, report);
    const onLost = this.#lossHandler(report);
    for (;;) {
      try {
        return this.#merge.drain(onSample, onLost, limit);
      } catch (error) {
        // The ring has skipped a corrupt record. Others may follow.
        report(error);
        if (limit !== undefined) return limit;
      }
    }
  }

  /** Counts lost samples and passes the numbers to `onLost`. */
  #lossHandler(report: Report): LostHandler {
    const onLost = guarded(this.#options.onLost, report);
    return (count, cpu) => {
      this.#lost += count;
      onLost(count, cpu);
    };
  }
}
