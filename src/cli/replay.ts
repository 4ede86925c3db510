/**
 * Recordings shown again: no kernel is asked for anything, and no privileges are needed.
 */
import { constants, createReadStream, openSync, statSync } from 'node:fs';
import type { Readable } from 'node:stream';
import type { Settings } from './arguments.ts';
import { FORMAT, type Header, headerSchema, recordSchema } from './json.ts';
import type { LineOutput } from './output.ts';
import { type ConnectRecord, fieldsOf, RECORDED } from './record.ts';
import { BadRecording } from './recording.ts';
import { fault } from './replay/check.ts';
import { type Line, linesOf } from './replay/lines.ts';
import { selects } from './replay/selection.ts';
import { complain, openRun } from './run.ts';
import { type Shower, shower } from './show.ts';
import { excerpt } from './text.ts';

/** No line of a recording has as many bytes. */
const LONGEST = 65_536;

/**
 * Shows the recording in `file`, `-` for standard input, under the settings: each line as it comes, until the end or a signal.
 * @throws {BadRecording} with the number of the line, when what came before it has been shown. @throws {OutputError}
 */
export async function replay(file: string, settings: Settings): Promise<void> {
  const stream = await streamOf(file);
  const run = openRun();
  const stopped = run.ended.then((error) => {
    if (error) throw error;
  });
  try {
    const show = await shower(settings, run.output);
    try {
      await Promise.race([showAll(file, stream, settings, show, run.output), stopped]);
    } finally {
      show.end();
    }
  } finally {
    stream.destroy();
    await run.close();
  }
}

/**
 * What is in a file, or comes. A pipe is read when there is something in it: a read that waits for that, as those of `createReadStream`
 * do, would keep the process from ending until somebody writes.
 */
async function streamOf(file: string): Promise<Readable> {
  if (file === '-') return process.stdin;
  if (!isPipe(file)) return createReadStream(file);
  const { Socket } = await import('node:net');
  try {
    const fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    return new Socket({ fd, readable: true, writable: false });
  } catch (error) {
    throw unreadable(file, error);
  }
}

function isPipe(file: string): boolean {
  try {
    return statSync(file).isFIFO();
  } catch {
    return false; // reading it says why
  }
}

function unreadable(file: string, error: unknown): BadRecording {
  return new BadRecording(`${file}: cannot read it: ${(error as Error).message}`);
}

async function showAll(
  file: string,
  stream: Readable,
  settings: Settings,
  show: Shower,
  output: LineOutput,
): Promise<void> {
  /** No reader is too slow for a recording: it is read on when what was read is shown. */
  const shown = async () => {
    await show.settled();
    await output.drained();
  };
  const { isIP } = await import('node:net'); // takes longer to load than the rest of the command
  const reader = new Reader(file, isIP);
  let firstS: number | undefined;
  try {
    for await (const lines of linesOf(contentOf(file, stream), LONGEST)) {
      for (const line of lines) {
        const record = reader.next(line);
        if (!record) {
          for (const lack of reader.lacks(settings)) complain(lack);
          show.header();
        } else if (selects(settings, record)) {
          firstS ??= record.time_s;
          show.record({ ...record, time_s: Math.round((record.time_s - firstS) * 1e9) / 1e9 });
        }
      }
      await shown();
    }
    reader.end();
  } finally {
    await shown();
  }
}

/** Whether something is asked for that only records made with this option have. */
function asksFor(settings: Settings, option: (typeof RECORDED)[number]): boolean {
  return Boolean(settings[option]) || (option === 'who' && settings.filter.uid !== undefined);
}

async function* contentOf(file: string, stream: Readable): AsyncGenerator<Uint8Array> {
  try {
    yield* stream;
  } catch (error) {
    throw unreadable(file, error);
  }
}

/** What the lines of a recording say, one after the other. */
class Reader {
  readonly #file: string;
  readonly #isIP: (address: string) => number;
  readonly #recordSchema = recordSchema();
  readonly #utf8 = new TextDecoder('utf-8', { fatal: true });
  #header: Header | undefined;
  #number = 0;

  /** `isIP` is Node's: 4, 6, or 0 for no address. */
  constructor(file: string, isIP: (address: string) => number) {
    this.#file = file;
    this.#isIP = isIP;
  }

  /** The record of the next line; none in the first. @throws {BadRecording} */
  next(line: Line): ConnectRecord | undefined {
    this.#number += 1;
    if (!this.#header) {
      this.#header = this.#headerIn(line);
      return undefined;
    }
    const record = this.#parse(line);
    const wrong = fault(this.#recordSchema, record) ?? this.#wrongAddress(record as ConnectRecord);
    if (wrong !== undefined) throw this.#bad(wrong);
    return record as ConnectRecord;
  }

  /** The recording has no more lines. @throws {BadRecording} where it had none at all. */
  end(): void {
    if (this.#number > 0) return;
    this.#number = 1;
    throw this.#bad('it is empty');
  }

  /** What is asked for, and the recording was made without; a sentence each. */
  lacks(settings: Settings): string[] {
    const has = this.#header?.fields ?? [];
    return RECORDED.flatMap((option) => {
      const missing = fieldsOf(option).filter((field) => !has.includes(field));
      if (!asksFor(settings, option) || missing.length === 0) return [];
      return [`${this.#file} tells no ${missing.join(', ')}: it was recorded without --${option}`];
    });
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
    if (bytes.length > LONGEST) throw this.#bad('it is longer than any line of a recording');
    try {
      return JSON.parse(this.#utf8.decode(bytes));
    } catch {
      throw this.#bad(whole ? 'it is no JSON' : 'it is cut off');
    }
  }

  #bad(what: string): BadRecording {
    return new BadRecording(`${this.#file}:${this.#number}: ${what}`);
  }

  /** A fault that the schema doesn't know of. */
  #wrongAddress({ ip, saddr, daddr }: ConnectRecord): string | undefined {
    for (const [name, address] of Object.entries({ saddr, daddr }))
      if (this.#isIP(address) !== ip) return `${name} is ${excerpt(address)}, and no address of IPv${ip}`;
    return undefined;
  }
}
