/** The memory of a ring buffer as the kernel has it, written by the test instead of a program. */
import { FakeSyscalls } from '../fake.ts';

export const PAGE = 4096;
export const BUSY = 0x8000_0000;
export const DISCARD = 0x4000_0000;

/** A ring buffer whose data appears twice in a row, as in the mapping of the kernel. */
export class FakeRingBuffer {
  readonly consumer = new ArrayBuffer(PAGE);
  readonly producer: ArrayBuffer;
  readonly #size: number;
  readonly #view: DataView;

  /** Both positions begin at `start`. */
  constructor(size: number, start = 0) {
    this.#size = size;
    this.producer = new ArrayBuffer(PAGE + 2 * size);
    this.#view = new DataView(this.producer);
    new DataView(this.consumer).setBigUint64(0, BigInt(start), true);
    this.written = start;
  }

  /** The position that the reader has published. */
  get read(): number {
    return Number(new DataView(this.consumer).getBigUint64(0, true));
  }

  get written(): number {
    return Number(this.#view.getBigUint64(0, true));
  }

  set written(position: number) {
    this.#view.setBigUint64(0, BigInt(position), true);
  }

  /** Reserves a record that contains `value` and is `size` bytes long. Returns its position. */
  reserve(value: number, size = 8, flags = BUSY): number {
    const at = this.written;
    this.word(at, size + flags);
    this.word(at + 8, value);
    this.written = at + Math.ceil((8 + size) / 8) * 8;
    return at;
  }

  /** Commits a reserved record. */
  commit(at: number, size = 8, flags = 0): void {
    this.word(at, size + flags);
  }

  /** Writes a committed record. */
  write(value: number, size = 8): void {
    this.reserve(value, size, 0);
  }

  /** Writes a word at a position, in both copies of the data. */
  word(position: number, value: number): void {
    const at = PAGE + (position % this.#size);
    this.#view.setUint32(at, value, true);
    this.#view.setUint32(at < PAGE + this.#size ? at + this.#size : at - this.#size, value, true);
  }
}

/** System calls with one ring buffer, the first map. */
export function fakeWith(ring: FakeRingBuffer): FakeSyscalls {
  const fake = new FakeSyscalls();
  fake.onMmap = (_, length, offset) => {
    if (offset === 0) return length === PAGE ? ring.consumer : undefined;
    return offset === PAGE && length === ring.producer.byteLength ? ring.producer : undefined;
  };
  return fake;
}
