/**
 * The lines of a stream, as they come.
 */

export interface Line {
  /** Without its newline. */
  readonly bytes: Uint8Array;
  /** Whether it has one: what a stream ends with may not. */
  readonly whole: boolean;
}

const NEWLINE = 0x0a;

/** The lines of each chunk together. Where one has more than `most` bytes, what there is of it is the last. */
export async function* linesOf(chunks: AsyncIterable<Uint8Array>, most: number): AsyncGenerator<Line[]> {
  let rest = Buffer.alloc(0);
  for await (const chunk of chunks) {
    const lines: Line[] = [];
    let bytes = Buffer.concat([rest, chunk]);
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE)) {
      lines.push({ bytes: bytes.subarray(0, end), whole: true });
      bytes = bytes.subarray(end + 1);
    }
    rest = bytes;
    yield lines;
    if (rest.length > most) break;
  }
  if (rest.length > 0) yield [{ bytes: rest, whole: false }];
}
