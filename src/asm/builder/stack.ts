/**
 * The 512 bytes below r10: what has been handed out, and which bytes have been written.
 *
 * The kernel lets a privileged program pass unwritten bytes on, and with them whatever lay there before.
 * The builder doesn't.
 */

/** MAX_BPF_STACK, include/linux/filter.h. */
const STACK_SIZE = 512;

/** The frame of one program or subprogram. Offsets are from r10, so negative; sizes are bytes. */
export class Stack {
  /** Bytes handed out. */
  #used = 0;
  /** One flag a byte; index 0 is the byte at r10-512. */
  #written = new Uint8Array(STACK_SIZE);

  /**
   * Hands out `size` bytes and returns their offset from r10, a multiple of `align`, plus `skew` (for a
   * copy of something that doesn't start on an aligned offset itself).
   */
  allocate(size: number, align: number, skew: number, name: string): number {
    const start = Math.ceil((this.#used + size + skew) / align) * align;
    if (start > STACK_SIZE)
      throw new RangeError(
        `${name} takes ${size} bytes of stack; ${STACK_SIZE - this.#used} of ${STACK_SIZE} are left`,
      );
    this.#used = start;
    const offset = skew - start;
    this.#written.fill(0, STACK_SIZE + offset, STACK_SIZE + offset + size);
    return offset;
  }

  /** Notes that these bytes are written. */
  write(offset: number, size: number): void {
    this.#written.fill(1, STACK_SIZE + offset, STACK_SIZE + offset + size);
  }

  /** The first of `size` bytes at `offset` that hasn't been written, counted from `offset`; -1 if all have. */
  firstUnwritten(offset: number, size: number): number {
    return this.#written.subarray(STACK_SIZE + offset, STACK_SIZE + offset + size).indexOf(0);
  }

  /** The same, to go on by itself. */
  copy(): Stack {
    const stack = new Stack();
    stack.#used = this.#used;
    stack.#written = this.#written.slice();
    return stack;
  }

  /** Takes over the flags of an arm: all of them from the first, from a further one only what both have. */
  keepWrittenIn(arm: Stack, first: boolean): void {
    for (let i = 0; i < STACK_SIZE; i++)
      this.#written[i] = first ? (arm.#written[i] ?? 0) : (this.#written[i] ?? 0) & (arm.#written[i] ?? 0);
  }
}
