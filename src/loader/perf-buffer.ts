/**
 * The perf rings of all CPUs, read as they fill, from the event loop.
 *
 * A descriptor's readiness is consumed by whoever polls it first, so a ring may hold records that nobody will be woken for.
 * Hence: any wake-up drains all rings, all are drained once after the loop has begun to wait, and a sweep once a second
 * is the safety net. That timer is the only one, and open to others (`onTick`). With it CPUs that came or went are noticed.
 *
 * An exception of a handler costs one event: `guarded` calls every handler.
 */
import { Errno } from './errno.ts';
import { KernelError } from './errors.ts';
import { guarded, type Report, reportLater, throwAtEnd } from './handlers.ts';
import type { Kernel } from './kernel.ts';
import type { BpfMap } from './map.ts';
import { type CpuRing, openCpuRing } from './perf-buffer/cpu-ring.ts';
import { type CpuNews, CpuWatch } from './perf-buffer/cpu-watch.ts';
import { type CpuChange, checkOptions, type PerfBufferOptions, ringWakeup } from './perf-buffer/options.ts';
import type { LostHandler } from './perf-buffer/perf-ring.ts';
import { allOrNothing, type Closeable } from './resources.ts';
import { uptime } from './uptime.ts';

const SWEEP_MS = 1000;
/** How long one turn of the event loop may go on reading: signals and output wait as long. */
const TURN_MS = 20;
/** Records of one ring at a time. */
const BATCH = 512;

/** Opens the ring of a CPU; undefined where it is offline. */
type OpenRing = (cpu: number) => CpuRing | undefined;

/** The rings of all online CPUs. Keeps the process alive until it is closed. */
export class PerfBuffer implements Closeable {
  #rings: readonly CpuRing[];
  /** Rings of CPUs that went offline, until they are read to their ends. */
  readonly #retiring = new Set<CpuRing>();
  readonly #openRing: OpenRing;
  readonly #map: BpfMap;
  readonly #watch: CpuWatch;
  readonly #options: PerfBufferOptions;
  /** Takes the errors of work that the event loop started. */
  readonly #report: Report;
  #lost = 0;
  #timer: NodeJS.Timeout | undefined;
  #again: NodeJS.Immediate | undefined;
  #closed = false;

  private constructor(
    rings: readonly CpuRing[],
    openRing: OpenRing,
    map: BpfMap,
    watch: CpuWatch,
    options: PerfBufferOptions,
  ) {
    this.#rings = rings;
    this.#openRing = openRing;
    this.#map = map;
    this.#watch = watch;
    this.#options = options;
    this.#report = reportLater(options.onError);
  }

  /**
   * Opens a ring for every online CPU, entered in `map` under the CPU's number, and begins to wait. A CPU that comes online
   * later gets one then. The caller owns the result, and keeps owning the map, which has to be closed after it.
   * @throws {RangeError} where a sample doesn't fit, or pages are no power of two. @throws {NotPermittedError} @throws {KernelError}
   */
  static open(kernel: Kernel, map: BpfMap, options: PerfBufferOptions): PerfBuffer {
    checkOptions(options, kernel.pageSize);
    const wakeup = ringWakeup(options, kernel.pageSize);
    const openRing = (cpu: number) => openCpuRing(kernel, map, cpu, options.pagesPerCpu, wakeup);
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
        });
      const buffer = new PerfBuffer(rings, openRing, map, watch, options);
      buffer.#begin();
      return buffer;
    });
  }

  /** The CPUs that have a ring. */
  get cpus(): readonly number[] {
    return this.#rings.map((ring) => ring.cpu);
  }

  /** Samples that found a ring full, as far as they have been reported. */
  get lost(): number {
    return this.#lost;
  }

  /**
   * Reads the records that the rings hold now, without waiting for a wake-up.
   * @throws the exceptions of handlers, after all records, if there is no `onError`: one as it is, several as
   * an `AggregateError`.
   */
  drain(): void {
    throwAtEnd(this.#options.onError, (report) => {
      for (const ring of this.#rings) this.#read(ring, report);
    });
  }

  /**
   * Stops the rings, reads them to their ends, and frees them. @throws as `drain` does, after it has freed
   * everything.
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    clearImmediate(this.#again);
    const rings = [...this.#rings, ...this.#retiring];
    throwAtEnd(this.#options.onError, (report) => {
      try {
        for (const ring of rings) ring.stop();
        for (const ring of rings) this.#read(ring, report);
        for (const ring of rings) ring.finish(this.#lossHandler(report));
      } finally {
        for (const ring of rings) ring.close();
      }
    });
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #begin(): void {
    for (const ring of this.#rings) this.#wait(ring);
    const { wakeup } = this.#options;
    const every = wakeup && 'flushMs' in wakeup ? Math.min(wakeup.flushMs, SWEEP_MS) : SWEEP_MS;
    const ticksPerSweep = Math.round(SWEEP_MS / every);
    let ticks = 0;
    this.#timer = setInterval(() => {
      this.#wake();
      if (++ticks % ticksPerSweep !== 0 || this.#closed) return;
      guarded(() => this.#lookAtCpus(), this.#report)();
      if (!this.#closed) guarded(this.#options.onTick, this.#report)();
    }, every);
    this.#drainWhenWaiting();
  }

  #wait(ring: CpuRing): void {
    ring.wait(() => this.#wake(), this.#report);
  }

  /** Reads once after the loop has begun to wait for all rings. */
  #drainWhenWaiting(): void {
    clearImmediate(this.#again);
    // It begins after this turn; an immediate set by an immediate runs after that in any case.
    this.#again = setImmediate(() => {
      this.#again = setImmediate(() => this.#turn());
    });
  }

  /** Rings for CPUs that came online, the last of those that went offline. */
  #lookAtCpus(): void {
    const news = this.#watch.look(this.#rings);
    if (!news) return;
    const change = this.#follow(news);
    if (!this.#closed && change.online.length + change.offline.length > 0) this.#options.onCpus?.(change);
  }

  #follow({ dead, without, since }: CpuNews): CpuChange {
    this.#rings = this.#rings.filter((ring) => !dead.includes(ring));
    for (const ring of dead) this.#retiring.add(ring);
    const come = without.flatMap((cpu) => this.#openLate(cpu) ?? []);
    const gapMs = uptime() - since;
    if (come.length > 0 && !this.#closed) this.#drainWhenWaiting();
    for (const ring of dead) this.#retire(ring);
    return { online: come.map((ring) => ring.cpu), offline: dead.map((ring) => ring.cpu), gapMs };
  }

  /**
   * Opens the ring of a CPU that came online. Undefined if that fails: the other rings are read all the same.
   */
  #openLate(cpu: number): CpuRing | undefined {
    // A handler of errors may have closed the rings.
    if (this.#closed) return undefined;
    try {
      const ring = this.#openRing(cpu);
      if (!ring) return undefined;
      this.#rings = [...this.#rings, ring];
      guarded(() => this.#wait(ring), this.#report)();
      return ring;
    } catch (error) {
      this.#watch.giveUp(cpu);
      this.#report(error);
      return undefined;
    }
  }

  /** Reads the ring of an offline CPU to its end, and frees it. */
  #retire(ring: CpuRing): void {
    if (!this.#closed) this.#read(ring, this.#report);
    if (!this.#closed) ring.finish(this.#lossHandler(this.#report));
    // If a handler called close(), that has read and freed the ring.
    if (this.#closed) return;
    this.#retiring.delete(ring);
    // The map would keep the event; that of a ring opened in its place stays.
    if (!this.#rings.some(({ cpu }) => cpu === ring.cpu))
      guarded(() => void this.#map.delete(ring.cpu), this.#report)();
    ring.close();
  }

  /** Something may be there. Where a turn is due anyway, that one will see it. */
  #wake(): void {
    if (this.#again === undefined) this.#turn();
  }

  /** Reads until all rings are empty or the turn has taken long enough, and goes on in the next one then. */
  #turn(): void {
    this.#again = undefined;
    const end = uptime() + TURN_MS;
    let busy = true;
    while (busy && !this.#closed) {
      busy = false;
      for (const ring of this.#rings) busy = this.#read(ring, this.#report, BATCH) === BATCH || busy;
      if (!busy || uptime() < end) continue;
      this.#again = setImmediate(() => this.#turn());
      return;
    }
  }

  /** Reads a ring to its end, or `limit` records. Returns the number of records. */
  #read(ring: CpuRing, report: Report, limit?: number): number {
    const onSample = guarded(this.#options.onSample, report);
    const onLost = this.#lossHandler(report);
    for (;;) {
      try {
        return ring.drain(onSample, onLost, limit);
      } catch (error) {
        // A corrupt record, which the ring has skipped. Others may follow.
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
