/**
 * The time of day of an event, from the kernel's monotonic clock, by which programs time it.
 *
 * The two clocks are read at each event: they drift together, but the time of day can be set, and stands ahead after a suspend.
 */
import { Clock, type Syscalls } from '../../loader/syscalls.ts';

/** Readings of the clocks that lie so close together need no other try, ns. */
const CLOSE_NS = 5_000n;
const TRIES = 3;

/** The time of day, as `formatTime` writes it, of a moment on the monotonic clock (ns). */
export type WallClock = (monotonicNs: bigint) => string;

/** The clock of this machine. */
export function wallClock(syscalls: Pick<Syscalls, 'clock'>): WallClock {
  return (ns) => formatTime(ns + offset(syscalls));
}

/** How far the time of day is ahead of the monotonic clock, by the closest of a few readings. */
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

/** ISO 8601 in UTC with microseconds, `2026-11-25T15:39:56.123456Z`, from ns since 1970. */
export function formatTime(ns: bigint): string {
  const us = ns / 1000n;
  const [seconds] = new Date(Number(us / 1000n)).toISOString().split('.');
  return `${seconds}.${String(us % 1_000_000n).padStart(6, '0')}Z`;
}
