/**
 * Processes and their descriptors, as the keys of storage maps.
 *
 * Source: man 2 pidfd_open, man 2 pidfd_getfd.
 */
import { Descriptor } from './bpf.ts';
import { Errno } from './errno.ts';
import { UnsupportedError } from './errors.ts';
import type { Kernel } from './kernel.ts';
import { kernelError } from './permission.ts';

/**
 * Opens a process as a descriptor (a pidfd), which is a key of a `taskStorage`: that of its main thread. The
 * caller owns the descriptor and closes it. Minimum kernel: 5.3. Source: man 2 pidfd_open.
 * @throws {KernelError} `ESRCH` if there is no process with this PID. @throws {UnsupportedError}
 * @example
 * ```ts
 * import { type BpfMap, Kernel, openProcess, type StorageSpec, u64 } from 'tsbpf';
 *
 * function valueOf(map: BpfMap<StorageSpec<typeof u64>>, pid: number): bigint | undefined {
 *   const process = openProcess(new Kernel(), pid);
 *   try {
 *     return map.lookup(process.fd);
 *   } finally {
 *     process.close();
 *   }
 * }
 * console.log(valueOf.length, u64.size);
 * ```
 */
export function openProcess(kernel: Kernel, pid: number): Descriptor {
  const fd = kernel.syscalls.pidfdOpen(pid);
  return owned(kernel, fd, { syscall: 'pidfd_open', since: '5.3', name: `the process ${pid}` });
}

/**
 * Duplicates a descriptor of another process, such as a socket or file that is a key of a `skStorage` or
 * `inodeStorage`. The caller owns the duplicate and closes it. For the sockets of this process use their own
 * descriptors.
 *
 * It needs the permission to trace the process (man 2 ptrace). Minimum kernel: 5.6. Source: man 2
 * pidfd_getfd.
 * @throws {KernelError} `EBADF` if the process has no such descriptor. @throws {NotPermittedError} @throws
 * {UnsupportedError}
 * @example
 * ```ts
 * import { duplicateDescriptor, Kernel } from 'tsbpf';
 *
 * const stdout = duplicateDescriptor(new Kernel(), process.pid, 1);
 * console.log(stdout.fd > 2); // true
 * stdout.close();
 * ```
 */
export function duplicateDescriptor(kernel: Kernel, pid: number, fd: number): Descriptor {
  const process = openProcess(kernel, pid);
  try {
    const copy = kernel.syscalls.pidfdGetfd(process.fd, fd);
    const name = `the descriptor ${fd} of process ${pid}`;
    return owned(kernel, copy, { syscall: 'pidfd_getfd', since: '5.6', name });
  } finally {
    process.close();
  }
}

function owned(
  kernel: Kernel,
  fd: number,
  { syscall, since, name }: { readonly syscall: string; readonly since: string; readonly name: string },
): Descriptor {
  if (fd >= 0) return new Descriptor(kernel.syscalls, fd, name);
  if (fd === -Errno.ENOSYS) throw new UnsupportedError(`${syscall}(2)`, since, `it opens ${name}`);
  throw kernelError(kernel, { syscall, errno: -fd, tried: `open ${name}` });
}
