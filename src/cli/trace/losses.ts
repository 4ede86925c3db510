/**
 * What was not shown, counted by cause, and told on stderr: while running as it grows, and in sum at the end.
 */
import type { CpuChange } from '../../loader/perf-buffer/options.ts';

/** One count a cause. */
export interface Losses {
  /** Events that found their ring full. */
  events: number;
  /** Connects that found the table of those in flight full. */
  tableFull: number;
  /** Latencies below zero. */
  negative: number;
  /** Lines that the reader of the output was too slow for. */
  lines: number;
  /** Events that are not in the recording, whose reader was too slow for them. */
  unrecorded: number;
  /** Runs of programs that the kernel left out: see `Session.missedRuns`. */
  missedRuns: number;
}

const CAUSES: { readonly [K in keyof Losses]: (count: string) => string } = {
  events: (count) => `${count} events lost: the rings were full (--pages makes them larger)`,
  tableFull: (count) => `${count} connects not traced: too many were in flight`,
  negative: (count) => `${count} latencies below zero not shown: the clocks of two CPUs disagree`,
  lines: (count) => `${count} lines dropped: the output was read too slowly`,
  unrecorded: (count) => `${count} events not recorded: the recording was read too slowly`,
  missedRuns: (count) =>
    `${count} runs of the programs skipped by the kernel (busy with another program or probe): connects may be missing`,
};
const KEYS = Object.keys(CAUSES) as (keyof Losses)[];

/** Those of a run that has just begun. */
export function noLosses(): Losses {
  return { events: 0, tableFull: 0, negative: 0, lines: 0, unrecorded: 0, missedRuns: 0 };
}

/** The causes that have grown since `before`, a sentence each. */
export function growth(now: Losses, before: Losses): string[] {
  return KEYS.filter((key) => now[key] > before[key]).map((key) =>
    CAUSES[key](String(now[key] - before[key])),
  );
}

/** What CPUs that came or went while tracing mean for what is shown, a sentence each. */
export function cpuChanges({ online, offline, gapMs }: CpuChange): string[] {
  const within = `answered there in the last ${(Math.ceil(gapMs / 100) / 10).toFixed(1)} s may be missing`;
  return [
    ...offline
      .filter((cpu) => !online.includes(cpu))
      .map((cpu) => `CPU ${cpu} went offline: what was answered there is shown`),
    ...online.map((cpu) =>
      offline.includes(cpu)
        ? `CPU ${cpu} went offline and came back: connects ${within}`
        : `CPU ${cpu} came online: connects ${within}`,
    ),
  ];
}
