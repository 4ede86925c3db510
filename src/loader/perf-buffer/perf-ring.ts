/**
 * The perf ring of one CPU: reads the records that the kernel writes into shared memory.
 *
 * Source: man 2 perf_event_open (MMAP layout), kernel/events/ring_buffer.c.
 */
import { CorruptRingError } from '../errors.ts';
import { PageWord, RECORD_LOST, RECORD_SAMPLE } from '../perf-event.ts';

/**
 * Receives a sample: `size` bytes of `view` at `offset`, padding included. They are the memory of the ring,
 * so read them before the function returns.
 *
 * @example
 * ```ts
 * import type { SampleHandler } from 'tsbpf';
 *
 * const onSample: SampleHandler = (view, offset, _size, cpu) => {
 *   console.log(`pid ${view.getUint32(offset, true)} on CPU ${cpu}`);
 * };
 * onSample(new DataView(new ArrayBuffer(4)), 0, 4, 0);
 * ```
 */
export type SampleHandler = (view: DataView, offset: number, size: number, cpu: number) => void;

/**
 * Receives the number of samples that were lost because the ring of a CPU was full.
 *
 * @example
 * ```ts
 * import type { LostHandler } from 'tsbpf';
 *
 * const onLost: LostHandler = (count, cpu) => console.warn(`${count} events lost on CPU ${cpu}`);
 * onLost(3, 0);
 * ```
 */
export type LostHandler = (count: number, cpu: number) => void;

/** The size of a record's header in bytes: type, misc, size. */
const HEADER = 8;
/** The offset of a sample's bytes: they follow the header and their size. */
const SAMPLE_START = HEADER + 4;
/** The largest 16-bit size in a header. */
const LARGEST_RECORD = 0xffff;
/** The size of PERF_RECORD_LOST in bytes. The kernel writes it together with the next sample after a loss. */
const LOST_RECORD = 24;

/** Returns the size of a sample's record in bytes. The kernel pads records to 8 bytes. */
export function recordSize(sampleBytes: number): number {
  return HEADER + Math.ceil((sampleBytes + 4) / 8) * 8;
}

/**
 * Whether samples of a size always fit a ring of `ringBytes`. A sample must fit an empty ring together with a
 * lost record: otherwise all samples after the first loss would be lost.
 */
export function fitsRing(sampleBytes: number, ringBytes: number): boolean {
  const record = recordSize(sampleBytes);
  return record <= LARGEST_RECORD && record + LOST_RECORD < ringBytes;
}

/** Reads one ring. It does not own the mapping: call `release` before unmapping it. */
export class PerfRing {
  readonly cpu: number;
  readonly #control: BigUint64Array;
  readonly #words: Uint32Array;
  readonly #view: DataView;
  readonly #base: number;
  readonly #size: number;
  /** A buffer for a record that wraps around the ring's end, allocated for the first one. */
  #scratch: DataView | undefined;
  #released = false;
  /** The bytes that the current drain has read, its current record included. */
  #done = 0;
  /**
   * The number of the current drain. If a handler starts another one, that continues and the outer one ends.
   */
  #turn = 0;

  /** `mapping` is the kernel's control page and 2^n pages of data. @throws {RangeError} if it is not. */
  constructor(mapping: ArrayBuffer, cpu: number) {
    this.cpu = cpu;
    this.#control = new BigUint64Array(mapping, 0, 256);
    this.#words = new Uint32Array(mapping);
    this.#view = new DataView(mapping);
    this.#base = Number(this.#control[PageWord.dataOffset]);
    this.#size = Number(this.#control[PageWord.dataSize]);
    const whole = this.#base + this.#size === mapping.byteLength;
    if (!whole || this.#size < HEADER || (this.#size & (this.#size - 1)) !== 0)
      throw new RangeError(
        `not a perf ring: ${this.#size} bytes of data at ${this.#base} in a mapping of ${mapping.byteLength} bytes`,
      );
  }

  /**
   * Reads the records in the ring, at most `limit`, and frees their space at the end, also if a handler
   * throws. Returns the number of records; fewer than `limit` means that the ring was empty. A handler may
   * call `drain` and `release`.
   * @throws {CorruptRingError} for an invalid sample, which it skips, and for an invalid record, after which
   * it skips the rest of the ring.
   */
  drain(onSample: SampleHandler, onLost: LostHandler, limit = Number.POSITIVE_INFINITY): number {
    if (this.#released) return 0;
    // Acquire: after this load, everything is visible that the kernel wrote before it moved the head.
    const head = Atomics.load(this.#control, PageWord.head);
    const tail = (this.#control[PageWord.tail] ?? 0n) + BigInt(this.#done);
    const available = Number(head - tail);
    if (available === 0) return 0;
    const [before, turn] = [this.#done, ++this.#turn];
    try {
      if (available > this.#size) {
        this.#done = before + available;
        throw new CorruptRingError(this.cpu, `its head is ${available} bytes past its tail`);
      }
      return this.#records(Number(tail & BigInt(this.#size - 1)), available, limit, onSample, onLost);
    } finally {
      if (this.#turn === turn) {
        // Release: the kernel must not overwrite records before they are read.
        Atomics.store(this.#control, PageWord.tail, tail + BigInt(this.#done - before));
        this.#done = 0;
        this.#turn++;
      }
    }
  }

  /** Stops all access to the mapping. */
  release(): void {
    this.#released = true;
    this.#turn++;
  }

  #records(
    start: number,
    available: number,
    limit: number,
    onSample: SampleHandler,
    onLost: LostHandler,
  ): number {
    const [before, turn] = [this.#done, this.#turn];
    let records = 0;
    for (let done = 0; done < available && records < limit && this.#turn === turn; records++) {
      const at = (start + done) & (this.#size - 1);
      const word = (this.#base + at) >>> 2;
      const type = this.#words[word] as number;
      const size = (this.#words[word + 1] as number) >>> 16;
      if (size < HEADER || (size & 7) !== 0 || size > available - done) {
        this.#done = before + available;
        throw new CorruptRingError(this.cpu, `a record of type ${type} has ${size} bytes`);
      }
      done += size;
      this.#done = before + done;
      if (type === RECORD_SAMPLE) this.#sample(at, size, onSample);
      else if (type === RECORD_LOST) this.#lost(at, size, onLost);
    }
    return records;
  }

  #sample(at: number, size: number, onSample: SampleHandler): void {
    const wraps = at + size > this.#size;
    const view = wraps ? this.#unwrapped(at, size) : this.#view;
    const offset = wraps ? 0 : this.#base + at;
    const bytes = size < SAMPLE_START ? size : view.getUint32(offset + HEADER, true);
    if (bytes > size - SAMPLE_START)
      throw new CorruptRingError(
        this.cpu,
        `a sample of ${bytes} bytes in a record of ${size}`,
        'this sample',
      );
    onSample(view, offset + SAMPLE_START, bytes, this.cpu);
  }

  #lost(at: number, size: number, onLost: LostHandler): void {
    if (size < LOST_RECORD)
      throw new CorruptRingError(this.cpu, `a lost record of ${size} bytes`, 'this record');
    const wraps = at + size > this.#size;
    const view = wraps ? this.#unwrapped(at, size) : this.#view;
    // The event's id and the count follow the header.
    onLost(Number(view.getBigUint64((wraps ? 0 : this.#base + at) + HEADER + 8, true)), this.cpu);
  }

  /** Copies a record that wraps around the ring's end. */
  #unwrapped(at: number, size: number): DataView {
    this.#scratch ??= new DataView(new ArrayBuffer(LARGEST_RECORD + 1));
    const ring = new Uint8Array(this.#view.buffer, this.#base, this.#size);
    const bytes = new Uint8Array(this.#scratch.buffer);
    const first = this.#size - at;
    bytes.set(ring.subarray(at), 0);
    bytes.set(ring.subarray(0, size - first), first);
    return this.#scratch;
  }
}
