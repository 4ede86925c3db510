/** All constructors of instructions. One call makes one instruction, a plain value. */
export * from './constructors/arithmetic.ts';
export * from './constructors/control.ts';
export * from './constructors/memory.ts';
export type { JumpTarget } from './operands.ts';
export type { Width } from './width.ts';
