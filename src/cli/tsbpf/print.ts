/** Prints output piece by piece, so that it need not fit in memory. */

/** Characters of text that are collected for one write. */
const PIECE = 1 << 16;

/**
 * Writes the parts to stdout, and stops at an error, such as a reader that has gone. The stream's `error`
 * event reports it.
 */
export function print(parts: Iterable<string | Uint8Array>): void {
  for (const piece of pieces(parts)) {
    process.stdout.write(piece);
    if (process.stdout.errored) return;
  }
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
