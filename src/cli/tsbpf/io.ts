/** Reads and writes files, and prints to stdout. The file `-` is standard input. */
import { closeSync, openSync, writeSync } from 'node:fs';
import { resolve } from 'node:path';
import { TsbpfError } from '../../asm/error.ts';
import { describeErrno } from '../../loader/errno.ts';
import { readAtMost } from '../../loader/read-file.ts';
import { print } from '../output.ts';

/** A file cannot be read or written. */
export class FileError extends TsbpfError {
  override readonly name = 'FileError';
  override readonly code = 'ERR_FILE';
}

/** A file is larger than the limit of `readWhole`. */
export class FileSizeError extends TsbpfError {
  override readonly name = 'FileSizeError';
  override readonly code = 'ERR_FILE_SIZE';
}

/** The size limit of a file in MiB: more than the listing of a million instructions. */
const MAX_MIB = 64;

/** The content of a file. @throws {FileError} @throws {FileSizeError} */
export function readWhole(file: string): Uint8Array {
  const bytes = withFileError(file, 'read', () => readAtMost(file === '-' ? 0 : file, MAX_MIB << 20));
  if (bytes === undefined)
    throw new FileSizeError(
      `${file === '-' ? 'standard input' : file} is larger than ${MAX_MIB} MiB, the limit of this command`,
    );
  return bytes;
}

/** Writes a file. @throws {FileError} */
export function writeWhole(file: string, parts: Iterable<string | Uint8Array>): void {
  withFileError(file, 'write', () => {
    const fd = openSync(file, 'w');
    try {
      for (const chunk of chunksOf(parts)) writeFully(fd, chunk);
    } finally {
      closeSync(fd);
    }
  });
}

function writeFully(fd: number, chunk: string | Uint8Array): void {
  const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
}

/** The absolute path of a file, used in messages and positions. */
export function pathOf(file: string): string {
  return file === '-' ? '/dev/stdin' : resolve(file);
}

function withFileError<T>(file: string, verb: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const { code, errno, message } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    const why = errno === undefined ? message : describeErrno(-errno);
    throw new FileError(`cannot ${verb} ${file}: ${why}`);
  }
}

/** The size of a write, in characters of text. */
const CHUNK = 1 << 16;

/** Prints the parts to stdout, until the last part or until the reader has exited. @throws {OutputError} */
export function printAll(parts: Iterable<string | Uint8Array>): void {
  for (const chunk of chunksOf(parts)) if (!print(chunk)) return;
}

/** Joins short texts to chunks that are worth a system call. */
function* chunksOf(parts: Iterable<string | Uint8Array>): Generator<string | Uint8Array> {
  let waiting = '';
  for (const part of parts) {
    if (typeof part === 'string') waiting += part;
    if (waiting.length >= CHUNK || typeof part !== 'string') {
      if (waiting !== '') yield waiting;
      waiting = '';
    }
    if (typeof part !== 'string') yield part;
  }
  if (waiting !== '') yield waiting;
}
