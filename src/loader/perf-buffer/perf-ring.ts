/**
 * The perf ring of one CPU: reads the records that the kernel writes into shared memory, in the order of
 * their times.
 *
 * A ring is nearly in order: only a program that interrupts another one, between the time that the other
 * takes and its output, writes the later record first. So a ring is read twice. `look` walks over its records
 * and finds the stragglers, which have an earlier time than a record before them. `drain` walks again and
 * delivers each straggler at its time. The records are read-only, so the ring remembers the
 * stragglers that it has delivered while records before them are held back.
 *
 * Source: man 2 perf_event_open (MMAP layout), kernel/events/ring_buffer.c.
 */
import { CorruptRingError } from '../errors.ts';
import { PageWord, RECORD_LOST, RECORD_SAMPLE } from '../perf-event.ts';
import { TimeOrder } from './time-order.ts';

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
/** The size of the number before a sample's bytes: how many they are. */
const COUNT = 4;
/** The largest 16-bit size in a header. */
const LARGEST_RECORD = 0xffff;
/** The size of PERF_RECORD_LOST in bytes. The kernel writes it together with the next sample after a loss. */
const LOST_RECORD = 24;

/** Returns the size of a sample's record in bytes. The kernel pads records to 8 bytes. */
export function recordSize(sampleBytes: number): number {
  return HEADER + Math.ceil((sampleBytes + COUNT) / 8) * 8;
}

/**
 * Whether samples of a size always fit a ring of `ringBytes`. A sample must fit an empty ring together with a
 * lost record: otherwise all samples after the first loss would be lost.
 */
export function fitsRing(sampleBytes: number, ringBytes: number, { count } = UNORDERED): boolean {
  const record = recordSize(sampleBytes) + count - HEADER;
  return record <= LARGEST_RECORD && record + LOST_RECORD < ringBytes;
}

/** The offsets of the parts of a sample, in bytes from the start of its record. */
export interface SampleLayout {
  /** The number of the sample's bytes, which follow it. */
  readonly count: number;
  /** The time that orders the records, a u64 in ns. A record that ends before it keeps its place. */
  readonly time: number;
}

/** Samples without a time: their order is that of the ring. */
const UNORDERED: SampleLayout = { count: HEADER, time: Number.POSITIVE_INFINITY };

/**
 * The layout of samples whose bytes have a time at the offset `timestamp`, or of samples that the kernel adds
 * a time to (PERF_SAMPLE_TIME).
 */
export function sampleLayout(timestamp: number | undefined): SampleLayout {
  if (timestamp === undefined) return { count: HEADER + 8, time: HEADER };
  return { count: HEADER, time: HEADER + COUNT + timestamp };
}

/** Reads one ring. It does not own the mapping: call `release` before unmapping it. */
export class PerfRing {
  readonly cpu: number;
  /**
   * The time of the next record, in ns relative to the order's time; Infinity if all records that the last
   * `look` found are read.
   */
  time = Number.POSITIVE_INFINITY;
  /** The number of records read so far, including those of unknown types. */
  read = 0;
  /** The number of lost samples that the records have reported. */
  lost = 0;
  readonly #control: BigUint64Array;
  readonly #words: Uint32Array;
  readonly #view: DataView;
  readonly #base: number;
  readonly #size: number;
  readonly #layout: SampleLayout;
  readonly #order: TimeOrder;
  /** A buffer for a record that wraps around the ring's end, allocated for the first one. */
  #scratch: DataView | undefined;
  #released = false;
  /** The tail at the last `look`, and its place in the ring. The positions below are distances from it. */
  #origin: bigint;
  #start = 0;
  /** The next record in the order of the ring, and its time. All records before it are read. */
  #at = 0;
  #timeAt = Number.POSITIVE_INFINITY;
  /** The end of the valid records. */
  #end = 0;
  /** The head. Beyond `#end` only if `#corrupt` is set. */
  #head = 0;
  /** How far the space is freed. */
  #freed = 0;
  /** The error for the rest of the ring. */
  #corrupt: CorruptRingError | undefined;
  /** The largest time before `#at`. Samples with smaller times are stragglers. */
  #largest = Number.NEGATIVE_INFINITY;
  /** The positions and times of the stragglers by time, and the next one of them. */
  #late: readonly number[] = [];
  #lateTimes: readonly number[] = [];
  #nextLate = 0;
  #lateTime = Number.POSITIVE_INFINITY;
  /** The positions after `#at` of stragglers that were delivered before this look. */
  #ahead: ReadonlySet<number> = new Set();
  /** The number of the last `look`. A drain that finds another number ends. */
  #looks = 0;

  /**
   * `mapping` is the kernel's control page and 2^n pages of data. Rings of one `order` are in order together.
   * Without a layout, the order is that of the ring. @throws {RangeError} if it is not a ring.
   */
  constructor(mapping: ArrayBuffer, cpu: number, layout = UNORDERED, order = new TimeOrder()) {
    this.cpu = cpu;
    this.#control = new BigUint64Array(mapping, 0, 256);
    this.#words = new Uint32Array(mapping);
    this.#view = new DataView(mapping);
    this.#base = Number(this.#control[PageWord.dataOffset]);
    this.#size = Number(this.#control[PageWord.dataSize]);
    this.#layout = layout;
    this.#order = order;
    const whole = this.#base + this.#size === mapping.byteLength;
    if (!whole || this.#size < HEADER || (this.#size & (this.#size - 1)) !== 0)
      throw new RangeError(
        `not a perf ring: ${this.#size} bytes of data at ${this.#base} in a mapping of ${mapping.byteLength} bytes`,
      );
    this.#origin = this.#control[PageWord.tail] ?? 0n;
  }

  /** Finds the records that the ring holds now. */
  look(): void {
    if (this.#released) return;
    // Acquire: after this load, everything is visible that the kernel wrote before it moved the head.
    const head = Atomics.load(this.#control, PageWord.head);
    this.#origin += BigInt(this.#at);
    this.#start = Number(this.#origin & BigInt(this.#size - 1));
    this.#head = Number(head - this.#origin);
    this.#freed -= this.#at;
    if (this.#ahead.size > 0 || this.#nextLate > 0) this.#keepAhead();
    this.#at = this.#end = 0;
    this.#corrupt = undefined;
    this.#looks++;
    if (this.#late.length > 0) this.#setLate([], []);
    if (this.#head > this.#size) this.#spoil(0, `its head is ${this.#head} bytes past its tail`);
    else if (this.#head > 0) this.#findStragglers();
    this.#largest = Number.NEGATIVE_INFINITY;
    this.#seek();
  }

  /**
   * Reads the records that the last `look` found, or looks if all of them are read: at most `limit`, and none
   * with a time after `until`. Returns the number of records. Frees their space, also if a handler throws, at
   * the limit or after the last record; `free` does it in between. A handler may call `look`, `drain` and
   * `release`.
   * @throws {CorruptRingError} for an invalid sample, which it skips, and for an invalid record, after which
   * it skips the rest of the ring.
   */
  drain(
    onSample: SampleHandler,
    onLost: LostHandler,
    limit = Number.POSITIVE_INFINITY,
    until = Number.MAX_VALUE,
  ): number {
    const before = this.read;
    if (this.time === Number.POSITIVE_INFINITY) this.look();
    const looks = this.#looks;
    try {
      while (this.time <= until && this.read - before < limit && this.#looks === looks)
        this.#next(onSample, onLost);
    } finally {
      if (this.time <= until || this.time === Number.POSITIVE_INFINITY) this.free();
    }
    return this.read - before;
  }

  /** Frees the space of the records that were read. */
  free(): void {
    if (this.#released || this.#freed === this.#at) return;
    // Release: the kernel must not overwrite records before they are read.
    Atomics.store(this.#control, PageWord.tail, this.#origin + BigInt(this.#at));
    this.#freed = this.#at;
  }

  /** Stops all access to the mapping. */
  release(): void {
    this.#released = true;
    this.#looks++;
    this.time = this.#timeAt = this.#lateTime = Number.POSITIVE_INFINITY;
  }

  /** Checks the records up to the head, and collects the stragglers by time. */
  #findStragglers(): void {
    const [words, mask, base, start, head] = [
      this.#words,
      this.#size - 1,
      this.#base,
      this.#start,
      this.#head,
    ];
    const late: number[] = [];
    const times: number[] = [];
    const isAhead = this.#ahead.size > 0;
    let largest = Number.NEGATIVE_INFINITY;
    let at = 0;
    while (at < head) {
      const word = (base + ((start + at) & mask)) >>> 2;
      const type = words[word] as number;
      const size = (words[word + 1] as number) >>> 16;
      if (size < HEADER || (size & 7) !== 0 || size > head - at) {
        this.#spoil(at, `a record of type ${type} has ${size} bytes`);
        break;
      }
      if (type === RECORD_SAMPLE && !(isAhead && this.#ahead.has(at))) {
        const time = this.#timeOf(at, size, largest);
        if (time >= largest) largest = time;
        else {
          late.push(at);
          times.push(time);
        }
      }
      at += size;
    }
    this.#end = at;
    this.#order.found(largest);
    if (late.length > 0) this.#setLate(late, times);
  }

  /** Remembers the stragglers that were delivered before their turn in the ring, for the next look. */
  #keepAhead(): void {
    const delivered = [...this.#ahead, ...this.#late.slice(0, this.#nextLate)];
    this.#ahead = new Set(delivered.filter((at) => at >= this.#at).map((at) => at - this.#at));
    this.#nextLate = 0;
  }

  /** Sorts the stragglers by time. The sort is stable, and fast for lists that are nearly sorted. */
  #setLate(late: readonly number[], times: readonly number[]): void {
    const order = late.map((_, index) => index);
    order.sort((a, b) => (times[a] as number) - (times[b] as number));
    this.#late = order.map((index) => late[index] as number);
    this.#lateTimes = order.map((index) => times[index] as number);
    this.#nextLate = 0;
    this.#lateTime = this.#lateTimes[0] ?? Number.POSITIVE_INFINITY;
  }

  /** Ends the valid records, after which the ring is corrupt. */
  #spoil(end: number, found: string): void {
    this.#end = end;
    this.#corrupt = new CorruptRingError(this.cpu, found);
  }

  /** Finds the next record in the order of the ring that is no straggler, from `#at` on. */
  #seek(): void {
    const [words, mask, base, start, end] = [this.#words, this.#size - 1, this.#base, this.#start, this.#end];
    let at = this.#at;
    // The error for the rest of the ring takes its turn like a record.
    let time = this.#corrupt ? this.#largest : Number.POSITIVE_INFINITY;
    for (let size = 0; at < end; at += size) {
      const word = (base + ((start + at) & mask)) >>> 2;
      const type = words[word] as number;
      size = (words[word + 1] as number) >>> 16;
      if (type === RECORD_SAMPLE) {
        const sampled = this.#timeOf(at, size, this.#largest);
        if (sampled < this.#largest || (this.#ahead.size > 0 && this.#ahead.has(at))) continue;
        time = this.#largest = sampled;
        break;
      }
      if (type === RECORD_LOST) {
        time = this.#largest;
        break;
      }
      this.read++;
    }
    this.#at = at;
    this.#timeAt = time;
    this.time = time <= this.#lateTime ? time : this.#lateTime;
  }

  /** Reads the next record. All positions are moved before the handler is called, which may drain again. */
  #next(onSample: SampleHandler, onLost: LostHandler): void {
    this.read++;
    const { time } = this;
    if (time < this.#timeAt) {
      const offset = this.#offset(this.#late[this.#nextLate++] as number);
      this.#lateTime = this.#lateTimes[this.#nextLate] ?? Number.POSITIVE_INFINITY;
      this.time = Math.min(this.#timeAt, this.#lateTime);
      this.#sample(offset, time, onSample);
      return;
    }
    const corrupt = this.#corrupt;
    if (corrupt && this.#at === this.#end) {
      this.#at = this.#end = this.#head;
      this.#corrupt = undefined;
      this.#seek();
      throw corrupt;
    }
    const offset = this.#offset(this.#at);
    const word = (this.#base + offset) >>> 2;
    this.#at += (this.#words[word + 1] as number) >>> 16;
    this.#seek();
    if (this.#words[word] === RECORD_SAMPLE) this.#sample(offset, time, onSample);
    else this.#reportLost(offset, onLost);
  }

  /** The place in the ring of a position. */
  #offset(at: number): number {
    return (this.#start + at) & (this.#size - 1);
  }

  /** The time of a sample; `otherwise` if its record ends before it. */
  #timeOf(at: number, size: number, otherwise: number): number {
    const time = this.#layout.time;
    if (time + 8 > size) return otherwise;
    const low = (this.#base + this.#offset(at + time)) >>> 2;
    const high = (this.#base + this.#offset(at + time + 4)) >>> 2;
    return this.#order.relative(this.#words[low] as number, this.#words[high] as number);
  }

  #sample(at: number, time: number, onSample: SampleHandler): void {
    this.#order.deliver(time);
    const { count } = this.#layout;
    const start = count + COUNT;
    const size = (this.#words[((this.#base + at) >>> 2) + 1] as number) >>> 16;
    const wraps = at + size > this.#size;
    const view = wraps ? this.#unwrapped(at, size) : this.#view;
    const offset = wraps ? 0 : this.#base + at;
    const bytes = size < start ? size : view.getUint32(offset + count, true);
    if (bytes > size - start)
      throw new CorruptRingError(
        this.cpu,
        `a sample of ${bytes} bytes in a record of ${size}`,
        'this sample',
      );
    onSample(view, offset + start, bytes, this.cpu);
  }

  #reportLost(at: number, onLost: LostHandler): void {
    const size = (this.#words[((this.#base + at) >>> 2) + 1] as number) >>> 16;
    if (size < LOST_RECORD)
      throw new CorruptRingError(this.cpu, `a lost record of ${size} bytes`, 'this record');
    const wraps = at + size > this.#size;
    const view = wraps ? this.#unwrapped(at, size) : this.#view;
    // The event's id and the count follow the header.
    const count = Number(view.getBigUint64((wraps ? 0 : this.#base + at) + HEADER + 8, true));
    this.lost += count;
    onLost(count, this.cpu);
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
