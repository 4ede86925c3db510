/**
 * The time of day of an event, from the monotonic time that programs record.
 *
 * Both clocks are read for each event. They drift together, but the time of day can be set, and it advances
 * during a suspend.
 */
import { Clock, type Syscalls } from '../../loader/syscalls.ts';

/** Two readings of the monotonic clock this close together (ns) need no retry. */
const CLOSE_NS = 5_000n;
const TRIES = 3;

/** Converts a monotonic time (ns) to the time of day, in the form of `formatTime`. */
export type WallClock = (monotonicNs: bigint) => string;

/** The clock of this machine. */
export function wallClock(syscalls: Pick<Syscalls, 'clock'>): WallClock {
  return (ns) => formatTime(ns + offset(syscalls));
}

/**
 * The difference between the time of day and the monotonic clock in ns, from the closest of a few readings.
 */
function offset(syscalls: Pick<Syscalls, 'clock'>): bigint {
  let best = { apart: -1n, offset: 0n };
  for (let tries = 0; tries < TRIES; tries++) {
    const before = syscalls.clock(Clock.monotonic);
    const wall = syscalls.clock(Clock.realtime);
    const apart = syscalls.clock(Clock.monotonic) - before;
    if (best.apart < 0n || apart < best.apart) best = { apart, offset: wall - before - apart / 2n };
    if (best.apart <= CLOSE_NS) break;
  }
  return best.offset;
}

/** Formats ns since 1970 as ISO 8601 in UTC with microseconds: `2026-11-25T15:39:56.123456Z`. */
export function formatTime(ns: bigint): string {
  const us = ns / 1000n;
  const [seconds] = new Date(Number(us / 1000n)).toISOString().split('.');
  return `${seconds}.${String(us % 1_000_000n).padStart(6, '0')}Z`;
}
