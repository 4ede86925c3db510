/**
 * What was not shown, counted by cause, and told on stderr: while running as it grows, and in sum at the end.
 */

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
  /** Runs of a program that the kernel left out, since another was running on that CPU. */
  missedRuns: number;
}

const CAUSES: { readonly [K in keyof Losses]: (count: string) => string } = {
  events: (count) => `${count} events lost: the rings were full (--pages makes them larger)`,
  tableFull: (count) => `${count} connects not traced: too many were in flight`,
  negative: (count) => `${count} latencies below zero not shown: the clocks of two CPUs disagree`,
  lines: (count) => `${count} lines dropped: the output was read too slowly`,
  missedRuns: (count) =>
    `${count} runs of the programs skipped by the kernel (another was running on that CPU): connects may be missing`,
};
const KEYS = Object.keys(CAUSES) as (keyof Losses)[];

export function noLosses(): Losses {
  return { events: 0, tableFull: 0, negative: 0, lines: 0, missedRuns: 0 };
}

/** The causes that have grown since `before`, a sentence each. */
export function growth(now: Losses, before: Losses): string[] {
  return KEYS.filter((key) => now[key] > before[key]).map((key) =>
    CAUSES[key](String(now[key] - before[key])),
  );
}
