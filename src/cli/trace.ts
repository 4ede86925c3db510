/**
 * One live run: it attaches the programs, prints and records their events, and reports losses.
 */
import type { Kernel } from '../loader/kernel.ts';
import type { Closeable } from '../loader/resources.ts';
import type { Session } from '../loader/session.ts';
import type { ConnectEvent } from '../programs/tcpconnlat/events.ts';
import type { Programs } from '../programs/tcpconnlat.ts';
import type { Options } from './arguments.ts';
import { isSelectedCaller, readsCallers, selectsCallers } from './caller-filter.ts';
import { openPrinter } from './printer.ts';
import type { CallerLookup } from './record/caller.ts';
import { wallClock } from './record/wall-clock.ts';
import { type ConnectRecord, pendingRecordOf, recordOf, rowReader, showsResult } from './record.ts';
import { type Invocation, openRecording, type Recording } from './recording.ts';
import type { LiveReport } from './report.ts';
import { openRun, type Run, warn } from './run.ts';
import { type Counts, countResult, printSummary } from './summary.ts';
import { traceTarget } from './trace/btf.ts';
import {
  countInFlight,
  type InFlight,
  inFlight,
  listInFlight,
  listsInFlight,
  watchInFlight,
} from './trace/in-flight.ts';
import { cpuChanges, growth, type Losses, lossLines, noLosses } from './trace/losses.ts';
import { reducePrivileges } from './trace/privileges.ts';
import { describeBlindSpot, SLOWS_SYSTEM_CALLS, usesSaved, withFirstProbe } from './trace/probes.ts';
import { processWarnings } from './trace/processes.ts';
import { cachePrograms } from './trace/program-cache.ts';
import {
  attachedParts,
  describe,
  listingOutput,
  openOr,
  reportOrThrow,
  sourceLines,
} from './trace/programs.ts';

/** The listing of the programs that a run with these options would load. */
export async function dryRun(options: Options, kernel: Kernel): Promise<string> {
  const locate = sourceLines(kernel);
  const target = () => traceTarget(options, kernel);
  return await withFirstProbe(options, kernel, target, (programs, failures) =>
    describe(options, kernel, locate, programs, failures, ['nothing is loaded or attached: --dry-run']),
  );
}

/** The counts of connects that are not shown. */
type HiddenCounts = Omit<Counts, 'shown' | 'losses'>;

/**
 * Traces until a signal arrives or the output is closed. Throws the error that prevents tracing or writing.
 */
export async function trace(options: Options, kernel: Kernel, invocation: Invocation): Promise<void> {
  const run = openRun(kernel.syscalls);
  const { output } = run;
  const losses = noLosses();
  const hidden: { counts?: HiddenCounts } = {};
  let report: LiveReport | undefined;
  try {
    const recording =
      options.record === undefined
        ? undefined
        : openRecording(options.record, collected(options), invocation, {
            syscalls: kernel.syscalls,
            warn,
            onFailure: () => run.end(),
          });
    try {
      if (options.report !== undefined) {
        const { openLiveReport } = await import('./report.ts'); // a late part of the bundle
        report = await openLiveReport(options.report, options, kernel, invocation);
      }
      await traceInto(options, kernel, run, losses, hidden, { recording, report });
    } finally {
      losses.unrecorded = 0; // if writing has failed, the error of `end` contains the number
      await recording?.end();
      losses.unrecorded = recording?.missing ?? 0;
    }
  } finally {
    await run.close();
    // If the reader has exited, or writing has failed, dropped lines do not mean that the reader was too
    // slow.
    losses.lines = run.readerGone ? 0 : output.dropped;
    if (hidden.counts && !options.quiet)
      printSummary(options, { shown: output.shown, losses: lossLines(losses), ...hidden.counts });
    else for (const loss of growth(losses, noLosses())) warn(`total: ${loss}`);
    try {
      await report?.end(lossLines({ ...losses, lines: 0, unrecorded: 0 }));
    } finally {
      report?.close();
    }
  }
}

/** The options for what the programs send: a report has all outcomes, shown or not. */
function collected(options: Options): Options {
  return options.report === undefined ? options : { ...options, outcome: 'all' };
}

/** What gets the connects of a run, besides the output. */
interface Destinations {
  readonly recording: Recording | undefined;
  readonly report: LiveReport | undefined;
}

async function traceInto(
  options: Options,
  kernel: Kernel,
  { output, ended, end }: Run,
  losses: Losses,
  hidden: { counts?: HiddenCounts },
  { recording, report }: Destinations,
): Promise<void> {
  // Ends when the last line is written, however slow its reader is.
  const printer = await openPrinter(options, output, () => output.drained().then(() => end()));
  const readRow = rowReader({
    wallClock: options.wall || recording ? wallClock(kernel.syscalls) : undefined,
    callers: await callersFor(options, kernel),
  });
  const selects = selectsCallers(options.filter);
  const callerWarnings = selects
    ? (await import('./trace/callers.ts')).callerWarnings(options.filter, kernel)
    : [];
  const locate = sourceLines(kernel);
  /** The records of events that arrive before the first line of the recording is written. */
  let early: ConnectRecord[] | undefined = recording && [];
  /** The number of events with each result. */
  const results = new Map<string, number>();
  /** The number of events of callers that the filter excludes. */
  let notSelected = 0;
  /** The number of events that only the report and the recording have. */
  let notShown = 0;
  let updateLosses = () => {};
  let reported: Losses = { ...losses };

  const { session, programs, made } = await withFirstProbe(
    collected(options),
    kernel,
    () => traceTarget(options, kernel),
    (programs, failures, made) => {
      const explain = (attached: () => readonly string[]) => {
        if (options.verbose)
          listingOutput(options, output)(describe(options, kernel, locate, programs, failures, attached()));
      };
      const session = openOr(explain, programs, {
        kernel,
        debug: options.verbose,
        locate,
        pagesPerCpu: options.pages,
        onSample(event) {
          if (event.latencyNs < 0) {
            losses.negative += 1;
            return;
          }
          const row = readRow(event);
          if (selects && !isSelectedCaller(options.filter, row.caller)) {
            notSelected += 1;
            return;
          }
          if (options.outcome) countResult(results, row.result);
          if (!printer.isComplete) report?.add(row, event);
          if (early) {
            early.push(recordOf(row));
            return;
          }
          if (!printer.isComplete) recording?.addRow(row);
          if (showsResult(options.outcome, row.result)) printer.row(row);
          else notShown += 1;
        },
        onLost(events) {
          losses.events += events;
        },
        onError: (error) => reportOrThrow(error, options),
        onCpus(change) {
          for (const text of cpuChanges(change)) warn(text);
        },
        onTick() {
          updateLosses();
          for (const loss of growth(losses, reported)) warn(loss);
          reported = { ...losses };
        },
      });
      explain(() => attachedParts(session));
      return { session, programs, made };
    },
  );
  const readInFlight = inFlight(session, programs, kernel);
  const showPending = (event: ConnectEvent) => {
    const row = readRow(event);
    if (selects && !isSelectedCaller(options.filter, row.caller)) return;
    const record = pendingRecordOf(row, event.family !== 0);
    recording?.add(record);
    printer.record(record);
  };
  let timer: NodeJS.Timeout | undefined;
  let watch: Closeable | undefined;
  try {
    updateLosses = () => {
      losses.failedUpdates = session.map(programs.counters).lookup(0)?.failedUpdates ?? [];
      losses.lines = output.dropped;
      losses.unrecorded = recording?.missing ?? 0;
    };
    for (const { program, reason } of session.skipped)
      warn(`program ${program.name} skipped: ${reason.message}`);
    for (const spot of programs.blindSpots) warn(describeBlindSpot(spot, kernel));
    if (programs.slowsSystemCalls) warn(SLOWS_SYSTEM_CALLS);
    if (options.family === 6 && !kernel.ipv6) warn('this kernel has no IPv6, so -6 shows no connects');
    for (const warning of [...processWarnings(options.filter, kernel), ...callerWarnings]) warn(warning);
    if (recording || report) {
      const started = new Date().toISOString().replace('Z', '000Z');
      if (await hasSettled(ended)) {
        warn(`stopped before tracing began; ${recording ? 'nothing was recorded' : 'no report was written'}`);
        const error = await ended;
        if (error) throw error;
        return;
      }
      recording?.begin({ host: kernel.host, kernel: kernel.release, way: programs.probe, started });
      report?.begin(programs);
    }
    // The header says that everything is attached, so it does not wait until privileges are dropped.
    if (!options.verbose) printer.header();
    output.flush();
    const privileges = reducePrivileges(options, kernel, programs, report?.needsOverride);
    if (options.verbose) {
      listingOutput(options, output)(`${privileges.join('\n')}\n\n`);
      printer.header();
    }
    if (made.by === 'builder' && usesSaved(options)) cachePrograms(made.asked, kernel, programs);
    if (options.durationMs !== undefined) timer = setTimeout(() => end(), options.durationMs);
    for (const record of early ?? []) {
      if (!printer.isComplete) recording?.add(record);
      if (showsResult(options.outcome, record.result)) printer.record(record);
      else notShown += 1;
    }
    early = undefined;
    if (options.pendingMs !== undefined) {
      const afterNs = Math.max(options.pendingMs * 1e6, options.minNs ?? 0);
      const show = (event: ConnectEvent) => printer.isComplete || showPending(event);
      watch = watchInFlight(readInFlight, afterNs, show, (error) => reportOrThrow(error, options));
    }
    const error = await ended;
    session.detach();
    const unanswered = unansweredAtEnd(session, programs, options, readInFlight, showPending);
    printer.end();
    updateLosses();
    losses.missedRuns = session.missedRuns().counted;
    const { surplus, pending } = printer;
    hidden.counts = {
      ...hiddenCounts(session, programs, options),
      ...(report && options.outcome === undefined && { failed: notShown, uncounted: undefined }),
      unanswered,
      pending,
      results,
      surplus,
      notSelected,
      countsAllCallers: selects,
    };
    if (!error) report?.traced(hidden.counts);
    if (error) throw error;
  } finally {
    clearTimeout(timer);
    watch?.close();
    session.close();
  }
}

/** Looks up callers, if the options need them: to show them, or for a filter. */
async function callersFor(options: Options, kernel: Kernel): Promise<CallerLookup | undefined> {
  if (!readsCallers(options)) return undefined;
  const { callerLookup } = await import('./record/caller.ts');
  const commandLine = options.who && (options.json || options.record !== undefined);
  return callerLookup(kernel, { commandLine, warn });
}

/**
 * Whether a promise has settled after pending signals are delivered: the event loop polls for them once in
 * each iteration.
 */
async function hasSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  promise.then(() => {
    settled = true;
  });
  for (let turns = 0; turns < 2; turns++) await new Promise((resolve) => setImmediate(resolve));
  return settled;
}

/** Counts connects that are not shown, after the programs are detached. */
function hiddenCounts(session: Session, programs: Programs, options: Options): HiddenCounts {
  return {
    belowMin: session.map(programs.counters).lookup(0)?.belowMin,
    outOfOrder: session.outOfOrder,
    mayHaveFailed: programs.remainingAttempts === 'unanswered',
    ...(options.outcome === undefined && failureCounts(session, programs)),
  };
}

/**
 * The number of connects without an answer at the end, 0 if it is not known. Shows them if the options ask
 * for a list.
 */
function unansweredAtEnd(
  session: Session,
  programs: Programs,
  options: Options,
  read: InFlight,
  show: (event: ConnectEvent) => void,
): number {
  if (!programs.remainingAttempts) return 0;
  if (!listsInFlight(options)) return countInFlight(session, programs);
  const { count, listed } = listInFlight(read, options.minNs);
  for (const event of listed) show(event);
  return count;
}

function failureCounts(session: Session, { counters, countsUnrouted }: Programs): HiddenCounts {
  const failed = session.map(counters).lookup(0)?.failed ?? 0;
  return { failed, ...(!countsUnrouted && { uncounted: 'connects without a route are not counted' }) };
}
