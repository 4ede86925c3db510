/** Errors of `assemble`. Their messages end with the user's source line. */
import { TsbpfError } from './error.ts';
import { withSourcePosition } from './error-position.ts';
import type { Position } from './position.ts';

/**
 * The list of instructions is not a valid program. The message ends with the source line of the instruction.
 *
 * @example
 * import { AssembleError, assemble, ja, mov, r0 } from 'tsbpf/asm';
 *
 * try {
 *   assemble([mov(r0, 0), ja('end')]);
 * } catch (error) {
 *   if (error instanceof AssembleError) console.log(error.slot, error.reason); // 1, undefined label 'end'
 * }
 */
export class AssembleError extends TsbpfError {
  override readonly name = 'AssembleError';
  override readonly code = 'ERR_ASSEMBLE';
  /** The message without slot and source line. */
  readonly reason: string;
  /**
   * The slot of the invalid instruction; undefined if the list as a whole is invalid, or has no slots yet.
   */
  readonly slot: number | undefined;
  /** The source line of the instruction, if it has one. */
  readonly position: Position | undefined;

  /** The message ends with `position` or, without one, with the line that calls `assemble`. */
  constructor(reason: string, slot?: number, position?: Position) {
    super(atSlot(reason, slot));
    this.reason = reason;
    this.slot = slot;
    this.position = position;
    withSourcePosition(this, position);
  }
}

/**
 * A label is out of reach of its jump: more than 32768 slots away. `gotol` reaches any label (Linux 6.6).
 *
 * @example
 * import { assemble, exit, ja, label, mov, ReachError, r0 } from 'tsbpf/asm';
 *
 * try {
 *   assemble([ja('end'), ...Array.from({ length: 40_000 }, () => mov(r0, 0)), label('end'), exit()]);
 * } catch (error) {
 *   if (error instanceof ReachError) console.log(error.reason);
 * }
 */
export class ReachError extends TsbpfError {
  override readonly name = 'ReachError';
  override readonly code = 'ERR_JUMP_RANGE';
  /** The message without slot and source line. */
  readonly reason: string;
  /** The slot of the jump. */
  readonly slot: number;
  /** The source line of the jump, if it has one. */
  readonly position: Position | undefined;

  constructor(reason: string, slot: number, position?: Position) {
    super(atSlot(reason, slot));
    this.reason = reason;
    this.slot = slot;
    this.position = position;
    withSourcePosition(this, position);
  }
}

function atSlot(message: string, slot: number | undefined): string {
  return slot === undefined ? message : `slot ${slot}: ${message}`;
}
