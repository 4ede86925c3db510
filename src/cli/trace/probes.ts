/**
 * The ways to watch the kernel, tried in order until one works.
 */

import { NoSuchFieldError } from '../../asm/btf.ts';
import { TsbpfError } from '../../asm/error.ts';
import { messageWithoutPosition } from '../../asm/error-position.ts';
import { NoSuchTracepointError } from '../../asm/hooks.ts';
import { printable } from '../../asm/printable.ts';
import { NoBtfError, type Target } from '../../asm/target.ts';
import { TracepointFormatError } from '../../asm/tracepoint-format.ts';
import {
  KernelError,
  LockdownError,
  NoTracefsError,
  NotPermittedError,
  UnsupportedError,
} from '../../loader/errors.ts';
import { Capability, type Kernel } from '../../loader/kernel.ts';
import { kprobesUnsupportedReason } from '../../loader/kprobe-events.ts';
import { isInconclusive } from '../../loader/load/verdict.ts';
import { isConfidential, LOCKDOWN_DURATION } from '../../loader/lockdown.ts';
import { perfEventsAreRestricted } from '../../loader/permission.ts';
import { unsupportedReason } from '../../loader/probe.ts';
import { readTracepointFormat } from '../../loader/tracefs.ts';
import {
  type Filter,
  FilterUnavailableError,
  type ProbeType,
  TRACEPOINT,
  tcpconnlat,
} from '../../programs/tcpconnlat.ts';
import type { ProbeOption } from '../arguments/options.ts';
import type { Options } from '../arguments.ts';
import { errorLine } from '../text.ts';
import { filterOf } from './filter.ts';
import { adviceUnderLockdown } from './lockdown.ts';
import { namingFile } from './types.ts';

const ORDER: Record<ProbeOption, readonly ProbeType[]> = {
  auto: ['kprobe', 'tp_btf', 'raw_tracepoint', 'trace_event'],
  kprobe: ['kprobe'],
  fentry: ['fentry'],
  tracepoint: ['tp_btf', 'raw_tracepoint', 'trace_event'],
  tp_btf: ['tp_btf'],
  raw_tracepoint: ['raw_tracepoint'],
  trace_event: ['trace_event'],
};
/** Under lockdown, which leaves it as the only one of functions. */
const UNDER_LOCKDOWN: readonly ProbeType[] = ['kprobe', 'fentry', 'tp_btf', 'raw_tracepoint', 'trace_event'];
/** Those that name types by their numbers in the kernel's own BTF. */
const BY_TYPE_NUMBER: readonly ProbeType[] = ['fentry', 'tp_btf'];

/** The programs for one way. */
export type Programs = ReturnType<typeof tcpconnlat>;

/** A way that didn't work. */
export interface Failure {
  readonly probe: ProbeType;
  readonly error: Error;
}

const OTHER_TYPES = "The kernel's types may come from a file: --btf FILE";

/** No way worked. The message has a line for each that was tried. */
export class NoProbeError extends TsbpfError {
  override readonly name = 'NoProbeError';
  override readonly code = 'ERR_NO_PROBE';

  /** `advice` says what to do. */
  constructor(kernel: Kernel, failures: readonly Failure[], advice?: string) {
    const tried = failures.map(({ probe, error }) => `  ${probe}: ${shortFault(error)}`);
    const head = `no probe works on this kernel (Linux ${printable(kernel.release)}). Tried:`;
    super([head, ...tried, ...(advice === undefined ? [] : [advice])].join('\n'));
  }
}

/** What went wrong, without what is the same of all ways. */
function shortFault(error: Error): string {
  return error instanceof LockdownError
    ? `kernel lockdown forbids ${error.forbidden}`
    : errorLine(messageWithoutPosition(error));
}

/**
 * Assembles the programs for each way in turn and gives them to `use`, until it returns. A kernel that lacks something sends
 * us on to the next way; what no way could do without doesn't.
 */
export function firstWay<T>(
  options: Options,
  kernel: Kernel,
  target: Target,
  use: (programs: Programs, failures: readonly Failure[]) => T,
): T {
  const filter = filterOf(options.filter, kernel);
  const failures: Failure[] = [];
  const probes = options.probe === 'auto' && isConfidential(kernel) ? UNDER_LOCKDOWN : ORDER[options.probe];
  for (const probe of options.btf === undefined
    ? probes
    : probes.filter((each) => !BY_TYPE_NUMBER.includes(each))) {
    try {
      return use(programsFor(probe, options, filter, kernel, target), failures);
    } catch (error) {
      if (!isLack(error) || concernsAllWays(error, kernel)) throw error;
      failures.push({ probe, error });
    }
  }
  throw noWay(options, kernel, failures);
}

/** The error after every way has failed: a single one keeps its own. */
function noWay(options: Options, kernel: Kernel, failures: readonly Failure[]): Error {
  const errors = failures.map(({ error }) => error);
  const lockedDown = errors.find((error) => error instanceof LockdownError);
  const noTypes = errors.find((error) => error instanceof NoBtfError);
  const [only] = failures.length === 1 ? errors : [];
  if (lockedDown) {
    const advice = adviceUnderLockdown(options, kernel);
    if (only)
      return new LockdownError(lockedDown.forbidden, {
        ...lockedDown,
        hint: `${lockedDown.hint}; ${advice}`,
      });
    return new NoProbeError(
      kernel,
      failures,
      `Kernel lockdown (${kernel.lockdown}): ${LOCKDOWN_DURATION}; ${advice}`,
    );
  }
  // Under lockdown no program could read what other types say.
  const otherTypes = noTypes && !isConfidential(kernel) ? OTHER_TYPES : undefined;
  if (!only) return new NoProbeError(kernel, failures, otherTypes);
  if (!noTypes || otherTypes === undefined) return only;
  return new NoBtfError(
    `${messageWithoutPosition(only)}. ${OTHER_TYPES} (not for ${BY_TYPE_NUMBER.join(' and ')}); --probe trace_event needs none`,
  );
}

function programsFor(
  probe: ProbeType,
  options: Options,
  filter: Filter,
  kernel: Kernel,
  target: Target,
): Programs {
  const { family, minNs, lport, json, outcome, who, record } = options;
  const error = probe === 'kprobe' ? noKprobesHere(options, kernel) : undefined;
  if (error) throw error;
  const { category, name } = TRACEPOINT;
  const formats = probe === 'trace_event' ? [readTracepointFormat(kernel, category, name)] : [];
  return namingFile(options.btf, () =>
    tcpconnlat(
      { probe, filter, family, minNs, localPort: lport || json || record !== undefined, outcome, who },
      { ...target, formats },
    ),
  );
}

/** Asked before the programs are made. A dry run asks nothing of the kernel, and shows what it was told to by name. */
function noKprobesHere({ dryRun, probe }: Options, kernel: Kernel): Error | undefined {
  if (!dryRun) return unsupportedReason(kernel, { kind: 'kprobe', symbol: 'tcp_v4_connect' });
  return probe === 'auto' ? kprobesUnsupportedReason(kernel) : undefined;
}

/** The errors by which a kernel, or this process on it, lacks what one way needs. */
export const UNSUPPORTED = [
  ...[KernelError, UnsupportedError, NoTracefsError],
  ...[NoBtfError, NoSuchFieldError, NoSuchTracepointError, TracepointFormatError, FilterUnavailableError],
];

function isLack(error: unknown): error is Error {
  return UNSUPPORTED.some((kind) => error instanceof kind);
}

/**
 * A lack of capabilities, or of what all ways have in common (maps, rings, open files), is one for every way,
 * and so are signals.
 */
function concernsAllWays(error: Error, kernel: Kernel): boolean {
  if (error instanceof KernelError && isInconclusive(error.errno)) return true;
  if (!(error instanceof NotPermittedError)) return false;
  if (['mmap', 'bpf(BPF_MAP_CREATE)'].includes(error.syscall) || perfEventsAreRestricted(kernel)) return true;
  return !kernel.has(Capability.sysAdmin) && !(kernel.has(Capability.bpf) && kernel.has(Capability.perfmon));
}
