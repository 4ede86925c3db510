/**
 * What somebody may have meant: names like a misspelt one.
 */

/** How many names a message can take. */
const MOST = 3;
/** Longer words are not compared: that takes time, and a long word is rarely a typing error. */
const LONGEST = 64;
/** The most names that are compared: more than a kernel has functions. */
const MOST_COMPARED = 500_000;

/**
 * Up to three of the names that are most like the wanted one, the most similar first. Of a path only its last
 * part is compared, so that a name which lies deeper than was thought is found too.
 */
export function nearest(wanted: string, names: Iterable<string>): string[] {
  if (wanted.length > LONGEST) return [];
  const lower = wanted.toLowerCase();
  const scored: { name: string; score: number }[] = [];
  let left = MOST_COMPARED;
  for (const name of names) {
    const last = lastPart(name);
    if (last.length > 2 * LONGEST) continue;
    const score = unlikeness(lower, last.toLowerCase());
    if (score !== undefined) scored.push({ name, score });
    if (--left === 0) break;
  }
  // Sorting is stable: of equals those stay first that came first.
  scored.sort((a, b) => a.score - b.score || a.name.length - b.name.length);
  return [...new Set(scored.map(({ name }) => name))].slice(0, MOST);
}

/** What a message about a name that isn't there ends with: `; nearest: a, b`, or nothing. */
export function describeNearest(wanted: string, names: Iterable<string>): string {
  return listNearest(nearest(wanted, names));
}

/** The same of names that have been chosen. */
export function listNearest(near: readonly string[]): string {
  return near.length === 0 ? '' : `; nearest: ${near.join(', ')}`;
}

function lastPart(path: string): string {
  return path.slice(path.lastIndexOf('.') + 1);
}

/** 0 for the same; 1 and more the more they differ; undefined where they have too little in common. */
function unlikeness(wanted: string, name: string): number | undefined {
  if (wanted === name) return 0;
  // `daddr` for `skc_daddr`: prefixes are what is forgotten most.
  if (wanted.length >= 3 && (name.endsWith(wanted) || name.startsWith(wanted))) return 1;
  const tolerated = Math.max(1, Math.floor(wanted.length / 3));
  if (Math.abs(wanted.length - name.length) > tolerated) return undefined;
  return editDistance(wanted, name, tolerated);
}

/**
 * The number of characters to insert, delete or replace to turn one into the other (Levenshtein); undefined
 * if above `most`.
 */
function editDistance(a: string, b: string, most: number): number | undefined {
  let [previous, row] = ROWS;
  for (let j = 0; j <= b.length; j++) previous[j] = j;
  for (let i = 1; i <= a.length; i++) {
    row[0] = i;
    let least = i;
    for (let j = 1; j <= b.length; j++) {
      const replaced = (previous[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const distance = Math.min(replaced, (previous[j] as number) + 1, (row[j - 1] as number) + 1);
      row[j] = distance;
      if (distance < least) least = distance;
    }
    if (least > most) return undefined;
    [previous, row] = [row, previous];
  }
  const distance = previous[b.length] as number;
  return distance > most ? undefined : distance;
}

/** Two rows of distances, longer than the longest name that is compared. */
const ROWS: readonly [Uint8Array, Uint8Array] = [new Uint8Array(256), new Uint8Array(256)];
