/**
 * Errors of calls that the kernel refused, with what this process lacks; and the locked-memory limit before
 * Linux 5.11.
 */
import { Attr, Command } from './bpf.ts';
import { Errno } from './errno.ts';
import { type Failure, KernelError, NotPermittedError } from './errors.ts';
import { Capability, type KernelFacts } from './kernel-facts.ts';
import { isConfidential, lockdownError } from './lockdown.ts';
import type { Syscalls } from './syscalls.ts';

/** `RLIM_INFINITY`. */
const INFINITY = 0xffff_ffff_ffff_ffffn;

/**
 * Runs a call of `bpf(2)` that allocates memory. If it fails with EPERM although this process has the
 * capabilities, raises RLIMIT_MEMLOCK and runs it once more: before Linux 5.11 maps and programs count as
 * locked memory. Restores the limit if that did not help. Since 5.11 memory is charged to the cgroup, and the
 * limit stays as it is.
 */
export function withMemlock(kernel: KernelFacts, call: () => number): number {
  const first = call();
  if (first !== -Errno.EPERM || missingCapabilities(kernel)) return first;
  const before = kernel.syscalls.memlock();
  if (typeof before === 'number' || before.soft === INFINITY) return first;
  // Raising the hard limit needs CAP_SYS_RESOURCE; raising the soft limit up to it does not.
  const raised = [INFINITY, before.hard].some(
    (limit) => typeof kernel.syscalls.memlock({ soft: limit, hard: limit }) !== 'number',
  );
  if (!raised) return first;
  const second = call();
  if (second === -Errno.EPERM) kernel.syscalls.memlock(before);
  return second;
}

/** The system calls of processes that have dropped privileges. */
const dropped = new WeakSet<Syscalls>();

/** Remembers that this process has dropped privileges, for the hints of later errors. */
export function rememberDrop({ syscalls }: KernelFacts): void {
  dropped.add(syscalls);
}

/** The capabilities for tracing that this process lacks, or undefined if it has all of them. */
function missingCapabilities(kernel: KernelFacts): string | undefined {
  if (kernel.has(Capability.sysAdmin)) return undefined;
  const missing = [
    ...(kernel.has(Capability.bpf) ? [] : ['CAP_BPF']),
    ...(kernel.has(Capability.perfmon) ? [] : ['CAP_PERFMON']),
  ];
  return missing.length === 0 ? undefined : missing.join(' and ');
}

/**
 * Whether `kernel.perf_event_paranoid` denies perf events to this process. Above 2, the kernels of Debian and
 * Android reserve perf events for CAP_SYS_ADMIN; that is their default.
 */
export function perfEventsAreRestricted(kernel: KernelFacts): boolean {
  return !kernel.has(Capability.sysAdmin) && (kernel.perfParanoid ?? 0) > 2;
}

/** The cause of EPERM or EACCES in a process that has the BPF capabilities, with a remedy. */
function deniedHint(kernel: KernelFacts, { syscall, errno }: Failure): string | undefined {
  if (kernel.hasOwn('user'))
    return (
      'this process is in a user namespace (a rootless container), whose capabilities do not apply to BPF; ' +
      'run it as root on the host'
    );
  if (syscall === 'perf_event_open' && perfEventsAreRestricted(kernel))
    return (
      `kernel.perf_event_paranoid is ${kernel.perfParanoid}, which reserves perf events for CAP_SYS_ADMIN; ` +
      'run this process as root, or lower the setting (sysctl kernel.perf_event_paranoid=2)'
    );
  if (syscall.startsWith('bpf(BPF_OBJ_') && errno === Errno.EACCES && !kernel.has(Capability.dacOverride))
    return 'the permissions of the path deny it (ls -l), and this process lacks CAP_DAC_OVERRIDE; run it as root';
  if (syscall.startsWith('bpf(') && errno === Errno.EPERM)
    return isBlocked(kernel) ? BLOCKED_HINT : memlockHint(kernel);
  if (syscall.startsWith('write(') && !kernel.has(Capability.dacOverride))
    return 'only root may write this file, and this process lacks CAP_DAC_OVERRIDE; run it as root';
  return undefined;
}

/** A command of `bpf(2)` that no kernel has. */
const NO_COMMAND = 0x7fff_ffff;

const BLOCKED_HINT =
  'the seccomp profile of the container, or a security module, blocks bpf(2) although this process has the ' +
  'capabilities; use a profile that allows bpf and perf_event_open (docs/deploy.md), or a newer runtime';

/** Whether the call does not reach the kernel's own code, which answers EINVAL to an unknown command. */
function isBlocked({ syscalls }: KernelFacts): boolean {
  return new Attr(syscalls, 20).send(NO_COMMAND) === -Errno.EPERM;
}

/** Names the limit, if this kernel has it and this process cannot raise it. */
function memlockHint(kernel: KernelFacts): string | undefined {
  const limit = kernel.syscalls.memlock();
  if (kernel.has(Capability.sysResource) || typeof limit === 'number' || limit.soft === INFINITY)
    return undefined;
  if (!countsLockedMemory(kernel)) return undefined;
  return (
    'on this kernel (before Linux 5.11) maps and programs count as locked memory: ' +
    `this process may lock ${limit.soft / 1024n} KiB and lacks CAP_SYS_RESOURCE to raise the limit; ` +
    'run it as root, or after ulimit -l unlimited'
  );
}

const locksMemory = new WeakMap<KernelFacts, boolean>();

/**
 * Whether this kernel counts maps as locked memory, as Linux does before 5.11: then it creates none with a
 * limit of 0. Lowers the limit of this process for a moment. True if it cannot be lowered.
 */
function countsLockedMemory(kernel: KernelFacts): boolean {
  const known = locksMemory.get(kernel);
  if (known !== undefined) return known;
  const { syscalls } = kernel;
  const before = syscalls.memlock();
  if (typeof before === 'number' || typeof syscalls.memlock({ ...before, soft: 0n }) === 'number')
    return true;
  // An array of one number.
  const fd = new Attr(syscalls, 20).u32(0, 2).u32(4, 4).u32(8, 4).u32(12, 1).send(Command.mapCreate);
  syscalls.memlock(before);
  if (fd >= 0) syscalls.close(fd);
  locksMemory.set(kernel, fd < 0);
  return fd < 0;
}

/** Creates the error for a failed call. For EPERM and EACCES its hint names the missing permission. */
export function kernelError(kernel: KernelFacts, failure: Failure): KernelError {
  if (failure.errno !== Errno.EPERM && failure.errno !== Errno.EACCES) return new KernelError(failure);
  if (dropped.has(kernel.syscalls))
    return new NotPermittedError({
      ...failure,
      hint: 'this process has dropped its privileges (dropPrivileges)',
    });
  const missing = missingCapabilities(kernel);
  if (missing === undefined) {
    const hint = failure.hint ?? deniedHint(kernel, failure);
    if (hint === undefined && failure.forbiddenByLockdown && isConfidential(kernel))
      return lockdownError(kernel, failure, failure.forbiddenByLockdown);
    return new NotPermittedError({ ...failure, hint: hint ?? policyHint(kernel, failure) });
  }
  const hint = `this process lacks ${missing} (before Linux 5.8: CAP_SYS_ADMIN); run it as root`;
  return new NotPermittedError({ ...failure, hint });
}

/** Names the policies that may have forbidden a call. Lockdown is one of them if its mode is unknown. */
function policyHint(kernel: KernelFacts, { syscall }: Failure): string {
  const unknown = kernel.lockdown === undefined ? 'kernel lockdown (/sys/kernel/security/lockdown), ' : '';
  const policies = `${unknown}a security module, or a container that blocks the system call`;
  const limit =
    syscall.startsWith('bpf(') && countsLockedMemory(kernel)
      ? ', or the locked-memory limit (before Linux 5.11: ulimit -l unlimited)'
      : '';
  return `this process has the capabilities, so a policy forbids the call: ${policies}${limit}`;
}
