/**
 * The report of a run, live or from a recording: one HTML file with charts and tables of its connects. It has
 * every connect that the filters select, also those that the run does not show.
 */
import type { Kernel } from '../loader/kernel.ts';
import type { ConnectEvent } from '../programs/tcpconnlat/events.ts';
import type { Programs } from '../programs/tcpconnlat.ts';
import type { Options } from './arguments.ts';
import type { Header } from './json.ts';
import { wallClock } from './record/wall-clock.ts';
import { type ConnectRecord, type ConnectRow, PENDING } from './record.ts';
import type { Invocation } from './recording.ts';
import { type Input, openWriter } from './report/writer.ts';
import { warn } from './run.ts';
import type { Counts } from './summary.ts';
import { describeBlindSpot } from './trace/probes.ts';

/** The report of a live run. The caller closes it. */
export interface LiveReport {
  /** Whether root can write the file only with the capability CAP_DAC_OVERRIDE. */
  readonly needsOverride: boolean;
  /** Tracing begins. Without this call `end` writes nothing. */
  begin(programs: Programs): void;
  /** Adds the connect of an event. */
  add(row: ConnectRow, event: ConnectEvent): void;
  /** Tracing ended; `counts` has what the report does not contain. */
  traced(counts: Partial<Counts>): void;
  /** Writes the file. `losses` are the final counts. @throws {OutputError} */
  end(losses: Counts['losses']): Promise<void>;
  close(): void;
}

/** Opens the report of a live run. @throws {OutputError} if it cannot be written to `path`. */
export async function openLiveReport(
  path: string,
  options: Options,
  kernel: Kernel,
  { version, args }: Invocation,
): Promise<LiveReport> {
  const writer = await openWriter(path, options);
  const clock = wallClock(kernel.syscalls);
  /** The time of the first event, in ms since the epoch. */
  let firstMs: number | undefined;
  let begun: { readonly programs: Programs; readonly startMs: number; readonly uptimeMs: number } | undefined;
  let counts: Partial<Counts> | undefined;
  let endMs: number | undefined;
  const now = () => (begun ? begun.startMs + performance.now() - begun.uptimeMs : Date.now());
  return {
    needsOverride: writer.needsOverride,
    begin(programs) {
      begun = { programs, startMs: Date.now(), uptimeMs: performance.now() };
    },
    add(row, { attempt, latencyNs }) {
      firstMs ??= Date.parse(clock(attempt.startNs + BigInt(latencyNs))) - row.timeNs() / 1e6;
      writer.addRow(row, firstMs + row.timeNs() / 1e6);
    },
    traced(known) {
      counts = known;
      endMs = now();
    },
    async end(losses = []) {
      if (!begun) return;
      const { programs, startMs } = begun;
      const message = await writer.write({
        ...{ host: kernel.host, startMs, endMs: endMs ?? now(), losses },
        notes: [
          ...(counts ? countNotes(options, counts) : ['The run ended with an error.']),
          ...filterNotes(options),
          ...programs.blindSpots.map((spot) => sentence(describeBlindSpot(spot, kernel))),
        ],
        recorded: [
          ['Host', kernel.host],
          ['Kernel', `Linux ${kernel.release}`],
          ['Probe', programs.probe],
          ['Command', commandLine(args)],
          ['Version', version],
          ['Began', new Date(startMs).toISOString()],
          ['Ended', new Date(endMs ?? now()).toISOString()],
        ],
      });
      if (!options.quiet) warn(message);
    },
    close: () => writer.close(),
  };
}

/** The report of a recording. The caller closes it. */
export interface ReplayReport {
  /** Adds a record that the filters select, shown or not. */
  add(record: ConnectRecord, header: Header): void;
  /**
   * Writes the file, if the recording has a first line. `stopped` says why the rest of the recording is
   * missing. @throws {OutputError}
   */
  end(header: Header | undefined, counts: Partial<Counts>, stopped: string | undefined): Promise<void>;
  close(): void;
}

/** Opens the report of the recording `input`. @throws {OutputError} if it cannot be written to `path`. */
export async function openReplayReport(
  path: string,
  options: Options,
  { version, args }: Invocation,
  input: Input & { readonly name: string },
): Promise<ReplayReport> {
  const writer = await openWriter(path, options, input);
  /** The time of `time_s` 0, in ms since the epoch: the clock may have been set while recording. */
  let zeroMs: number | undefined;
  let lastMs: number | undefined;
  return {
    add(record, { started }) {
      if (record.result === PENDING) return;
      zeroMs ??= Date.parse(record.time ?? started) - record.time_s * 1000;
      const timeMs = zeroMs + record.time_s * 1000;
      lastMs = Math.max(lastMs ?? timeMs, timeMs);
      writer.addRecord(record, timeMs);
    },
    async end(header, counts, stopped) {
      if (!header) return;
      const startMs = Date.parse(header.started);
      const endMs = Math.max(startMs, lastMs ?? startMs);
      const message = await writer.write({
        ...{ host: header.host, startMs, endMs, losses: [] },
        notes: [
          ...(stopped === undefined ? [] : [sentence(stopped)]),
          ...(header.fields.includes('result')
            ? []
            : ['It was recorded without --outcome: connects that failed and retransmissions are missing.']),
          ...countNotes(options, counts),
          ...filterNotes(options),
          'A recording does not contain how many events were lost while it was made.',
          'It ends with its last connect: how long the run lasted after that is not known.',
        ],
        recorded: [
          ['Host', header.host],
          ['Kernel', `Linux ${header.kernel}`],
          ['Probe', header.way],
          ['Recorded with', `${commandLine(header.options)} (version ${header.version})`],
          ['Recording', input.name === '-' ? 'standard input' : input.name],
          ['Report made with', `${commandLine(args)} (version ${version})`],
          ['Began', new Date(startMs).toISOString()],
          ['Last connect', lastMs === undefined ? 'none' : new Date(lastMs).toISOString()],
        ],
      });
      if (!options.quiet) warn(message);
    },
    close: () => writer.close(),
  };
}

/** What is not in the report, in sentences. */
function countNotes(options: Options, counts: Partial<Counts>): string[] {
  const { belowMin = 0, surplus = 0, unanswered = 0, mayHaveFailed, notSelected = 0 } = counts;
  const lines: [count: number, text: string][] = [
    [belowMin, 'were faster than min_ms'],
    [surplus, 'came after the last one that --count shows'],
    [notSelected, 'were not selected by the filters'],
    [
      unanswered,
      `had no answer yet at the end${mayHaveFailed ? ', or had failed with their socket still open' : ''}`,
    ],
  ];
  const counted = lines.filter(([count]) => count > 0);
  return [
    ...(options.minNs ? [`The run shows connects that took ${options.minNs / 1e6} ms or more.`] : []),
    ...counted.map(([count, text]) => `${count.toLocaleString('en-US')} connects ${text}.`),
  ];
}

function filterNotes({ filter, family }: Options): string[] {
  const isFiltered =
    family !== undefined || Object.values(filter).some((criterion) => criterion !== undefined);
  return isFiltered ? ['The command selects connects; see below.'] : [];
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

/** The command line, quoted for a shell. */
function commandLine(args: readonly string[]): string {
  const quoted = (arg: string) => (/^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", "'\\''")}'`);
  return ['tcpconnlat', ...args.map(quoted)].join(' ');
}
