/**
 * The last intervals of a live view, and the sum of their rows.
 */
import { Latencies } from '../aggregate/latencies.ts';
import {
  type Cell,
  isAnswer,
  type Key,
  type KeyPart,
  type Sample,
  type Snapshot,
} from '../aggregate/snapshot.ts';
import { cell } from '../text.ts';
import { threadNameCell } from '../thread-name.ts';

/** How far back a view looks, in ms. */
export const WINDOW_MS = 60_000;
/**
 * The most cells (a key with a result) that the intervals of a window have together; each takes 1.8 KB. With
 * more, the window becomes shorter.
 */
const MAX_CELLS = 40_000;
/** The number of slowest connects that a window keeps. */
const MAX_SLOWEST = 100;

/** The connects of a key in a window. */
export interface Entry {
  /** Distinguishes keys. */
  readonly id: string;
  readonly key: Key;
  /** The text of each part, safe for a terminal. */
  readonly texts: readonly string[];
  connects: number;
  /** Connects per second in the last interval. */
  perSecond: number;
  retransmits: number;
  /** The latencies of answered connects. */
  readonly answered: Latencies;
  /** The connects by result. */
  readonly results: Map<string, Result>;
  /** Connects that are not established. */
  failed: number;
  /** In ms; undefined if no connect was answered. */
  p50?: number | undefined;
  p90?: number | undefined;
  p99?: number | undefined;
  max?: number | undefined;
}

/** The connects of a key with the same result. */
export interface Result {
  count: number;
  /** The end of the last interval that has some, in ms since the epoch. */
  lastMs: number;
}

/** The sum of intervals. */
export interface Sums {
  /** The time that they cover, in ms. */
  readonly coveredMs: number;
  readonly entries: readonly Entry[];
  /** All entries together, without the results. */
  readonly total: Entry;
  /** The slowest connects, slowest first. */
  readonly slowest: readonly Sample[];
  /** Failed connects, last ones first. */
  readonly failed: readonly Sample[];
}

/** The most columns of a thread's name: 15 bytes, each of which may be shown as `\xNN`. */
const COMM_COLUMNS = 60;

const partText = (part: KeyPart, text: string) =>
  part === 'comm' ? threadNameCell(text, COMM_COLUMNS) : cell(text);

/** The result that is no failure. */
export const ESTABLISHED = 'established';

/** Appends an interval, and removes the oldest ones beyond the limits. */
export function withInterval(intervals: readonly Snapshot[], next: Snapshot): readonly Snapshot[] {
  const since = next.endMs - WINDOW_MS;
  let cells = cellsIn(next);
  const kept: Snapshot[] = [next];
  for (const interval of [...intervals].reverse()) {
    cells += cellsIn(interval);
    // An interval is shown as a whole. Timers are not exact: the window may be a little longer.
    if (cells > MAX_CELLS || (interval.startMs + interval.endMs) / 2 < since) break;
    kept.unshift(interval);
  }
  return kept;
}

function cellsIn({ rows }: Snapshot): number {
  return rows.reduce((sum, { results }) => sum + results.size, 0);
}

/** Adds up intervals; `last` is the one whose rate is shown. */
export function sumsOf(
  intervals: readonly Snapshot[],
  parts: readonly KeyPart[],
  last = intervals.at(-1),
): Sums {
  const entries = new Map<string, Entry>();
  for (const interval of intervals)
    for (const row of interval.rows) {
      const id = parts.map((part) => row.key[part]).join('\0');
      let entry = entries.get(id);
      if (entry === undefined) {
        entry = newEntry(
          id,
          row.key,
          parts.map((part) => partText(part, row.key[part] ?? '-')),
        );
        entries.set(id, entry);
      }
      for (const [result, cell] of row.results) addCell(entry, result, cell, interval, interval === last);
    }
  const list = [...entries.values()];
  const total = newEntry('', {}, []);
  for (const entry of list) {
    setPercentiles(entry);
    addTo(total, entry);
  }
  setPercentiles(total);
  const coveredMs = (intervals.at(-1)?.endMs ?? 0) - (intervals[0]?.startMs ?? 0);
  const slowest = intervals.flatMap((interval) => interval.slowest).sort((a, b) => b.lat_ms - a.lat_ms);
  const failed = [...intervals].reverse().flatMap((interval) => interval.failed);
  return { coveredMs, entries: list, total, slowest: slowest.slice(0, MAX_SLOWEST), failed };
}

function newEntry(id: string, key: Key, texts: readonly string[]): Entry {
  const counts = { connects: 0, perSecond: 0, retransmits: 0, failed: 0 };
  return { id, key, texts, ...counts, answered: new Latencies(), results: new Map() };
}

function addCell(
  entry: Entry,
  result: string,
  { latencies, retransmits }: Cell,
  { startMs, endMs }: Snapshot,
  isLast: boolean,
): void {
  const { count } = latencies;
  entry.connects += count;
  entry.retransmits += retransmits;
  if (result !== ESTABLISHED) entry.failed += count;
  if (isAnswer(result)) entry.answered.add(latencies);
  if (isLast && endMs > startMs) entry.perSecond += (1000 * count) / (endMs - startMs);
  const before = entry.results.get(result);
  if (before === undefined) entry.results.set(result, { count, lastMs: endMs });
  else {
    before.count += count;
    before.lastMs = Math.max(before.lastMs, endMs);
  }
}

/** Adds what the total of all entries has. */
function addTo(total: Entry, { connects, retransmits, failed, perSecond, answered }: Entry): void {
  total.connects += connects;
  total.retransmits += retransmits;
  total.failed += failed;
  total.perSecond += perSecond;
  total.answered.add(answered);
}

function setPercentiles(entry: Entry): void {
  const { answered } = entry;
  const quantile = (share: number) => {
    const ns = answered.quantileNs(share);
    return ns === undefined ? undefined : ns / 1e6;
  };
  entry.p50 = quantile(0.5);
  entry.p90 = quantile(0.9);
  entry.p99 = quantile(0.99);
  entry.max = answered.count === 0 ? undefined : answered.maxNs / 1e6;
}

/** The failures of a key with the same result. */
export interface Failure {
  readonly entry: Entry;
  readonly result: string;
  readonly count: number;
  readonly lastMs: number;
}

/** The failures of all keys, last ones first. */
export function failuresOf(entries: readonly Entry[]): Failure[] {
  const failures: Failure[] = [];
  for (const entry of entries)
    for (const [result, { count, lastMs }] of entry.results)
      if (result !== ESTABLISHED) failures.push({ entry, result, count, lastMs });
  return failures.sort((a, b) => b.lastMs - a.lastMs || b.count - a.count);
}

/** Whether a connect has a key. */
export function isOf({ key: own }: Sample, key: Key): boolean {
  return Object.entries(key).every(([part, text]) => own[part as KeyPart] === text);
}
