/**
 * A snapshot as JSON lines: an object for each row, then one for each of the slowest connects.
 */
import { FIRST_BUCKET, OVERFLOW_SLOT, UNDERFLOW_SLOT } from '../../programs/latency-buckets.ts';
import { jsonLine } from '../json.ts';
import { formatTime } from '../record/wall-clock.ts';
import { type FieldOptions, fieldsShown } from '../record.ts';
import { jsonText } from '../text.ts';
import type { Latencies } from './latencies.ts';
import { type Cell, type Row, type Snapshot, totalsOf } from './snapshot.ts';

/** Formats snapshots, line by line. `options` select the fields of the slowest connects. */
export function snapshotLines(options: FieldOptions): (snapshot: Snapshot) => Generator<string> {
  const fields = fieldsShown({ ...options, outcome: 'all' });
  return function* (snapshot) {
    const times = { start: timeOf(snapshot.startMs), end: timeOf(snapshot.endMs) };
    for (const row of snapshot.rows) yield `${jsonText(rowObject(row, times))}\n`;
    for (const record of snapshot.slowest) yield jsonLine(record, fields);
  };
}

/** The object of a row. Latencies are in ms, and `null` if no connect was answered. */
function rowObject(row: Row, times: { readonly start: string; readonly end: string }): object {
  const { answered, connects, retransmits } = totalsOf(row);
  const quantile = (share: number) => inMs(answered.quantileNs(share));
  return {
    start: times.start,
    end: times.end,
    key: row.key,
    count: connects,
    retransmits,
    p50_ms: quantile(0.5),
    p90_ms: quantile(0.9),
    p99_ms: quantile(0.99),
    max_ms: answered.count === 0 ? null : inMs(answered.maxNs),
    results: Object.fromEntries([...row.results].map(([result, cell]) => [result, cellObject(cell)])),
  };
}

/** A time of day in the form of records. */
function timeOf(ms: number): string {
  return formatTime(BigInt(ms) * 1_000_000n);
}

function cellObject({ latencies, retransmits }: Cell): object {
  const { count, sumNs, minNs, maxNs } = latencies;
  return {
    count,
    retransmits,
    sum_ms: inMs(sumNs),
    min_ms: inMs(minNs),
    max_ms: inMs(maxNs),
    ...bucketsOf(latencies),
  };
}

/** The buckets with connects, as pairs of an OpenTelemetry index (scale 3) and a count. */
function bucketsOf({ slots }: Latencies): object {
  const [below, above] = [slots[UNDERFLOW_SLOT] ?? 0, slots[OVERFLOW_SLOT] ?? 0];
  const buckets: [index: number, count: number][] = [];
  for (let slot = UNDERFLOW_SLOT + 1; slot < OVERFLOW_SLOT; slot++) {
    const count = slots[slot] ?? 0;
    if (count > 0) buckets.push([FIRST_BUCKET + slot - 1, count]);
  }
  return { buckets, ...(below > 0 && { below }), ...(above > 0 && { above }) };
}

function inMs(ns: number): number;
function inMs(ns: number | undefined): number | null;
function inMs(ns: number | undefined): number | null {
  return ns === undefined ? null : ns / 1e6;
}
