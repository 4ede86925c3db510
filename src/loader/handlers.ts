/** Calls of the user's handlers: an exception of a handler never stops the work that called it. */
import { throwAll } from './resources.ts';

/** Reports an error, so that the work can continue. Never throws. */
export type Report = (error: unknown) => void;

/** The user's `onError`. */
type OnError = ((error: unknown) => void) | undefined;

/**
 * Reports the errors of work that the event loop started to `onError`. Without it, or if it throws, the error
 * is thrown from the event loop: `uncaughtException` gets the thrown object itself.
 */
export function reportLater(onError: OnError): Report {
  return reportTo(onError, (error) => {
    setImmediate(() => {
      throw error;
    });
  });
}

/**
 * Runs work that a caller waits for, and reports its errors to `onError`. Without it, or if it throws, the
 * errors are thrown after the work: one as it is, several as an `AggregateError`.
 */
export function throwAtEnd(onError: OnError, work: (report: Report) => void): void {
  const errors: unknown[] = [];
  try {
    work(reportTo(onError, (error) => errors.push(error)));
  } catch (error) {
    errors.push(error);
  }
  throwAll(errors);
}

function reportTo(onError: OnError, otherwise: (error: unknown) => void): Report {
  return (error) => {
    if (!onError) {
      otherwise(error);
      return;
    }
    try {
      onError(error);
    } catch (thrown) {
      otherwise(thrown);
    }
  };
}

/** Wraps a handler: its exceptions go to `report`. Without a handler, the result does nothing. */
export function guarded<A extends unknown[]>(
  handler: ((...args: A) => void) | undefined,
  report: Report,
): (...args: A) => void {
  return (...args) => {
    try {
      handler?.(...args);
    } catch (error) {
      report(error);
    }
  };
}
