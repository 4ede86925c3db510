/**
 * Reading from the event loop: in turns that leave time for other work, after each wake-up, and at an
 * interval.
 *
 * The first poll of a descriptor consumes its readiness, so a ring can hold records without a wake-up to
 * come. Therefore all rings are read once after the event loop has begun to wait, and a timer reads them.
 */
import { Errno } from './errno.ts';
import { KernelError } from './errors.ts';
import type { Report } from './handlers.ts';
import type { Kernel } from './kernel.ts';
import type { Closeable } from './resources.ts';
import type { Poll } from './syscalls.ts';
import { uptime } from './uptime.ts';

export const TICK_MS = 1000;
/** The longest time to read within one turn of the event loop. Signals and output wait that long. */
const TURN_MS = 20;
/** The most records to read from one ring before the next one. */
export const BATCH = 512;

/** Reads in turns of the event loop, until it is closed. */
export class Turns implements Closeable {
  readonly #read: () => boolean;
  #timer: NodeJS.Timeout | undefined;
  #again: NodeJS.Immediate | undefined;
  #closed = false;

  /** `read` reads some records. It returns whether there may be more, and does not throw. */
  constructor(read: () => boolean) {
    this.#read = read;
  }

  /** Reads every `flushMs` milliseconds, and calls `tick` once a second after reading. */
  begin(flushMs: number, tick: () => void): void {
    const every = Math.min(flushMs, TICK_MS);
    const flushesPerTick = Math.round(TICK_MS / every);
    let flushes = 0;
    this.#timer = setInterval(() => {
      this.wake();
      if (++flushes % flushesPerTick === 0 && !this.#closed) tick();
    }, every);
    this.afterWaiting();
  }

  /** Reads now, unless a turn is already scheduled, which will read. */
  wake(): void {
    if (this.#again === undefined) this.#turn();
  }

  /** Reads once after the loop has begun to wait for all rings. */
  afterWaiting(): void {
    if (this.#closed) return;
    clearImmediate(this.#again);
    // The event loop waits after this turn. An immediate that an immediate sets always runs after that.
    this.#again = setImmediate(() => {
      this.#again = setImmediate(() => this.#turn());
    });
  }

  /** Ends reading. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    clearImmediate(this.#again);
  }

  /** Reads until nothing is left or `TURN_MS` have passed, and continues in the next turn. */
  #turn(): void {
    this.#again = undefined;
    const end = uptime() + TURN_MS;
    while (!this.#closed && this.#read()) {
      if (uptime() < end) continue;
      if (!this.#closed) this.#again = setImmediate(() => this.#turn());
      return;
    }
  }
}

/**
 * Calls `onReadable` when the kernel wakes the reader of a descriptor. If the wait fails later, `report` gets
 * the error, and the calls end. `of` names the source of the events in messages: `CPU 0`.
 * @throws {KernelError} if the wait cannot begin.
 */
export function waitForEvents(
  kernel: Kernel,
  fd: number,
  of: string,
  onReadable: () => void,
  report: Report,
): Poll {
  const tried = `wait for events of ${of}`;
  const poll = kernel.syscalls.poll(fd, (errno) => {
    if (!errno) onReadable();
    else
      report(
        new KernelError({
          syscall: 'epoll_wait',
          errno,
          tried,
          hint: 'only the timer reads this ring from now on, up to a second late; open the session again',
        }),
      );
  });
  if (typeof poll === 'number')
    throw new KernelError({
      syscall: 'epoll_ctl',
      errno: -poll,
      tried,
      hint:
        poll === -Errno.ENOSPC
          ? 'this user has reached its limit of watches; raise it (sysctl fs.epoll.max_user_watches)'
          : undefined,
    });
  return poll;
}
