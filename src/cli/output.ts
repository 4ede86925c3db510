/**
 * Lines to a terminal, pipe or file, none of which may hold the tool up.
 *
 * Writes never block (so that signals are served while a terminal is stopped), and what waits to be written is
 * bounded: lines that find no room are dropped and counted.
 */
import { closeSync, constants, fstatSync, openSync, writeSync } from 'node:fs';
import { printable } from '../asm/printable.ts';

/** Bytes that may wait for a slow reader. */
const ROOM = 1 << 20;
/** How often a full pipe is tried again, ms. */
const RETRY_MS = 20;
/** How long the last lines are waited for at the end, ms. */
const PATIENCE_MS = 500;

/** The output can't be written: a full disk, for instance. */
export class OutputError extends Error {
  override readonly name: string = 'OutputError';
}

/** Writes some of the bytes and says how many; throws as `fs.writeSync` does. */
export type Write = (bytes: Uint8Array) => number;

export interface LineOutput {
  /** Hands a text over that ends in a newline. It is written before control goes back to the event loop. */
  write(text: string): void;
  /** Waits, as long as it takes, until the reader has been given everything, or has gone. */
  drained(): Promise<void>;
  /** Writes what waits, for half a second at most. */
  end(): Promise<void>;
  /** Lines that found no room, or that could not be written. */
  readonly dropped: number;
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

  const flush = () => {
    scheduled = false;
    retry = undefined;
    if (closed) return;
    waiting = Buffer.concat([waiting, Buffer.from(fresh.join(''))]);
    fresh = [];
    freshBytes = 0;
    try {
      while (waiting.length > 0) waiting = waiting.subarray(write(waiting));
    } catch (error) {
      const failure = error as NodeJS.ErrnoException;
      if (failure.code === 'EAGAIN') {
        retry = setTimeout(flush, RETRY_MS);
        return;
      }
      closed = true;
      onClosed(failure.code === 'EPIPE' ? undefined : cannotWrite(what, failure));
    }
  };

  /** Writes what waits until there is nothing, or `deadline` (`performance.now()`) has passed. */
  const drain = async (deadline: number) => {
    while (!closed && performance.now() < deadline) {
      if (!retry) flush();
      if (waiting.length + freshBytes === 0) return;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  };

  return {
    write(text) {
      const bytes = Buffer.byteLength(text);
      if (closed || waiting.length + freshBytes + bytes > ROOM) {
        dropped += 1;
        return;
      }
      fresh.push(text);
      freshBytes += bytes;
      if (scheduled || retry) return;
      scheduled = true;
      queueMicrotask(flush);
    },
    drained: () => drain(Number.POSITIVE_INFINITY),
    async end() {
      await drain(performance.now() + PATIENCE_MS);
      clearTimeout(retry);
      dropped += waiting.toString().split('\n').length - 1;
      closed = true;
    },
    get dropped() {
      return dropped;
    },
  };
}

/**
 * For what `process.stdout` prints: a reader that has gone ends the process with status 0, and anything else with status 1 and a line
 * that says what.
 */
export function endWithOutput(command: string): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    warn(command, cannotWrite('the output', error).message);
    process.exit(1);
  });
}

/**
 * Writes a message of one line or several to stderr, after the command's name. Unprintable characters become
 * escapes, also a newline within a line, so that foreign text cannot forge a line. If stderr is closed or
 * full, the message is lost.
 */
export function warn(command: string, text: string | readonly string[]): void {
  const lines = typeof text === 'string' ? [text] : text;
  try {
    writeSync(2, `${command}: ${lines.map((line) => printable(line, '\t')).join('\n')}\n`);
  } catch {
    // Closed or full.
  }
}

function cannotWrite(what: string, { message }: Error): OutputError {
  return new OutputError(`cannot write ${what}: ${message}`);
}

/**
 * A write to stdout that doesn't block. A pipe or terminal is opened anew for that, since the flag on stdout itself
 * would be seen by everyone who shares it; files and sockets are written as they are. A terminal that was hung up (EIO) is a reader
 * that has gone (EPIPE).
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
        if (stat.isCharacterDevice() && (error as NodeJS.ErrnoException).code === 'EIO')
          throw Object.assign(new Error('the terminal was hung up'), { code: 'EPIPE' });
        throw error;
      }
    },
    close() {
      if (fd !== 1) closeSync(fd);
    },
  };
}
