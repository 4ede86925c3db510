/**
 * Counts of events that were lost, by cause. They are reported on stderr when they grow, and in total at the
 * end.
 */
import { Errno, errnoName } from '../../loader/errno.ts';
import type { CpuChange } from '../../loader/perf-buffer/options.ts';
import type { Line } from '../summary.ts';

/** One count per cause. */
export interface Losses {
  /** Events that did not fit into the buffer of their CPU. */
  events: number;
  /** Connects that were not traced because the table of connects in flight rejected them, by errno. */
  failedUpdates: readonly number[];
  /** Latencies below zero. */
  negative: number;
  /** Lines dropped because the reader of the output is too slow. */
  lines: number;
  /** Events missing from the recording because its reader is too slow. */
  unrecorded: number;
  /** Program runs that the kernel skipped: see `Session.missedRuns`. */
  missedRuns: number;
}

type Cause = Exclude<keyof Losses, 'failedUpdates'>;

const CAUSES: { readonly [K in Cause]: string } = {
  events: 'events lost (ring buffer full; increase --pages)',
  negative: 'latencies below zero not shown (the clocks of two CPUs disagree)',
  lines: 'lines dropped (the reader of the output is too slow)',
  unrecorded: 'events not recorded (the reader of the recording is too slow)',
  missedRuns:
    'program runs skipped by the kernel (busy with another program or probe); connects may be missing',
};
const KEYS = Object.keys(CAUSES) as Cause[];

/** Why the table rejected a connect, by errno, and what to do. */
const REJECTIONS: { readonly [errno: number]: string } = {
  [Errno.E2BIG]: 'too many in flight; increase --max-connects',
  [Errno.EBUSY]: 'EBUSY: their CPU was already updating the table; run fewer tracers at once',
  [Errno.EDEADLK]:
    'EDEADLK: waiting for the lock of the table would have deadlocked; run fewer tracers at once',
};

function rejection(errno: number): string {
  const error = errno === 0 ? 'an unexpected error' : errnoName(errno);
  const reason = REJECTIONS[errno] ?? `${error} from the table of connects in flight; try another --probe`;
  return `connects not traced (${reason})`;
}

/** The messages of the likely causes in a run that aggregates: their counts are exported from 0 on. */
export const AGGREGATION_LOSSES = [rejection(Errno.E2BIG), CAUSES.negative, CAUSES.missedRuns] as const;

/** The counts at the start of a run. */
export function noLosses(): Losses {
  return { events: 0, failedUpdates: [], negative: 0, lines: 0, unrecorded: 0, missedRuns: 0 };
}

/** The count and the message of each cause, and of each errno of the table, that has grown since `before`. */
export function lossLines(now: Losses, before = noLosses()): Line[] {
  const causes = KEYS.map((key): Line => [now[key] - before[key], CAUSES[key]]);
  const rejections = now.failedUpdates.map(
    (count, errno): Line => [count - (before.failedUpdates[errno] ?? 0), rejection(errno)],
  );
  return [...causes, ...rejections].filter(([grown]) => grown > 0);
}

/** The same as messages. */
export function growth(now: Losses, before: Losses): string[] {
  return lossLines(now, before).map(([grown, text]) => `${grown} ${text}`);
}

/** One message per CPU that came online or went offline: whether connects may be missing. */
export function cpuChanges({ online, offline, gapMs }: CpuChange): string[] {
  const gap = `connects answered there in the last ${(Math.ceil(gapMs / 100) / 10).toFixed(1)} s may be missing`;
  return [
    ...offline
      .filter((cpu) => !online.includes(cpu))
      .map((cpu) => `CPU ${cpu} went offline; connects answered there until then are shown`),
    ...online.map((cpu) =>
      offline.includes(cpu)
        ? `CPU ${cpu} went offline and came back; ${gap}`
        : `CPU ${cpu} came online; ${gap}`,
    ),
  ];
}
