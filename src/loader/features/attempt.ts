/**
 * Attempts of feature probes, and what the kernel's answer says. An attempt closes what it opens before it
 * returns.
 */
import { assemble } from '../../asm/assemble.ts';
import { exit, mov } from '../../asm/constructors.ts';
import type { Item } from '../../asm/instruction.ts';
import { once } from '../../asm/once.ts';
import { r0 } from '../../asm/registers.ts';
import { Attr, allocate, allocateCopy, cString } from '../bpf.ts';
import { describeErrno, Errno } from '../errno.ts';
import type { KernelFacts } from '../kernel-facts.ts';
import { LOG_TRUE_SIZE, send, versionCode } from '../load/request.ts';
import { isInconclusive } from '../load/verdict.ts';
import { hiddenHelper } from '../lockdown.ts';
import { kernelError } from '../permission.ts';
import { decodeCString } from '../text.ts';
import { summarize } from '../verifier/log.ts';

/** What a probe found: whether the kernel has the feature, or why that cannot be determined. */
export type Verdict =
  | { readonly answer: 'yes' }
  | { readonly answer: 'no' | 'unknown'; readonly reason: string };

export const YES: Verdict = { answer: 'yes' };

export function no(reason: string): Verdict {
  return { answer: 'no', reason };
}

export function unknown(reason: string): Verdict {
  return { answer: 'unknown', reason };
}

/** The kernel's answer to an attempt: the system call, 0 or the errno, and the verifier's log. */
export interface Attempt {
  readonly syscall: string;
  readonly errno: number;
  readonly log: string;
  /** The size of the complete log, as far as the kernel reports it (Linux 6.4). */
  readonly logSize?: number;
}

/** The answer of a system call that opens nothing. */
export function answered(syscall: string, result: number): Attempt {
  return { syscall, errno: Math.max(-result, 0), log: '' };
}

/** The answer of a system call that returns a descriptor, which is closed. */
export function opened({ syscalls }: KernelFacts, syscall: string, result: number): Attempt {
  if (result >= 0) syscalls.close(result);
  return answered(syscall, result);
}

/**
 * The verdict of an attempt. `supported`: whether its error, too, shows that the kernel has the feature.
 */
export function judge(kernel: KernelFacts, { syscall, errno, log }: Attempt, supported = false): Verdict {
  if (errno === 0 || supported) return YES;
  const failure = { syscall, errno, tried: 'probe this feature' };
  // A permission that the verifier itself denies is its answer to the program.
  const denied = (errno === Errno.EPERM || errno === Errno.EACCES) && log === '';
  if (denied || isInconclusive(errno)) {
    const { hint } = kernelError(kernel, failure);
    return unknown(`${syscall}: ${describeErrno(errno)}${hint === undefined ? '' : `: ${hint}`}`);
  }
  const hidden = hiddenHelper(kernel, failure, log);
  if (hidden) return unknown(hidden.hint ?? hidden.message);
  return no(log === '' ? `${syscall}: ${describeErrno(errno)}` : summarize(log).reason);
}

/** A program to load as an attempt. */
export interface Trial {
  /** `enum bpf_prog_type`. */
  readonly type: number;
  /** Default: sets r0 to 0 and exits. */
  readonly items?: readonly Item[];
  /** `enum bpf_attach_type`. */
  readonly attachType?: number;
  /** The BTF id of the function or tracepoint to attach to. */
  readonly btfId?: number;
  /** `BPF_F_*` of program loading. */
  readonly flags?: number;
  /** Whether to ask for the verifier's log, which fits small programs only. Default: true. */
  readonly logged?: boolean;
}

/** The buffer of the verifier's log, for one attempt at a time. */
const logBuffer = once(() => allocate(64 * 1024));

const PROG_LOAD = 'bpf(BPF_PROG_LOAD)';

/** Loads a program, calls `use` with its descriptor if the kernel accepts it, and closes it. */
export function withProgram<T>(
  kernel: KernelFacts,
  { type, items = [mov(r0, 0), exit()], attachType = 0, btfId = 0, flags = 0, logged = true }: Trial,
  use: (fd: number) => T,
): Attempt | T {
  const bytes = allocateCopy(assemble(items).bytes);
  const log = logBuffer();
  log[0] = 0;
  // `union bpf_attr` for BPF_PROG_LOAD. Before 5.0 kprobe programs need the kernel's version.
  const attr = new Attr(kernel.syscalls, LOG_TRUE_SIZE + 4)
    .u32(0, type)
    .u32(4, bytes.length / 8)
    .pointer(8, bytes)
    .pointer(16, cString('GPL'))
    .u32(40, versionCode(kernel.release))
    .u32(44, flags)
    .u32(68, attachType)
    .u32(108, btfId);
  if (logged) attr.u32(24, 1).u32(28, log.length).pointer(32, log);
  const result = send(kernel, attr);
  if (result < 0)
    return {
      syscall: PROG_LOAD,
      errno: -result,
      log: decodeCString(log).trim(),
      logSize: attr.getU32(LOG_TRUE_SIZE),
    };
  try {
    return use(result);
  } finally {
    kernel.syscalls.close(result);
  }
}

/** Loads a program and closes it. */
export function tryProgram(kernel: KernelFacts, trial: Trial): Attempt {
  return withProgram(kernel, trial, (): Attempt => ({ syscall: PROG_LOAD, errno: 0, log: '' }));
}
