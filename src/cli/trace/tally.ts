/**
 * What the programs of a run have counted besides what they sent, for its summary.
 */
import type { Session } from '../../loader/session.ts';
import type { Options } from '../arguments.ts';
import type { Tally } from '../summary.ts';
import type { Programs } from './probes.ts';

/** What a tally says of connects that weren't shown. */
export type Hidden = Omit<Tally, 'shown' | 'notSelected'>;

/** Reads the counts, once the programs are detached. */
export function hiddenBy(session: Session, programs: Programs, options: Options): Hidden {
  const { remainingAttempts } = programs;
  const unanswered = remainingAttempts && [...session.map(programs.attempts).keys()].length;
  return {
    unanswered,
    mayHaveFailed: remainingAttempts === 'unanswered',
    ...(options.outcome === undefined && failures(session, programs, options)),
  };
}

function failures(session: Session, programs: Programs, options: Options): Hidden {
  const { probe, countsFailures, seesUnrouted } = programs;
  if (!countsFailures) {
    const option = options.minNs ? 'min_ms' : '--from';
    return {
      uncounted: `failures are not counted: --probe ${probe} can't with ${option} (--failed shows them)`,
    };
  }
  const failed = session.map(programs.counters).lookup(0)?.failed ?? 0;
  return { failed, ...(!seesUnrouted && { uncounted: 'connects that find no route are not counted' }) };
}
