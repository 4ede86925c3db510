/**
 * Recordings shown again: no kernel is asked for anything, and no privileges are needed.
 */
import { type BigIntStats, constants, fstatSync, openSync, statSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { printable } from '../asm/printable.ts';
import { nativeSyscalls } from '../loader/koffi.ts';
import type { Syscalls } from '../loader/syscalls.ts';
import type { Options } from './arguments.ts';
import { type Header, LONGEST_LINE } from './json.ts';
import type { LineOutput } from './output.ts';
import { fieldsOf, RECORDED } from './record.ts';
import { lockHolder } from './recording/lock.ts';
import { RecordingError } from './recording.ts';
import { readOnThisThread } from './replay/file.ts';
import { linesOf } from './replay/lines.ts';
import { type Origin, RecordingReader } from './replay/reader.ts';
import { hidesFailure, selects } from './replay/selection.ts';
import { complain, openRun } from './run.ts';
import { readShared } from './shared.ts';
import { type Shower, shower } from './show.ts';
import { printSummary } from './summary.ts';
import { systemReason } from './text.ts';

/** Devices that never keep a reader waiting: null, zero, full, random, urandom (Documentation/admin-guide/devices.txt). */
const ENDLESS_DEVICES = [3n, 5n, 7n, 8n, 9n].map((minor) => (1n << 8n) | minor);

/**
 * Shows the recording in `file`, `-` for standard input, under the options: each line as it comes, until the end or a signal.
 * @throws {RecordingError} with the number of the line, when what came before it has been shown. @throws {OutputError}
 */
export async function replay(file: string, options: Options): Promise<void> {
  const stat = statusOf(file);
  const isGrowing = stat.isFile() && lockHolder(stat) !== undefined; // a recorder that ends now has written its last line
  const origin = { name: file, isGrowing };
  // A replay that never waits needs no watch on its reader: the next write fails.
  const syscalls = mayWait(stat) ? nativeSyscalls() : undefined;
  const stream = await streamOf(file, stat, syscalls);
  const run = openRun(syscalls);
  const stopped = run.ended.then((error) => {
    if (error) throw error;
  });
  const skipped: Skipped = { notSelected: 0 };
  try {
    const show = await shower(options, run.output);
    try {
      await Promise.race([showAll(origin, stream, options, show, run.output, skipped), stopped]);
    } finally {
      show.end();
    }
  } finally {
    stream.destroy();
    await run.close();
    if (skipped.begun) printSummary(options, { ...skipped, shown: run.output.shown });
  }
}

/** The records that aren't shown, counted. */
interface Skipped {
  /** Whether the file is a recording. */
  begun?: true;
  /** Failures; undefined if the recording has no results, or the user asked for failures. */
  failed?: number;
  notSelected: number;
}

/** The status of a file that can be read. @throws {RecordingError} */
function statusOf(file: string): BigIntStats {
  try {
    const stat = file === '-' ? fstatSync(0, { bigint: true }) : statSync(file, { bigint: true });
    if (stat.isDirectory()) throw new Error('EISDIR: it is a directory');
    if (file !== '-' && stat.isCharacterDevice() && mayWait(stat))
      throw new Error('it is a terminal or device; name a file or a named pipe, or - for standard input');
    return stat;
  } catch (error) {
    throw unreadable(file, error);
  }
}

/** Whether a read may wait for another process or for the user. */
function mayWait(stat: BigIntStats): boolean {
  return (
    stat.isFIFO() || stat.isSocket() || (stat.isCharacterDevice() && !ENDLESS_DEVICES.includes(stat.rdev))
  );
}

/**
 * The content of a file. A named pipe is read when it holds something: a read that waits would keep the
 * process from ending until another process writes.
 */
async function streamOf(file: string, stat: BigIntStats, syscalls: Syscalls | undefined): Promise<Readable> {
  if (file === '-') return readShared(syscalls, 0);
  if (!stat.isFIFO()) return readOnThisThread(file);
  const { Socket } = await import('node:net');
  try {
    const fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    return new Socket({ fd, readable: true, writable: false });
  } catch (error) {
    throw unreadable(file, error);
  }
}

function unreadable(file: string, error: unknown): RecordingError {
  return new RecordingError(`${printable(file)}: cannot read it: ${systemReason(error)}`);
}

async function showAll(
  origin: Origin,
  stream: Readable,
  options: Options,
  show: Shower,
  output: LineOutput,
  skipped: Skipped,
): Promise<void> {
  /** No reader is too slow for a recording: it is read on when what was read is shown. */
  const shown = async () => {
    await show.settled();
    await output.drained();
  };
  const name = printable(origin.name);
  const reader = new RecordingReader(origin);
  let firstS: number | undefined;
  try {
    for await (const lines of linesOf(contentOf(origin.name, stream), LONGEST_LINE)) {
      for (const line of lines) {
        if (reader.isUnfinished(line)) {
          complain(`${name} is still being recorded: its last line is incomplete and not shown`);
          break;
        }
        const record = reader.next(line);
        if (!record) {
          for (const { option, fields } of lacks(reader.header, options))
            complain(`${name} tells no ${fields.join(', ')}: it was recorded without --${option}`);
          skipped.begun = true;
          if (options.outcome === undefined && reader.header?.fields.includes('result')) skipped.failed = 0;
          show.header();
        } else if (selects(options, record)) {
          firstS ??= record.time_s;
          show.record({ ...record, time_s: Math.round((record.time_s - firstS) * 1e9) / 1e9 });
        } else if (skipped.failed !== undefined && hidesFailure(options, record)) skipped.failed += 1;
        else skipped.notSelected += 1;
      }
      await shown();
    }
    reader.end();
  } finally {
    await shown();
  }
}

/** The fields that are asked for and that the recording was made without, by their option. */
function lacks(header: Header | undefined, options: Options) {
  const has = header?.fields ?? [];
  return RECORDED.map((option) => ({
    option,
    fields: asksFor(options, option) ? fieldsOf(option).filter((field) => !has.includes(field)) : [],
  })).filter(({ fields }) => fields.length > 0);
}

/** Whether something is asked for that only records made with this option have. */
function asksFor(options: Options, option: (typeof RECORDED)[number]): boolean {
  return Boolean(options[option]) || (option === 'who' && options.filter.uid !== undefined);
}

async function* contentOf(file: string, stream: Readable): AsyncGenerator<Uint8Array> {
  try {
    yield* stream;
  } catch (error) {
    throw unreadable(file, error);
  }
}
