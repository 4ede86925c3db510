/**
 * What can go wrong between us and the kernel, as types a caller can test for. Every message is one line that
 * says what was tried, what the kernel answered, the likely cause, and what to do.
 */

import { type Assembled, type AssembledInstruction, functionStarts } from '../asm/assemble.ts';
import { TsbpfError } from '../asm/error.ts';
import { withSourcePosition } from '../asm/error-position.ts';
import { describePosition, type Locate, locate, type Position } from '../asm/position.ts';
import { describeErrno, Errno, errnoName } from './errno.ts';
import type { VerifierSummary } from './verifier/log.ts';

/** How a failed call is described. */
export interface Failure {
  /** The system call as in its manual page, with its command: `bpf(BPF_MAP_CREATE)`. */
  readonly syscall: string;
  /** The errno, positive. */
  readonly errno: number;
  /** What was tried: `create the map 'events'`. */
  readonly tried: string;
  /** The likely cause and the next step, one sentence or several, without a full stop at the end. */
  readonly hint?: string;
  /** What the call makes, if lockdown in confidentiality mode forbids that: `kprobes`. */
  readonly forbiddenByLockdown?: string;
}

/** What helps against errnos that say the same whatever was tried. */
const REMEDIES: { readonly [errno: number]: string } = {
  [Errno.EMFILE]: 'this process has as many files open as it may; raise that limit (ulimit -n)',
  [Errno.ENFILE]: 'the machine has as many files open as it may; raise that limit (sysctl fs.file-max)',
  [Errno.ENOMEM]: 'the machine, or the cgroup of this process, has no memory left for it',
};

/** Whether an errno is about what this process or the machine has left, and not about what was tried. */
export function isExhaustion(errno: number): boolean {
  return errno in REMEDIES;
}

/** Whether a signal ended the call before the kernel could answer. */
export function isInterruption(errno: number): boolean {
  return errno === Errno.EAGAIN || errno === Errno.EINTR;
}

/** A call that the kernel refused. */
export class KernelError extends TsbpfError {
  override name = 'KernelError';
  override readonly code: string = 'ERR_KERNEL';
  readonly syscall: string;
  /** The errno, positive. */
  readonly errno: number;
  /** The name of the errno: `ENOENT`. */
  readonly errnoName: string;
  readonly tried: string;
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

/** This process may not do it: a capability is missing, a limit is too low, or a policy of the kernel forbids it. */
export class NotPermittedError extends KernelError {
  override name = 'NotPermittedError';
  override readonly code: string = 'ERR_NOT_PERMITTED';
}

/** Kernel lockdown forbids it to every process (`/sys/kernel/security/lockdown`). */
export class LockdownError extends NotPermittedError {
  override name = 'LockdownError';
  override readonly code = 'ERR_LOCKDOWN';
  /** What it keeps from whom: `bpf_probe_read_kernel from every program`. */
  readonly kept: string;

  constructor(kept: string, failure: Failure) {
    super(failure);
    this.kept = kept;
  }
}

/** The kernel has nothing of that name to attach to: an optional program can be left out. */
export class NoSuchSymbolError extends KernelError {
  override name = 'NoSuchSymbolError';
  override readonly code = 'ERR_NO_SYMBOL';
  /** The kernel function or tracepoint. */
  readonly symbol: string;

  constructor(symbol: string, failure: Failure) {
    super(failure);
    this.symbol = symbol;
  }
}

/** The kernel lacks a feature. */
export class UnsupportedError extends TsbpfError {
  override name = 'UnsupportedError';
  override readonly code: string = 'ERR_UNSUPPORTED';
  /** What it lacks: `kprobes`. */
  readonly feature: string;
  /** The first release of Linux that has it, configuration permitting: `4.1`. */
  readonly since: string;

  constructor(feature: string, since: string, detail?: string) {
    super(
      `this kernel has no ${feature} (Linux ${since} and later)${detail === undefined ? '' : `: ${detail}`}`,
    );
    this.feature = feature;
    this.since = since;
  }
}

/** The kernel lacks an instruction of a program: `feature` is its text. */
export class UnsupportedInstructionError extends UnsupportedError {
  override name = 'UnsupportedInstructionError';
  override readonly code = 'ERR_UNSUPPORTED_INSTRUCTION';
  /** The program's name. */
  readonly program: string;
  /** The first of its instructions that the kernel lacks, and where it is. */
  readonly placed: AssembledInstruction;

  constructor(program: string, placed: AssembledInstruction, text: string, since: string) {
    const { slot, instruction } = placed;
    const place = instruction.position === undefined ? '' : ` (${describePosition(instruction.position)})`;
    super(`instruction '${text}'`, since, `program '${program}', slot ${slot}${place}`);
    this.program = program;
    this.placed = placed;
  }
}

/** What to do where tracefs is mounted nowhere. */
export const MOUNT_TRACEFS = 'mount it: mount -t tracefs tracefs /sys/kernel/tracing';

/** The kernel's tracing files are needed, and mounted nowhere. */
export class NoTracefsError extends TsbpfError {
  override name = 'NoTracefsError';
  override readonly code = 'ERR_NO_TRACEFS';

  /** `wanted` says what they are needed for. */
  constructor(wanted: string) {
    super(`${wanted} needs tracefs, which isn't mounted; ${MOUNT_TRACEFS}`);
  }
}

/** A path that doesn't lead to what was asked for. */
export class PathError extends TsbpfError {
  override name = 'PathError';
  override readonly code = 'ERR_PATH';
  readonly path: string;
  /** What it leads to, or why to nothing. */
  readonly fault: string;

  constructor(path: string, fault: string) {
    super(`${path}: ${fault}`);
    this.path = path;
    this.fault = fault;
  }
}

/** The verifier refused a program. Where it names no instruction, the line is that of the program as a whole. */
export class VerifierError extends KernelError {
  override name = 'VerifierError';
  override readonly code = 'ERR_VERIFIER';
  /** The program's name. */
  readonly program: string;
  /** The verifier's whole log. */
  readonly log: string;
  /** What the log comes down to. */
  readonly summary: VerifierSummary;
  /** What was loaded, for the source lines of its instructions. */
  readonly assembled: Assembled;
  /** Reads their positions. */
  readonly locate: Locate;

  constructor(
    program: string,
    errno: number,
    log: string,
    summary: VerifierSummary,
    assembled: Assembled,
    find: Locate = locate,
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
    this.locate = find;
    withSourcePosition(this, this.position, find);
  }

  /** The author's line of the instruction that was refused, or of the program's end, which is that of the program itself. */
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
 * A perf ring has invalid records: one sample, which was skipped, or more, and the ring was skipped to its
 * end.
 */
export class CorruptRingError extends TsbpfError {
  override name = 'CorruptRingError';
  override readonly code = 'ERR_CORRUPT_RING';
  readonly cpu: number;

  constructor(cpu: number, detail: string, skipped = 'what it held') {
    super(`the perf ring of CPU ${cpu} is corrupt: ${detail}; ${skipped} was skipped`);
    this.cpu = cpu;
  }
}

/** The keys of a map could not be listed: programs delete keys faster than the loader reads them. */
export class MapIterationError extends TsbpfError {
  override name = 'MapIterationError';
  override readonly code = 'ERR_MAP_ITERATION';
  /** The map's name. */
  readonly map: string;
  /** The number of different keys that were read. The map may hold others. */
  readonly keysRead: number;

  constructor(map: string, keysRead: number) {
    super(
      `cannot list the keys of the map '${map}': others delete keys faster than they can be read (${keysRead} were read); ` +
        'try again, or detach the programs that delete them first',
    );
    this.map = map;
    this.keysRead = keysRead;
  }
}

/**
 * A map, program, link or session is used after `close()`.
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
}
