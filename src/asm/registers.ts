/**
 * The registers. Source: RFC 9669, section 2; the calling convention is the kernel's.
 */
import type { Register } from './instruction.ts';

function register(number: number): Register {
  return Object.freeze({ register: number });
}

/**
 * The result of a helper, of a subprogram and of the program.
 *
 * @example
 * import { exit, mov, r0 } from 'tsbpf/asm';
 * const program = [mov(r0, 0), exit()];
 */
export const r0 = register(0);

/**
 * The first argument of a call; at the start of a program, its context. A call leaves r1 to r5 unreadable.
 *
 * @example
 * import { mov, r1, r6 } from 'tsbpf/asm';
 * mov(r6, r1); // keeps the context across calls
 */
export const r1 = register(1);

/** The second argument of a call. A call leaves it unreadable. */
export const r2 = register(2);

/** The third argument of a call. A call leaves it unreadable. */
export const r3 = register(3);

/** The fourth argument of a call. A call leaves it unreadable. */
export const r4 = register(4);

/** The fifth argument of a call. A call leaves it unreadable. */
export const r5 = register(5);

/** A general register that keeps its value across calls, as r7, r8 and r9 do. */
export const r6 = register(6);

/** A general register that keeps its value across calls. */
export const r7 = register(7);

/** A general register that keeps its value across calls. */
export const r8 = register(8);

/** A general register that keeps its value across calls. */
export const r9 = register(9);

/**
 * The frame pointer: the end of the 512 bytes of stack, which are at negative offsets. It is read-only.
 *
 * @example
 * import { r10, st } from 'tsbpf/asm';
 * st({ size: 8 }, r10, -8, 0); // zeroes the last 8 bytes of the stack
 */
export const r10 = register(10);

/** The frame pointer, another name of r10. */
export const fp = r10;
