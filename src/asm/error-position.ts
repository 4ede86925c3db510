/**
 * Source positions of errors: the message of an error that this library throws ends with the line of the
 * user's code that caused it. An error that a function of the user throws keeps its message.
 */
import {
  capture,
  FRAMES_OF_ERROR,
  type Locate,
  locate,
  type Position,
  withLineInParentheses,
} from './position.ts';

/**
 * The messages of errors without their source lines. Errors of the user's functions are in it too: they get
 * none.
 */
const faults = new WeakMap<Error, string>();
/** The positions at the end of messages. */
const positions = new WeakMap<Error, Position>();

/**
 * Appends a source line to the message of an error, at most once: the line of `position`, as `find` reads it.
 * By default it is the line of the user's code that called the library. An unknown line is left out. Returns
 * the error, for `throw`.
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
  error.message = withLineInParentheses(fault, position, find);
  // The trace begins with the message as it was when the error was made.
  if (stack !== undefined) error.stack = stack.replace(fault, () => error.message);
  return error;
}

/** The message of an error without the source line at its end. */
export function messageWithoutPosition(error: Error): string {
  return faults.get(error) ?? error.message;
}

/** The position at the end of the error's message; undefined for an error without one. */
export function sourcePositionOf(error: Error): Position | undefined {
  return positions.get(error);
}

/** Runs work for the user's code. An error that it throws gets the source line of the caller. */
export function reportAtCaller<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw withSourcePosition(error, capture(reportAtCaller, FRAMES_OF_ERROR));
  }
}

/** Runs a function of the user. An error that it throws keeps its message. */
export function userCode<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw fromUserCode(error);
  }
}

/**
 * Marks an error of a user's function, so that its message stays as it is. Returns the error, for `throw`.
 */
export function fromUserCode<E>(error: E): E {
  if (error instanceof Error && !faults.has(error)) faults.set(error, error.message);
  return error;
}
