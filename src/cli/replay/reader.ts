/**
 * Reads the lines of a recording and checks each: a recording may come from anywhere.
 */

import { printable } from '../../asm/printable.ts';
import { parseAddress } from '../address.ts';
import { FORMAT, type Header, headerSchema, LONGEST_LINE, recordSchema } from '../json.ts';
import { MAX_SECONDS } from '../limits.ts';
import type { ConnectRecord } from '../record.ts';
import { RecordingError } from '../recording.ts';
import { excerpt } from '../text.ts';
import { fault } from './check.ts';
import type { Line } from './lines.ts';

/** The source of a recording. */
export interface Origin {
  /** Its name in messages. */
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
  /** The lowest and the highest `time_s` so far. */
  #earliest = Number.POSITIVE_INFINITY;
  #latest = Number.NEGATIVE_INFINITY;

  constructor(origin: Origin) {
    this.#origin = origin;
  }

  /** The first line; undefined before it was read. */
  get header(): Header | undefined {
    return this.#header;
  }

  /** Reads the next line. Returns its record; undefined for the first line. @throws {RecordingError} */
  next(line: Line): ConnectRecord | undefined {
    this.#number += 1;
    if (!this.#header) {
      this.#header = this.#headerIn(line);
      return undefined;
    }
    const record = this.#parse(line) as ConnectRecord;
    const wrong =
      fault(this.#recordSchema, record) ?? this.#wrongAddress(record) ?? this.#wrongTime(record.time_s);
    if (wrong !== undefined) throw this.#bad(wrong);
    return record;
  }

  /** Whether this line is the beginning of one that another process is writing. */
  isUnfinished({ bytes, whole }: Line): boolean {
    return (
      !whole && this.#origin.isGrowing && bytes.length <= LONGEST_LINE && this.#json(bytes) === undefined
    );
  }

  /** Ends the recording. @throws {RecordingError} if it had no lines. */
  end(): void {
    if (this.#number > 0 || this.#origin.isGrowing) return;
    this.#number = 1;
    throw this.#bad('it is empty');
  }

  #headerIn(line: Line): Header {
    const header = this.#parse(line) as Header;
    if (header?.tsbpf !== 'tcpconnlat') throw this.#bad('it is no recording of tcpconnlat');
    if (Number.isInteger(header.format) && header.format !== FORMAT)
      throw this.#bad(
        `it is a recording of another format (${header.format}) than this command knows (${FORMAT}); ` +
          `show it with the version that made it, ${excerpt(header.version ?? 'unknown')}`,
      );
    const wrong = fault(headerSchema(), header);
    if (wrong !== undefined) throw this.#bad(wrong);
    return header;
  }

  #parse({ bytes, whole }: Line): unknown {
    if (bytes.length > LONGEST_LINE) throw this.#bad('it is longer than any line of a recording');
    const parsed = this.#json(bytes);
    if (!parsed) throw this.#bad(whole ? 'it is no JSON' : 'it is cut off');
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

  /** The schema does not say which addresses exist. */
  #wrongAddress({ ip, saddr, daddr }: ConnectRecord): string | undefined {
    const bytes = ip === 4 ? 4 : 16;
    for (const [name, address] of Object.entries({ saddr, daddr }))
      if (parseAddress(address)?.length !== bytes)
        return `${name} is ${excerpt(address)}, and no address of IPv${ip}`;
    return undefined;
  }

  /** Times are shown as differences, which are held to the same bounds. */
  #wrongTime(time: number): string | undefined {
    this.#earliest = Math.min(this.#earliest, time);
    this.#latest = Math.max(this.#latest, time);
    if (this.#latest - this.#earliest <= MAX_SECONDS) return undefined;
    return `time_s is ${time}, more than ${MAX_SECONDS} from that of another line`;
  }
}
