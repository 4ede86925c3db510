/**
 * One run of the tracer: from attaching to the totals of what was lost.
 */
import { writeSync } from 'node:fs';
import { CorruptRingError, KernelError } from '../loader/errors.ts';
import type { Kernel } from '../loader/kernel.ts';
import { Session } from '../loader/session.ts';
import type { BlindSpot, ConnectEvent } from '../programs/tcpconnlat.ts';
import type { Settings } from './arguments.ts';
import { table } from './columns.ts';
import { jsonLine } from './json.ts';
import { listTool } from './listing.ts';
import { cpuChanges, growth, type Losses, noLosses } from './losses.ts';
import { type LineOutput, lineOutput, standardOutput } from './output.ts';
import { recorder } from './record.ts';
import { sourceLines } from './source.ts';
import { targetOf } from './types.ts';
import { type Failure, firstWay, type Programs } from './ways.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** What is said of what a way of watching doesn't see. */
const BLIND: Record<BlindSpot, string> = {
  refused:
    "refused connects are not shown: the tracepoint's record doesn't tell them from those that are given up. " +
    "Other ways do (--probe), given the kernel's types (--btf FILE)",
  errors:
    "why connects fail is not known: the tracepoint's record doesn't have the socket's error. " +
    "Other ways do (--probe), given the kernel's types (--btf FILE)",
  unrouted:
    'connects that find no route are not seen by the tracepoint, since their sockets never change state. ' +
    'Kprobes see them (--probe kprobe), where the kernel has them',
};

/** A line on stderr. Nobody is told where that can't be written. */
export function complain(text: string): void {
  try {
    writeSync(2, `tcpconnlat: ${text}\n`);
  } catch {
    // Closed or full.
  }
}

/** Prints the programs that would be loaded. */
export function dryRun(settings: Settings, kernel: Kernel): void {
  firstWay(settings, kernel, targetOf(settings, kernel), (programs, failures) =>
    process.stdout.write(describe(settings, programs, failures)),
  );
}

/** Traces until a signal comes or the output is closed. Throws what keeps it from beginning, or from writing. */
export async function trace(settings: Settings, kernel: Kernel): Promise<void> {
  let end: (error?: Error) => void = () => {};
  const ended = new Promise<Error | undefined>((resolve) => {
    end = resolve;
  });
  const stop = () => end();
  for (const signal of SIGNALS) process.on(signal, stop);
  const stdout = standardOutput();
  let readerGone = false;
  const output = lineOutput(stdout.write, (error) => {
    readerGone = true;
    end(error);
  });
  const losses = noLosses();
  const show = shower(settings, output, losses);
  let count = () => {};
  let told: Losses = { ...losses };

  const { session, programs } = firstWay(
    settings,
    kernel,
    targetOf(settings, kernel),
    (programs, failures) => {
      if (settings.verbose) listingOutput(settings, output)(describe(settings, programs, failures));
      const session = Session.open(programs, {
        kernel,
        pagesPerCpu: settings.pages,
        onEvent: show.event,
        onLost(events) {
          losses.events += events;
        },
        onError: report,
        onCpus(change) {
          for (const text of cpuChanges(change)) complain(text);
        },
        onSweep() {
          count();
          for (const cause of growth(losses, told)) complain(cause);
          told = { ...losses };
        },
      });
      return { session, programs };
    },
  );
  try {
    count = () => {
      losses.tableFull = session.map(programs.counters).lookup(0)?.tableFull ?? 0;
      losses.lines = output.dropped;
    };
    for (const { program, reason } of session.leftOut)
      complain(`${program.name} is left out: ${reason.message}`);
    for (const spot of programs.blindSpots) complain(BLIND[spot]);
    if (settings.family === 6 && !kernel.ipv6) complain('there is no IPv6 here: -6 has nothing to show');
    show.header();
    const error = await ended;
    session.detach();
    count();
    losses.missedRuns = session.missedRuns() ?? 0;
    if (error) throw error;
  } finally {
    session.close();
    await output.end();
    stdout.close();
    for (const signal of SIGNALS) process.off(signal, stop);
  }
  losses.lines = output.dropped;
  if (!readerGone) for (const cause of growth(losses, noLosses())) complain(`in all: ${cause}`);
}

/** What shows events, as columns or as JSON lines. */
function shower(settings: Settings, output: LineOutput, losses: Losses) {
  const columns = table(settings);
  const toRecord = recorder();
  return {
    header() {
      if (!settings.json) output.write(columns.header());
    },
    event(event: ConnectEvent) {
      if (event.latencyNs < 0) {
        losses.negative += 1;
        return;
      }
      const record = toRecord(event);
      if (settings.json) return output.write(jsonLine(record));
      const line = columns.line(record);
      // Who reads a terminal finds the titles above the columns again; a pipe gets its header once.
      if (columns.outgrown && process.stdout.isTTY) output.write(columns.header());
      output.write(line);
    },
  };
}

/** Where `-v` prints: not among JSON lines. */
function listingOutput({ json }: Settings, output: LineOutput): (text: string) => void {
  return json ? (text) => process.stderr.write(text) : (text) => output.write(text);
}

/** What is going to run, why so, and the programs themselves. */
function describe(settings: Settings, programs: Programs, failures: readonly Failure[]): string {
  const { way } = programs;
  const why =
    settings.probe !== 'auto'
      ? `--probe ${settings.probe}`
      : failures.length > 0
        ? 'the first way that this kernel has'
        : 'the kernel has kprobes';
  const passed = failures.map(({ way, error }) => `not by ${way}: ${error.message}\n`);
  const types = settings.btf === undefined ? '' : `the kernel's types are those of ${settings.btf}\n`;
  return `watching by ${way}: ${why}\n${types}${passed.join('')}\n${listTool(programs, sourceLines())}\n`;
}

function report(error: unknown): void {
  // Of the kernel while tracing: a CPU that came online and gets no ring.
  if (!(error instanceof CorruptRingError || error instanceof KernelError)) throw error;
  complain(error.message);
}
