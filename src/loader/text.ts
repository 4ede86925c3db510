/** Text of files in /proc and /sys, and of C strings. */
import type { Syscalls } from './syscalls.ts';

/** Decodes bytes as Latin-1: a character for each byte, so that no byte is lost. */
export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** Decodes bytes as UTF-8. */
export function utf8(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}

/** Decodes a C string: the text before the first NUL, or all of it if there is none. */
export function decodeCString(bytes: Uint8Array, decode = latin1): string {
  const end = bytes.indexOf(0);
  return decode(end < 0 ? bytes : bytes.subarray(0, end));
}

/** Reads a file as Latin-1 text. Returns minus the errno if it cannot be read. */
export function readText(syscalls: Syscalls, path: string): string | number {
  const bytes = syscalls.readFile(path);
  return typeof bytes === 'number' ? bytes : latin1(bytes);
}
