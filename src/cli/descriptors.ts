/**
 * Reads and waits on descriptors that other processes share, such as stdin and stdout, without changing their
 * flags.
 *
 * Node's own streams make a pipe or socket non-blocking when they open it. That flag belongs to the open file
 * description: a shell, or the next command of a pipeline, would then fail with EAGAIN.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import type { Readable } from 'node:stream';
import type { Closeable } from '../loader/resources.ts';
import { type Poll, PollEvents, type Syscalls } from '../loader/syscalls.ts';

/** Bytes per read. */
const CHUNK = 65_536;

type PollSyscalls = Pick<Syscalls, 'pollShared'>;

/**
 * Calls `onGone` once when the other end of a pipe, socket or terminal closes. The wait keeps the process
 * alive until it is closed. Returns undefined for files and devices, which have no other end.
 */
export function onHangUp(syscalls: PollSyscalls, fd: number, onGone: () => void): Closeable | undefined {
  return once(syscalls, fd, PollEvents.hangUp, onGone);
}

/**
 * The content of a descriptor as a stream, which leaves the descriptor open. A pipe, socket or terminal needs
 * `syscalls`; a file is read at once.
 */
export async function readShared(syscalls: PollSyscalls | undefined, fd: number): Promise<Readable> {
  const { Readable } = await import('node:stream'); // not loaded for tracing
  let waiting: Closeable | undefined;
  const readInto = (stream: Readable) => {
    const chunk = Buffer.allocUnsafe(CHUNK);
    try {
      const size = readSync(fd, chunk);
      stream.push(size === 0 ? null : chunk.subarray(0, size));
    } catch (error) {
      // another reader of the same pipe was faster
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') stream._read(CHUNK);
      else stream.destroy(error as Error);
    }
  };
  return new Readable({
    highWaterMark: CHUNK,
    read() {
      waiting = syscalls && once(syscalls, fd, PollEvents.readable, () => readInto(this));
      if (!waiting) readInto(this);
    },
    destroy(error, done) {
      waiting?.close();
      done(error);
    },
  });
}

/**
 * Calls `onEvent` for the first event on a descriptor. Returns undefined for files and devices, which epoll
 * refuses.
 */
function once(
  syscalls: PollSyscalls,
  fd: number,
  events: number,
  onEvent: () => void,
): Closeable | undefined {
  const wait: Poll | number = syscalls.pollShared(fd, events, () => {
    (wait as Poll).close();
    onEvent();
  });
  return typeof wait === 'number' ? undefined : wait;
}

/**
 * The content of a file as a stream. It does not use libuv's threads: if the system allows no more threads
 * (ulimit -u, ulimit -v), libuv aborts the process. The stream emits all errors, also a failed
 * open.
 */
export async function readFileStream(path: string): Promise<Readable> {
  const { Readable } = await import('node:stream'); // not loaded for tracing
  return Readable.from(chunksOf(path), { objectMode: false });
}

function* chunksOf(path: string): Generator<Uint8Array> {
  const fd = openSync(path, 'r');
  try {
    for (;;) {
      const chunk = Buffer.allocUnsafe(CHUNK);
      const size = readSync(fd, chunk);
      if (size === 0) return;
      yield chunk.subarray(0, size);
    }
  } finally {
    closeSync(fd);
  }
}
