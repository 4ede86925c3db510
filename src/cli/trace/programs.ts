/**
 * What a live run says about its programs: the listing of `-v` and `--dry-run`, and errors that tracing
 * survives.
 */
import { messageWithoutPosition } from '../../asm/error-position.ts';
import { describeAttachment, listTool } from '../../asm/listing.ts';
import type { LineTable, Locate } from '../../asm/position.ts';
import { printable } from '../../asm/printable.ts';
import { CorruptRingError, KernelError } from '../../loader/errors.ts';
import type { Kernel } from '../../loader/kernel.ts';
import { requireLate } from '../../loader/require-late.ts';
import { Session, type SessionOptions } from '../../loader/session.ts';
import { sourceReader } from '../../loader/source.ts';
import type { Programs } from '../../programs/tcpconnlat.ts';
import type { Options } from '../arguments.ts';
import { type LineOutput, printError } from '../output.ts';
import { warn } from '../run.ts';
import { errorLine } from '../text.ts';
import { messageWithRemedy } from './privileges.ts';
import type { Failure } from './probes.ts';
import { describeCache } from './program-cache.ts';

/** Where `-v` prints: to stderr if stdout has JSON lines. */
export function listingOutput({ json }: Options, output: LineOutput): (text: string) => void {
  return json ? printError : (text) => output.write(text);
}

/** Opens a session. If that fails, explains why nothing is attached, and throws the error. */
export function openOr(
  explain: (attached: () => readonly string[]) => void,
  programs: Programs,
  options: SessionOptions<Programs['events']>,
): Session<Programs['events']> {
  try {
    return Session.open(programs, options);
  } catch (error) {
    explain(() => [`nothing is attached: ${errorLine(messageWithoutPosition(error as Error))}`]);
    throw error;
  }
}

/** What the programs of a session are attached to, and which programs are not. */
export function attachedParts({ programs, skipped }: Session): string[] {
  return [
    ...programs.map(({ spec }) => `attached: ${spec.name} to ${describeAttachment(spec.attachment)}`),
    ...skipped.map(({ program, reason }) => `not attached: ${program.name}: ${errorLine(reason.message)}`),
  ];
}

/** The probe type, why it was chosen, the attachments, and the listing of the programs. */
export function describe(
  options: Options,
  { lockdown = 'none' }: Kernel,
  locate: Locate,
  programs: Programs,
  failures: readonly Failure[],
  attached: readonly string[],
): string {
  const reason =
    options.probe !== 'auto'
      ? `--probe ${options.probe}`
      : failures.length > 0
        ? 'the first probe type that this kernel supports'
        : 'the kernel has kprobes';
  const rejected = failures.map(
    ({ probe, error }) => `not ${probe}: ${errorLine(messageWithoutPosition(error))}\n`,
  );
  const btf = options.btf === undefined ? '' : `kernel BTF: ${printable(options.btf)}\n`;
  const locked = lockdown === 'none' ? '' : `kernel lockdown: ${lockdown}\n`;
  const origin = `programs: built, to show their source lines (program cache: ${describeCache()})`;
  const facts = `probe type: ${programs.probe} (${reason})\n${btf}${locked}${rejected.join('')}${attached.join('\n')}\n${origin}\n`;
  return `${facts}\n${listTool(programs, locate)}\n`;
}

/**
 * Reads the source lines of the programs: from a line table next to the bundle, or from the source files.
 * Reads nothing until it is called.
 */
export function sourceLines(kernel: Kernel): Locate {
  return sourceReader(kernel.syscalls, lineTable);
}

function lineTable(): LineTable | undefined {
  try {
    return requireLate('./tcpconnlat.lines.json') as LineTable;
  } catch {
    return undefined; // not bundled
  }
}

/**
 * Reports an error that tracing survives, such as a CPU that comes online but gets no buffer. Throws any
 * other error.
 */
export function reportOrThrow(error: unknown, options: Options, report: (text: string) => void = warn): void {
  if (!(error instanceof CorruptRingError || error instanceof KernelError)) throw error;
  report(messageWithRemedy(error, options));
}
