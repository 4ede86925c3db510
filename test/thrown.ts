/** Exceptions, for tests that need more than `assert.throws`. */

/** Returns the error that `run` throws; fails if it throws none. */
export function thrown(run: () => unknown): Error {
  try {
    run();
  } catch (error) {
    if (error instanceof Error) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

/** Returns the error of the promise that `run` returns; fails if it has none. */
export async function rejected(run: () => Promise<unknown>): Promise<Error> {
  const result = await run().then(
    () => undefined,
    (error: unknown) => ({ error }),
  );
  return thrown(() => {
    if (result) throw result.error;
  });
}

/** The same as text: `Type: message`. */
export function thrownText(run: () => unknown): string {
  return String(thrown(run));
}
