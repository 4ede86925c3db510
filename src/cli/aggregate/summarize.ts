/**
 * The command with `--summary`: it prints a table, JSON lines or histograms for each interval, or for the
 * whole run at its end.
 */
import type { Kernel } from '../../loader/kernel.ts';
import { printError } from '../output.ts';
import { table } from '../printer/columns.ts';
import { openRun, type Run, warn } from '../run.ts';
import type { Line } from '../summary.ts';
import { dryRun } from '../trace.ts';
import { type Aggregation, type AggregationOptions, openAggregation, programOptions } from './aggregation.ts';
import { histograms } from './histogram.ts';
import { snapshotLines } from './json.ts';
import { COUNTED_AS_OTHER, connectsIn, type Snapshot } from './snapshot.ts';
import { summaryTable } from './table.ts';

/** The listing of the programs of a summary. */
export async function dryRunOfSummary(options: AggregationOptions, kernel: Kernel): Promise<string> {
  return await dryRun(programOptions(options, kernel), kernel);
}

/** The slowest connects that a table shows. */
const SHOWN = 5;

/** The counts of a run that has begun. */
interface Total {
  connects: number;
  droppedLines: number;
  hidden?: ReturnType<Aggregation['hidden']>;
}

/** Aggregates until a signal arrives or the output is closed. Throws the error that prevents it. */
export async function summarize(options: AggregationOptions, kernel: Kernel): Promise<void> {
  const run = openRun(kernel.syscalls);
  const total: Total = { connects: 0, droppedLines: 0 };
  try {
    await summarizeInto(options, kernel, run, total);
  } finally {
    await run.close();
    const dropped = run.readerGone ? 0 : total.droppedLines + run.output.dropped;
    if (dropped > 0) warn(`${dropped} lines dropped (the reader of the output is too slow)`);
    if (!options.quiet && total.hidden) warn(endLines(total.connects, total.hidden));
  }
}

/** The summary of the run. */
function endLines(connects: number, { belowMin, unanswered }: Required<Total>['hidden']): string[] {
  const hidden: Line[] = [
    [belowMin, 'below min_ms'],
    [unanswered, 'not answered yet (--pending shows them)'],
  ];
  const shown = hidden.filter(([count]) => count > 0);
  const width = Math.max(0, ...shown.map(([count]) => String(count).length));
  return [
    `${connects} ${connects === 1 ? 'connect' : 'connects'} counted`,
    ...shown.map(([count, text]) => `  ${String(count).padStart(width)} ${text}`),
  ];
}

async function summarizeInto(
  options: AggregationOptions,
  kernel: Kernel,
  run: Run,
  total: Total,
): Promise<void> {
  const { output } = run;
  const { intervalMs } = options.summary;
  const batches = batchesOf(options);
  let timers: NodeJS.Timeout[] = [];
  const aggregation = await openAggregation(options, kernel, {
    warn,
    list: options.json ? printError : (text) => output.write(text),
  });
  const drained = drainer(run);
  const show = async (snapshot: Snapshot) => {
    total.connects += connectsIn(snapshot);
    for (const [count, text] of snapshot.losses) warn(`${count} ${text}`);
    if (snapshot.overflowed > 0) warn(`${snapshot.overflowed} connects ${COUNTED_AS_OTHER}`);
    for (const batch of batches(snapshot)) {
      const { dropped } = output;
      output.write(batch);
      if (output.dropped > dropped) total.droppedLines += batch.split('\n').length - 2;
      else await drained();
      // Events and signals take their turn, also with thousands of lines.
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  /** What shows the last snapshot. */
  let shown: Promise<void> | undefined;
  const readNext = () => {
    // With a slow reader the interval becomes longer; the kernel still counts.
    if (shown) return;
    try {
      shown = show(aggregation.read()).finally(() => {
        shown = undefined;
      });
      shown.catch((error: Error) => run.end(error));
    } catch (error) {
      run.end(error as Error);
    }
  };
  try {
    if (intervalMs !== undefined) timers.push(setInterval(readNext, intervalMs));
    if (options.durationMs !== undefined) timers.push(setTimeout(() => run.end(), options.durationMs));
    const error = await run.ended;
    for (const timer of timers) clearTimeout(timer);
    timers = [];
    aggregation.detach();
    const last = aggregation.read();
    total.hidden = aggregation.hidden();
    await shown;
    await show(last);
    if (error) throw error;
  } finally {
    for (const timer of timers) clearTimeout(timer);
    aggregation.close();
  }
}

/**
 * Waits until the output is written. Once the run has ended, it gives up on a reader that reads nothing for
 * half a second.
 */
function drainer({ output, ended }: Run): () => Promise<void> {
  let isEnded = false;
  let isStuck = false;
  let onEnd = () => {};
  ended.then(() => {
    isEnded = true;
    onEnd();
  });
  return async () => {
    if (isStuck) return;
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<void>((resolve) => {
      onEnd = () => {
        timer = setTimeout(() => {
          isStuck = true;
          resolve();
        }, END_MS);
      };
    });
    if (isEnded) onEnd();
    await Promise.race([output.drained(), tooLate]);
    clearTimeout(timer);
    onEnd = () => {};
  };
}

/** The text of a snapshot, in batches that fit the buffer of the output. */
function batchesOf(options: AggregationOptions): (snapshot: Snapshot) => Iterable<string> {
  const lines = linesOf(options);
  return function* (snapshot) {
    let batch = '';
    for (const line of lines(snapshot)) {
      batch += line;
      if (batch.length < BATCH) continue;
      yield batch;
      batch = '';
    }
    if (batch !== '') yield batch;
  };
}

/** How long a batch waits for the reader of the output, once the run has ended, in ms. */
const END_MS = 500;
/** The characters of a batch. */
const BATCH = 1 << 16;

/** The lines of a snapshot. */
function linesOf(options: AggregationOptions): (snapshot: Snapshot) => Iterable<string> {
  const { by, histogram, intervalMs } = options.summary;
  if (options.json) return snapshotLines(options);
  const tableOf = summaryTable(by.parts);
  const connects = table({ ...options, outcome: 'all' });
  let isFirst = true;
  return function* (snapshot) {
    if (!isFirst) yield '\n';
    isFirst = false;
    if (intervalMs !== undefined) yield `${intervalText(snapshot)}\n`;
    if (histogram) {
      yield* histograms(snapshot);
      return;
    }
    yield* tableOf(snapshot);
    const slowest = snapshot.slowest.slice(0, SHOWN);
    if (slowest.length === 0) return;
    yield `\nslowest:\n${connects.header()}`;
    for (const record of slowest) yield connects.line(record);
  };
}

/** When an interval began, and how long it took. */
function intervalText({ startMs, endMs }: Snapshot): string {
  return `${new Date(startMs).toISOString()} ${((endMs - startMs) / 1000).toFixed(1)} s`;
}
