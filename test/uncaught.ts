/** Exceptions that reach the event loop, in tests that expect some. */
import type { Suite } from './harness.ts';

/**
 * Collects what reaches `uncaughtException` during each test of the suite, in place of the listeners that uvu has. The list is
 * emptied before each test.
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

/** What a function throws; undefined if it returns. */
export function caught(run: () => void): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}
