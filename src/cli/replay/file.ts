/**
 * Files read without the threads of libuv: if the system allows no more of them (ulimit -u, ulimit -v), libuv
 * aborts the process.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import type { Readable } from 'node:stream';

/** Bytes that are read at once. */
const CHUNK = 65_536;

/** The content of a file on a disk, as a stream. An error, also of opening it, is the stream's. */
export async function readOnThisThread(path: string): Promise<Readable> {
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
