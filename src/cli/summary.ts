/**
 * The summary of a run: how many connects were shown, and why the others were not.
 */
import type { Options } from './arguments.ts';
import { warn } from './run.ts';

/** The counts of a run. A count that is not known is undefined. */
export interface Counts {
  /** Connects whose line was written. */
  readonly shown: number;
  /** The number of connects that ended with each result, shown or not. Empty if results are not known. */
  readonly results?: ReadonlyMap<string, number>;
  /** Connects that were faster than min_ms. */
  readonly belowMin?: number;
  /** Failed connects that were not shown, because no option asked for failures. */
  readonly failed?: number;
  /** Why `failed` is undefined or incomplete. */
  readonly uncounted?: string;
  /** Whether the programs counted connects of callers that the filter excludes. */
  readonly countsAllCallers?: boolean;
  /** Connects that came after the last one of `--count`. */
  readonly surplus?: number;
  /** Connects that were lost, by cause. */
  readonly losses?: readonly Line[];
  /** Lines of connects in flight. */
  readonly pending?: number;
  /** Connects without an answer when the run ended. */
  readonly unanswered?: number;
  /** Whether `unanswered` may include failed connects whose socket is still open. */
  readonly mayHaveFailed?: boolean;
  /** Connects that were shown after one that ended later. */
  readonly outOfOrder?: number;
  /** Records that do not match the options. */
  readonly notSelected?: number;
}

/** A count and what it counts. */
export type Line = readonly [count: number, text: string];

type SummaryOptions = Pick<Options, 'outcome' | 'pendingMs'>;

/** The lines of the summary, without the name of the command. A count of zero has no line. */
export function summary(options: SummaryOptions, counts: Counts): string[] {
  const { outcome } = options;
  const { shown, uncounted } = counts;
  const { countsAllCallers = false, belowMin = 0, failed = 0, unanswered = 0 } = counts;
  const hasAllCallers = countsAllCallers && belowMin + failed + unanswered > 0;
  const lines = linesOf(options, counts).filter(([count]) => count > 0);
  const width = Math.max(0, ...lines.map(([count]) => String(count).length));
  return [
    `${shown} ${outcome === 'failures' ? 'failed ' : ''}${shown === 1 ? 'connect' : 'connects'} shown`,
    ...lines.map(([count, text]) => `  ${String(count).padStart(width)} ${text}`),
    ...(uncounted === undefined ? [] : [`  ${uncounted}`]),
    ...(hasAllCallers ? [`  ${ALL_CALLERS}`] : []),
  ];
}

const ALL_CALLERS =
  'connects below min_ms, failed or not answered are those of all units, pods and namespaces';

function linesOf(options: SummaryOptions, counts: Counts): Line[] {
  const { belowMin = 0, failed = 0, surplus = 0, losses = [] } = counts;
  const { pending = 0, unanswered = 0, mayHaveFailed, outOfOrder = 0, notSelected = 0 } = counts;
  const results = [...(counts.results ?? [])].sort(([, a], [, b]) => b - a);
  const ended = results.reduce((sum, [, count]) => sum + count, 0);
  return [
    [ended, `ended: ${results.map(([result, count]) => `${count} ${result}`).join(', ')}`],
    [belowMin, 'below min_ms'],
    [failed, 'failed, not shown (--failed shows them)'],
    [surplus, 'came after the last line'],
    ...losses,
    [pending, 'shown as pending'],
    [
      unanswered,
      `not answered yet${mayHaveFailed ? ', or failed with the socket still open' : ''}${remedy(options)}`,
    ],
    [outOfOrder, 'shown out of order (the kernel delayed their events)'],
    [notSelected, 'not selected'],
  ];
}

/** What shows more about the connects that are not answered yet. */
function remedy({ outcome, pendingMs }: SummaryOptions): string {
  if (pendingMs !== undefined) return '';
  return ` (--pending shows ${outcome === 'all' ? 'their addresses' : 'them'})`;
}

/** Prints the summary to stderr. */
export function printSummary(options: SummaryOptions, counts: Counts): void {
  warn(summary(options, counts));
}

/** Counts a result. */
export function countResult(results: Map<string, number>, result: string | undefined): void {
  if (result !== undefined) results.set(result, (results.get(result) ?? 0) + 1);
}
