/**
 * The line that ends a run: how many connects it has shown, and how many it has not.
 */
import type { Options } from './arguments.ts';
import { complain } from './run.ts';

/** The counts of a run; undefined if they are not known. */
export interface Tally {
  /** Lines of connects that were written. */
  readonly shown: number;
  /** Connects that failed and were not shown, since nothing asked for failures. */
  readonly failed?: number;
  /** Why `failed` is undefined, or what it lacks. */
  readonly uncounted?: string;
  /** Connects without an answer when the run ended. */
  readonly unanswered?: number;
  /** Whether sockets that are still open after a failure may be among the unanswered. */
  readonly mayHaveFailed?: boolean;
  /** Records that the options do not select. */
  readonly notSelected?: number;
}

/** One line, without the command's name. */
export function summary({ outcome }: Pick<Options, 'outcome'>, tally: Tally): string {
  const { shown, failed, uncounted, unanswered = 0, mayHaveFailed, notSelected = 0 } = tally;
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
  if (notSelected > 0) parts.push(`${notSelected} not selected`);
  return parts.join('; ');
}

/** Prints the line on stderr, unless `--quiet` is set. */
export function printSummary(options: Pick<Options, 'outcome' | 'quiet'>, tally: Tally): void {
  if (!options.quiet) complain(summary(options, tally));
}
