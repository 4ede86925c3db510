/**
 * Least privilege for a tool that is attached: a seccomp filter for all threads, and fewer capabilities for
 * the calling thread.
 *
 * capset(2) changes one thread, and Node has several before its first line runs. A filter with
 * SECCOMP_FILTER_FLAG_TSYNC covers all of them. So the filter denies what matters most, also to threads that
 * still have every capability. A thread that is created later has neither.
 *
 * Source: man 2 seccomp, man 2 capset, man 7 capabilities.
 */
import { assembleClassic } from '../asm/classic.ts';
import { withSourcePosition } from '../asm/error-position.ts';
import { Attr, allocate, allocateCopy } from './bpf.ts';
import { Errno } from './errno.ts';
import { KernelError } from './errors.ts';
import type { Kernel } from './kernel.ts';
import { Capability } from './kernel-facts.ts';
import { rememberDrop } from './permission.ts';
import { seccompFilter } from './privileges/filter.ts';
import { readText } from './text.ts';

/** Capabilities by bit number (include/uapi/linux/capability.h). */
const NAMES = [
  ...(['CHOWN', 'DAC_OVERRIDE', 'DAC_READ_SEARCH', 'FOWNER', 'FSETID', 'KILL', 'SETGID', 'SETUID'] as const),
  ...(['SETPCAP', 'LINUX_IMMUTABLE', 'NET_BIND_SERVICE', 'NET_BROADCAST', 'NET_ADMIN', 'NET_RAW'] as const),
  ...(['IPC_LOCK', 'IPC_OWNER', 'SYS_MODULE', 'SYS_RAWIO', 'SYS_CHROOT', 'SYS_PTRACE', 'SYS_PACCT'] as const),
  ...(['SYS_ADMIN', 'SYS_BOOT', 'SYS_NICE', 'SYS_RESOURCE', 'SYS_TIME', 'SYS_TTY_CONFIG', 'MKNOD'] as const),
  ...(['LEASE', 'AUDIT_WRITE', 'AUDIT_CONTROL', 'SETFCAP', 'MAC_OVERRIDE', 'MAC_ADMIN', 'SYSLOG'] as const),
  ...(['WAKE_ALARM', 'BLOCK_SUSPEND', 'AUDIT_READ', 'PERFMON', 'BPF', 'CHECKPOINT_RESTORE'] as const),
];

/**
 * The name of a capability (man 7 capabilities), for `dropPrivileges`.
 *
 * @example
 * ```ts
 * import type { CapabilityName } from 'tsbpf';
 *
 * const forProcOfOthers: CapabilityName = 'CAP_SYS_PTRACE';
 * console.log(forProcOfOthers);
 * ```
 */
export type CapabilityName = `CAP_${(typeof NAMES)[number]}`;

/**
 * A capability that `dropPrivileges` has kept.
 *
 * @example
 * ```ts
 * import type { KeptCapability } from 'tsbpf';
 *
 * const print = ({ name, reason }: KeptCapability) => console.log(`${name}: ${reason}`);
 * print({ name: 'CAP_BPF', reason: 'reads maps' });
 * ```
 */
export interface KeptCapability {
  readonly name: CapabilityName;
  /** The purpose in a few words: `map access`. */
  readonly reason: string;
}

/**
 * What `dropPrivileges` has done.
 *
 * @example
 * ```ts
 * import type { DroppedPrivileges } from 'tsbpf';
 *
 * function warn({ filterError, capabilityError }: DroppedPrivileges): void {
 *   for (const error of [filterError, capabilityError]) if (error) console.warn(error.message);
 * }
 * console.log(warn.length);
 * ```
 */
export interface DroppedPrivileges {
  /** Why there is no seccomp filter; undefined if it is in force in all threads. */
  readonly filterError?: KernelError;
  /** Whether perf_event_open(2) is still allowed, because CPUs can come online. */
  readonly perfEvents: boolean;
  /** Why this thread has its capabilities as before; undefined if it has only `kept`. */
  readonly capabilityError?: KernelError;
  /** The capabilities that this thread needs and has. */
  readonly kept: readonly KeptCapability[];
}

/**
 * Gives up the privileges that attached programs do not need, for the rest of the process. Call it on the
 * main thread after `Session.open`.
 *
 * A seccomp filter for all threads, with `no_new_privs`, denies with EPERM: loading programs and BTF,
 * creating maps, perf_event_open(2) unless more CPUs are possible than online, ptrace(2) and
 * process_vm_readv(2), execve(2), mounts, kernel modules, kexec, and system calls of other ABIs (i386, x32).
 * Reading events and maps, `detach` and `close` still work. Child processes cannot be started.
 *
 * Then this thread keeps only CAP_BPF (or CAP_SYS_ADMIN, without CAP_BPF), what rings of CPUs that come
 * online need, and `keep`: `CAP_SYSLOG` for the addresses of kernel symbols, `CAP_SYS_PTRACE` for the stacks
 * of other users' processes. Other threads that exist keep their capabilities; threads that start later have
 * those of their creator.
 *
 * It does not throw if the kernel refuses, for example in a container: the result has the errors.
 * @throws {RangeError} if `keep` has an unknown name. @throws {UnknownArchitectureError}
 * @example
 * ```ts no run
 * import { dropPrivileges, Kernel, rawTracepoint, Session, target } from 'tsbpf';
 *
 * const kernel = new Kernel();
 * const onExec = rawTracepoint('sched_process_exec', target(process.arch), () => {});
 * const session = Session.open({ name: 'execs', programs: [onExec] }, { kernel });
 * const { filterError, kept } = dropPrivileges(kernel);
 * if (filterError) console.warn(filterError.message);
 * console.log(kept.map(({ name }) => name).join());
 * session.close();
 * ```
 */
export function dropPrivileges(
  kernel: Kernel,
  { keep = [] }: { readonly keep?: readonly CapabilityName[] } = {},
): DroppedPrivileges {
  const unknown = keep.find((name) => bitOf(name) < 0);
  if (unknown !== undefined)
    throw withSourcePosition(
      new RangeError(`there is no capability '${unknown}'; use names such as CAP_SYS_PTRACE`),
    );
  const perfEvents = canCpusComeOnline(kernel);
  const held = kernel.capabilities;
  const needed = neededCapabilities(kernel, held, perfEvents, keep);
  const filterError = installFilter(kernel, perfEvents);
  const capabilityError = reduceCapabilities(kernel, held, needed);
  rememberDrop(kernel);
  return {
    ...(filterError && { filterError }),
    perfEvents: perfEvents || filterError !== undefined,
    ...(capabilityError && { capabilityError }),
    kept: needed,
  };
}

function bitOf(name: CapabilityName): number {
  return NAMES.findIndex((each) => name === `CAP_${each}`);
}

/** Whether more CPUs are possible than online. False if /sys is not mounted: then there are no rings. */
function canCpusComeOnline(kernel: Kernel): boolean {
  try {
    return kernel.possibleCpus.length > kernel.onlineCpus.length;
  } catch (error) {
    if (error instanceof KernelError) return false;
    throw error;
  }
}

/** The capabilities that are needed from now on and that this process holds. */
function neededCapabilities(
  kernel: Kernel,
  held: bigint,
  perfEvents: boolean,
  keep: readonly CapabilityName[],
): KeptCapability[] {
  const needed = new Map<CapabilityName, string>();
  const has = (capability: number) => ((held >> BigInt(capability)) & 1n) === 1n;
  const need = (name: CapabilityName, reason: string) => {
    if (has(bitOf(name)) && !needed.has(name)) needed.set(name, reason);
  };
  if (has(Capability.bpf)) need('CAP_BPF', 'map access');
  else need('CAP_SYS_ADMIN', 'map access without CAP_BPF, which Linux has since 5.8');
  if (perfEvents) {
    const purpose = 'rings of CPUs that come online';
    if ((kernel.perfParanoid ?? 0) > 2)
      need('CAP_SYS_ADMIN', `${purpose}, since kernel.perf_event_paranoid is ${kernel.perfParanoid}`);
    else need(has(Capability.perfmon) ? 'CAP_PERFMON' : 'CAP_SYS_ADMIN', purpose);
    need('CAP_IPC_LOCK', 'memory of these rings');
  }
  for (const name of keep) need(name, 'requested');
  return [...needed].map(([name, reason]) => ({ name, reason }));
}

const SECCOMP_SET_MODE_FILTER = 1;
/** SECCOMP_FILTER_FLAG_TSYNC: also for the threads that exist. */
const TSYNC = 1 << 0;
/**
 * SECCOMP_FILTER_FLAG_SPEC_ALLOW (Linux 4.17): before Linux 5.16 a filter without it disables the CPU's
 * speculative store bypass, which slows the process down and helps only against code that it runs itself.
 */
const SPEC_ALLOW = 1 << 2;

/** Installs the filter in all threads. Returns the error if the kernel refuses. */
function installFilter(kernel: Kernel, perfEvents: boolean): KernelError | undefined {
  const { syscalls } = kernel;
  const tried = 'install a seccomp filter';
  const set = syscalls.noNewPrivileges();
  if (set < 0) return new KernelError({ syscall: 'prctl(PR_SET_NO_NEW_PRIVS)', errno: -set, tried });
  const filter = allocateCopy(assembleClassic(seccompFilter(kernel.architecture, { perfEvents })));
  // struct sock_fprog: the number of instructions in 16 bits, and their address
  const program = new Attr(syscalls, 16).u32(0, filter.length / 8).pointer(8, filter);
  const install = (flags: number) =>
    program.use((bytes) => syscalls.seccomp(SECCOMP_SET_MODE_FILTER, flags, syscalls.address(bytes)));
  let result = install(TSYNC | SPEC_ALLOW);
  if (result === -Errno.EINVAL) result = install(TSYNC);
  if (result === 0) return undefined;
  const syscall = 'seccomp(SECCOMP_SET_MODE_FILTER)';
  if (result > 0)
    return new KernelError({
      ...{ syscall, errno: Errno.ESRCH, tried },
      hint: `thread ${result} has another filter`,
    });
  return new KernelError({ syscall, errno: -result, tried, hint: FILTER_HINTS[-result] });
}

const FILTER_HINTS: { readonly [errno: number]: string } = {
  [Errno.EINVAL]: 'this kernel has no seccomp filters (CONFIG_SECCOMP_FILTER)',
  [Errno.ENOSYS]: 'this kernel has no seccomp(2) (Linux 3.17), or a container hides it',
  [Errno.EPERM]: 'a container or a security module forbids it',
};

/** _LINUX_CAPABILITY_VERSION_3. */
const VERSION = 0x2008_0522;

/** Leaves this thread only the needed capabilities. Returns the error if the kernel refuses. */
function reduceCapabilities(
  { syscalls }: Kernel,
  held: bigint,
  needed: readonly KeptCapability[],
): KernelError | undefined {
  const tried = 'drop capabilities';
  // If /proc is not mounted, nothing is known of them.
  const status = held === 0n ? readText(syscalls, '/proc/self/status') : '';
  if (typeof status === 'number') return new KernelError({ syscall: 'open', errno: -status, tried });
  const header = allocate(8); // the version, and 0 for this thread
  new DataView(header.buffer).setUint32(0, VERSION, true);
  // For each half of the bits: effective, permitted and inheritable capabilities.
  const data = new Uint32Array(new ArrayBuffer(24));
  for (const { name } of needed) {
    const bit = bitOf(name);
    const half = bit < 32 ? 0 : 3;
    for (const set of [half, half + 1]) data[set] = (data[set] ?? 0) | (1 << (bit & 31));
  }
  const result = syscalls.capset(header, new Uint8Array(data.buffer));
  return result < 0 ? new KernelError({ syscall: 'capset', errno: -result, tried }) : undefined;
}
