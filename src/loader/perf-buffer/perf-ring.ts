/**
 * One CPU's perf ring: reading the records that the kernel writes into shared memory.
 *
 * Source: man 2 perf_event_open (MMAP layout), kernel/events/ring_buffer.c.
 */
import { CorruptRingError } from '../errors.ts';
import { PageWord, RECORD_LOST, RECORD_SAMPLE } from '../perf-event.ts';

/**
 * Gets a sample: `size` bytes, padding included, of `view` from `offset` on. They are the ring's own memory: to be read
 * before the function returns, never later.
 */
export type SampleHandler = (view: DataView, offset: number, size: number, cpu: number) => void;

/** Gets the number of samples that found a ring full. */
export type LostHandler = (count: number, cpu: number) => void;

/** Bytes of a record's header: type, misc, size. */
const HEADER = 8;
/** A sample's bytes follow the header and their own size. */
const SAMPLE_START = HEADER + 4;
/** The most that a header's 16-bit size can say. */
const LARGEST_RECORD = 0xffff;
/** Bytes of PERF_RECORD_LOST, which the kernel writes together with the sample after a loss. */
const LOST_RECORD = 24;

/**
 * Bytes that a sample takes in a ring; the kernel pads records to 8.
 */
export function recordSize(sampleBytes: number): number {
  return HEADER + Math.ceil((sampleBytes + 4) / 8) * 8;
}

/**
 * Whether samples of that size can always be written to a ring of `ringBytes`. One that fits into an empty ring only
 * without the note of a loss before it would be lost for ever after the first loss.
 */
export function fitsRing(sampleBytes: number, ringBytes: number): boolean {
  const record = recordSize(sampleBytes);
  return record <= LARGEST_RECORD && record + LOST_RECORD < ringBytes;
}

/** Reads one ring. It doesn't own the mapping: call `release` before that is unmapped. */
export class PerfRing {
  readonly cpu: number;
  readonly #control: BigUint64Array;
  readonly #words: Uint32Array;
  readonly #view: DataView;
  readonly #base: number;
  readonly #size: number;
  /** Where a record that wraps is put together, made when the first one does. */
  #scratch: DataView | undefined;
  #released = false;
  /** Bytes that a drain under way has read, its record in hand included. */
  #done = 0;
  /** Which drain it is: one that a handler starts takes over, and the one below it ends. */
  #turn = 0;

  /** `mapping` is a control page and 2^n pages of data, laid out as the kernel does. @throws {RangeError} where it isn't. */
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
        `${this.#size} bytes from byte ${this.#base} of ${mapping.byteLength} are no perf ring`,
      );
  }

  /**
   * Reads the records that are there, at most `limit`, and gives their room back to the kernel, once, at the
   * end, also when a handler throws. Returns how many were read; fewer than `limit` means that the ring was
   * empty. A handler may drain, and may release.
   * @throws {CorruptRingError} for an invalid sample, which it skips, and for an invalid record, after
   * which it skips the rest.
   */
  drain(onSample: SampleHandler, onLost: LostHandler, limit = Number.POSITIVE_INFINITY): number {
    if (this.#released) return 0;
    // Acquire: what the kernel wrote before it moved the head is visible after this.
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
        // Release: the kernel must not write over what is still being read.
        Atomics.store(this.#control, PageWord.tail, tail + BigInt(this.#done - before));
        this.#done = 0;
        this.#turn++;
      }
    }
  }

  /** From now on the mapping isn't touched. */
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
    const view = wraps ? this.#joined(at, size) : this.#view;
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
      throw new CorruptRingError(this.cpu, `a note of a loss of ${size} bytes`, 'this note');
    const wraps = at + size > this.#size;
    const view = wraps ? this.#joined(at, size) : this.#view;
    // After the header the event's id, then the count.
    onLost(Number(view.getBigUint64((wraps ? 0 : this.#base + at) + HEADER + 8, true)), this.cpu);
  }

  /** A copy of a record that goes on at the ring's beginning. */
  #joined(at: number, size: number): DataView {
    this.#scratch ??= new DataView(new ArrayBuffer(LARGEST_RECORD + 1));
    const ring = new Uint8Array(this.#view.buffer, this.#base, this.#size);
    const bytes = new Uint8Array(this.#scratch.buffer);
    const first = this.#size - at;
    bytes.set(ring.subarray(at), 0);
    bytes.set(ring.subarray(0, size - first), first);
    return this.#scratch;
  }
}
