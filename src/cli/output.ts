/**
 * Lines to a terminal, pipe or file, none of which may hold the tool up.
 *
 * Writes never block (so that signals are served while a terminal is stopped), and what waits to be written is
 * bounded: lines that find no room are dropped and counted.
 */

import { closeSync, constants, fstatSync, openSync, type Stats, writeSync } from 'node:fs';
import { TsbpfError } from '../asm/error.ts';
import { printable } from '../asm/printable.ts';
import { uptime } from '../loader/uptime.ts';

/** Bytes that may wait for a slow reader. */
const ROOM = 1 << 20;
/** How often a full pipe is tried again, ms. */
const RETRY_MS = 20;
/** How long the last lines are waited for at the end, ms. */
const PATIENCE_MS = 500;

/** The output can't be written: a full disk, for instance. */
export class OutputError extends TsbpfError {
  override readonly name: string = 'OutputError';
  override readonly code: string = 'ERR_OUTPUT';
}

/** Writes some of the bytes and says how many; throws as `fs.writeSync` does. */
export type Write = (bytes: Uint8Array) => number;

export interface LineOutput {
  /** Hands a text over that ends in a newline. It is written before control goes back to the event loop. */
  write(text: string): void;
  /** Hands over the line of one connect, which counts as shown when all of it has been written. */
  show(line: string): void;
  /** Waits, as long as it takes, until the reader has been given everything, or has gone. */
  drained(): Promise<void>;
  /** Writes what waits, for half a second at most. */
  end(): Promise<void>;
  /** Lines that found no room, or that could not be written. */
  readonly dropped: number;
  /** Lines of connects that have been written. */
  readonly shown: number;
}

/**
 * Output through `write`, called `what` in errors. `onClosed` is called once: without an error when the reader has gone, else
 * with what went wrong; nothing is written after that.
 */
export function lineOutput(write: Write, onClosed: (error?: Error) => void, what = 'the output'): LineOutput {
  let waiting: Buffer = Buffer.alloc(0);
  let fresh: string[] = [];
  let freshBytes = 0;
  let dropped = 0;
  let closed = false;
  let scheduled = false;
  let retry: NodeJS.Timeout | undefined;
  let written = 0;
  let shown = 0;
  /** The ends of the connects' lines that wait, as offsets in all of the output, ascending. */
  let ends: number[] = [];

  /** Counts the lines that have been written. */
  const countShown = () => {
    const whole = ends.findIndex((end) => end > written);
    shown += whole < 0 ? ends.length : whole;
    ends = whole < 0 ? [] : ends.slice(whole);
  };

  const flush = () => {
    scheduled = false;
    retry = undefined;
    if (closed) return;
    waiting = Buffer.concat([waiting, Buffer.from(fresh.join(''))]);
    fresh = [];
    freshBytes = 0;
    try {
      while (waiting.length > 0) {
        const size = write(waiting);
        waiting = waiting.subarray(size);
        written += size;
      }
    } catch (error) {
      const failure = error as NodeJS.ErrnoException;
      if (failure.code === 'EAGAIN') {
        retry = setTimeout(flush, RETRY_MS);
        return;
      }
      closed = true;
      onClosed(failure.code === 'EPIPE' ? undefined : cannotWrite(what, failure));
    } finally {
      countShown();
    }
  };

  /** Takes a text, or drops it; whether it was taken. */
  const take = (text: string): boolean => {
    const bytes = Buffer.byteLength(text);
    if (closed || waiting.length + freshBytes + bytes > ROOM) {
      dropped += 1;
      return false;
    }
    fresh.push(text);
    freshBytes += bytes;
    if (!scheduled && !retry) {
      scheduled = true;
      queueMicrotask(flush);
    }
    return true;
  };

  /** Writes what waits until there is nothing, or `deadline` (`uptime()`) has passed. */
  const drain = async (deadline: number) => {
    while (!closed && uptime() < deadline) {
      if (!retry) flush();
      if (waiting.length + freshBytes === 0) return;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  };

  return {
    write(text) {
      take(text);
    },
    show(line) {
      if (take(line)) ends.push(written + waiting.length + freshBytes);
    },
    drained: () => drain(Number.POSITIVE_INFINITY),
    async end() {
      await drain(uptime() + PATIENCE_MS);
      clearTimeout(retry);
      dropped += waiting.toString().split('\n').length - 1;
      closed = true;
    },
    get dropped() {
      return dropped;
    },
    get shown() {
      return shown;
    },
  };
}

/**
 * Writes all of a text to stdout, for commands that print and exit. Returns false if the reader has gone, which
 * is no error.
 *
 * Nothing here uses `process.stdout` or `process.stderr`: opening them makes a pipe non-blocking for every
 * process that shares it.
 * @throws {OutputError}
 */
export function print(text: string | Uint8Array): boolean {
  try {
    writeWhole(1, text, Number.POSITIVE_INFINITY);
    return true;
  } catch (error) {
    if (!isGone(error, fstatSync(1))) throw cannotWrite('the output', error as Error);
    return false;
  }
}

/** Writes all of a text to stderr. A failure is ignored, because no output is left to report it on. */
export function printError(text: string): void {
  try {
    writeWhole(2, text, PATIENCE_MS);
  } catch {
    // Closed, or full for too long.
  }
}

/**
 * Writes a message of one line or several to stderr, after the command's name. Unprintable characters become
 * escapes, also a newline within a line, so that foreign text cannot forge a line.
 */
export function warn(command: string, text: string | readonly string[]): void {
  const lines = typeof text === 'string' ? [text] : text;
  printError(`${command}: ${lines.map((line) => printable(line, '\t')).join('\n')}\n`);
}

/**
 * Writes all of a text. A full pipe answers EAGAIN if another process has made it non-blocking: `patienceMs` is
 * how long to try again.
 */
function writeWhole(fd: number, text: string | Uint8Array, patienceMs: number): void {
  const deadline = uptime() + patienceMs;
  let rest = typeof text === 'string' ? Buffer.from(text) : text;
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(fd, rest));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'EAGAIN' || uptime() > deadline) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
    }
  }
}

/** Whether a write failed because the reader has gone: of a pipe (EPIPE), or of a terminal that was hung up (EIO). */
function isGone(error: unknown, stat: Stats): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'EPIPE' || (code === 'EIO' && stat.isCharacterDevice());
}

function cannotWrite(what: string, { message }: Error): OutputError {
  return new OutputError(`cannot write ${what}: ${message}`);
}

/**
 * A write to stdout that doesn't block. It opens a pipe or terminal again for that, since the flag on stdout itself would affect every
 * process that shares it; files and sockets are written as they are. A terminal that was hung up (EIO) is a reader that has gone (EPIPE).
 */
export function standardOutput(): { readonly write: Write; close(): void } {
  const stat = fstatSync(1);
  let fd = 1;
  if (stat.isFIFO() || stat.isCharacterDevice()) {
    try {
      fd = openSync('/proc/self/fd/1', constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    } catch {
      // Not ours to open, or no /proc: writing may block then.
    }
  }
  return {
    write(bytes) {
      try {
        return writeSync(fd, bytes);
      } catch (error) {
        throw isGone(error, stat)
          ? Object.assign(new Error('its reader has gone'), { code: 'EPIPE' })
          : error;
      }
    },
    close() {
      if (fd !== 1) closeSync(fd);
    },
  };
}
