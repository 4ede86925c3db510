/** Numbers that depend on a seed alone. */

/** A generator of numbers from 0 up to, but without, 1 (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

/** Picks an item; a weight of 2 makes an item twice as likely as a weight of 1. */
export function pick<T>(
  random: () => number,
  items: readonly T[],
  weightOf: (item: T) => number = () => 1,
): T {
  let left = random() * items.reduce((total, item) => total + weightOf(item), 0);
  for (const item of items) {
    left -= weightOf(item);
    if (left < 0) return item;
  }
  return items[items.length - 1] as T;
}
