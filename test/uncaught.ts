/** Exceptions that reach the event loop, for tests that expect some. */
import type { Suite } from './harness.ts';

/**
 * Collects the exceptions that reach `uncaughtException` during each test of the suite, instead of uvu's
 * listeners. The list is cleared before each test.
 */
export function uncaughtIn(test: Suite): unknown[] {
  const uncaught: unknown[] = [];
  const others = process.listeners('uncaughtException');
  test.before.each(() => {
    uncaught.length = 0;
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', (error) => uncaught.push(error));
  });
  test.after.each(() => {
    process.removeAllListeners('uncaughtException');
    for (const listener of others) process.on('uncaughtException', listener);
  });
  return uncaught;
}

/** The value that a function throws; undefined if it returns. */
export function caught(run: () => void): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}
