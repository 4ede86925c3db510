/**
 * Tells the verifier's verdicts from other failures of BPF_PROG_LOAD, which can come with a part of a log.
 *
 * Source: kernel/bpf/verifier.c (`bpf_check`), kernel/bpf/syscall.c (`bpf_prog_load`).
 */
import { Errno } from '../errno.ts';
import { type Failure, isExhaustion, isInterruption, type KernelError } from '../errors.ts';
import type { Kernel } from '../kernel.ts';
import { kernelError } from '../permission.ts';
import { hasReason } from '../verifier/log.ts';

/** The errnos by which the verifier refuses a program. */
const VERDICTS: ReadonlySet<number> = new Set([
  ...[Errno.EACCES, Errno.EINVAL, Errno.E2BIG, Errno.ENOENT],
  ...[Errno.ERANGE, Errno.EOPNOTSUPP, Errno.ENOTSUPP],
]);

/** Errnos that other checks return too: these are the verifier's only if it finished its log. */
const SHARED: ReadonlySet<number> = new Set([Errno.EPERM, Errno.EFAULT]);

/** Whether the errno can be a verdict; the log decides. */
export function mayBeVerdict(errno: number): boolean {
  return VERDICTS.has(errno) || SHARED.has(errno);
}

/** Whether the verifier has checked the program and refused it for the reason in its log. */
export function isVerdict(errno: number, log: string): boolean {
  if (!hasReason(log)) return false;
  return VERDICTS.has(errno) || (SHARED.has(errno) && /^processed \d+ insns/m.test(log));
}

/** Whether the kernel did not get to a verdict: a signal arrived, or a limit was reached. */
export function isInconclusive(errno: number): boolean {
  return isInterruption(errno) || isExhaustion(errno);
}

/** What a load that failed has tried. */
export function failureOf(program: string, errno: number): Failure {
  return { syscall: 'bpf(BPF_PROG_LOAD)', errno, tried: `load the program '${program}'` };
}

/** The error for a load that failed without a verdict. */
export function loadFailure(kernel: Kernel, program: string, errno: number, hint?: string): KernelError {
  const failure = failureOf(program, errno);
  if (isInterruption(errno)) return kernelError(kernel, { ...failure, hint: INTERRUPTED });
  return kernelError(kernel, isExhaustion(errno) ? failure : { ...failure, hint });
}

const INTERRUPTED =
  'signals interrupt the kernel each time before it has checked the program; ' +
  'stop what sends them (a profiler, an interval timer), or load the program before it starts';
