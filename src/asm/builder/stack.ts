/**
 * What a program knows of its memory: the stack slots of the blocks that are open, and which bytes have been written.
 *
 * The kernel lets a privileged program pass unwritten bytes on, and with them old content of the stack. The builder does not.
 */
import type { Position } from '../position.ts';

/** MAX_BPF_STACK, include/linux/filter.h. */
const STACK_SIZE = 512;

/** Memory whose bytes have to be written before they are read. */
export interface TrackedMemory {
  readonly name: string;
  readonly size: number;
}

/** A piece of the frame. It belongs to the block that made it. */
export class StackSlot implements TrackedMemory {
  readonly name: string;
  readonly size: number;
  /** Bytes from r10, so negative. */
  readonly offset: number;
  /** The statement that made it. */
  readonly position: Position | undefined;

  constructor(name: string, size: number, offset: number, position: Position | undefined) {
    this.name = name;
    this.size = size;
    this.offset = offset;
    this.position = position;
  }
}

/** The frame of one program or subprogram, and the memory that its caller wants filled. */
export class Stack {
  #used = 0;
  /** What can be used, with a flag for each byte that has been written. */
  #written = new Map<TrackedMemory, Uint8Array>();

  /**
   * Hands out `size` bytes, at an offset that is a multiple of `align` plus `skew` (for a copy of something that does not start on an
   * aligned offset itself).
   */
  allocate(
    size: number,
    align: number,
    skew: number,
    { name, position }: { readonly name: string; readonly position: Position | undefined },
  ): StackSlot {
    const start = Math.ceil((this.#used + size + skew) / align) * align;
    if (start > STACK_SIZE)
      throw new RangeError(
        `${name} takes ${size} bytes of stack; ${STACK_SIZE - this.#used} of ${STACK_SIZE} are left`,
      );
    this.#used = start;
    const slot = new StackSlot(name, size, skew - start, position);
    this.track(slot);
    return slot;
  }

  /** From now on the bytes of that memory have to be written before they are read. */
  track(memory: TrackedMemory): void {
    this.#written.set(memory, new Uint8Array(memory.size));
  }

  /** Whether the block that made a slot is still open. */
  has(slot: StackSlot): boolean {
    return this.#written.has(slot);
  }

  /** Notes that these bytes are written. */
  write(memory: TrackedMemory, offset: number, size: number): void {
    this.#written.get(memory)?.fill(1, offset, offset + size);
  }

  /** The first of `size` bytes at `offset` that hasn't been written, counted from `offset`; -1 if all have. */
  firstUnwritten(memory: TrackedMemory, offset: number, size: number): number {
    return (
      this.#written
        .get(memory)
        ?.subarray(offset, offset + size)
        .indexOf(0) ?? -1
    );
  }

  /** Notes that the bytes of slots among `size` bytes at `offset` from r10 are written. */
  writeAt(offset: number, size: number): void {
    for (const { slot, start, end } of this.#slotsAt(offset, size)) this.write(slot, start, end - start);
  }

  /** The first unwritten byte of a slot among `size` bytes at `offset` from r10, counted from the slot's first byte. */
  unwrittenAt(offset: number, size: number): { readonly slot: StackSlot; readonly byte: number } | undefined {
    for (const { slot, start, end } of this.#slotsAt(offset, size)) {
      const at = this.firstUnwritten(slot, start, end - start);
      if (at >= 0) return { slot, byte: start + at };
    }
    return undefined;
  }

  /** The slots that `size` bytes at `offset` from r10 overlap, each with the common bytes, counted from its first byte. */
  *#slotsAt(offset: number, size: number): Generator<{ slot: StackSlot; start: number; end: number }> {
    for (const slot of this.#written.keys()) {
      if (!(slot instanceof StackSlot)) continue;
      const start = Math.max(0, offset - slot.offset);
      const end = Math.min(slot.size, offset + size - slot.offset);
      if (start < end) yield { slot, start, end };
    }
  }

  /** The first byte that is written here and not in `other`; undefined if there is none. */
  writtenOnlyHere(other: Stack): { readonly memory: TrackedMemory; readonly offset: number } | undefined {
    for (const [memory, flags] of this.#written) {
      const others = other.#written.get(memory);
      const offset = flags.findIndex((written, at) => written === 1 && others?.[at] !== 1);
      if (offset >= 0) return { memory, offset };
    }
    return undefined;
  }

  /** A copy, which changes independently. */
  copy(): Stack {
    const stack = new Stack();
    stack.#used = this.#used;
    stack.#written = new Map([...this.#written].map(([memory, flags]) => [memory, flags.slice()]));
    return stack;
  }

  /** Takes over the flags of an arm for the memory from before it: all of them from the first arm, then only common ones. */
  keepWrittenIn(arm: Stack, first: boolean): void {
    for (const [memory, flags] of this.#written) {
      const others = arm.#written.get(memory);
      for (let i = 0; i < flags.length; i++) {
        const written = others?.[i] ?? 0;
        flags[i] = first ? written : (flags[i] ?? 0) & written;
      }
    }
  }
}
