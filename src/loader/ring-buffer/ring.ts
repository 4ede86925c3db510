/**
 * The memory of a ring buffer: reads the records that programs write into it.
 *
 * The data is mapped twice in a row, so a record never wraps. The reader publishes its position after some
 * records, and always before it stops. The kernel wakes it if a program commits the record at that position,
 * so the reader looks again after it has published.
 *
 * Source: kernel/bpf/ringbuf.c, tools/lib/bpf/ringbuf.c.
 */
import { CorruptRingError } from '../errors.ts';
import { uptime } from '../uptime.ts';

/**
 * Receives an event of a ring buffer: `size` bytes of `view` at `offset`. They are the memory of the ring
 * buffer, so read them before the function returns, and never write to them.
 *
 * @example
 * ```ts
 * import type { RingSampleHandler } from 'tsbpf';
 *
 * const onSample: RingSampleHandler = (view, offset) => console.log(`pid ${view.getUint32(offset, true)}`);
 * onSample(new DataView(new ArrayBuffer(4)), 0, 4);
 * ```
 */
export type RingSampleHandler = (view: DataView, offset: number, size: number) => void;

/** BPF_RINGBUF_HDR_SZ: the length with two flags, and an offset that only the kernel needs. */
const HEADER = 8;
/** The flags of the length: the record is not committed yet (2^31), or was dropped. */
const [BUSY, DISCARD] = [0x8000_0000, 0x4000_0000];
const LENGTH = 0x3fff_ffff;

/** Reads one ring buffer. It does not own the mappings: call `release` before unmapping them. */
export class Ring {
  readonly #name: string;
  readonly #size: number;
  readonly #base: number;
  readonly #consumer: BigUint64Array;
  readonly #producer: BigUint64Array;
  readonly #words: Uint32Array;
  readonly #view: DataView;
  /** The position after the last record that was read. Only this reader moves it. */
  #position: number;
  #published: number;
  /** The position of the writers when it was read last. */
  #written = 0;
  #released = false;

  /**
   * `consumer` is the first page, `producer` the pages after it: one with the position of the writers, and
   * twice the data.
   */
  constructor(name: string, consumer: ArrayBuffer, producer: ArrayBuffer, pageSize: number) {
    this.#name = name;
    this.#base = pageSize;
    this.#size = (producer.byteLength - pageSize) / 2;
    this.#consumer = new BigUint64Array(consumer, 0, 1);
    this.#producer = new BigUint64Array(producer, 0, 1);
    this.#words = new Uint32Array(producer);
    this.#view = new DataView(producer);
    this.#position = Number(Atomics.load(this.#consumer, 0));
    this.#published = this.#position;
  }

  /**
   * Reads the committed records, at most `limit` and up to the position `until`, and frees their space, also
   * if a handler throws. Returns the number of records, discarded ones included; fewer than `limit` means
   * that none was ready. A handler may call `drain` and `release`.
   * @throws {CorruptRingError} for an invalid record, after which it skips the rest.
   */
  drain(
    onSample: RingSampleHandler,
    limit = Number.POSITIVE_INFINITY,
    until = Number.POSITIVE_INFINITY,
  ): number {
    let records = 0;
    try {
      while (records < limit) {
        const length = this.#next(until);
        if (length === undefined) {
          if (!this.#publish()) break;
          continue;
        }
        const at = this.#base + (this.#position % this.#size) + HEADER;
        this.#position += recordSize(length);
        records++;
        if ((length & DISCARD) === 0) onSample(this.#view, at, length & LENGTH);
        if (this.#position - this.#published >= this.#size / 4) this.#publish();
      }
    } finally {
      this.#publish();
    }
    return records;
  }

  /**
   * Reads the records up to the current position of the writers. Waits up to `waitMs` in all for records that
   * a program has reserved and not committed, and skips them after that. Returns the number of skipped ones.
   * @throws {CorruptRingError}
   */
  finish(onSample: RingSampleHandler, waitMs: number): number {
    const until = this.#readWritten();
    const deadline = uptime() + waitMs;
    let skipped = 0;
    for (;;) {
      this.drain(onSample, Number.POSITIVE_INFINITY, until);
      if (this.#released || this.#position >= until) return skipped;
      if (uptime() < deadline) continue;
      this.#position += recordSize(Atomics.load(this.#words, this.#word()));
      skipped++;
    }
  }

  /** Stops all access to the mappings. */
  release(): void {
    this.#released = true;
  }

  /** The position of the writers now. */
  #readWritten(): number {
    return this.#released ? this.#position : Number(Atomics.load(this.#producer, 0));
  }

  /** The index of the header at the position. */
  #word(): number {
    return (this.#base + (this.#position % this.#size)) / 4;
  }

  /** The length of the next record with its flags; undefined if there is none, or if it is not committed. */
  #next(until: number): number | undefined {
    // Acquire: after these loads, everything is visible that the program wrote before it committed.
    if (this.#position >= this.#written) this.#written = this.#readWritten();
    const end = Math.min(this.#written, until);
    const available = end - this.#position;
    if (available <= 0) return undefined;
    const length = Atomics.load(this.#words, this.#word());
    if (available <= this.#size && recordSize(length) <= available)
      return (length & BUSY) === 0 ? length : undefined;
    this.#position = end;
    throw new CorruptRingError(
      this.#name,
      available > this.#size
        ? `its writers are ${available} bytes ahead`
        : `a record of ${length & LENGTH} bytes, and ${available} are written`,
    );
  }

  /** Publishes the position, if it has moved. Returns whether it has. */
  #publish(): boolean {
    if (this.#released || this.#published === this.#position) return false;
    // Release: programs must not overwrite records before they are read.
    Atomics.store(this.#consumer, 0, BigInt(this.#position));
    this.#published = this.#position;
    return true;
  }
}

/** The size of a record with its header. The kernel rounds it up to 8 bytes. */
function recordSize(length: number): number {
  return Math.ceil(((length & LENGTH) + HEADER) / 8) * 8;
}
