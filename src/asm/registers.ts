/**
 * The registers by name. Source: RFC 9669, section 2; the calling convention is the kernel's.
 */
import type { Register } from './instruction.ts';

function register(number: number): Register {
  return Object.freeze({ register: number });
}

/** The return value of helpers, subprograms and the program itself. */
export const r0 = register(0);
/** The first argument; at the start of a program its context. A call leaves r1 to r5 unreadable. */
export const r1 = register(1);
/** The second argument. */
export const r2 = register(2);
/** The third argument. */
export const r3 = register(3);
/** The fourth argument. */
export const r4 = register(4);
/** The fifth argument. */
export const r5 = register(5);
/** Kept across calls, as are r7, r8 and r9. */
export const r6 = register(6);
/** Kept across calls. */
export const r7 = register(7);
/** Kept across calls. */
export const r8 = register(8);
/** Kept across calls. */
export const r9 = register(9);
/** The frame pointer: the end of 512 bytes of stack, addressed by negative offsets, never written. */
export const r10 = register(10);
/** Another name of r10. */
export const fp = r10;
