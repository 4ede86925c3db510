/**
 * A ring buffer, read from the event loop.
 *
 * The kernel wakes the reader when a program commits the record at the reader's position, and the poll
 * reports the descriptor as readable as long as the ring buffer is not empty. Programs may also commit
 * without a wake-up (`BPF_RB_NO_WAKEUP`), so a timer reads the ring buffer, too.
 */
import type { u64n } from '../asm/layout.ts';
import { type GlobalsSpec, MapType, mapTypeName } from '../asm/map.ts';
import { KernelError, mmapHint } from './errors.ts';
import { guarded, type Report, reportLater, throwAtEnd } from './handlers.ts';
import type { Kernel } from './kernel.ts';
import type { BpfMap } from './map.ts';
import { allOrNothing, type Closeable } from './resources.ts';
import { Ring, type RingSampleHandler } from './ring-buffer/ring.ts';
import { type Poll, Protection } from './syscalls.ts';
import { BATCH, TICK_MS, Turns, waitForEvents } from './turns.ts';

/** How long `close` waits for records that a running program has not committed yet. */
const BUSY_MS = 20;

/**
 * Options of `RingBuffer.open`. Handlers run from the event loop, and in `drain` and `close`.
 *
 * @example
 * ```ts
 * import type { RingBufferOptions } from 'tsbpf';
 *
 * const options: RingBufferOptions = {
 *   onSample: (view, offset) => console.log(view.getUint32(offset, true)),
 *   flushMs: 100,
 * };
 * console.log(options.flushMs);
 * ```
 */
export interface RingBufferOptions {
  /** Receives each event. */
  readonly onSample: RingSampleHandler;
  /**
   * How often the ring buffer is read without a wake-up, in ms, for events that programs send with
   * `BPF_RB_NO_WAKEUP`. Default: 1000, which is also the longest time.
   */
  readonly flushMs?: number;
  /** The open map that counts lost events, `lost` of the spec. Without it, none are reported. */
  readonly lost?: BpfMap<GlobalsSpec<typeof u64n>>;
  /** Receives the number of events that were lost because the ring buffer had no space. */
  readonly onLost?: (count: number) => void;
  /** Receives the exceptions of all handlers and the errors of reading, as `onError` of a perf buffer. */
  readonly onError?: (error: unknown) => void;
  /** Called once a second, after reading. */
  readonly onTick?: () => void;
}

/**
 * Reads a ring buffer from the event loop (Linux 5.8).
 *
 * A `Session` reads the events of its tool itself. The caller of `RingBuffer.open` owns the reader and closes
 * it before the map; it keeps the process alive until then. A ring buffer has one reader: a second one would
 * skip what the first one reads. Source: kernel/bpf/ringbuf.c.
 * @example
 * ```ts
 * import { BpfMap, Kernel, RingBuffer, ringBuffer, struct, u32 } from 'tsbpf';
 *
 * const kernel = new Kernel();
 * const map = BpfMap.create(kernel, ringBuffer('events', struct({ pid: u32 }), { bytes: 65_536 }));
 * const reader = RingBuffer.open(kernel, map as unknown as BpfMap, {
 *   onSample: (view, offset) => console.log(view.getUint32(offset, true)),
 * });
 * reader.close();
 * map.close();
 * ```
 */
export class RingBuffer implements Closeable {
  readonly #kernel: Kernel;
  readonly #mappings: readonly ArrayBuffer[];
  readonly #ring: Ring;
  readonly #options: RingBufferOptions;
  /** Reports the errors of work that the event loop started. */
  readonly #report: Report;
  readonly #turns = new Turns(() => this.#readSome());
  readonly #poll: Poll;
  /** The lost events in the map when it was read last. */
  #counted: number;
  #lost = 0;
  #closed = false;

  private constructor(
    kernel: Kernel,
    map: BpfMap,
    mappings: readonly [ArrayBuffer, ArrayBuffer],
    options: RingBufferOptions,
  ) {
    this.#kernel = kernel;
    this.#mappings = mappings;
    this.#ring = new Ring(map.spec.name, ...mappings, kernel.pageSize);
    this.#options = options;
    this.#report = reportLater(options.onError);
    this.#counted = options.lost?.view.get() ?? 0;
    const of = `the ring buffer '${map.spec.name}'`;
    this.#poll = waitForEvents(kernel, map.fd, of, () => this.#turns.wake(), this.#report);
    this.#turns.begin(options.flushMs ?? TICK_MS, guarded(options.onTick, this.#report));
  }

  /**
   * Maps the ring buffer, and begins to read. The caller closes the reader, and the map after it.
   * @throws {TypeError} if the map is not a ring buffer. @throws {RangeError} if an option is out of range.
   * @throws {KernelError}
   */
  static open(kernel: Kernel, map: BpfMap, options: RingBufferOptions): RingBuffer {
    const { name, type, maxEntries } = map.spec;
    if (type !== MapType.ringBuffer)
      throw new TypeError(
        `map '${name}' is not a ring buffer but a ${mapTypeName(type)}; pass a map made by ringBuffer()`,
      );
    if (options.flushMs !== undefined && !(options.flushMs >= 1))
      throw new RangeError(
        `flushMs of the ring buffer '${name}' cannot be ${options.flushMs}; use 1 or more`,
      );
    return allOrNothing((resources) => {
      const mapPart = (length: number, offset: number, protection: number): ArrayBuffer => {
        const mapping = kernel.syscalls.mmap(map.fd, length, offset, protection);
        if (typeof mapping === 'number') throw mapError(name, length, -mapping);
        resources.add({ close: () => kernel.syscalls.munmap(mapping) });
        return mapping;
      };
      const { pageSize } = kernel;
      const consumer = mapPart(pageSize, 0, Protection.readWrite);
      const producer = mapPart(pageSize + 2 * maxEntries, pageSize, Protection.read);
      return new RingBuffer(kernel, map, [consumer, producer], options);
    });
  }

  /**
   * The number of events lost so far because the ring buffer had no space, as the programs have counted them.
   */
  get lost(): number {
    return this.#lost;
  }

  /**
   * Reads the events that are committed now, without waiting for a wake-up. Without `onError`, it throws the
   * exceptions of handlers after all events are read: a single one as it is, several as an `AggregateError`.
   */
  drain(): void {
    throwAtEnd(this.#options.onError, (report) => {
      this.#read(report, (onSample) => this.#ring.drain(onSample));
      if (!this.#closed) this.#countLost(report);
    });
  }

  /**
   * Reads the events that are left, and unmaps the ring buffer. It waits 20 ms for programs that have
   * reserved an event and not submitted it, and counts the event as lost after that. Throws the errors of
   * `drain` after everything is freed.
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#turns.close();
    this.#poll.close();
    throwAtEnd(this.#options.onError, (report) => {
      try {
        const skipped = this.#read(report, (onSample) => this.#ring.finish(onSample, BUSY_MS));
        this.#countLost(report, skipped);
      } finally {
        this.#ring.release();
        for (const mapping of this.#mappings) this.#kernel.syscalls.munmap(mapping);
      }
    });
  }

  /** Calls `close`, at the end of a `using` declaration's block. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** Reads some events. Returns whether there may be more. */
  #readSome(): boolean {
    const records = this.#read(this.#report, (onSample) => this.#ring.drain(onSample, BATCH));
    if (!this.#closed) this.#countLost(this.#report);
    return records === BATCH;
  }

  #read(report: Report, read: (onSample: RingSampleHandler) => number): number {
    const onSample = guarded(this.#options.onSample, report);
    for (;;) {
      try {
        return read(onSample);
      } catch (error) {
        // The ring has skipped the corrupt records. Others may follow.
        report(error);
      }
    }
  }

  /** Reports the events that programs have counted as lost since the last call, and `more`. */
  #countLost(report: Report, more = 0): void {
    const counted = this.#options.lost?.view.get() ?? 0;
    const lost = counted - this.#counted + more;
    this.#counted = counted;
    if (lost === 0) return;
    this.#lost += lost;
    guarded(this.#options.onLost, report)(lost);
  }
}

function mapError(name: string, length: number, errno: number): KernelError {
  return new KernelError({
    syscall: 'mmap',
    errno,
    tried: `map the ring buffer '${name}', ${length} bytes`,
    hint: mmapHint(errno, 'use fewer bytes'),
  });
}
