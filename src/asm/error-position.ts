/**
 * Whose mistake an error is: the message of one that comes out of this library ends with the author's line.
 */
import {
  capture,
  describePosition,
  FRAMES_OF_ERROR,
  type Locate,
  locate,
  type Position,
} from './position.ts';

/** What errors said before they were told where; also of those that are the author's own. */
const faults = new WeakMap<Error, string>();
/** The positions that messages end with. */
const positions = new WeakMap<Error, Position>();

/**
 * Lets the message of an error end with the author's line, once: that of `position`, as `find` reads it, or else the one that led here.
 * Gives the error back, to be thrown.
 */
export function withSourcePosition<E>(
  error: E,
  position: Position = capture(withSourcePosition, FRAMES_OF_ERROR),
  find: Locate = locate,
): E {
  if (!(error instanceof Error) || faults.has(error)) return error;
  const fault = error.message;
  const { stack } = error;
  faults.set(error, fault);
  positions.set(error, position);
  error.message = `${fault} (${describePosition(position, find)})`;
  // The trace begins with the message as it was when the error was made.
  if (stack !== undefined) error.stack = stack.replace(fault, () => error.message);
  return error;
}

/** The message of an error without the author's line. */
export function messageWithoutPosition(error: Error): string {
  return faults.get(error) ?? error.message;
}

/** The position that the error's message ends with; undefined for an error without one. */
export function sourcePositionOf(error: Error): Position | undefined {
  return positions.get(error);
}

/** Runs what an author asked for: an error that it throws points at their line. */
export function reportAtCaller<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw withSourcePosition(error, capture(reportAtCaller, FRAMES_OF_ERROR));
  }
}

/** Runs a function of the user's: an error that it throws is theirs, and stays as it is. */
export function userCode<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw fromUserCode(error);
  }
}

/**
 * Keeps the message of an error that a function of the user's threw as it is. Returns the error, to be
 * thrown.
 */
export function fromUserCode<E>(error: E): E {
  if (error instanceof Error && !faults.has(error)) faults.set(error, error.message);
  return error;
}
