/**
 * The command `tcpconnlat`: exit status 0 after Ctrl-C, SIGTERM or a closed pipe, 1 where tracing isn't possible, 2 for a
 * command line that makes no sense, as does a file of types or a recording that is none, a recording to what cannot hold one, or a filter by
 * something that isn't there.
 */
import { UnknownArchitectureError } from '../asm/architecture.ts';
import { BtfError } from '../asm/btf.ts';
import { messageWithoutPosition } from '../asm/error-position.ts';
import { PathError, VerifierError } from '../loader/errors.ts';
import { Kernel } from '../loader/kernel.ts';
import { NativeCodeError } from '../loader/native-code.ts';
import { renderVerifierError } from '../loader/verifier/report.ts';
import { type Request, readArguments } from './arguments.ts';
import { completion } from './completion.ts';
import { environmentFault } from './environment.ts';
import { jsonSchema } from './json.ts';
import { OutputError, print, printError } from './output.ts';
import { DestinationError } from './recording/destination.ts';
import { RecordingError } from './recording.ts';
import { replay } from './replay.ts';
import { complain } from './run.ts';
import { releaseStopSignals } from './signals.ts';
import { errorLine, unexpected } from './text.ts';
import { FilterError } from './trace/filter.ts';
import { NoProbeError, UNSUPPORTED } from './trace/probes.ts';
import { BtfFileError } from './trace/types.ts';
import { dryRun, trace } from './trace.ts';
import { version } from './version.ts';

/** What a kernel or a file may answer; anything else is a mistake of ours, and shown with its stack. */
const EXPECTED = [
  ...UNSUPPORTED,
  ...[NativeCodeError, NoProbeError, UnknownArchitectureError, PathError, BtfError],
  ...[BtfFileError, FilterError, RecordingError, OutputError],
];

async function main(): Promise<number> {
  const options = process.argv.slice(2);
  const request = readArguments(options, version());
  if (!isRun(request)) releaseStopSignals();
  if (request.action === 'print' && request.status !== 0) {
    printError(request.text);
    return request.status;
  }
  try {
    if (request.action === 'print') print(request.text);
    else if (request.action === 'schema') print(`${JSON.stringify(jsonSchema(), undefined, 2)}\n`);
    else if (request.action === 'completion') print(completion(request.shell));
    else if (request.action === 'replay') await replay(request.file, request.options);
    else if (request.options.dryRun) print(dryRun(request.options, new Kernel()));
    else await trace(request.options, new Kernel(), { version: version(), options });
    return 0;
  } catch (error) {
    complain(describe(error));
    return [BtfFileError, FilterError, RecordingError, DestinationError].some((kind) => error instanceof kind)
      ? 2
      : 1;
  }
}

/** Whether the command runs until a signal ends it, instead of printing something and exiting. */
function isRun(request: Request): boolean {
  return request.action === 'replay' || (request.action === 'trace' && !request.options.dryRun);
}

/** The lines of an error message. */
function describe(error: unknown): string | string[] {
  if (error instanceof VerifierError) return renderVerifierError(error).split('\n');
  if (error instanceof NoProbeError) return error.message.split('\n');
  if (EXPECTED.some((kind) => error instanceof kind))
    return errorLine(messageWithoutPosition(error as Error));
  return environmentFault(error) ?? unexpected(error);
}

// No await here: the bundle is CommonJS, which Node starts sooner.
main().then((status) => {
  process.exitCode = status;
});
