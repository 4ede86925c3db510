/**
 * The probe types, tried in order until one works, and what each of them does not see.
 */

import { NoSuchFieldError } from '../../asm/btf.ts';
import { TsbpfError } from '../../asm/error.ts';
import { messageWithoutPosition } from '../../asm/error-position.ts';
import { NoSuchTracepointError } from '../../asm/no-such-tracepoint.ts';
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
import type { Kernel } from '../../loader/kernel.ts';
import { Capability } from '../../loader/kernel-facts.ts';
import { kprobesUnsupportedReason } from '../../loader/kprobe-events.ts';
import { isInconclusive } from '../../loader/load/verdict.ts';
import { isConfidential, LOCKDOWN_DURATION } from '../../loader/lockdown.ts';
import { perfEventsAreRestricted } from '../../loader/permission.ts';
import { unsupportedReason } from '../../loader/probe.ts';
import { readTracepointFormat } from '../../loader/tracefs.ts';
import { type Filter, FilterUnavailableError } from '../../programs/tcpconnlat/criteria.ts';
import {
  type ProbeType,
  type Options as ToolOptions,
  TRACEPOINT,
} from '../../programs/tcpconnlat/options.ts';
import type { BlindSpot, Programs } from '../../programs/tcpconnlat.ts';
import { NEEDS_KERNEL_BTF, type ProbeOption } from '../arguments/flags.ts';
import type { Options } from '../arguments.ts';
import { readsCallers } from '../caller-filter.ts';
import { errorLine } from '../text.ts';
import { withBtfFile } from './btf.ts';
import { resolveFilter } from './filter.ts';
import { prebuiltPrograms } from './prebuilt.ts';
import { cachedPrograms } from './program-cache.ts';

/** The probe types to try for each value of `--probe`, in order. */
const ORDER: Record<ProbeOption, readonly ProbeType[]> = {
  auto: ['kprobe', 'tp_btf', 'raw_tracepoint', 'trace_event'],
  kprobe: ['kprobe'],
  fentry: ['fentry'],
  tracepoint: ['tp_btf', 'raw_tracepoint', 'trace_event'],
  tp_btf: ['tp_btf'],
  raw_tracepoint: ['raw_tracepoint'],
  trace_event: ['trace_event'],
};
/** The order under kernel lockdown, where fentry works but kprobe does not. */
const UNDER_LOCKDOWN: readonly ProbeType[] = ['kprobe', 'fentry', 'tp_btf', 'raw_tracepoint', 'trace_event'];

/** The options of a run, and the aggregation that its programs become a part of. */
export type ProgramOptions = Options & Pick<ToolOptions, 'aggregate'>;

/** What programs were made from. */
export interface Made {
  /** The options of the tool. */
  readonly asked: ToolOptions;
  /** What made them: the builder of this run, the build of the command, or an earlier run. */
  readonly by: 'builder' | 'build' | 'cache';
}

/** A probe type that did not work. */
export interface Failure {
  readonly probe: ProbeType;
  readonly error: Error;
}

const NO_BTF = 'no BTF in /sys/kernel/btf/vmlinux; mount /sys, or use a kernel with CONFIG_DEBUG_INFO_BTF=y';
const BTF_FROM_FILE = 'Use --btf FILE to read kernel BTF from a file';

/** No probe type worked. The message has a line for each probe type that was tried. */
export class NoProbeError extends TsbpfError {
  override readonly name = 'NoProbeError';
  override readonly code = 'ERR_NO_PROBE';

  constructor(kernel: Kernel, failures: readonly Failure[], advice?: string) {
    const tried = failures.map(({ probe, error }) => `  ${probe}: ${shortMessage(error)}`);
    const head = `no probe works on this kernel (Linux ${printable(kernel.release)}). Tried:`;
    super([head, ...tried, ...(advice === undefined ? [] : [advice])].join('\n'));
  }
}

/** The message without the parts that are the same for every probe type. */
function shortMessage(error: Error): string {
  if (error instanceof LockdownError) return `kernel lockdown forbids ${error.forbidden}`;
  if (error instanceof NoBtfError) return NO_BTF;
  return errorLine(messageWithoutPosition(error));
}

/**
 * Makes the programs for each probe type in turn and passes them to `use`, until `use` returns: with the
 * probe types that did not work, and what the programs were made from. If the kernel does not support a probe
 * type, the next one is tried. An error that concerns every probe type is thrown.
 *
 * `target` is called when programs have to be built. `saved` is for tests.
 */
export async function withFirstProbe<T>(
  options: ProgramOptions,
  kernel: Kernel,
  target: () => Target,
  use: (programs: Programs, failures: readonly Failure[], made: Made) => T,
  saved: Saved = SAVED,
): Promise<T> {
  const filter = resolveFilter(options.filter, kernel);
  const failures: Failure[] = [];
  const probes = options.probe === 'auto' && isConfidential(kernel) ? UNDER_LOCKDOWN : ORDER[options.probe];
  for (const probe of options.btf === undefined
    ? probes
    : probes.filter((each) => !NEEDS_KERNEL_BTF.includes(each))) {
    try {
      const asked = toolOptions(probe, options, filter);
      if (probe === 'kprobe') requireKprobes(options, kernel);
      for (const by of usesSaved(options) ? (['build', 'cache'] as const) : []) {
        const result = attempt(saved[by](asked, kernel), (programs) =>
          use(programs, failures, { asked, by }),
        );
        if (result) return result.value;
      }
      if (probe === 'kprobe' && !options.dryRun) requireLoads(kernel);
      return use(await build(asked, options, kernel, target()), failures, { asked, by: 'builder' });
    } catch (error) {
      if (!isUnsupported(error) || concernsEveryProbe(error, kernel)) throw error;
      failures.push({ probe, error });
    }
  }
  throw await allFailed(options, kernel, failures);
}

/** The error after every probe type has failed. If only one was tried, it is the error of that one. */
async function allFailed(options: Options, kernel: Kernel, failures: readonly Failure[]): Promise<Error> {
  const errors = failures.map(({ error }) => error);
  const lockedDown = errors.find((error) => error instanceof LockdownError);
  const noBtf = errors.find((error) => error instanceof NoBtfError);
  const [only] = failures.length === 1 ? errors : [];
  if (lockedDown) {
    const { adviceUnderLockdown } = await import('./builder.ts');
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
  // Under lockdown no program can read memory by BTF from a file.
  const btfAdvice = noBtf && !isConfidential(kernel) ? BTF_FROM_FILE : undefined;
  if (!only) return new NoProbeError(kernel, failures, btfAdvice);
  if (!noBtf || btfAdvice === undefined) return only;
  return new NoBtfError(
    `${NO_BTF}. ${BTF_FROM_FILE} (not for ${NEEDS_KERNEL_BTF.join(' and ')}), or --probe trace_event, which needs no BTF`,
  );
}

/** The options of the tool. */
export function toolOptions(probe: ProbeType, options: ProgramOptions, filter: Filter): ToolOptions {
  const { family, minNs, lport, json, outcome, pendingMs, requested, record, report, aggregate } = options;
  return {
    ...{ probe, filter, family, minNs, outcome, requested, aggregate },
    who: readsCallers(options),
    maxAttempts: options.maxConnects,
    pending: pendingMs !== undefined,
    localPort: lport || json || (record ?? report) !== undefined,
  };
}

/** Programs that need no builder, by what made them. */
type Saved = Readonly<
  Record<'build' | 'cache', (asked: ToolOptions, kernel: Kernel) => Programs | undefined>
>;

const SAVED: Saved = {
  build: (asked, kernel) => prebuiltPrograms(asked, kernel),
  cache: (asked, kernel) => cachedPrograms(asked, kernel),
};

/** Whether a run may use saved programs, which have no source lines and are for the running kernel. */
export function usesSaved({ verbose, dryRun, btf }: Options): boolean {
  return !verbose && !dryRun && btf === undefined;
}

/**
 * Calls `use` with saved programs, and returns its result. Undefined if there are none, or if they fail:
 * the programs of the builder then fail with their source lines.
 */
function attempt<T>(
  programs: Programs | undefined,
  use: (programs: Programs) => T,
): { readonly value: T } | undefined {
  try {
    return programs && { value: use(programs) };
  } catch {
    return undefined;
  }
}

async function build(
  asked: ToolOptions,
  { btf }: Options,
  kernel: Kernel,
  target: Target,
): Promise<Programs> {
  const { category, name } = TRACEPOINT;
  const formats = asked.probe === 'trace_event' ? [readTracepointFormat(kernel, category, name)] : [];
  const { tcpconnlat } = await import('./builder.ts'); // a late part of the bundle
  return withBtfFile(btf, () => tcpconnlat(asked, { ...target, formats }));
}

/** Throws if this kernel has no kprobes. A dry run with `--probe kprobe` does not need them. */
function requireKprobes({ dryRun, probe }: Options, kernel: Kernel): void {
  const reason = dryRun && probe !== 'auto' ? undefined : kprobesUnsupportedReason(kernel);
  if (reason) throw reason;
}

/** Throws if this kernel or process cannot load kprobe programs, before some are built. */
function requireLoads(kernel: Kernel): void {
  const reason = unsupportedReason(kernel, { kind: 'kprobe', symbol: 'tcp_v4_connect' });
  if (reason) throw reason;
}

/** The errors that mean that the kernel, or this process, does not support a probe type. */
const UNSUPPORTED = [
  ...[KernelError, UnsupportedError, NoTracefsError],
  ...[NoBtfError, NoSuchFieldError, NoSuchTracepointError, TracepointFormatError, FilterUnavailableError],
];

function isUnsupported(error: unknown): error is Error {
  return UNSUPPORTED.some((kind) => error instanceof kind);
}

/**
 * Whether an error would occur with every probe type: missing capabilities, or a failure of what all probe
 * types use (maps, buffers, open files), or a signal.
 */
function concernsEveryProbe(error: Error, kernel: Kernel): boolean {
  if (error instanceof KernelError && isInconclusive(error.errno)) return true;
  if (!(error instanceof NotPermittedError)) return false;
  if (['mmap', 'bpf(BPF_MAP_CREATE)'].includes(error.syscall) || perfEventsAreRestricted(kernel)) return true;
  return !kernel.has(Capability.sysAdmin) && !(kernel.has(Capability.bpf) && kernel.has(Capability.perfmon));
}

// --- blind spots ---------------------------------------------------------------------------------

const OTHER_PROBE = 'use another --probe, with kernel BTF from a file (--btf FILE)';

const NONE_UNDER_LOCKDOWN = 'kernel lockdown (confidentiality) allows no probe that sees more';

/** The warning, the remedy, and the remedy under lockdown. */
const BLIND_SPOTS: Record<BlindSpot, readonly [warning: string, remedy: string, underLockdown: string]> = {
  refused: [
    'refused connects are not shown: the tracepoint record does not distinguish them from abandoned connects',
    OTHER_PROBE,
    'use --probe fentry or --probe tp_btf, which kernel lockdown (confidentiality) allows',
  ],
  errors: [
    'the reason of failures is not known: the tracepoint record has no socket error',
    OTHER_PROBE,
    NONE_UNDER_LOCKDOWN,
  ],
  unrouted: [
    'connects that fail before a SYN is sent (no route) are not visible with this probe',
    'use --probe kprobe, if the kernel has kprobes',
    NONE_UNDER_LOCKDOWN,
  ],
  io_uring: [
    'the address that a program asked for is not known for connects by io_uring with this probe',
    'use --probe kprobe, if the kernel has kprobes',
    'use --probe fentry (Linux 6.2), which kernel lockdown (confidentiality) allows',
  ],
};

/** The warning if the programs include one at sys_enter. */
export const SLOWS_SYSTEM_CALLS =
  '--requested slows every system call of this machine down with this probe; use --probe kprobe, fentry or tp_btf (Linux 5.15) if the kernel has them';

/** A warning of one line, with a remedy. */
export function describeBlindSpot(spot: BlindSpot, kernel: Kernel): string {
  const [warning, remedy, underLockdown] = BLIND_SPOTS[spot];
  return `${warning}; ${isConfidential(kernel) ? underLockdown : remedy}`;
}
