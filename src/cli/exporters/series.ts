/**
 * Cumulative series for exporters: the connects since the start, by key and result. Their number is limited.
 *
 * A key without room is counted in a series `other` of its result. A new key replaces the series that
 * was idle for the longest time, if that is at least `IDLE_MS`. A series whose key returns after that
 * starts from 0, which readers of counters take for a restart. Counters never decrease while a series exists.
 */
import { Latencies } from '../aggregate/latencies.ts';
import { type Cell, KEY_PARTS, type Key, type KeyPart, type Snapshot } from '../aggregate/snapshot.ts';

/** The connects of a key with one result, since `startMs`. */
export interface Series {
  readonly key: Key;
  readonly result: string;
  readonly latencies: Latencies;
  /** SYN retransmissions. */
  readonly retransmits: number;
  /** The start of the first interval with a connect, in ms since the epoch. */
  readonly startMs: number;
}

/** How long a series has no connects before another one may take its room, in ms. */
export const IDLE_MS = 15 * 60_000;

/** The name in keys and results for what has no room. */
export const OTHER = 'other';

/** Series `other` that always have room: there are fewer results than that in practice. */
const RESERVED = 8;
/** The dropped series that are remembered, so that each counts once. */
const MAX_REMEMBERED = 10_000;

interface Entry extends Series {
  retransmits: number;
  /** The end of the last interval with a connect. */
  lastMs: number;
}

export class SeriesStore implements Iterable<Series> {
  /** The most series, including those of `other`. */
  readonly limit: number;
  /** Connects that were counted in `other` because their series had no room here. */
  overflowed = 0;
  /** Connects whose key had no room in the kernel's table. */
  overflowedInKernel = 0;
  /** Series that had no room. A series that returns much later may count again. */
  dropped = 0;
  /** Series that were removed because they were idle and another one needed their room. */
  evicted = 0;
  /** By identity, least recently used first. */
  readonly #series = new Map<string, Entry>();
  readonly #others = new Map<string, Entry>();
  readonly #remembered = new Set<string>();
  readonly #forOthers: number;

  constructor(limit: number) {
    this.limit = limit;
    this.#forOthers = Math.min(RESERVED, Math.ceil(limit / 4));
  }

  get size(): number {
    return this.#series.size + this.#others.size;
  }

  *[Symbol.iterator](): Iterator<Series> {
    yield* this.#series.values();
    yield* this.#others.values();
  }

  /** Adds the connects of an interval. */
  add({ rows, startMs, endMs, overflowed }: Snapshot): void {
    this.overflowedInKernel += overflowed;
    for (const { key, results } of rows)
      for (const [result, cell] of results)
        if (cell.latencies.count > 0) addTo(this.#entry(key, result, cell, { startMs, endMs }), cell, endMs);
  }

  #entry(key: Key, result: string, { latencies: { count } }: Cell, interval: Interval): Entry {
    if (isOther(key)) return this.#other(key, result, interval);
    const id = identity(key, result);
    const found = this.#series.get(id);
    if (found) {
      this.#series.delete(id);
      this.#series.set(id, found);
      return found;
    }
    if (this.#hasRoom(interval.endMs)) {
      const entry = newEntry(key, result, interval);
      this.#series.set(id, entry);
      this.#remembered.delete(id);
      return entry;
    }
    this.overflowed += count;
    if (!this.#remembered.has(id)) {
      if (this.#remembered.size === MAX_REMEMBERED) this.#remembered.clear();
      this.#remembered.add(id);
      this.dropped += 1;
    }
    return this.#other(key, result, interval);
  }

  /** Whether a series has room, if necessary in place of an idle one. */
  #hasRoom(nowMs: number): boolean {
    if (this.#series.size < this.limit - this.#forOthers) return true;
    const [oldest] = this.#series;
    if (oldest === undefined || oldest[1].lastMs > nowMs - IDLE_MS) return false;
    this.#series.delete(oldest[0]);
    this.evicted += 1;
    return true;
  }

  /** The series `other` of a result; of all further results, if there are too many. */
  #other(key: Key, result: string, interval: Interval): Entry {
    const found = this.#others.get(result);
    if (found) return found;
    const parts = otherKey(key);
    // Without parts, as with --by all, only the result distinguishes the series from those with room.
    const name = isOther(parts) && this.#others.size < this.#forOthers - 1 ? result : OTHER;
    const entry = this.#others.get(name) ?? newEntry(parts, name, interval);
    this.#others.set(name, entry);
    return entry;
  }
}

type Interval = Pick<Snapshot, 'startMs' | 'endMs'>;

function newEntry(key: Key, result: string, { startMs, endMs }: Interval): Entry {
  return { key, result, latencies: new Latencies(), retransmits: 0, startMs, lastMs: endMs };
}

function addTo(entry: Entry, { latencies, retransmits }: Cell, endMs: number): void {
  entry.latencies.add(latencies);
  entry.retransmits += retransmits;
  entry.lastMs = endMs;
}

/** The parts of a key in their fixed order. */
export function partsOf(key: Key): [part: KeyPart, value: string][] {
  return KEY_PARTS.flatMap((part) => (key[part] === undefined ? [] : [[part, key[part]]]));
}

function identity(key: Key, result: string): string {
  return JSON.stringify([result, ...partsOf(key)]);
}

/** Whether every part of a key is `other`; false for `--by all`. */
function isOther(key: Key): boolean {
  const parts = partsOf(key);
  return parts.length > 0 && parts.every(([, value]) => value === OTHER);
}

function otherKey(key: Key): Key {
  return Object.fromEntries(partsOf(key).map(([part]) => [part, OTHER]));
}
