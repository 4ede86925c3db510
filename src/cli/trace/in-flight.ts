/**
 * Connects in flight, which are in the table of the kernel programs: shown once when they have waited for
 * some time, and listed when the run ends.
 */
import type { Kernel } from '../../loader/kernel.ts';
import type { Closeable } from '../../loader/resources.ts';
import type { Session } from '../../loader/session.ts';
import { Clock } from '../../loader/syscalls.ts';
import { type ConnectEvent, pendingEvent } from '../../programs/tcpconnlat/events.ts';
import type { Programs } from '../../programs/tcpconnlat.ts';
import type { Options } from '../arguments.ts';

/** The shortest time between two readings of the table, in ms. */
const MIN_PAUSE_MS = 100;
/** The most connects in a list at the end. A table of the default size has no more. */
const MAX_LISTED = 10_240;

/** The connects in flight. */
export interface InFlight {
  /** The time of the kernel programs (CLOCK_MONOTONIC) in ns. */
  now(): bigint;
  /** Reads the connects whose start matches, in any order. They have waited until `nowNs`. */
  read(nowNs: bigint, matches: (startNs: bigint) => boolean): Iterable<ConnectEvent>;
}

/** How many connects are in flight. */
export function countInFlight(session: Session, { attempts, attemptSlots }: Programs): number {
  let count = 0;
  for (const _ of session.map(attempts).keys()) count += 1;
  if (attemptSlots)
    for (const _ of session.map(attemptSlots).entriesWhere(({ socket }) => socket !== 0n)) count += 1;
  return count;
}

/** The connects in flight of a session, of programs without slots. */
export function inFlight(session: Session, { attempts }: Programs, { syscalls }: Kernel): InFlight {
  return {
    now: () => syscalls.clock(Clock.monotonic),
    *read(nowNs, matches) {
      const entries = session.map(attempts).entriesWhere(({ startNs }) => matches(startNs));
      for (const [, entry] of entries) {
        const event = pendingEvent(entry, nowNs);
        if (event) yield event;
      }
    },
  };
}

/** Whether a run lists the connects that are in flight at its end. */
export function listsInFlight({ outcome, pendingMs }: Pick<Options, 'outcome' | 'pendingMs'>): boolean {
  return outcome === 'all' || pendingMs !== undefined;
}

/**
 * Shows each connect once, when it has waited for `afterNs`. The table is read when the next connect is due,
 * or may be. `report` receives the errors.
 */
export function watchInFlight(
  connects: InFlight,
  afterNs: number,
  show: (connect: ConnectEvent) => void,
  report: (error: unknown) => void,
): Closeable {
  /** Connects that began until then have been shown, or had ended. */
  let shownUntilNs = 0n;
  const check = () => {
    let nextNs = afterNs;
    try {
      // Read before the table, so that a connect which ends during the reading ends after this time.
      const nowNs = connects.now();
      const dueNs = nowNs - BigInt(afterNs);
      const isDue = (startNs: bigint) => {
        if (startNs > dueNs) nextNs = Math.min(nextNs, Number(startNs - dueNs));
        return startNs <= dueNs && startNs > shownUntilNs;
      };
      const due = [...connects.read(nowNs, isDue)];
      shownUntilNs = dueNs;
      for (const connect of due.sort(byStart)) show(connect);
    } catch (error) {
      report(error);
    }
    timer = setTimeout(check, Math.max(MIN_PAUSE_MS, Math.ceil(nextNs / 1e6)));
  };
  let timer = setTimeout(check, Math.ceil(afterNs / 1e6));
  return { close: () => clearTimeout(timer) };
}

/**
 * The number of connects in flight, and those that have waited for at least `minNs`: the earliest, at most
 * `MAX_LISTED`.
 */
export function listInFlight(
  connects: InFlight,
  minNs = 0,
): { readonly count: number; readonly listed: readonly ConnectEvent[] } {
  let count = 0;
  let listed: ConnectEvent[] = [];
  for (const connect of connects.read(connects.now(), () => true)) {
    count += 1;
    if (connect.latencyNs >= minNs) listed.push(connect);
    if (listed.length === 2 * MAX_LISTED) listed = listed.sort(byStart).slice(0, MAX_LISTED);
  }
  return { count, listed: listed.sort(byStart).slice(0, MAX_LISTED) };
}

function byStart(a: ConnectEvent, b: ConnectEvent): number {
  return Number(a.attempt.startNs - b.attempt.startNs);
}
