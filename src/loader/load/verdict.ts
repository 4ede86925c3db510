/**
 * Distinguishes the verifier's verdicts from other failures of BPF_PROG_LOAD, which can leave a partial log.
 *
 * Source: kernel/bpf/verifier.c (`bpf_check`), kernel/bpf/syscall.c (`bpf_prog_load`).
 */
import { Errno } from '../errno.ts';
import { type Failure, isExhaustion, isInterruption, type KernelError } from '../errors.ts';
import type { KernelFacts } from '../kernel-facts.ts';
import { kernelError } from '../permission.ts';
import { hasReason } from '../verifier/log.ts';

/** The errnos by which the verifier refuses a program. */
const VERDICTS: ReadonlySet<number> = new Set([
  ...[Errno.EACCES, Errno.EINVAL, Errno.E2BIG, Errno.ENOENT],
  ...[Errno.ERANGE, Errno.EOPNOTSUPP, Errno.ENOTSUPP],
]);

/** Errnos that other checks also return. They come from the verifier only if its log is complete. */
const SHARED: ReadonlySet<number> = new Set([Errno.EPERM, Errno.EFAULT]);

/** Whether an errno can be a verdict. The log decides. */
export function mayBeVerdict(errno: number): boolean {
  return VERDICTS.has(errno) || SHARED.has(errno);
}

/** Whether the verifier refused the program for the reason in its log. */
export function isVerdict(errno: number, log: string): boolean {
  if (!hasReason(log)) return false;
  return VERDICTS.has(errno) || (SHARED.has(errno) && /^processed \d+ insns/m.test(log));
}

/** Whether a load ended without a verdict, because of a signal or a limit. */
export function isInconclusive(errno: number): boolean {
  return isInterruption(errno) || isExhaustion(errno);
}

/** Describes a failed load. */
export function failureOf(program: string, errno: number): Failure {
  return { syscall: 'bpf(BPF_PROG_LOAD)', errno, tried: `load the program '${program}'` };
}

/** Creates the error for a load that failed without a verdict. */
export function loadFailure(kernel: KernelFacts, program: string, errno: number, hint?: string): KernelError {
  const failure = failureOf(program, errno);
  if (isInterruption(errno)) return kernelError(kernel, { ...failure, hint: INTERRUPTED });
  return kernelError(kernel, isExhaustion(errno) ? failure : { ...failure, hint });
}

const INTERRUPTED =
  'signals interrupt every check of the program before it ends; ' +
  'stop their sender (a profiler, an interval timer), or load the program before it starts';
