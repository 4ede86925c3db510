/**
 * Errors of the loader. A message is one line: the attempted operation, the kernel's answer, the likely
 * cause, and the next step.
 */
import { inspect } from 'node:util';
import { type Assembled, type AssembledInstruction, functionStarts } from '../asm/assemble.ts';
import { TsbpfError } from '../asm/error.ts';
import { withSourcePosition } from '../asm/error-position.ts';
import { type Locate, locate, type Position, withLineInParentheses } from '../asm/position.ts';
import { describeErrno, Errno, errnoName } from './errno.ts';
import type { VerifierSummary } from './verifier/log.ts';

/**
 * Describes a failed system call, for the constructor of a `KernelError`.
 *
 * @example
 * ```ts
 * import { type Failure, KernelError } from 'tsbpf';
 *
 * const failure: Failure = { syscall: 'bpf(BPF_MAP_CREATE)', errno: 22, tried: "create the map 'events'" };
 * console.log(new KernelError(failure).message);
 * // cannot create the map 'events': bpf(BPF_MAP_CREATE): EINVAL (invalid argument)
 * ```
 */
export interface Failure {
  /** The system call as in its manual page, with its command: `bpf(BPF_MAP_CREATE)`. */
  readonly syscall: string;
  /** The positive errno. */
  readonly errno: number;
  /** The attempted operation: `create the map 'events'`. */
  readonly tried: string;
  /** The likely cause and the next step, in one or several clauses, without a final full stop. */
  readonly hint?: string;
  /** What the call creates: `kprobes`. Present if lockdown in confidentiality mode forbids it. */
  readonly forbiddenByLockdown?: string;
}

/** The cause and remedy of exhausted resources, for all operations. */
const EXHAUSTION: { readonly [errno: number]: string } = {
  [Errno.EMFILE]: 'this process has reached its limit of open files; raise it (ulimit -n)',
  [Errno.ENFILE]: 'the system has reached its limit of open files; raise it (sysctl fs.file-max)',
  [Errno.ENOMEM]:
    'the system or the cgroup of this process is out of memory; free some, or raise its limit (memory.max)',
};

/** The cause and remedy of errnos that do not depend on the attempted operation. */
const REMEDIES: { readonly [errno: number]: string } = {
  ...EXHAUSTION,
  [Errno.EINTR]: 'a signal interrupted the call; try again',
  [Errno.EBADF]: 'other code of this process has closed the descriptor; only its owner may close it',
  [Errno.EFAULT]: 'the kernel cannot access the memory of this call; this is a defect, please report it',
  [Errno.EROFS]: 'the file system is mounted read-only; remount it read-write',
  [Errno.ENOSYS]: 'this kernel was built without the system call, or a container blocks it (seccomp)',
};

/** Whether an errno reports exhausted resources of this process or the system. */
export function isExhaustion(errno: number): boolean {
  return errno in EXHAUSTION;
}

/** The cause and remedy of an errno of mmap(2). `less` says how to map less memory. */
export function mmapHint(errno: number, less?: string): string | undefined {
  const or = less === undefined ? '' : `${less}, or `;
  if (errno === Errno.ENOMEM)
    return `no memory or address space is left; ${or}raise the limits (memory.max, ulimit -v, sysctl vm.max_map_count)`;
  if (errno === Errno.EAGAIN)
    return `this process may not lock more memory; ${or}raise the limit (ulimit -l)`;
  return undefined;
}

/** Whether a signal ended the call before the kernel finished it. */
export function isInterruption(errno: number): boolean {
  return errno === Errno.EAGAIN || errno === Errno.EINTR;
}

/**
 * The kernel refused a system call. The base class of the loader's more specific errors.
 *
 * @example
 * ```ts
 * import { array, BpfMap, Kernel, KernelError, u64 } from 'tsbpf';
 *
 * try {
 *   BpfMap.create(new Kernel(), array('counts', { value: u64, maxEntries: 1 })).close();
 * } catch (error) {
 *   if (!(error instanceof KernelError)) throw error;
 *   console.log(error.errnoName, error.syscall); // EPERM bpf(BPF_MAP_CREATE)
 * }
 * ```
 */
export class KernelError extends TsbpfError {
  override name = 'KernelError';
  override readonly code: string = 'ERR_KERNEL';
  /** The system call as in its manual page, with its command: `bpf(BPF_MAP_CREATE)`. */
  readonly syscall: string;
  /** The positive errno. */
  readonly errno: number;
  /** The name of the errno: `ENOENT`. */
  readonly errnoName: string;
  /** The attempted operation: `create the map 'events'`. */
  readonly tried: string;
  /** The likely cause and the next step, if known. */
  readonly hint: string | undefined;

  constructor({ syscall, errno, tried, hint = REMEDIES[errno] }: Failure) {
    const what = `cannot ${tried}: ${syscall}: ${describeErrno(errno)}`;
    super(hint === undefined ? what : `${what}: ${hint}`);
    this.syscall = syscall;
    this.errno = errno;
    this.errnoName = errnoName(errno);
    this.tried = tried;
    this.hint = hint;
  }
}

/**
 * This process is not permitted to make a call: it lacks a capability, a limit is too low, or a policy
 * forbids it. The message says which.
 *
 * @example
 * ```ts
 * import { Kernel, NotPermittedError, unsupportedReason } from 'tsbpf';
 *
 * const reason = unsupportedReason(new Kernel(), { kind: 'kprobe', symbol: 'tcp_v4_connect' });
 * if (reason instanceof NotPermittedError) console.log(reason.hint); // this process lacks CAP_BPF ...
 * ```
 */
export class NotPermittedError extends KernelError {
  override name = 'NotPermittedError';
  override readonly code: string = 'ERR_NOT_PERMITTED';
}

/**
 * Kernel lockdown forbids a call or a helper, even for root (`/sys/kernel/security/lockdown`). It lasts until
 * the next boot. Source: man 7 kernel_lockdown.
 *
 * @example
 * ```ts
 * import { Kernel, LockdownError, unsupportedReason } from 'tsbpf';
 *
 * const reason = unsupportedReason(new Kernel(), { kind: 'kprobe', symbol: 'tcp_v4_connect' });
 * if (reason instanceof LockdownError) console.log(`lockdown forbids ${reason.forbidden}`);
 * ```
 */
export class LockdownError extends NotPermittedError {
  override name = 'LockdownError';
  override readonly code = 'ERR_LOCKDOWN';
  /** What lockdown forbids: `kprobes`, `tracefs`, or a helper such as `bpf_probe_read_kernel`. */
  readonly forbidden: string;

  constructor(forbidden: string, failure: Failure) {
    super(failure);
    this.forbidden = forbidden;
  }
}

/**
 * A program cannot attach to a function or tracepoint. The base class of `NoSuchSymbolError`,
 * `AmbiguousSymbolError` and `UntraceableSymbolError`. A session skips a program with `optional: true`
 * instead of throwing one of them (`session.skipped`).
 *
 * @example
 * ```ts
 * import { AmbiguousSymbolError, Session, SymbolError, type Tool } from 'tsbpf';
 *
 * function open(tool: Tool): Session | undefined {
 *   try {
 *     return Session.open(tool);
 *   } catch (error) {
 *     if (!(error instanceof SymbolError)) throw error;
 *     console.log(`cannot attach to ${error.symbol}: ${error.hint}`);
 *     if (error instanceof AmbiguousSymbolError) console.log(error.candidates);
 *     return undefined;
 *   }
 * }
 * ```
 */
export class SymbolError extends KernelError {
  override name = 'SymbolError';
  override readonly code: string = 'ERR_SYMBOL';
  /** The kernel function or tracepoint, as the program names it. */
  readonly symbol: string;

  constructor(symbol: string, failure: Failure) {
    super(failure);
    this.symbol = symbol;
  }
}

/**
 * The kernel has no function or tracepoint with the name that a program attaches to.
 *
 * @example
 * ```ts
 * import { NoSuchSymbolError, Session, type Tool } from 'tsbpf';
 *
 * function open(tool: Tool): Session | undefined {
 *   try {
 *     return Session.open(tool);
 *   } catch (error) {
 *     if (!(error instanceof NoSuchSymbolError)) throw error;
 *     console.log(`this kernel has no ${error.symbol}`);
 *     return undefined;
 *   }
 * }
 * ```
 */
export class NoSuchSymbolError extends SymbolError {
  override name = 'NoSuchSymbolError';
  override readonly code = 'ERR_NO_SYMBOL';
}

/**
 * Several functions of the kernel have the name that a program attaches to. The message has their number and
 * their addresses, by which a kprobe can choose one.
 *
 * Before Linux 6.6 the kernel silently probes the first one.
 * @example
 * ```ts
 * import { AmbiguousSymbolError } from 'tsbpf';
 *
 * function list(error: AmbiguousSymbolError): string[] {
 *   return error.candidates.map(({ address, module }) => `0x${address.toString(16)} ${module ?? 'kernel'}`);
 * }
 * ```
 */
export class AmbiguousSymbolError extends SymbolError {
  override name = 'AmbiguousSymbolError';
  override readonly code = 'ERR_AMBIGUOUS_SYMBOL';
  /**
   * The functions with this name. Their address is 0 if the kernel hides addresses. Empty if /proc/kallsyms
   * cannot be read.
   */
  readonly candidates: readonly { readonly address: bigint; readonly module?: string }[];

  constructor(symbol: string, candidates: AmbiguousSymbolError['candidates'], failure: Failure) {
    super(symbol, failure);
    this.candidates = candidates;
  }
}

/**
 * The kernel has the function, but does not allow a program to attach to it: it is part of the tracing or
 * entry code, it was freed after booting, or the compiler inlined or renamed it. The message says which.
 *
 * @example
 * ```ts
 * import { UntraceableSymbolError } from 'tsbpf';
 *
 * const explain = (error: unknown) => (error instanceof UntraceableSymbolError ? error.hint : undefined);
 * console.log(explain(undefined));
 * ```
 */
export class UntraceableSymbolError extends SymbolError {
  override name = 'UntraceableSymbolError';
  override readonly code = 'ERR_UNTRACEABLE_SYMBOL';
}

/**
 * The kernel lacks a feature. The message names the first release of Linux that has it.
 *
 * @example
 * ```ts
 * import { Kernel, UnsupportedError, unsupportedReason } from 'tsbpf';
 *
 * const reason = unsupportedReason(new Kernel(), { kind: 'kprobe', symbol: 'tcp_v4_connect' });
 * if (reason instanceof UnsupportedError) console.log(`${reason.feature}: Linux ${reason.since}`);
 * ```
 */
export class UnsupportedError extends TsbpfError {
  override name = 'UnsupportedError';
  override readonly code: string = 'ERR_UNSUPPORTED';
  /** The missing feature: `kprobes`. */
  readonly feature: string;
  /** The first release of Linux that has it, if configured: `4.1`. */
  readonly since: string;

  constructor(feature: string, since: string, detail?: string) {
    super(
      `this kernel has no ${feature} (Linux ${since} and later)${detail === undefined ? '' : `: ${detail}`}`,
    );
    this.feature = feature;
    this.since = since;
  }
}

/**
 * The kernel does not know an instruction of a program. `feature` is the instruction's text.
 *
 * @example
 * ```ts
 * import { UnsupportedInstructionError } from 'tsbpf';
 *
 * function explain(error: unknown): string {
 *   if (!(error instanceof UnsupportedInstructionError)) return String(error);
 *   return `${error.program}, slot ${error.placed.slot}: ${error.feature} needs Linux ${error.since}`;
 * }
 * ```
 */
export class UnsupportedInstructionError extends UnsupportedError {
  override name = 'UnsupportedInstructionError';
  override readonly code = 'ERR_UNSUPPORTED_INSTRUCTION';
  /** The program's name. */
  readonly program: string;
  /** The first unknown instruction, with its slot. */
  readonly placed: AssembledInstruction;

  constructor(program: string, placed: AssembledInstruction, text: string, since: string) {
    const { slot, instruction } = placed;
    const where = withLineInParentheses(`program '${program}', slot ${slot}`, instruction.position);
    super(`instruction '${text}'`, since, where);
    this.program = program;
    this.placed = placed;
  }
}

/** A feature that a tool needs and the kernel lacks. */
export interface MissingFeature {
  /** The feature in words: `map type ringbuf`. */
  readonly feature: string;
  /** The first release of Linux that has it; undefined for kfuncs. */
  readonly since: string | undefined;
  /** What needs it: `program 'on_exec'`. Absent if the tool declares it. */
  readonly user?: string;
  /** The source position of the first instruction that needs it. */
  readonly position?: Position;
}

/**
 * The kernel lacks features that a tool needs. The message lists all of them with their first releases.
 * `Session.open` throws it instead of the error of the first feature; that error is the `cause`.
 *
 * @example
 * ```ts
 * import { MissingFeaturesError, Session, type Tool } from 'tsbpf';
 *
 * function open(tool: Tool): Session | undefined {
 *   try {
 *     return Session.open(tool);
 *   } catch (error) {
 *     if (!(error instanceof MissingFeaturesError)) throw error;
 *     for (const { feature, since } of error.missing) console.error(`${feature}: Linux ${since}`);
 *     return undefined;
 *   }
 * }
 * ```
 */
export class MissingFeaturesError extends UnsupportedError {
  override name = 'MissingFeaturesError';
  override readonly code = 'ERR_MISSING_FEATURES';
  /** The tool's name. */
  readonly tool: string;
  /** The missing features. */
  readonly missing: readonly MissingFeature[];

  /** @param cause the error that opening the tool failed with, if it was tried. */
  constructor(tool: string, missing: readonly MissingFeature[], cause?: Error) {
    super(missing.map(({ feature }) => feature).join(', '), newest(missing));
    this.message = `the tool '${tool}' needs ${missing.length === 1 ? 'a feature' : `${missing.length} features`} that this kernel does not have: ${missing.map(missingText).join('; ')}`;
    this.tool = tool;
    this.missing = missing;
    if (cause) this.cause = cause;
  }
}

function missingText({ feature, since, user, position }: MissingFeature): string {
  const first = since === undefined ? '' : ` (Linux ${since} and later)`;
  return withLineInParentheses(`${feature}${first}${user === undefined ? '' : `, ${user}`}`, position);
}

/** The first release that has all of the features. */
function newest(missing: readonly MissingFeature[]): string {
  const number = (release: string) => release.split('.').reduce((sum, part) => sum * 1000 + Number(part), 0);
  const releases = missing.flatMap(({ since }) => (since === undefined ? [] : [since]));
  return releases.reduce((last, since) => (number(since) > number(last) ? since : last), '0');
}

/** What messages say if tracefs is not mounted. */
export const MOUNT_TRACEFS = 'mount it: mount -t tracefs tracefs /sys/kernel/tracing';

/**
 * The kernel's tracing files are needed, but tracefs is not mounted. The message names the mount command; the
 * library never mounts it itself.
 *
 * @example
 * ```ts
 * import { Kernel, NoTracefsError, readTracepointFormat } from 'tsbpf';
 *
 * try {
 *   readTracepointFormat(new Kernel(), 'syscalls', 'sys_enter_openat');
 * } catch (error) {
 *   if (error instanceof NoTracefsError) console.log('mount tracefs first');
 * }
 * ```
 */
export class NoTracefsError extends TsbpfError {
  override name = 'NoTracefsError';
  override readonly code = 'ERR_NO_TRACEFS';

  /** @param user what needs tracefs: `the tracepoint sched:sched_switch`. */
  constructor(user: string) {
    super(`${user} needs tracefs, which is not mounted; ${MOUNT_TRACEFS}`);
  }
}

/**
 * A path does not lead to a cgroup or network namespace.
 *
 * @example
 * ```ts
 * import { Kernel, networkNamespace, PathError } from 'tsbpf';
 *
 * try {
 *   networkNamespace(new Kernel(), '/etc/passwd');
 * } catch (error) {
 *   if (error instanceof PathError) console.log(`${error.path}: ${error.reason}`);
 * }
 * ```
 */
export class PathError extends TsbpfError {
  override name = 'PathError';
  override readonly code = 'ERR_PATH';
  /** The path as it was passed. */
  readonly path: string;
  /** What is wrong with it, without the path. */
  readonly reason: string;

  constructor(path: string, reason: string) {
    super(`${path}: ${reason}`);
    this.path = path;
    this.reason = reason;
  }
}

/**
 * The verifier refused a program. The message ends with the source line of the refused instruction, or of the
 * program if the verifier names no instruction. `renderVerifierError` explains the error with the registers
 * and the log.
 *
 * @example
 * ```ts
 * import { renderVerifierError, Session, type Tool, VerifierError } from 'tsbpf';
 *
 * function open(tool: Tool): Session | undefined {
 *   try {
 *     return Session.open(tool);
 *   } catch (error) {
 *     if (!(error instanceof VerifierError)) throw error;
 *     console.error(renderVerifierError(error));
 *     return undefined;
 *   }
 * }
 * ```
 */
export class VerifierError extends KernelError {
  override name = 'VerifierError';
  override readonly code = 'ERR_VERIFIER';
  /** The program's name. */
  readonly program: string;
  /** The verifier's complete log. */
  readonly log: string;
  /** The reason, the refused instruction and a remedy, from the log. */
  readonly summary: VerifierSummary;
  /** The refused program, with the source lines of its instructions. */
  readonly assembled: Assembled;
  /** Resolves the positions of instructions to source lines. */
  readonly locate: Locate;

  constructor(
    program: string,
    errno: number,
    log: string,
    summary: VerifierSummary,
    assembled: Assembled,
    locateSource: Locate = locate,
  ) {
    const where = summary.slot === undefined ? '' : `instruction ${summary.slot}: `;
    super({
      syscall: 'bpf(BPF_PROG_LOAD)',
      errno,
      tried: `load the program '${program}'`,
      hint: `the verifier refused it: ${where}${summary.reason}`,
    });
    this.program = program;
    this.log = log;
    this.summary = summary;
    this.assembled = assembled;
    this.locate = locateSource;
    withSourcePosition(this, this.position, locateSource);
  }

  /** The source position of the refused instruction, or else of the program's last instruction. */
  get position(): Position | undefined {
    const { instructions } = this.assembled;
    const refused = instructions.find(({ slot }) => slot === this.summary.slot);
    if (refused) return refused.instruction.position;
    const [, subprogram] = functionStarts(this.assembled);
    const end = subprogram ? instructions.indexOf(subprogram) : instructions.length;
    return instructions[end - 1]?.instruction.position;
  }
}

/**
 * A perf ring or ring buffer holds an invalid record. Reading skipped a single invalid sample, or else the
 * rest of the ring, and continues. A session passes this error to `onError`.
 *
 * @example
 * ```ts
 * import { CorruptRingError } from 'tsbpf';
 *
 * const onError = (error: unknown) => {
 *   if (!(error instanceof CorruptRingError)) throw error;
 *   console.warn(`events of CPU ${error.cpu ?? 'any'} were skipped`);
 * };
 * ```
 */
export class CorruptRingError extends TsbpfError {
  override name = 'CorruptRingError';
  override readonly code = 'ERR_CORRUPT_RING';
  /** The number of the perf ring's CPU; undefined for a ring buffer. */
  readonly cpu: number | undefined;

  /** @param ring the CPU of a perf ring, or the name of a ring buffer. */
  constructor(ring: number | string, detail: string, skipped = 'the rest of the ring') {
    const what = typeof ring === 'number' ? `the perf ring of CPU ${ring}` : `the ring buffer '${ring}'`;
    super(`${what} is corrupt: ${detail}; skipped ${skipped}`);
    this.cpu = typeof ring === 'number' ? ring : undefined;
  }
}

/**
 * The keys of a map could not be listed, because programs delete keys faster than the loader reads them.
 *
 * @example
 * ```ts
 * import { type BpfMap, MapIterationError } from 'tsbpf';
 *
 * function keys(map: BpfMap): unknown[] | undefined {
 *   try {
 *     return [...map.keys()];
 *   } catch (error) {
 *     if (error instanceof MapIterationError) return undefined; // try again later
 *     throw error;
 *   }
 * }
 * ```
 */
export class MapIterationError extends TsbpfError {
  override name = 'MapIterationError';
  override readonly code = 'ERR_MAP_ITERATION';
  /** The map's name. */
  readonly map: string;
  /** The number of different keys that were read. The map may hold others. */
  readonly keysRead: number;

  constructor(map: string, keysRead: number) {
    super(
      `cannot list the keys of the map '${map}': programs delete keys faster than they can be read (${keysRead} were read); ` +
        'try again, or detach these programs first',
    );
    this.map = map;
    this.keysRead = keysRead;
  }
}

/**
 * A call for many entries of a map failed after some of them: `updateMany`, `deleteMany`, `drain`, `clear`,
 * `drainAsync` or `clearAsync`.
 *
 * @example
 * ```ts
 * import { type BpfMap, MapBatchError, type MapSpec, type u32 } from 'tsbpf';
 *
 * function fill(map: BpfMap<MapSpec<typeof u32, typeof u32>>, entries: [number, number][]): void {
 *   try {
 *     map.updateMany(entries);
 *   } catch (error) {
 *     if (!(error instanceof MapBatchError)) throw error;
 *     console.error(`${error.applied} entries updated; the first that failed:`, entries[error.index ?? 0]);
 *   }
 * }
 * ```
 */
export class MapBatchError extends KernelError {
  override name = 'MapBatchError';
  override readonly code = 'ERR_MAP_BATCH';
  /** The number of entries that were updated or deleted. */
  readonly applied: number;
  /** The index of the entry that failed, in the order in which they were passed; undefined for `drain`. */
  readonly index: number | undefined;
  /** The key of this entry. */
  readonly key: unknown;
  /** The entries that `drain` deleted before the error. */
  readonly drained: readonly (readonly [unknown, unknown])[] | undefined;

  constructor(
    failure: KernelError,
    {
      applied,
      did,
      index,
      key,
      drained,
    }: Partial<Pick<MapBatchError, 'index' | 'key' | 'drained'>> & { applied: number; did: string },
  ) {
    const where = index === undefined ? '' : `entry ${index} (key ${inspect(key, INSPECT)}) failed, `;
    const progress = `${where}${applied} were ${did} before`;
    super({ ...failure, hint: failure.hint ? `${progress}: ${failure.hint}` : progress });
    this.applied = applied;
    this.index = index;
    this.key = key;
    this.drained = drained;
  }
}

/**
 * A pinned object differs from the spec that it was opened by. The base class of `MapMismatchError`,
 * `ProgramMismatchError` and `LinkMismatchError`. The message names each difference.
 *
 * @example
 * ```ts no run
 * import { Kernel, Link, MismatchError, type ProgramSpec } from 'tsbpf';
 *
 * function open(kernel: Kernel, spec: ProgramSpec): Link | undefined {
 *   try {
 *     return Link.open(kernel, spec, '/sys/fs/bpf/on_exec');
 *   } catch (error) {
 *     if (!(error instanceof MismatchError)) throw error;
 *     for (const each of error.differences) console.error(each);
 *     return undefined;
 *   }
 * }
 * console.log(open.length);
 * ```
 */
export class MismatchError extends TsbpfError {
  override readonly name: string = 'MismatchError';
  override readonly code: string = 'ERR_MISMATCH';
  /** Each difference: `type is hash in the kernel, and array in the spec`. */
  readonly differences: readonly string[];

  /**
   * @param what the object: `the map pinned at /sys/fs/bpf/calls`. @param remedy what to do instead of
   * changing the spec.
   */
  constructor(what: string, spec: string, differences: readonly string[], remedy: string) {
    super(
      `${what} is not that of the spec '${spec}': ${differences.join('; ')}; change the spec, or ${remedy}`,
    );
    this.differences = differences;
  }
}

/**
 * A pinned map differs from the spec that it was opened by. The message names each difference.
 *
 * @example
 * ```ts no run
 * import { BpfMap, hash, Kernel, MapMismatchError, u32, u64 } from 'tsbpf';
 *
 * const spec = hash('calls', { key: u32, value: u64, maxEntries: 1024 });
 * try {
 *   BpfMap.open(new Kernel(), spec, '/sys/fs/bpf/calls').close();
 * } catch (error) {
 *   if (error instanceof MapMismatchError) for (const each of error.differences) console.error(each);
 * }
 * ```
 */
export class MapMismatchError extends MismatchError {
  override readonly name = 'MapMismatchError';
  override readonly code = 'ERR_MAP_MISMATCH';
  /** The name of the spec. */
  readonly map: string;

  constructor(map: string, where: string, differences: readonly string[]) {
    super(`the map ${where}`, map, differences, 'remove the pin (unpin) so that a new map is created');
    this.map = map;
  }
}

/**
 * A pinned program differs from the spec that it was opened by: in its type, name, function or instructions.
 *
 * @example
 * ```ts
 * import { ProgramMismatchError } from 'tsbpf';
 *
 * const differences = (error: unknown) => (error instanceof ProgramMismatchError ? error.differences : []);
 * console.log(differences(undefined));
 * ```
 */
export class ProgramMismatchError extends MismatchError {
  override readonly name = 'ProgramMismatchError';
  override readonly code = 'ERR_PROGRAM_MISMATCH';

  constructor(program: string, path: string, differences: readonly string[]) {
    const remedy = 'remove the pin (unpin), load the program and pin it again';
    super(`the program pinned at ${path}`, program, differences, remedy);
  }
}

/**
 * A pinned link differs from the spec that it was opened by: in its kind, its function or tracepoint, or its
 * program.
 *
 * @example
 * ```ts
 * import { LinkMismatchError } from 'tsbpf';
 *
 * const differences = (error: unknown) => (error instanceof LinkMismatchError ? error.differences : []);
 * console.log(differences(undefined));
 * ```
 */
export class LinkMismatchError extends MismatchError {
  override readonly name = 'LinkMismatchError';
  override readonly code = 'ERR_LINK_MISMATCH';

  constructor(program: string, path: string, differences: readonly string[]) {
    const remedy = 'remove the pin (unpin), attach the program and pin the link again';
    super(`the link pinned at ${path}`, program, differences, remedy);
  }
}

/** How messages show keys: on one line, without long lists and texts. */
const INSPECT = { breakLength: Number.POSITIVE_INFINITY, maxArrayLength: 16, maxStringLength: 64 } as const;

/**
 * A map, program, link or session was used after `close()`. The message names the object.
 *
 * @example
 * ```ts
 * import { array, BpfMap, ClosedError, Kernel, u32 } from 'tsbpf';
 *
 * const map = BpfMap.create(new Kernel(), array('counts', { value: u32, maxEntries: 1 }));
 * map.close();
 * try {
 *   map.lookup(0);
 * } catch (error) {
 *   console.log(error instanceof ClosedError);
 * }
 * ```
 */
export class ClosedError extends TsbpfError {
  override readonly name = 'ClosedError';
  override readonly code = 'ERR_CLOSED';

  /** @param object the closed object: `the map 'counts'`. */
  constructor(object: string) {
    super(`${object} was used after it was closed`);
  }
}

/**
 * No loaded program matches a selector, or several have the name. The message lists the ids of several
 * programs.
 *
 * @example
 * ```ts
 * import { Kernel, NoSuchProgramError, readLoadedProgram } from 'tsbpf';
 *
 * try {
 *   readLoadedProgram(new Kernel(), { name: 'on_connect' });
 * } catch (error) {
 *   if (error instanceof NoSuchProgramError) console.log(error.message);
 * }
 * ```
 */
export class NoSuchProgramError extends TsbpfError {
  override readonly name = 'NoSuchProgramError';
  override readonly code = 'ERR_NO_PROGRAM';
}
