/**
 * The command `tcpconnlat`. Its exit status is 0 after a stop signal or when the reader of its output exits,
 * and otherwise that of the error (exit-status.ts).
 */
import { messageWithoutPosition } from '../asm/error-position.ts';
import { VerifierError } from '../loader/errors.ts';
import { Kernel } from '../loader/kernel.ts';
import { renderVerifierError } from '../loader/verifier/report.ts';
import type { AggregationOptions } from './aggregate/aggregation.ts';
import { type Request, simpleRequest } from './arguments/request.ts';
import { environmentMessage } from './environment.ts';
import { exitStatusOf } from './exit-status.ts';
import { jsonSchema } from './json.ts';
import { print, printError } from './output.ts';
import { replay } from './replay.ts';
import { warn } from './run.ts';
import { releaseStopSignals } from './signals.ts';
import { isScreen } from './terminal.ts';
import { errorLine, unexpectedErrorLines } from './text.ts';
import { NoProbeError } from './trace/probes.ts';
import { dryRun, trace } from './trace.ts';
import { version } from './version.ts';

async function main(): Promise<number> {
  const args = process.argv.slice(2);
  try {
    const request = await requestOf(args);
    if (!isRun(request)) releaseStopSignals();
    if (request.action === 'print' && request.status !== 0) {
      printError(request.text);
      return request.status;
    }
    await run(request, args);
    return 0;
  } catch (error) {
    const status = exitStatusOf(error, 'project');
    if (status === 'bug') warn(environmentMessage(error) ?? unexpectedErrorLines(error));
    else warn(describe(error as Error));
    return status === 'bug' ? 1 : status;
  }
}

async function run(request: Request, args: readonly string[]): Promise<void> {
  const invocation = { version: version(), args };
  if (request.action === 'print') print(request.text);
  else if (request.action === 'schema') print(`${JSON.stringify(jsonSchema(), undefined, 2)}\n`);
  else if (request.action === 'completion') {
    const { completion } = await import('./command-line.ts');
    print(completion(request.shell));
  } else if (request.action === 'diagnose') {
    const { diagnose } = await import('./diagnose.ts'); // a late part of the bundle
    print(await diagnose(request.options, version()));
  } else if (request.action === 'replay') await replay(request.file, request.options, invocation);
  else if (request.options.summary) await summary({ ...request.options, summary: request.options.summary });
  else if (request.options.dryRun) print(await dryRun(request.options, new Kernel()));
  else await trace(request.options, new Kernel(), invocation);
}

/** Loads the code of summaries, `--top` or exporters, which no other run needs. */
async function summary(options: AggregationOptions): Promise<void> {
  const { exporters, dryRun: isDry } = options;
  if (exporters && !isDry) {
    const { exportConnects } = await import('./export.ts');
    await exportConnects({ ...options, exporters }, new Kernel(), version());
    return;
  }
  if (options.summary.top && !isDry && isScreen()) {
    const { showTop } = await import('./top.ts');
    await showTop(options, new Kernel());
    return;
  }
  const { dryRunOfSummary, summarize } = await import('./aggregate/summarize.ts');
  if (isDry) print(await dryRunOfSummary(options, new Kernel()));
  else await summarize(options, new Kernel());
}

/** Parses the command line, without commander if that is possible. */
async function requestOf(args: readonly string[]): Promise<Request> {
  const request = simpleRequest(args, version());
  if (request) return request;
  const { readArguments } = await import('./command-line.ts'); // a late part of the bundle
  return readArguments(args, version());
}

/** Whether the command runs until a signal ends it, instead of printing something and exiting. */
function isRun(request: Request): boolean {
  return request.action === 'replay' || (request.action === 'trace' && !request.options.dryRun);
}

/** The lines of an error message. */
function describe(error: Error): string | string[] {
  if (error instanceof VerifierError) return renderVerifierError(error).split('\n');
  if (error instanceof NoProbeError) return error.message.split('\n');
  return errorLine(messageWithoutPosition(error));
}

// No top-level await: the bundle is CommonJS, which starts faster.
main().then((status) => {
  process.exitCode = status;
});
