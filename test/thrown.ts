/** What a piece of work throws, for tests that look at it closer than `assert.throws` does. */

/** Runs it, and gives back the error that it threw. Fails where it threw none. */
export function thrown(run: () => unknown): Error {
  try {
    run();
  } catch (error) {
    if (error instanceof Error) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** The same as text: `Type: message`. */
export function thrownText(run: () => unknown): string {
  return String(thrown(run));
}
