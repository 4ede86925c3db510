/** Being refused: what a kernel before 5.11 counts against RLIMIT_MEMLOCK, and how to say what is missing. */
import { Errno } from './errno.ts';
import { type Failure, KernelError, NotPermittedError } from './errors.ts';
import { Capability, type Kernel } from './kernel.ts';
import { isConfidential, lockdownError } from './lockdown.ts';

/** `RLIM_INFINITY`. */
const INFINITY = 0xffff_ffff_ffff_ffffn;

/**
 * Runs a call of `bpf(2)` that allocates, and once more with RLIMIT_MEMLOCK lifted where it answers EPERM to a process
 * with the capabilities: before Linux 5.11 maps and programs count as locked memory. The old limit comes back where that
 * didn't help. From 5.11 on memory is charged to the cgroup, such an EPERM doesn't occur, and the limit isn't touched.
 */
export function withMemlock(kernel: Kernel, call: () => number): number {
  const first = call();
  if (first !== -Errno.EPERM || missingCapabilities(kernel)) return first;
  const before = kernel.syscalls.memlock();
  if (typeof before === 'number' || before.soft === INFINITY) return first;
  // Only CAP_SYS_RESOURCE may raise the hard limit; up to it anyone may.
  const raised = [INFINITY, before.hard].some(
    (limit) => typeof kernel.syscalls.memlock({ soft: limit, hard: limit }) !== 'number',
  );
  if (!raised) return first;
  const second = call();
  if (second === -Errno.EPERM) kernel.syscalls.memlock(before);
  return second;
}

/** Why tracing is out of reach for this process, or undefined where its capabilities suffice. */
function missingCapabilities(kernel: Kernel): string | undefined {
  if (kernel.has(Capability.sysAdmin)) return undefined;
  const missing = [
    ...(kernel.has(Capability.bpf) ? [] : ['CAP_BPF']),
    ...(kernel.has(Capability.perfmon) ? [] : ['CAP_PERFMON']),
  ];
  return missing.length === 0 ? undefined : missing.join(' and ');
}

/**
 * Whether perf events are kept from this process whatever else it may do: above 2 the sysctl leaves them to CAP_SYS_ADMIN, in
 * kernels of Debian and Android, which have that level of it and begin with it.
 */
export function perfEventsAreRestricted(kernel: Kernel): boolean {
  return !kernel.has(Capability.sysAdmin) && (kernel.perfParanoid ?? 0) > 2;
}

/** What EPERM or EACCES comes from where the capabilities of BPF are there. */
function otherLack(kernel: Kernel, { syscall, errno }: Failure): string | undefined {
  if (kernel.hasOwn('user'))
    return (
      'this is a user namespace, as that of a rootless container, whose capabilities do not reach the kernel; ' +
      'run it as root of the host'
    );
  if (syscall === 'perf_event_open' && perfEventsAreRestricted(kernel))
    return (
      `kernel.perf_event_paranoid is ${kernel.perfParanoid}, which leaves perf events to CAP_SYS_ADMIN: ` +
      'run it as root, or lower that (sysctl kernel.perf_event_paranoid=2)'
    );
  if (syscall.startsWith('bpf(') && errno === Errno.EPERM) return lockedMemoryLack(kernel);
  if (syscall.startsWith('write(') && !kernel.has(Capability.dacOverride))
    return 'that file is for root to write, and this process lacks CAP_DAC_OVERRIDE; run it as root';
  return undefined;
}

/** Whether it was the limit, only the kernel's version tells; so both causes are said. */
function lockedMemoryLack(kernel: Kernel): string | undefined {
  const limit = kernel.syscalls.memlock();
  if (kernel.has(Capability.sysResource) || typeof limit === 'number' || limit.soft === INFINITY)
    return undefined;
  return (
    `before Linux 5.11 maps and programs count as locked memory: of that this process may have ${limit.soft / 1024n} KiB, ` +
    'and no more without CAP_SYS_RESOURCE (run it as root, or after ulimit -l unlimited); on later kernels a policy forbids it: ' +
    'kernel lockdown, a security module, or a container without that system call'
  );
}

/** The error for a call that failed, whose hint says what is missing where the kernel refused it by EPERM or EACCES. */
export function kernelError(kernel: Kernel, failure: Failure): KernelError {
  if (failure.errno !== Errno.EPERM && failure.errno !== Errno.EACCES) return new KernelError(failure);
  const missing = missingCapabilities(kernel);
  if (missing === undefined) {
    const hint = failure.hint ?? otherLack(kernel, failure);
    if (hint === undefined && failure.forbiddenByLockdown && isConfidential(kernel))
      return lockdownError(kernel, failure, `${failure.forbiddenByLockdown} from every process`);
    return new NotPermittedError({ ...failure, hint: hint ?? policyHint(kernel) });
  }
  const hint = `this process lacks ${missing} (before Linux 5.8: CAP_SYS_ADMIN); run it as root`;
  return new NotPermittedError({ ...failure, hint });
}

/** The policies that may forbid it. Lockdown is one of them as long as its mode is not known. */
function policyHint({ lockdown }: Kernel): string {
  const unknown = lockdown === undefined ? 'kernel lockdown (/sys/kernel/security/lockdown), ' : '';
  return (
    `the capabilities are there, so a policy forbids it: ${unknown}a security module, ` +
    'a container without that system call, or, before Linux 5.11, a limit of locked memory that is too low (ulimit -l unlimited)'
  );
}
