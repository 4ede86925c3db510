/** Lists and deletes the entries of a map, with turns of the event loop between them. */
import type { Chunk } from './batch.ts';

/** The longest time without the event loop, in ms, and the entries after which it is checked. */
const [LONGEST, ENTRIES_PER_CHECK] = [5, 64];

/**
 * Lists `entry` of each entry of the chunks. An async generator would do the same, but takes three times as
 * long for each entry.
 */
export function paced<T>(
  chunks: Generator<Chunk, void, undefined>,
  entry: (chunk: Chunk, at: number) => T,
): AsyncIterableIterator<T, undefined, undefined> {
  let since = performance.now();
  let chunk: Chunk | undefined;
  let at = 0;
  /** The next entry, or undefined if the event loop should be checked first. */
  const step = (): IteratorResult<T, undefined> | undefined => {
    if (chunk !== undefined && at < chunk.count) return { done: false, value: entry(chunk, at++) };
    const next = chunks.next();
    if (next.done) return { done: true, value: undefined };
    chunk = next.value;
    at = 0;
    return undefined;
  };
  const next = (): Promise<IteratorResult<T, undefined>> => {
    try {
      for (;;) {
        if (at % ENTRIES_PER_CHECK === 0 && performance.now() - since > LONGEST)
          return new Promise((resolve) => setImmediate(resolve)).then(() => {
            since = performance.now();
            return next();
          });
        const result = step();
        if (result) return Promise.resolve(result);
      }
    } catch (error) {
      return Promise.reject(error);
    }
  };
  return {
    next,
    return() {
      chunks.return();
      chunk = undefined;
      return Promise.resolve({ done: true, value: undefined });
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** Does `work` for each entry of the chunks. */
export async function inTurns(
  chunks: Generator<Chunk, void, undefined>,
  work: (chunk: Chunk, at: number) => void,
): Promise<void> {
  let since = performance.now();
  const pause = async (): Promise<void> => {
    if (performance.now() - since <= LONGEST) return;
    await new Promise((resolve) => setImmediate(resolve));
    since = performance.now();
  };
  for (const chunk of chunks) {
    for (let at = 0; at < chunk.count; at++) {
      if (at % ENTRIES_PER_CHECK === 0) await pause();
      work(chunk, at);
    }
    if (chunk.count === 0) await pause();
  }
}
