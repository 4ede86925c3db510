/**
 * Errors of assembling: their messages end with the user's line.
 */
import { TsbpfError } from './error.ts';
import { withSourcePosition } from './error-position.ts';
import type { Position } from './position.ts';

/** A list that makes no program. */
export class AssembleError extends TsbpfError {
  override readonly name = 'AssembleError';
  override readonly code = 'ERR_ASSEMBLE';
  /** What is wrong, without the place. */
  readonly reason: string;
  /** The wrong instruction; undefined if the list as a whole is wrong, or is not laid out yet. */
  readonly slot: number | undefined;
  /** The user's line, if the instruction has one. */
  readonly position: Position | undefined;

  /** The message ends with the line of `position` or, without one, the line that has the list assembled. */
  constructor(reason: string, slot?: number, position?: Position) {
    super(at(reason, slot));
    this.reason = reason;
    this.slot = slot;
    this.position = position;
    withSourcePosition(this, position);
  }
}

/** A label that is too far for its jump. */
export class ReachError extends TsbpfError {
  override readonly name = 'ReachError';
  override readonly code = 'ERR_JUMP_RANGE';
  /** What is wrong, without the place. */
  readonly reason: string;
  readonly slot: number;
  /** The user's line, if the instruction has one. */
  readonly position: Position | undefined;

  constructor(reason: string, slot: number, position?: Position) {
    super(at(reason, slot));
    this.reason = reason;
    this.slot = slot;
    this.position = position;
    withSourcePosition(this, position);
  }
}

function at(message: string, slot: number | undefined): string {
  return slot === undefined ? message : `slot ${slot}: ${message}`;
}
