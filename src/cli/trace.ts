/**
 * One run of the tracer: from attaching to the totals of what was lost.
 */
import { messageWithoutPosition } from '../asm/error-position.ts';
import type { Locate } from '../asm/position.ts';
import { printable } from '../asm/printable.ts';
import { CorruptRingError, KernelError } from '../loader/errors.ts';
import type { Kernel } from '../loader/kernel.ts';
import { Session } from '../loader/session.ts';
import type { ConnectEvent } from '../programs/tcpconnlat.ts';
import type { Options } from './arguments.ts';
import { listTool } from './listing.ts';
import { type LineOutput, printError } from './output.ts';
import { containers } from './record/containers.ts';
import { wallClock } from './record/wall-clock.ts';
import { recorder } from './record.ts';
import { type Invocation, openRecording, type Recording } from './recording.ts';
import { complain, openRun, type Run } from './run.ts';
import { shower } from './show.ts';
import { printSummary } from './summary.ts';
import { errorLine } from './text.ts';
import { describeBlindSpot } from './trace/blind-spots.ts';
import { cpuChanges, growth, type Losses, noLosses } from './trace/losses.ts';
import { type Failure, firstWay, type Programs } from './trace/probes.ts';
import { processWarnings } from './trace/processes.ts';
import { sourceLines } from './trace/source.ts';
import { type Hidden, hiddenBy } from './trace/tally.ts';
import { targetOf } from './trace/types.ts';

/** The text of the programs that would be loaded. */
export function dryRun(options: Options, kernel: Kernel): string {
  const locate = sourceLines(kernel);
  return firstWay(options, kernel, targetOf(options, kernel), (programs, failures) =>
    describe(options, kernel, locate, programs, failures),
  );
}

/** Traces until a signal comes or the output is closed. Throws what keeps it from beginning, or from writing. */
export async function trace(options: Options, kernel: Kernel, invocation: Invocation): Promise<void> {
  const run = openRun(kernel.syscalls);
  const { output } = run;
  const losses = noLosses();
  const hidden: { by?: Hidden } = {};
  try {
    const recording =
      options.record === undefined
        ? undefined
        : openRecording(options.record, options, invocation, {
            syscalls: kernel.syscalls,
            warn: complain,
            onFailure: () => run.end(),
          });
    try {
      await traceInto(options, kernel, run, losses, hidden, recording);
    } finally {
      losses.unrecorded = 0; // where writing it has failed, the error counts them
      await recording?.end();
      losses.unrecorded = recording?.missing ?? 0;
    }
  } finally {
    await run.close();
    // What nobody reads any more, or could not be written, is not lost for having been read too slowly.
    losses.lines = run.readerGone ? 0 : output.dropped;
    for (const cause of growth(losses, noLosses())) complain(`in all: ${cause}`);
    if (hidden.by) printSummary(options, { shown: output.shown, ...hidden.by });
  }
}

async function traceInto(
  options: Options,
  kernel: Kernel,
  { output, ended }: Run,
  losses: Losses,
  hidden: { by?: Hidden },
  recording: Recording | undefined,
): Promise<void> {
  const show = await shower(options, output);
  const toRecord = recorder({
    wallClock: options.wall || recording ? wallClock(kernel.syscalls) : undefined,
    containers: options.who ? containers(kernel, complain) : undefined,
  });
  const locate = sourceLines(kernel);
  const onEvent = (event: ConnectEvent) => {
    if (event.latencyNs < 0) {
      losses.negative += 1;
      return;
    }
    const record = toRecord(event);
    recording?.add(record);
    show.record(record);
  };
  /** Events that come before the first line of the recording. */
  let early: ConnectEvent[] | undefined = recording && [];
  let count = () => {};
  let told: Losses = { ...losses };

  const { session, programs } = firstWay(options, kernel, targetOf(options, kernel), (programs, failures) => {
    if (options.verbose)
      listingOutput(options, output)(describe(options, kernel, locate, programs, failures));
    const session = Session.open(programs, {
      kernel,
      debug: options.verbose,
      locate,
      pagesPerCpu: options.pages,
      onEvent: (event) => (early ? early.push(event) : onEvent(event)),
      onLost(events) {
        losses.events += events;
      },
      onError: report,
      onCpus(change) {
        for (const text of cpuChanges(change)) complain(text);
      },
      onTick() {
        count();
        for (const cause of growth(losses, told)) complain(cause);
        told = { ...losses };
      },
    });
    return { session, programs };
  });
  try {
    count = () => {
      losses.tableFull = session.map(programs.counters).lookup(0)?.tableFull ?? 0;
      losses.lines = output.dropped;
      losses.unrecorded = recording?.missing ?? 0;
    };
    for (const { program, reason } of session.skipped)
      complain(`${program.name} is left out: ${reason.message}`);
    for (const spot of programs.blindSpots) complain(describeBlindSpot(spot, kernel));
    if (options.family === 6 && !kernel.ipv6) complain('there is no IPv6 here: -6 has nothing to show');
    for (const warning of processWarnings(options.filter, kernel)) complain(warning);
    if (recording) {
      const started = new Date().toISOString().replace('Z', '000Z');
      if (await hasSettled(ended)) {
        complain('stopped before tracing began: nothing was recorded');
        const error = await ended;
        if (error) throw error;
        return;
      }
      recording.begin({ host: kernel.host, kernel: kernel.release, way: programs.probe, started });
    }
    show.header();
    for (const event of early ?? []) onEvent(event);
    early = undefined;
    const error = await ended;
    session.detach();
    show.end();
    count();
    losses.missedRuns = session.missedRuns().counted;
    hidden.by = hiddenBy(session, programs, options);
    if (error) throw error;
  } finally {
    session.close();
  }
}

/** Whether a promise has settled once signals that came in the meantime are delivered: the event loop polls in each of its turns. */
async function hasSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  promise.then(() => {
    settled = true;
  });
  for (let turns = 0; turns < 2; turns++) await new Promise((resolve) => setImmediate(resolve));
  return settled;
}

/** Where `-v` prints: not among JSON lines. */
function listingOutput({ json }: Options, output: LineOutput): (text: string) => void {
  return json ? printError : (text) => output.write(text);
}

/** What is going to run, why so, and the programs themselves. */
function describe(
  options: Options,
  { lockdown = 'none' }: Kernel,
  locate: Locate,
  programs: Programs,
  failures: readonly Failure[],
): string {
  const { probe } = programs;
  const why =
    options.probe !== 'auto'
      ? `--probe ${options.probe}`
      : failures.length > 0
        ? 'the first way that this kernel has'
        : 'the kernel has kprobes';
  const passed = failures.map(
    ({ probe, error }) => `not by ${probe}: ${errorLine(messageWithoutPosition(error))}\n`,
  );
  const types =
    options.btf === undefined ? '' : `the kernel's types are those of ${printable(options.btf)}\n`;
  const locked = lockdown === 'none' ? '' : `kernel lockdown: ${lockdown}\n`;
  return `watching by ${probe}: ${why}\n${types}${locked}${passed.join('')}\n${listTool(programs, locate)}\n`;
}

function report(error: unknown): void {
  // Of the kernel while tracing: a CPU that came online and gets no ring.
  if (!(error instanceof CorruptRingError || error instanceof KernelError)) throw error;
  complain(error.message);
}
