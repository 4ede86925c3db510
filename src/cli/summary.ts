/**
 * The summary line of a run: how many connects were shown, and how many were not.
 */
import type { Options } from './arguments.ts';
import { warn } from './run.ts';

/** The counts of a run. A count that is not known is undefined. */
export interface Counts {
  /** Connects whose line was written. */
  readonly shown: number;
  /** Failed connects that were not shown, because no option asked for failures. */
  readonly failed?: number;
  /** Why `failed` is undefined or incomplete. */
  readonly uncounted?: string;
  /** Connects without an answer when the run ended. */
  readonly unanswered?: number;
  /** Whether `unanswered` may include failed connects whose socket is still open. */
  readonly mayHaveFailed?: boolean;
  /** Connects that came after the last one of `--count`. */
  readonly surplus?: number;
  /** Records that do not match the options. */
  readonly notSelected?: number;
}

/** The summary, without the name of the command. */
export function summary({ outcome }: Pick<Options, 'outcome'>, counts: Counts): string {
  const { shown, failed, uncounted, unanswered = 0, mayHaveFailed, surplus = 0, notSelected = 0 } = counts;
  const parts = [
    `${shown} ${outcome === 'failures' ? 'failed ' : ''}${shown === 1 ? 'connect' : 'connects'} shown`,
  ];
  if (failed !== undefined)
    parts.push(
      `${failed} failed and ${failed === 1 ? 'was' : 'were'} not shown${failed > 0 ? ' (--failed shows them)' : ''}`,
    );
  if (uncounted !== undefined) parts.push(uncounted);
  if (unanswered > 0)
    parts.push(
      `${unanswered} not answered yet${mayHaveFailed ? ', or failed with the socket still open' : ''}`,
    );
  if (surplus > 0) parts.push(`${surplus} came after the last line`);
  if (notSelected > 0) parts.push(`${notSelected} not selected`);
  return parts.join('; ');
}

/** Prints the summary to stderr, unless `--quiet` is set. */
export function printSummary(options: Pick<Options, 'outcome' | 'quiet'>, counts: Counts): void {
  if (!options.quiet) warn(summary(options, counts));
}
