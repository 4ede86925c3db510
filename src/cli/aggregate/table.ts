/**
 * A snapshot as a table: a line for each key, with the failures by kind and percentiles of the latencies.
 */
import { RESULTS } from '../json.ts';
import { cell } from '../text.ts';
import { columnsOf, padded } from '../width.ts';
import { KEY_PARTS, type KeyPart, type Row, type Snapshot, totalsOf } from './snapshot.ts';

/** The text of a latency that is not known: no connect was answered. */
const NONE = '-';

/** The results that are no failure. All others have a column, once a connect had them. */
const ESTABLISHED = 'established';

/** Formats the snapshots of one run as lines. Columns that have appeared or grown stay. */
export function summaryTable(parts: readonly KeyPart[]): (snapshot: Snapshot) => string[] {
  const kinds = new Set<string>();
  const widths = new Map<string, number>();
  return ({ rows }) => {
    for (const { results } of rows) for (const kind of results.keys()) kinds.add(kind);
    kinds.delete(ESTABLISHED);
    const failures = [...kinds].sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
    const shownParts = KEY_PARTS.filter((part) => parts.includes(part));
    const columns = [
      ...shownParts.map((part) => ({ title: part.toUpperCase(), isText: true })),
      ...['COUNT', ...failures.map((kind) => kind.toUpperCase()), 'RETR'].map(number),
      ...['p50(ms)', 'p90(ms)', 'p99(ms)', 'MAX(ms)'].map(number),
    ];
    const lines = [
      columns.map(({ title }) => title),
      ...rows.map((row) => [
        ...shownParts.map((part) => cell(row.key[part] ?? NONE)),
        ...numbersOf(row, failures),
      ]),
    ];
    const cells = columns.map(({ title, isText }, i) => {
      let width = widths.get(title) ?? 0;
      for (const line of lines) width = Math.max(width, columnsOf(line[i] ?? ''));
      widths.set(title, width);
      return (text: string) => (isText ? padded(text, width) : text.padStart(width));
    });
    return lines.map(
      (line) =>
        `${cells
          .map((pad, i) => pad(line[i] ?? ''))
          .join(' ')
          .trimEnd()}\n`,
    );
  };
}

const number = (title: string) => ({ title, isText: false });

/** The order of the results: as in the manual, then errors by name. */
function rank(kind: string): number {
  const at = RESULTS.indexOf(kind);
  return at < 0 ? RESULTS.length : at;
}

function numbersOf(row: Row, kinds: readonly string[]): string[] {
  const { answered, connects, retransmits } = totalsOf(row);
  const quantile = (share: number) => milliseconds(answered.quantileNs(share));
  return [
    String(connects),
    ...kinds.map((kind) => String(row.results.get(kind)?.latencies.count ?? 0)),
    String(retransmits),
    ...[0.5, 0.9, 0.99].map(quantile),
    milliseconds(answered.count === 0 ? undefined : answered.maxNs),
  ];
}

function milliseconds(ns: number | undefined): string {
  return ns === undefined ? NONE : (ns / 1e6).toFixed(3);
}
