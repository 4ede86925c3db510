/** Reads whole files up to a size limit, because a device or a pipe may never end. */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

const FIRST = 64 * 1024;
/** The pause before reading again from a non-blocking descriptor that has no data yet, in ms. */
const PAUSE_MS = 10;

/**
 * Reads a file by its path, or from a descriptor, which stays open. Returns undefined if the file has more
 * than
 * `most` bytes. Throws the errors of `fs.openSync` and `fs.readSync`.
 */
export function readAtMost(file: string | number, most: number): Uint8Array | undefined {
  if (typeof file === 'number') return readAll(file, most);
  const fd = openSync(file, 'r');
  try {
    return readAll(fd, most);
  } finally {
    closeSync(fd);
  }
}

function readAll(fd: number, most: number): Uint8Array | undefined {
  const stat = fstatSync(fd);
  if (stat.isFile() && stat.size > most) return undefined;
  // One byte more than the file's size, so that its end is found without a larger buffer.
  let bytes: Buffer = Buffer.allocUnsafe(Math.min(most, Math.max(stat.size, FIRST)) + 1);
  let length = 0;
  for (let read = -1; read !== 0; length += read) {
    if (length > most) return undefined;
    if (length === bytes.length) bytes = enlarged(bytes, most);
    read = readSome(fd, bytes, length);
  }
  const whole = bytes.subarray(0, length);
  return 2 * length < bytes.length ? Uint8Array.from(whole) : whole; // most files of /proc are small
}

function enlarged(bytes: Buffer, most: number): Buffer {
  const larger = Buffer.allocUnsafe(Math.min(bytes.length * 2, most + 1));
  bytes.copy(larger);
  return larger;
}

function readSome(fd: number, bytes: Uint8Array, at: number): number {
  for (;;) {
    try {
      return readSync(fd, bytes, at, bytes.length - at, null);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
    }
  }
}
