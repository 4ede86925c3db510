/** Files that the user names, and the standard input by the name of -. */
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describeErrno } from '../../loader/errno.ts';

/** A file that can't be read or written. */
export class FileError extends Error {
  override readonly name = 'FileError';
}

/** The whole of a file. @throws {FileError} */
export function readWhole(file: string): Uint8Array {
  return naming(file, 'read', () => readFileSync(file === '-' ? 0 : file));
}

/** @throws {FileError} */
export function writeWhole(file: string, bytes: Uint8Array): void {
  naming(file, 'write', () => writeFileSync(file, bytes));
}

/** How messages call a file, and positions do: by its whole path. */
export function pathOf(file: string): string {
  return file === '-' ? '/dev/stdin' : resolve(file);
}

function naming<T>(file: string, verb: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const { errno, message } = error as NodeJS.ErrnoException;
    const why = errno === undefined ? message : describeErrno(-errno);
    throw new FileError(`cannot ${verb} ${file}: ${why}`);
  }
}
