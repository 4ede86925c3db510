/**
 * The histogram of a key on the screen: as many lines as fit, each with a range of latencies.
 */
import { OVERFLOW_SLOT, SLOT_COUNT, UNDERFLOW_SLOT, upperBoundNs } from '../../programs/latency-buckets.ts';
import type { Latencies } from '../aggregate/latencies.ts';
import { type Line, right, span } from './line.ts';

/** The buckets of a line: the finest that fits is used. All divide the buckets of some powers of two. */
const PER_LINE = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/** The columns from which on the share of each line is shown. */
const WITH_SHARES = 60;

interface Range {
  /** The slots, without the last. */
  readonly from: number;
  readonly to: number;
  readonly count: number;
}

/** The lines of a histogram, as many as fit. */
export function histogramLines(
  latencies: Latencies,
  { columns, rows }: { readonly columns: number; readonly rows: number },
): Line[] {
  const ranges = rangesFor(latencies, rows);
  const most = Math.max(...ranges.map(({ count }) => count));
  const countWidth = String(most).length;
  const texts = ranges.map(({ from, to }) => [bound(from - 1), bound(to - 1)] as const);
  const width = Math.max(...texts.flat().map((text) => text.length));
  const marks = marksOf(latencies, ranges);
  const marksWidth = Math.max(...marks.map((mark) => mark.length));
  const hasShares = columns >= WITH_SHARES;
  const room = Math.max(1, columns - (2 * width + countWidth + (hasShares ? 20 : 12) + marksWidth));
  return ranges.map(({ count }, i) => {
    const [from, to] = texts[i] ?? ['', ''];
    const share = (100 * count) / latencies.count;
    return [
      span(`  ${right(from, width)} – ${right(to, width)} ms  `, 'dim'),
      span(`${String(count).padStart(countWidth)} `),
      span(hasShares ? `${share.toFixed(1).padStart(5)} % ` : '', 'dim'),
      span(bar(count / most, room), 'bar'),
      span(marks[i] ? ` ${marks[i]}` : '', 'title'),
    ];
  });
}

/** A bar in steps of half a column. Every count has one. */
export function bar(share: number, columns: number): string {
  const halves = share === 0 ? 0 : Math.max(1, Math.round(share * columns * 2));
  return '█'.repeat(Math.floor(halves / 2)) + (halves % 2 === 1 ? '▌' : '');
}

/** The ranges from the first one with connects to the last one. */
function rangesFor({ slots }: Latencies, rows: number): Range[] {
  let first = slots.findIndex((count) => count > 0);
  let last = slots.findLastIndex((count) => count > 0);
  if (first < 0) [first, last] = [UNDERFLOW_SLOT, UNDERFLOW_SLOT];
  let ranges: Range[] = [];
  for (const size of PER_LINE) {
    ranges = [];
    // Bucket 1 is the first of a power of two. The slots at the ends have ranges of their own.
    let from = first === UNDERFLOW_SLOT ? UNDERFLOW_SLOT : first - ((first - 1) % size);
    while (from <= last) {
      const isEnd = from === UNDERFLOW_SLOT || from === OVERFLOW_SLOT;
      const to = isEnd ? from + 1 : Math.min(from + size, OVERFLOW_SLOT, SLOT_COUNT);
      let count = 0;
      for (let slot = from; slot < to; slot++) count += slots[slot] ?? 0;
      ranges.push({ from, to, count });
      from = to;
    }
    if (ranges.length <= rows) break;
  }
  return ranges;
}

/** The names of the percentiles in each range. */
function marksOf(latencies: Latencies, ranges: readonly Range[]): string[] {
  const marks = ranges.map((): string[] => []);
  for (const [name, share] of [
    ['p50', 0.5],
    ['p90', 0.9],
    ['p99', 0.99],
  ] as const) {
    const rank = Math.max(1, Math.ceil(share * latencies.count));
    let seen = 0;
    const at = ranges.findIndex(({ count }) => {
      seen += count;
      return seen >= rank;
    });
    marks[at]?.push(name);
  }
  return marks.map((names) => names.join(' '));
}

/** The upper boundary of a slot in ms, with three digits. */
function bound(slot: number): string {
  const ms = slot < UNDERFLOW_SLOT ? 0 : upperBoundNs(slot) / 1e6;
  if (!Number.isFinite(ms)) return 'more';
  return ms < 1 ? ms.toFixed(3) : ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : ms.toFixed(0);
}
