/**
 * The perf rings of all CPUs, read as they fill, from the event loop.
 *
 * A descriptor's readiness is consumed by whoever polls it first, so a ring may hold records that nobody will be woken for.
 * Hence: any wake-up drains all rings, all are drained once after the loop has begun to wait, and a sweep once a second
 * is the safety net. That timer is the only one, and open to others (`onSweep`). With it CPUs that came or went are noticed.
 */
import { Errno } from './errno.ts';
import { KernelError } from './errors.ts';
import type { Kernel } from './kernel.ts';
import type { BpfMap } from './map.ts';
import { type CpuRing, openCpuRing } from './perf-buffer/cpu-ring.ts';
import { type CpuNews, CpuWatch } from './perf-buffer/cpu-watch.ts';
import { type CpuChange, checkOptions, type PerfBufferOptions, ringWakeup } from './perf-buffer/options.ts';
import type { LostHandler } from './perf-buffer/perf-ring.ts';
import { allOrNothing, type Closeable } from './resources.ts';

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
  readonly #openRing: OpenRing;
  readonly #map: BpfMap;
  readonly #watch: CpuWatch;
  readonly #options: PerfBufferOptions;
  readonly #onLost: LostHandler;
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
    this.#onLost = (count, cpu) => {
      this.#lost += count;
      options.onLost?.(count, cpu);
    };
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

  /** Reads what is there, without waiting for a wake-up: at most what the rings hold now. */
  drain(): void {
    for (const ring of this.#rings) this.#read(ring);
  }

  /** Stops the rings, reads them a last time, and frees them. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    clearImmediate(this.#again);
    try {
      for (const ring of this.#rings) ring.stop();
      this.drain();
      for (const ring of this.#rings) ring.finish(this.#onLost);
    } finally {
      for (const ring of this.#rings) ring.close();
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #begin(): void {
    for (const ring of this.#rings) ring.wait(() => this.#wake());
    const { wakeup } = this.#options;
    const every = wakeup && 'flushMs' in wakeup ? Math.min(wakeup.flushMs, SWEEP_MS) : SWEEP_MS;
    const ticksPerSweep = Math.round(SWEEP_MS / every);
    let ticks = 0;
    this.#timer = setInterval(() => {
      this.#wake();
      if (++ticks % ticksPerSweep !== 0 || this.#closed) return;
      this.#lookAtCpus();
      this.#options.onSweep?.();
    }, every);
    this.#drainWhenWaiting();
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
    try {
      const news = this.#watch.look(this.#rings);
      if (!news) return;
      const change = this.#follow(news);
      if (!this.#closed && change.online.length + change.offline.length > 0) this.#options.onCpus?.(change);
    } catch (error) {
      if (!this.#options.onError) throw error;
      this.#options.onError(error);
    }
  }

  #follow({ dead, without, since }: CpuNews): CpuChange {
    const come = without.flatMap((cpu) => this.#openLate(cpu) ?? []);
    const gapMs = performance.now() - since;
    this.#rings = [...this.#rings.filter((ring) => !dead.includes(ring)), ...come];
    for (const ring of come) ring.wait(() => this.#wake());
    if (come.length > 0) this.#drainWhenWaiting();
    for (const ring of dead) this.#retire(ring);
    return { online: come.map((ring) => ring.cpu), offline: dead.map((ring) => ring.cpu), gapMs };
  }

  /** Undefined where there is none to be had, which must not end the reading of the others. */
  #openLate(cpu: number): CpuRing | undefined {
    try {
      return this.#openRing(cpu);
    } catch (error) {
      this.#watch.giveUp(cpu);
      if (!this.#options.onError) throw error;
      this.#options.onError(error);
      return undefined;
    }
  }

  /** Reads a ring that nothing is written to any more to its end, and frees it. */
  #retire(ring: CpuRing): void {
    try {
      if (!this.#closed) this.#read(ring);
      if (!this.#closed) ring.finish(this.#onLost);
    } finally {
      // The map would keep the event; that of a ring opened in its place stays.
      if (!this.#closed && !this.#rings.some(({ cpu }) => cpu === ring.cpu)) this.#map.delete(ring.cpu);
      ring.close();
    }
  }

  /** Something may be there. Where a turn is due anyway, that one will see it. */
  #wake(): void {
    if (this.#again === undefined) this.#turn();
  }

  /** Reads until all rings are empty or the turn has taken long enough, and goes on in the next one then. */
  #turn(): void {
    this.#again = undefined;
    const end = performance.now() + TURN_MS;
    let busy = true;
    while (busy && !this.#closed) {
      busy = false;
      for (const ring of this.#rings) busy = this.#read(ring, BATCH) === BATCH || busy;
      if (!busy || performance.now() < end) continue;
      this.#again = setImmediate(() => this.#turn());
      return;
    }
  }

  #read(ring: CpuRing, limit?: number): number {
    try {
      return ring.drain(this.#options.onSample, this.#onLost, limit);
    } catch (error) {
      if (!this.#options.onError) throw error;
      this.#options.onError(error);
      // There may be more behind what went wrong.
      return limit ?? 0;
    }
  }
}
