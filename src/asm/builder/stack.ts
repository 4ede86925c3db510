/**
 * Stack memory: the slots of the open blocks, and the bytes that have been written.
 *
 * The kernel allows a privileged program to use unwritten stack bytes, which may leak old data. The builder
 * does not allow that.
 */
import { type Position, withLineInParentheses } from '../position.ts';

/** MAX_BPF_STACK, include/linux/filter.h. */
const STACK_SIZE = 512;

/** Memory whose bytes must be written before they are read. */
export interface TrackedMemory {
  readonly name: string;
  readonly size: number;
}

/** The use of a slot, for names and messages. */
export interface SlotUse {
  /** The name of the memory in messages: `stack`. */
  readonly name: string;
  /** The content and its size: `struct of 160 bytes`. */
  readonly content: string;
  /** The advice in the error for a full stack. */
  readonly remedy?: string;
}

/** A range of the stack frame. It belongs to the block that allocated it, and is free after that block. */
export class StackSlot implements TrackedMemory {
  readonly name: string;
  readonly content: string;
  readonly size: number;
  /** Bytes from r10; negative. */
  readonly offset: number;
  /** The statement that allocated it. */
  readonly position: Position | undefined;

  constructor({ name, content }: SlotUse, size: number, offset: number, position: Position | undefined) {
    this.name = name;
    this.content = content;
    this.size = size;
    this.offset = offset;
    this.position = position;
  }
}

const REMEDY =
  'Reserve large memory in a block of its own (b.block frees it), or use a value of a perCpuArray';

/** The stack frame of one program or subprogram, and the memory of its caller that it must fill. */
export class Stack {
  #used = 0;
  /** A flag per byte of each tracked memory: 1 if the byte has been written. */
  #written = new Map<TrackedMemory, Uint8Array>();

  /**
   * Allocates `size` bytes at an offset that is a multiple of `align` plus `skew`. The copy of a span that
   * starts at an unaligned offset needs the skew, so that its fields are aligned as in the original.
   *
   * Throws RangeError if the stack is full; the message lists the slots in use.
   */
  allocate(
    size: number,
    align: number,
    skew: number,
    use: SlotUse & { readonly position: Position | undefined },
  ): StackSlot {
    const start = Math.ceil((this.#used + size + skew) / align) * align;
    if (start > STACK_SIZE) throw this.#full(use);
    this.#used = start;
    const slot = new StackSlot(use, size, skew - start, use.position);
    this.track(slot);
    return slot;
  }

  #full({ content, remedy = REMEDY }: SlotUse): RangeError {
    const slots = [...this.#written.keys()].filter((memory) => memory instanceof StackSlot);
    const uses = slots.map(({ content, position }) => withLineInParentheses(content, position));
    const inUse = uses.length === 0 ? '' : `. In use: ${uses.join(', ')}`;
    return new RangeError(
      `no stack space for ${content}: ${STACK_SIZE - this.#used} of ${STACK_SIZE} bytes are free${inUse}. ${remedy}`,
    );
  }

  /** Starts to track which bytes of this memory have been written. All bytes count as unwritten. */
  track(memory: TrackedMemory): void {
    this.#written.set(memory, new Uint8Array(memory.size));
  }

  /** Whether the block that allocated the slot is still open. */
  has(slot: StackSlot): boolean {
    return this.#written.has(slot);
  }

  /** Marks bytes as written. */
  write(memory: TrackedMemory, offset: number, size: number): void {
    this.#written.get(memory)?.fill(1, offset, offset + size);
  }

  /** The index, from `offset`, of the first unwritten byte among `size` bytes; -1 if all are written. */
  firstUnwritten(memory: TrackedMemory, offset: number, size: number): number {
    return (
      this.#written
        .get(memory)
        ?.subarray(offset, offset + size)
        .indexOf(0) ?? -1
    );
  }

  /** Marks `size` bytes at `offset` from r10 as written, in all slots that they overlap. */
  writeAt(offset: number, size: number): void {
    for (const { slot, start, end } of this.#slotsAt(offset, size)) this.write(slot, start, end - start);
  }

  /**
   * Finds the first unwritten byte of a slot among `size` bytes at `offset` from r10. `byte` counts from the
   * slot.
   */
  unwrittenAt(offset: number, size: number): { readonly slot: StackSlot; readonly byte: number } | undefined {
    for (const { slot, start, end } of this.#slotsAt(offset, size)) {
      const at = this.firstUnwritten(slot, start, end - start);
      if (at >= 0) return { slot, byte: start + at };
    }
    return undefined;
  }

  /**
   * The slots that overlap `size` bytes at `offset` from r10; `start` and `end` of the overlap count from the
   * slot.
   */
  *#slotsAt(offset: number, size: number): Generator<{ slot: StackSlot; start: number; end: number }> {
    for (const slot of this.#written.keys()) {
      if (!(slot instanceof StackSlot)) continue;
      const start = Math.max(0, offset - slot.offset);
      const end = Math.min(slot.size, offset + size - slot.offset);
      if (start < end) yield { slot, start, end };
    }
  }

  /** Finds the first byte that is written here but not in `other`. */
  writtenOnlyHere(other: Stack): { readonly memory: TrackedMemory; readonly offset: number } | undefined {
    for (const [memory, flags] of this.#written) {
      const others = other.#written.get(memory);
      const offset = flags.findIndex((written, at) => written === 1 && others?.[at] !== 1);
      if (offset >= 0) return { memory, offset };
    }
    return undefined;
  }

  /** Returns an independent copy. */
  copy(): Stack {
    const stack = new Stack();
    stack.#used = this.#used;
    stack.#written = new Map([...this.#written].map(([memory, flags]) => [memory, flags.slice()]));
    return stack;
  }

  /**
   * Joins the written bytes of an arm into this state, which is from before the branch. The flags of the
   * first arm replace the current ones; every further arm clears the flags of the bytes that it has not
   * written.
   */
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
