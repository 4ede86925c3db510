/** Sets of whole numbers, as ranges. */

/** From the first number to the last, both included. */
export type Range = readonly [first: number, last: number];

/** The same numbers as ranges that ascend, with a gap between each two. */
export function tidy(ranges: readonly Range[]): Range[] {
  const tidied: Range[] = [];
  for (const [first, last] of [...ranges].sort(([a], [b]) => a - b)) {
    const before = tidied.at(-1);
    if (before && first <= before[1] + 1) tidied.splice(-1, 1, [before[0], Math.max(before[1], last)]);
    else tidied.push([first, last]);
  }
  return tidied;
}

/** The numbers of `ranges` that are in none of `others`, tidy. */
export function without(ranges: readonly Range[], others: readonly Range[]): Range[] {
  let left = tidy(ranges);
  for (const [first, last] of others)
    left = left.flatMap(([from, to]): Range[] => {
      const parts: Range[] = [
        [from, Math.min(to, first - 1)],
        [Math.max(from, last + 1), to],
      ];
      // Where they don't meet, one of the parts is the whole.
      return last < from || first > to ? [[from, to]] : parts.filter(([a, b]) => a <= b);
    });
  return left;
}
