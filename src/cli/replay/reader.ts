/**
 * Reads the lines of a recording, and validates each line because recordings are untrusted input.
 */

import { printable } from '../../asm/printable.ts';
import { parseAddress } from '../address.ts';
import { FORMAT, type Header, headerSchema, MAX_LINE_BYTES, recordSchema } from '../json.ts';
import { MAX_SECONDS } from '../limits.ts';
import type { ConnectRecord } from '../record.ts';
import { RecordingError } from '../recording.ts';
import { excerpt } from '../text.ts';
import { violation } from './validate.ts';

/** A line of a stream. */
export interface Line {
  /** The bytes without the newline. */
  readonly bytes: Uint8Array;
  /** Whether the line ends with a newline. The last line of a stream may not. */
  readonly whole: boolean;
}

const NEWLINE = 0x0a;

/**
 * Splits chunks into lines, and yields the lines that each chunk completes. If a line has more than
 * `maxBytes` bytes, its beginning is the last line. Takes linear time, however small the chunks are.
 */
export async function* splitLines(
  chunks: AsyncIterable<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<Line[]> {
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
    if (size > maxBytes) break;
  }
  if (size > 0) yield [{ bytes: Buffer.concat(begun), whole: false }];
}

/** The source of a recording. */
export interface Origin {
  /** The name of the file in messages. */
  readonly name: string;
  /** Whether a process is writing it, so that its last line may be incomplete. */
  readonly isGrowing: boolean;
}

/** The lines of one recording, in order. */
export class RecordingReader {
  readonly #origin: Origin;
  readonly #recordSchema = recordSchema();
  readonly #utf8 = new TextDecoder('utf-8', { fatal: true });
  #header: Header | undefined;
  #number = 0;
  /** The earliest and the latest `time_s` so far. */
  #earliest = Number.POSITIVE_INFINITY;
  #latest = Number.NEGATIVE_INFINITY;

  constructor(origin: Origin) {
    this.#origin = origin;
  }

  /** The first line; undefined until it has been read. */
  get header(): Header | undefined {
    return this.#header;
  }

  /** Reads the next line and returns its record; undefined for the first line. @throws {RecordingError} */
  next(line: Line): ConnectRecord | undefined {
    this.#number += 1;
    if (!this.#header) {
      this.#header = this.#headerIn(line);
      return undefined;
    }
    const record = this.#parse(line) as ConnectRecord;
    const wrong =
      violation(this.#recordSchema, record) ?? this.#wrongAddress(record) ?? this.#wrongTime(record.time_s);
    if (wrong !== undefined) throw this.#bad(wrong);
    return record;
  }

  /** Whether this is an incomplete line that another process is still writing. */
  isUnfinished({ bytes, whole }: Line): boolean {
    return (
      !whole && this.#origin.isGrowing && bytes.length <= MAX_LINE_BYTES && this.#json(bytes) === undefined
    );
  }

  /** Ends the recording. @throws {RecordingError} if it has no lines. */
  end(): void {
    if (this.#number > 0 || this.#origin.isGrowing) return;
    this.#number = 1;
    throw this.#bad('it is empty');
  }

  #headerIn(line: Line): Header {
    const header = this.#parse(line) as Header;
    if (header?.tsbpf !== 'tcpconnlat') throw this.#bad('this is not a recording of tcpconnlat');
    if (Number.isInteger(header.format) && header.format !== FORMAT)
      throw this.#bad(
        `this recording has format ${header.format}, but this version supports only format ${FORMAT}; ` +
          `use version ${excerpt(header.version ?? 'unknown')}, which made it`,
      );
    const wrong = violation(headerSchema(), header);
    if (wrong !== undefined) throw this.#bad(wrong);
    return header;
  }

  #parse({ bytes, whole }: Line): unknown {
    if (bytes.length > MAX_LINE_BYTES) throw this.#bad('it is longer than any line of a recording can be');
    const parsed = this.#json(bytes);
    if (!parsed) throw this.#bad(whole ? 'it is not JSON' : 'it is cut off');
    return parsed.value;
  }

  #json(bytes: Uint8Array): { readonly value: unknown } | undefined {
    try {
      return { value: JSON.parse(this.#utf8.decode(bytes)) };
    } catch {
      return undefined;
    }
  }

  #bad(what: string): RecordingError {
    return new RecordingError(`${printable(this.#origin.name)}:${this.#number}: ${what}`);
  }

  /** Checks addresses: the pattern of the schema also matches some texts that are not addresses. */
  #wrongAddress({ ip, saddr, daddr, requested_addr }: ConnectRecord): string | undefined {
    const bytes = ip === 4 ? 4 : 16;
    for (const [name, address] of Object.entries({ saddr, daddr, requested_addr }))
      if (address !== undefined && ip === undefined) return `it has ${name} but no ip`;
      else if (address !== undefined && parseAddress(address)?.length !== bytes)
        return `${name} is ${excerpt(address)}, expected IPv${ip} address`;
    return undefined;
  }

  /** Checks that differences of times, which are shown, are within the same limits. */
  #wrongTime(time: number): string | undefined {
    this.#earliest = Math.min(this.#earliest, time);
    this.#latest = Math.max(this.#latest, time);
    if (this.#latest - this.#earliest <= MAX_SECONDS) return undefined;
    return `time_s is ${time}, more than ${MAX_SECONDS} from the time of another line`;
  }
}
