/** Files that the user names, and the standard input by the name of -. */

import { closeSync, openSync, writeSync } from 'node:fs';
import { resolve } from 'node:path';
import { TsbpfError } from '../../asm/error.ts';
import { describeErrno } from '../../loader/errno.ts';
import { readAtMost } from '../../loader/read-file.ts';
import { pieces } from './print.ts';

/** A file that can't be read or written. */
export class FileError extends TsbpfError {
  override readonly name = 'FileError';
  override readonly code = 'ERR_FILE';
}

/** A file is larger than `readWhole` reads. */
export class FileSizeError extends TsbpfError {
  override readonly name = 'FileSizeError';
  override readonly code = 'ERR_FILE_SIZE';
}

/** The most that is read of a file, in MiB: more than the listing of a million instructions. */
const MOST_MIB = 64;

/** The whole of a file. @throws {FileError} @throws {FileSizeError} */
export function readWhole(file: string): Uint8Array {
  const bytes = naming(file, 'read', () => readAtMost(file === '-' ? 0 : file, MOST_MIB << 20));
  if (bytes === undefined)
    throw new FileSizeError(
      `${file === '-' ? 'the standard input' : file} is larger than ${MOST_MIB} MiB, the most that is read`,
    );
  return bytes;
}

/** @throws {FileError} */
export function writeWhole(file: string, parts: Iterable<string | Uint8Array>): void {
  naming(file, 'write', () => {
    const fd = openSync(file, 'w');
    try {
      for (const piece of pieces(parts)) writeFully(fd, piece);
    } finally {
      closeSync(fd);
    }
  });
}

function writeFully(fd: number, piece: string | Uint8Array): void {
  const bytes = typeof piece === 'string' ? Buffer.from(piece) : piece;
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
}

/** How messages call a file, and positions do: by its whole path. */
export function pathOf(file: string): string {
  return file === '-' ? '/dev/stdin' : resolve(file);
}

function naming<T>(file: string, verb: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const { code, errno, message } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    const why = errno === undefined ? message : describeErrno(-errno);
    throw new FileError(`cannot ${verb} ${file}: ${why}`);
  }
}
