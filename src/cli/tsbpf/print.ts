/** Prints output piece by piece, so that it need not fit in memory. */
import { print } from '../output.ts';

/** Characters of text that are collected for one write. */
const PIECE = 1 << 16;

/** Writes the parts to stdout until the last one, or until the reader has gone. @throws {OutputError} */
export function printAll(parts: Iterable<string | Uint8Array>): void {
  for (const piece of pieces(parts)) if (!print(piece)) return;
}

/** Joins short texts, so that each piece is worth a system call. */
export function* pieces(parts: Iterable<string | Uint8Array>): Generator<string | Uint8Array> {
  let waiting = '';
  for (const part of parts) {
    if (typeof part === 'string') waiting += part;
    if (waiting.length >= PIECE || typeof part !== 'string') {
      if (waiting !== '') yield waiting;
      waiting = '';
    }
    if (typeof part !== 'string') yield part;
  }
  if (waiting !== '') yield waiting;
}
