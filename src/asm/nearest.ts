/**
 * What somebody may have meant: names like a misspelt one.
 */

/** How many names a message can take. */
const MOST = 3;

/**
 * Up to three of the names that are most like the wanted one, the most similar first. Of a path only its last
 * part is compared, so that a name which lies deeper than was thought is found too.
 */
export function nearest(wanted: string, names: Iterable<string>): string[] {
  const scored: { name: string; score: number }[] = [];
  for (const name of names) {
    const score = unlikeness(wanted.toLowerCase(), lastPart(name).toLowerCase());
    if (score !== undefined) scored.push({ name, score });
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
  const distance = editDistance(wanted, name);
  return distance > tolerated ? undefined : distance;
}

/** The number of characters to insert, delete or replace to come from one to the other (Levenshtein). */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(replaced, (previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1));
    }
    previous = row;
  }
  return previous[b.length] ?? 0;
}
