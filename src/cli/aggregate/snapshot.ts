/**
 * The connects of one interval, aggregated by key: what the views and exporters show.
 */
import type { ConnectRecord } from '../record.ts';
import { Latencies } from './latencies.ts';

/** The parts of a key, in the order in which views show them. */
export const KEY_PARTS = ['dest', 'net', 'port', 'comm', 'pod', 'unit', 'container', 'user'] as const;
export type KeyPart = (typeof KEY_PARTS)[number];

/**
 * A key as text, with a property per part of `--by`: `{ dest: '192.0.2.1', port: '443' }`; `{}` for
 * `--by all`. A part that is not known is `-`. The parts other than `port` are `other` for connects whose key
 * had no room in the table.
 */
export type Key = { readonly [P in KeyPart]?: string };

/** The connects of a key that ended in the same way. */
export interface Cell {
  readonly latencies: Latencies;
  /** SYN retransmissions. */
  retransmits: number;
}

/** The connects of a key. */
export interface Row {
  readonly key: Key;
  /** By result, as in the RESULT column: `established`, `refused`, `timed-out`, or the name of an error. */
  readonly results: ReadonlyMap<string, Cell>;
}

/** One connect, with its key. */
export interface Sample extends ConnectRecord {
  readonly key: Key;
}

/** The connects of one interval. */
export interface Snapshot {
  /** When the interval began and ended, in ms since the epoch. */
  readonly startMs: number;
  readonly endMs: number;
  /** Sorted by number of connects, most first. */
  readonly rows: readonly Row[];
  /** The slowest connects of the interval, or a sample of them, slowest first. */
  readonly slowest: readonly Sample[];
  /** Failed connects: at most one for each key and result, and not for all if there are many. */
  readonly failed: readonly Sample[];
  /** Connects whose key had no room in the table; they are counted in the rows `other`. */
  readonly overflowed: number;
  /** Connects that are in no row, by cause: `[3, 'the table of connects in flight was full']`. */
  readonly losses: readonly (readonly [count: number, text: string])[];
}

/** Whether a result is an answer: established by a SYN-ACK, or refused. Every other result is a failure. */
export function isAnswer(result: string): boolean {
  return result === 'established' || result === 'refused' || result === 'rejected';
}

/** The connects of a row: faster than `totalsOf`, which adds up histograms. */
export function connectsOf({ results }: Row): number {
  let connects = 0;
  for (const { latencies } of results.values()) connects += latencies.count;
  return connects;
}

/** The connects of an interval. */
export function connectsIn({ rows }: Snapshot): number {
  return rows.reduce((sum, row) => sum + connectsOf(row), 0);
}

/** How messages describe connects whose key had no room, after their number. */
export const COUNTED_AS_OTHER = 'counted as other (too many keys; increase --max-keys)';

/** The numbers of a row, over all results. */
export interface Totals {
  /** The latencies of answered connects. Not to be changed: they may be those of a result. */
  readonly answered: Latencies;
  /** All connects, also failures. */
  readonly connects: number;
  readonly retransmits: number;
  /** The failures by result, most first. */
  readonly failures: readonly (readonly [result: string, count: number])[];
}

export function totalsOf({ results }: Row): Totals {
  let answered: Latencies | undefined;
  let isSum = false;
  const failures: [result: string, count: number][] = [];
  let connects = 0;
  let retransmits = 0;
  for (const [result, cell] of results) {
    connects += cell.latencies.count;
    retransmits += cell.retransmits;
    if (!isAnswer(result)) failures.push([result, cell.latencies.count]);
    else if (answered === undefined) answered = cell.latencies;
    else {
      if (!isSum) answered = sumOf(answered);
      isSum = true;
      answered.add(cell.latencies);
    }
  }
  return {
    answered: answered ?? new Latencies(),
    connects,
    retransmits,
    failures: failures.sort(([, a], [, b]) => b - a),
  };
}

/** A copy that others can be added to. */
function sumOf(latencies: Latencies): Latencies {
  const sum = new Latencies();
  sum.add(latencies);
  return sum;
}
