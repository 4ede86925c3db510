/**
 * The command with `--summary`: it prints a table, JSON lines or histograms for each interval, or for the
 * whole run at its end.
 */
import type { Kernel } from '../../loader/kernel.ts';
import { printError } from '../output.ts';
import { table } from '../printer/columns.ts';
import { openRun, warn } from '../run.ts';
import { dryRun } from '../trace.ts';
import { type AggregationOptions, openAggregation, programOptions } from './aggregation.ts';
import { histograms } from './histogram.ts';
import { snapshotLines } from './json.ts';
import { type Snapshot, totalsOf } from './snapshot.ts';
import { summaryTable } from './table.ts';

/** The listing of the programs of a summary. */
export function dryRunOfSummary(options: AggregationOptions, kernel: Kernel): string {
  return dryRun(programOptions(options, kernel), kernel);
}

/** The slowest connects that a table shows. */
const SHOWN = 5;

/** Aggregates until a signal arrives or the output is closed. Throws the error that prevents it. */
export async function summarize(options: AggregationOptions, kernel: Kernel): Promise<void> {
  const run = openRun(kernel.syscalls);
  const { output } = run;
  const format = formatOf(options);
  const { intervalMs } = options.summary;
  let timers: NodeJS.Timeout[] = [];
  let total = 0;
  try {
    const aggregation = openAggregation(options, kernel, {
      warn,
      list: options.json ? printError : (text) => output.write(text),
    });
    const show = (snapshot: Snapshot) => {
      output.write(format(snapshot));
      for (const [count, text] of snapshot.losses) warn(`${count} ${text}`);
      if (snapshot.overflowed > 0)
        warn(`${snapshot.overflowed} connects counted as other (too many keys; increase --max-keys)`);
      for (const row of snapshot.rows) total += totalsOf(row).connects;
    };
    try {
      const readIfDrained = () => {
        try {
          show(aggregation.read());
        } catch (error) {
          run.end(error as Error);
        }
      };
      if (intervalMs !== undefined) timers.push(setInterval(readIfDrained, intervalMs));
      if (options.durationMs !== undefined) timers.push(setTimeout(() => run.end(), options.durationMs));
      const error = await run.ended;
      for (const timer of timers) clearTimeout(timer);
      timers = [];
      aggregation.detach();
      show(aggregation.read());
      if (error) throw error;
    } finally {
      for (const timer of timers) clearTimeout(timer);
      aggregation.close();
    }
  } finally {
    await run.close();
    if (!options.quiet) warn(`${total} connects`);
  }
}

/** The text of a snapshot. */
function formatOf(options: AggregationOptions): (snapshot: Snapshot) => string {
  const { by, histogram, intervalMs } = options.summary;
  if (options.json) return snapshotLines(options);
  const tableOf = summaryTable(by.parts);
  const connects = table({ ...options, outcome: 'all' });
  let isFirst = true;
  return (snapshot) => {
    const before = isFirst ? '' : '\n';
    isFirst = false;
    const heading = intervalMs === undefined ? '' : `${intervalText(snapshot)}\n`;
    if (histogram) return `${before}${heading}${histograms(snapshot)}`;
    const slowest = snapshot.slowest.slice(0, SHOWN).map((record) => connects.line(record));
    const list = slowest.length === 0 ? '' : `\nslowest:\n${connects.header()}${slowest.join('')}`;
    return `${before}${heading}${tableOf(snapshot)}${list}`;
  };
}

/** When an interval began, and how long it took. */
function intervalText({ startMs, endMs }: Snapshot): string {
  return `${new Date(startMs).toISOString()} ${((endMs - startMs) / 1000).toFixed(1)} s`;
}
