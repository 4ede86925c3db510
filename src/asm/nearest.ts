/** Similar names, for messages about a name that does not exist. */

/** The number of names in a message. */
const MOST = 3;
/** Longer words are not compared: that takes time, and a long word is rarely a typing error. */
const MAX_LENGTH = 64;
/** The maximum number of compared names: more than a kernel has functions. */
const MAX_COMPARED = 500_000;

/**
 * Returns up to three names that are similar to the wanted one, the most similar first. Only the last part of
 * a path is compared, so that a name at a deeper level is found too.
 */
export function nearest(wanted: string, names: Iterable<string>): string[] {
  if (wanted.length > MAX_LENGTH) return [];
  const lower = wanted.toLowerCase();
  const scored: { name: string; score: number }[] = [];
  let left = MAX_COMPARED;
  for (const name of names) {
    const last = lastPart(name);
    if (last.length > 2 * MAX_LENGTH) continue;
    const score = dissimilarity(lower, last.toLowerCase());
    if (score !== undefined) scored.push({ name, score });
    if (--left === 0) break;
  }
  // The sort is stable: names with the same score keep their order.
  scored.sort((a, b) => a.score - b.score || a.name.length - b.name.length);
  return [...new Set(scored.map(({ name }) => name))].slice(0, MOST);
}

/** The end of a message about an unknown name: `; nearest: a, b`, or nothing. */
export function describeNearest(wanted: string, names: Iterable<string>): string {
  return listNearest(nearest(wanted, names));
}

/** The same for names that are already chosen. */
export function listNearest(near: readonly string[]): string {
  return near.length === 0 ? '' : `; nearest: ${near.join(', ')}`;
}

function lastPart(path: string): string {
  return path.slice(path.lastIndexOf('.') + 1);
}

/** 0 for equal names, more for less similar ones, undefined if they have too little in common. */
function dissimilarity(wanted: string, name: string): number | undefined {
  if (wanted === name) return 0;
  // Prefixes are often forgotten: `daddr` for `skc_daddr`.
  if (wanted.length >= 3 && (name.endsWith(wanted) || name.startsWith(wanted))) return 1;
  const tolerated = Math.max(1, Math.floor(wanted.length / 3));
  if (Math.abs(wanted.length - name.length) > tolerated) return undefined;
  return editDistance(wanted, name, tolerated);
}

/**
 * The number of characters to insert, delete or replace (Levenshtein distance); undefined if it is above
 * `limit`.
 */
function editDistance(a: string, b: string, limit: number): number | undefined {
  let [previous, row] = ROWS;
  for (let j = 0; j <= b.length; j++) previous[j] = j;
  for (let i = 1; i <= a.length; i++) {
    row[0] = i;
    let smallest = i;
    for (let j = 1; j <= b.length; j++) {
      const replaced = (previous[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const distance = Math.min(replaced, (previous[j] as number) + 1, (row[j - 1] as number) + 1);
      row[j] = distance;
      if (distance < smallest) smallest = distance;
    }
    if (smallest > limit) return undefined;
    [previous, row] = [row, previous];
  }
  const distance = previous[b.length] as number;
  return distance > limit ? undefined : distance;
}

/** Two rows of distances, longer than the longest compared name. */
const ROWS: readonly [Uint8Array, Uint8Array] = [new Uint8Array(256), new Uint8Array(256)];
