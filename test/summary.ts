/** The summary line that ends every test run. */

/** The counts of a test run. */
export interface Summary {
  readonly passed: number;
  readonly failed: number;
  /** Tests that failed and then passed when their file ran again, alone. */
  readonly flaky: number;
  readonly skipped: number;
}

/** The kinds of results, in the order of the summary line. `passed` and `failed` are always in it. */
const KINDS = ['passed', 'failed', 'flaky', 'skipped'] as const;

/**
 * Formats a summary as the last line of a run: `12 passed, 0 failed`, with flaky and skipped tests if there
 * are any.
 */
export function formatSummary(summary: Summary): string {
  const shown = KINDS.filter((kind, i) => i < 2 || summary[kind] > 0);
  return shown.map((kind) => `${summary[kind]} ${kind}`).join(', ');
}

/** Adds summaries. */
export function sum(summaries: readonly Summary[]): Summary {
  const total = { passed: 0, failed: 0, flaky: 0, skipped: 0 };
  for (const summary of summaries) for (const kind of KINDS) total[kind] += summary[kind];
  return total;
}

/** The summary of a run that could not begin. */
export const BROKEN: Summary = { passed: 0, failed: 1, flaky: 0, skipped: 0 };

/**
 * Parses the summary at the end of a run's output. A missing summary is a failure, and so is an exit status
 * that contradicts it.
 */
export function summaryOf(output: string, status: number): Summary {
  const last = output.trimEnd().split('\n').at(-1) ?? '';
  const counts = last.match(/^(\d+) passed, (\d+) failed(?:, (\d+) flaky)?(?:, (\d+) skipped)?$/);
  if (!counts) return BROKEN;
  const [passed = 0, failed = 0, flaky = 0, skipped = 0] = counts.slice(1).map((count) => Number(count ?? 0));
  return { passed, failed: status !== 0 && failed === 0 ? 1 : failed, flaky, skipped };
}
