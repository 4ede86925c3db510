/**
 * Output to a terminal, pipe or file. A slow reader does not delay the tool.
 *
 * Writes do not block, so signals are handled while a terminal is stopped. The buffer is bounded: lines that
 * do not fit are dropped and counted.
 */

import { closeSync, constants, fstatSync, openSync, type Stats, writeSync } from 'node:fs';
import { TsbpfError } from '../asm/error.ts';
import { printable } from '../asm/printable.ts';
import { describeErrno, errnoName } from '../loader/errno.ts';
import type { Syscalls } from '../loader/syscalls.ts';
import { uptime } from '../loader/uptime.ts';
import { LineBuffer } from './line-buffer.ts';

/** The capacity of the buffer for a slow reader, in bytes. */
const CAPACITY = 1 << 20;
/** After as many new bytes, the capacity of a pipe, lines are written without waiting for the event loop. */
const WRITE_BYTES = 1 << 16;
/** The interval between attempts to write to a full pipe, in ms. */
const RETRY_MS = 20;
const NEWLINE = 0x0a;
/** How long the end of a run waits for the last lines to be written, in ms. */
const END_TIMEOUT_MS = 500;

/** The output cannot be written, for example because the disk is full. */
export class OutputError extends TsbpfError {
  override readonly name: string = 'OutputError';
  override readonly code: string = 'ERR_OUTPUT';
}

/** Writes some of the bytes and returns how many; throws the errors of `fs.writeSync`. */
export type Write = (bytes: Uint8Array) => number;

/** Buffered output of lines. */
export interface LineOutput {
  /** Adds a text that ends in a newline. It is written before the event loop continues. */
  write(text: string): void;
  /** Adds the line of a connect. It counts as shown when all of it has been written. */
  show(line: string): void;
  /** Returns the buffer to append the line of a connect to. `showLine` adds it; nothing may come between. */
  newLine(): LineBuffer;
  /** Adds the line in the buffer, like `show`. */
  showLine(): void;
  /** Writes now what the reader takes without waiting. */
  flush(): void;
  /** Waits, without a time limit, until everything is written or the reader has exited. */
  drained(): Promise<void>;
  /** Writes the buffered lines, for up to half a second. */
  end(): Promise<void>;
  /** Lines that did not fit into the buffer, or could not be written. */
  readonly dropped: number;
  /** Connects whose line was added and not dropped. */
  readonly added: number;
  /** Connects whose line has been written. */
  readonly shown: number;
}

/**
 * Buffers lines for `write`. `onClosed` is called once, without an error if the reader has exited, or with
 * the error of a write; nothing is written afterwards. `what` names the output in errors.
 */
export function lineOutput(write: Write, onClosed: (error?: Error) => void, what = 'the output'): LineOutput {
  /** The unwritten texts, `waiting` bytes from its start. After them, a line that is not added yet. */
  const buffer = new LineBuffer();
  let waiting = 0;
  let dropped = 0;
  let closed = false;
  let scheduled = false;
  let retry: NodeJS.Timeout | undefined;
  /** The number of waiting bytes at which they are written, also to a pipe that was full. */
  let writeAt = WRITE_BYTES;
  let written = 0;
  let added = 0;
  let shown = 0;
  /** The end of each buffered line of a connect, as an ascending offset in the whole output. */
  let ends: number[] = [];

  /** Counts the connects whose line has been written. */
  const countShown = () => {
    const remaining = waiting === 0 ? -1 : ends.findIndex((end) => end > written);
    shown += remaining < 0 ? ends.length : remaining;
    ends = remaining < 0 ? [] : ends.slice(remaining);
  };

  const flush = () => {
    scheduled = false;
    clearTimeout(retry);
    retry = undefined;
    if (closed) return;
    try {
      while (waiting > 0) {
        const size = write(buffer.bytes.subarray(buffer.start, buffer.start + waiting));
        buffer.start += size;
        waiting -= size;
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
      writeAt = waiting + WRITE_BYTES;
      countShown();
    }
  };

  const newLine = (): LineBuffer => {
    if (waiting === 0) buffer.start = 0;
    buffer.end = buffer.start + waiting;
    return buffer;
  };

  /** Adds the text in the buffer, or drops it. */
  const add = (isConnect: boolean): void => {
    const unwritten = buffer.end - buffer.start;
    if (closed || unwritten > CAPACITY) {
      dropped += 1;
      return;
    }
    waiting = unwritten;
    if (isConnect) {
      ends.push(written + waiting);
      added += 1;
    }
    if (waiting >= writeAt) flush();
    else if (!scheduled && !retry) {
      scheduled = true;
      queueMicrotask(flush);
    }
  };

  /** Writes until the buffer is empty or `deadline` (`uptime()`) has passed. */
  const drain = async (deadline: number) => {
    while (!closed && uptime() < deadline) {
      if (!retry) flush();
      if (waiting === 0) return;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  };

  return {
    write(text) {
      newLine().text(text);
      add(false);
    },
    show(line) {
      newLine().text(line);
      add(true);
    },
    newLine,
    showLine: () => add(true),
    flush,
    drained: () => drain(Number.POSITIVE_INFINITY),
    async end() {
      await drain(uptime() + END_TIMEOUT_MS);
      clearTimeout(retry);
      for (const byte of buffer.bytes.subarray(buffer.start, buffer.start + waiting))
        if (byte === NEWLINE) dropped += 1;
      closed = true;
    },
    get dropped() {
      return dropped;
    },
    get added() {
      return added;
    },
    get shown() {
      return shown;
    },
  };
}

/**
 * Writes a complete text to stdout, for commands that print and exit. Returns false if the reader has exited,
 * which is not an error.
 *
 * Nothing here uses `process.stdout` or `process.stderr`: opening them makes a pipe non-blocking for every
 * process that shares it.
 * @throws {OutputError}
 */
export function print(text: string | Uint8Array): boolean {
  try {
    writeWhole((bytes) => writeSync(1, bytes), text, Number.POSITIVE_INFINITY);
    return true;
  } catch (error) {
    if (!isGone(error, fstatSync(1))) throw cannotWrite('the output', error as Error);
    return false;
  }
}

/** Writes to stderr: a write may block until `openErrorOutput`. */
let writeError: Write = (bytes) => writeSync(2, bytes);
/** How long a message waits for a full stderr, in ms. 0 after a message timed out. */
let patience = END_TIMEOUT_MS;

/**
 * Writes a complete text to stderr. Ignores errors, because there is no other output to report them on. A
 * reader that stopped reading costs half a second once.
 */
export function printError(text: string): void {
  try {
    writeWhole(writeError, text, patience);
    patience = END_TIMEOUT_MS;
  } catch {
    // closed, or full for too long
    patience = 0;
  }
}

/** From now on, messages do not block, like lines. */
export function openErrorOutput(syscalls?: Pick<Syscalls, 'send'>): void {
  writeError = writerTo(2, fstatSync(2), syscalls).write;
}

/**
 * Prints a message of one or more lines to stderr, after the name of the command. Unprintable characters
 * become escapes. So does a newline within a line, so that foreign text cannot forge a line.
 */
export function printWarning(command: string, text: string | readonly string[]): void {
  const lines = typeof text === 'string' ? [text] : text;
  printError(`${command}: ${lines.map((line) => printable(line, '\t')).join('\n')}\n`);
}

/**
 * Writes a complete text. `timeoutMs` limits the attempts if the reader is slow (EAGAIN).
 */
export function writeWhole(write: Write, text: string | Uint8Array, timeoutMs: number): void {
  const deadline = uptime() + timeoutMs;
  let rest = typeof text === 'string' ? Buffer.from(text) : text;
  while (rest.length > 0) {
    try {
      rest = rest.subarray(write(rest));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'EAGAIN' || uptime() > deadline) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, RETRY_MS);
    }
  }
}

/** Whether a write failed because the reader of a pipe has exited (EPIPE) or a terminal was hung up (EIO). */
function isGone(error: unknown, stat: Stats): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'EPIPE' || (code === 'EIO' && stat.isCharacterDevice());
}

function cannotWrite(what: string, { message }: Error): OutputError {
  return new OutputError(`cannot write ${what}: ${message}`);
}

/** A destination of writes that do not block. */
interface Writer {
  readonly write: Write;
  close(): void;
}

/**
 * Writes to an open descriptor without blocking. The flag O_NONBLOCK on the descriptor itself would affect
 * every process that shares it. So a pipe or terminal is opened again with it, and a socket is written by
 * `send`, without which its writes may block. Files never block.
 */
function writerTo(fd: number, stat: Stats, syscalls?: Pick<Syscalls, 'send'>): Writer {
  if (stat.isSocket() && syscalls)
    return {
      write(bytes) {
        const size = syscalls.send(fd, bytes);
        if (size >= 0) return size;
        throw Object.assign(new Error(describeErrno(-size)), { code: errnoName(-size) });
      },
      close() {},
    };
  let own = fd;
  if (stat.isFIFO() || stat.isCharacterDevice()) {
    try {
      const path = `/proc/self/fd/${fd}`;
      own = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    } catch {
      // no permission, or no /proc: writes may block
    }
  }
  return {
    write: (bytes) => writeSync(own, bytes),
    close() {
      if (own !== fd) closeSync(own);
    },
  };
}

/** Writes to stdout without blocking. A terminal that was hung up (EIO) is reported as EPIPE. */
export function standardOutput(syscalls?: Pick<Syscalls, 'send'>): Writer {
  const stat = fstatSync(1);
  const { write, close } = writerTo(1, stat, syscalls);
  return {
    write(bytes) {
      try {
        return write(bytes);
      } catch (error) {
        throw isGone(error, stat)
          ? Object.assign(new Error('its reader has exited'), { code: 'EPIPE' })
          : error;
      }
    },
    close,
  };
}
