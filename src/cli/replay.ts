/**
 * Shows a recording. This needs neither the kernel's tracing facilities nor privileges.
 */
import { type BigIntStats, constants, fstatSync, openSync, statSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { printable } from '../asm/printable.ts';
import { nativeSyscalls } from '../loader/koffi.ts';
import type { Syscalls } from '../loader/syscalls.ts';
import type { Options } from './arguments.ts';
import { selectsCallers } from './caller-filter.ts';
import { readFileStream, readShared } from './descriptors.ts';
import { type Header, MAX_LINE_BYTES } from './json.ts';
import type { LineOutput } from './output.ts';
import { openPrinter, type Printer } from './printer.ts';
import { fieldsOf, hasResults, PENDING, RECORDED_OPTIONS } from './record.ts';
import { lockHolder } from './recording/lock.ts';
import { type Invocation, RecordingError } from './recording.ts';
import { type Origin, RecordingReader, splitLines } from './replay/reader.ts';
import { isHiddenFailure, isSelected } from './replay/selection.ts';
import type { ReplayReport } from './report.ts';
import { openRun, warn } from './run.ts';
import { countResult, printSummary } from './summary.ts';
import { errorLine, systemReason } from './text.ts';

/**
 * Devices whose reads never wait: null, zero, full, random, urandom (Documentation/admin-guide/devices.txt).
 */
const NON_WAITING_DEVICES = [3n, 5n, 7n, 8n, 9n].map((minor) => (1n << 8n) | minor);

/**
 * Shows the recording in `file` (`-` is standard input), line by line until its end or a stop signal.
 * @throws {RecordingError} with the number of the first bad line, after the lines before it have been shown.
 * @throws {OutputError}
 */
export async function replay(file: string, options: Options, invocation: Invocation): Promise<void> {
  const stat = statusOf(file);
  // If the recorder exits after this check, its last line is complete.
  const isGrowing = stat.isFile() && lockHolder(stat) !== undefined;
  const origin = { name: file, isGrowing };
  // If reads never wait, the next write notices that the reader of the output has exited.
  const syscalls = mayWait(stat) ? nativeSyscalls() : undefined;
  const report = await reportOf(file, stat, options, invocation);
  const stream = await streamOf(file, stat, syscalls);
  const run = openRun(syscalls);
  const stopped = run.ended.then((error) => {
    if (error) throw error;
  });
  const skipped: Skipped = { notSelected: 0, results: new Map() };
  let unread: string | undefined = 'the rest of the recording was not read';
  try {
    const printer = await openPrinter(options, run.output);
    const target = { printer, output: run.output, report };
    const shown = showAll(origin, stream, options, target, skipped).then(() => {
      unread = undefined;
    });
    try {
      await Promise.race([shown, stopped]);
    } catch (error) {
      unread = `${unread}: ${errorLine((error as Error).message)}`;
      throw error;
    } finally {
      printer.end();
      skipped.pending = printer.pending;
    }
  } finally {
    stream.destroy();
    await run.close();
    if (skipped.header && !options.quiet) printSummary(options, { ...skipped, shown: run.output.shown });
    try {
      await report?.end(skipped.header, skipped, unread);
    } finally {
      report?.close();
    }
  }
}

/** Opens the report, if the options ask for one. */
async function reportOf(
  name: string,
  { dev, ino }: BigIntStats,
  options: Options,
  invocation: Invocation,
): Promise<ReplayReport | undefined> {
  if (options.report === undefined) return undefined;
  const { openReplayReport } = await import('./report.ts'); // a late part of the bundle
  return openReplayReport(options.report, options, invocation, { name, dev, ino });
}

/** Counts of the records that are not shown. */
interface Skipped {
  /** The first line, if it was valid. */
  header?: Header;
  /** Failed connects; undefined if the recording has no results, or an option asks for failures. */
  failed?: number;
  notSelected: number;
  /** Records of connects in flight that are shown. */
  pending?: number;
  /** The number of records with each result, if an option asks for results. */
  readonly results: Map<string, number>;
}

/** The status of the file. @throws {RecordingError} if the file cannot hold a recording. */
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

/** Whether a read may wait for another process or the user. */
function mayWait(stat: BigIntStats): boolean {
  return (
    stat.isFIFO() || stat.isSocket() || (stat.isCharacterDevice() && !NON_WAITING_DEVICES.includes(stat.rdev))
  );
}

/**
 * The content of a file. A named pipe is read only when it has data: a blocking read would keep the process
 * from exiting until another process writes.
 */
async function streamOf(file: string, stat: BigIntStats, syscalls: Syscalls | undefined): Promise<Readable> {
  if (file === '-') return readShared(syscalls, 0);
  if (!stat.isFIFO()) return readFileStream(file);
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

/** What gets the records of a recording. */
interface Target {
  readonly printer: Printer;
  readonly output: LineOutput;
  readonly report: ReplayReport | undefined;
}

async function showAll(
  origin: Origin,
  stream: Readable,
  options: Options,
  { printer, output, report }: Target,
  skipped: Skipped,
): Promise<void> {
  /** A slow reader of the output delays the reading, so no line is dropped. */
  const shown = async () => {
    await printer.settled();
    await output.drained();
  };
  const name = printable(origin.name);
  const reader = new RecordingReader(origin);
  let firstS: number | undefined;
  let printed = 0;
  const isComplete = () => printed === options.count;
  try {
    for await (const lines of splitLines(contentOf(origin.name, stream), MAX_LINE_BYTES)) {
      for (const line of lines) {
        if (isComplete()) break;
        if (reader.isUnfinished(line)) {
          warn(`${name} is still being recorded: its last line is incomplete and not shown`);
          break;
        }
        const record = reader.next(line);
        if (!record) {
          for (const { option, fields } of missingFields(reader.header, options))
            warn(`${name} was recorded without --${option}: it has no ${fields.join(', ')}`);
          skipped.header = reader.header;
          if (options.outcome === undefined && reader.header?.fields.includes('result')) skipped.failed = 0;
          printer.header();
          continue;
        }
        if (report && isSelected({ ...options, outcome: 'all' }, record))
          report.add(record, reader.header as Header);
        if (isSelected(options, record)) {
          firstS ??= record.time_s;
          if (record.result !== PENDING) {
            printed += 1;
            if (options.outcome) countResult(skipped.results, record.result);
          }
          printer.record({ ...record, time_s: Math.round((record.time_s - firstS) * 1e9) / 1e9 });
        } else if (skipped.failed !== undefined && isHiddenFailure(options, record)) skipped.failed += 1;
        else skipped.notSelected += 1;
      }
      await shown();
      if (isComplete()) break;
    }
    if (!isComplete()) reader.end();
  } finally {
    await shown();
  }
}

/** The fields that the options ask for but the recording does not have, by option. */
function missingFields(header: Header | undefined, options: Options) {
  const has = header?.fields ?? [];
  return RECORDED_OPTIONS.map((option) => ({
    option,
    fields: needs(options, option) ? fieldsOf(option).filter((field) => !has.includes(field)) : [],
  })).filter(({ fields }) => fields.length > 0);
}

/** Whether the options need fields that a recording has only if it was made with `option`. */
function needs(options: Options, option: (typeof RECORDED_OPTIONS)[number]): boolean {
  if (option === 'who' && (options.filter.uid !== undefined || selectsCallers(options.filter))) return true;
  if (option === 'outcome') return hasResults(options) || options.report !== undefined;
  return Boolean(options[option]);
}

async function* contentOf(file: string, stream: Readable): AsyncGenerator<Uint8Array> {
  try {
    yield* stream;
  } catch (error) {
    throw unreadable(file, error);
  }
}
