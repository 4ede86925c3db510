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

/**
 * Splits chunks into lines; yields the lines that each chunk ends. If a line has more than `most` bytes, its beginning is the last line.
 * Takes linear time, however small the chunks are.
 */
export async function* linesOf(chunks: AsyncIterable<Uint8Array>, most: number): AsyncGenerator<Line[]> {
  let begun: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of chunks) {
    const lines: Line[] = [];
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      lines.push({ bytes: Buffer.concat([...begun, chunk.subarray(start, end)]), whole: true });
      begun = [];
      size = 0;
      start = end + 1;
    }
    if (start < chunk.length) begun.push(chunk.subarray(start));
    size += chunk.length - start;
    yield lines;
    if (size > most) break;
  }
  if (size > 0) yield [{ bytes: Buffer.concat(begun), whole: false }];
}
