/**
 * Network namespaces by their files: /proc/PID/ns/net, or a bind mount of it such as /run/netns/NAME.
 *
 * Source: man 7 namespaces, man 2 ioctl_nsfs.
 */
import { Descriptor } from './bpf.ts';
import { describeErrno, Errno } from './errno.ts';
import { PathError } from './errors.ts';
import type { Kernel } from './kernel.ts';

/** include/uapi/linux/magic.h */
const NSFS_MAGIC = 0x6e736673;
/** include/uapi/linux/nsfs.h; Linux 4.11. */
const NS_GET_NSTYPE = 0xb703;
/** include/uapi/linux/sched.h */
const CLONE_NEWNET = 0x40000000;

/** What messages suggest for an errno of opening a namespace. */
const REMEDIES: { readonly [errno: number]: string } = {
  [Errno.ENOENT]: '; lsns -t net lists the network namespaces and their processes',
  [Errno.EACCES]: '; run it as root, or with CAP_SYS_PTRACE',
  [Errno.EPERM]: '; run it as root, or with CAP_SYS_PTRACE',
};

/**
 * Returns the inode number of a network namespace, which programs read as `ns.inum` of `struct net`.
 *
 * Minimum kernel: 4.11. Source: man 2 ioctl_nsfs.
 * @param path a namespace file: `/proc/PID/ns/net` or `/run/netns/NAME`.
 * @throws {PathError} if the path cannot be opened or is not a network namespace.
 * @example
 * ```ts
 * import { Kernel, networkNamespace } from 'tsbpf';
 *
 * const inode = networkNamespace(new Kernel(), '/proc/self/ns/net');
 * console.log(inode); // 4026531840 in the initial namespace of most machines
 * ```
 */
export function networkNamespace({ syscalls }: Kernel, path: string): number {
  const cannotOpen = (errno: number) =>
    new PathError(path, `cannot open it: ${describeErrno(errno)}${REMEDIES[errno] ?? ''}`);
  const type = syscalls.fileSystem(path);
  if (type < 0) throw cannotOpen(-type);
  // Checked before opening: opening a device or a pipe can have side effects.
  if (type !== NSFS_MAGIC)
    throw new PathError(path, 'not a namespace file; use /proc/PID/ns/net or /run/netns/NAME');
  const fd = syscalls.openFile(path);
  if (fd < 0) throw cannotOpen(-fd);
  const file = new Descriptor(syscalls, fd, `the namespace ${path}`);
  try {
    if (syscalls.ioctl(file.fd, NS_GET_NSTYPE, 0) !== CLONE_NEWNET)
      throw new PathError(path, 'a namespace of another type; use /proc/PID/ns/net or /run/netns/NAME');
    return Number(syscalls.inode(file.fd));
  } finally {
    file.close();
  }
}
