/**
 * Network namespaces by the files that stand for them: /proc/PID/ns/net, and what is bound to such a one, as /run/netns/NAME.
 *
 * Source: man 7 namespaces, man 2 ioctl_nsfs.
 */
import { Descriptor } from './bpf.ts';
import { describeErrno } from './errno.ts';
import { PathError } from './errors.ts';
import type { Kernel } from './kernel.ts';

/** include/uapi/linux/magic.h */
const NSFS_MAGIC = 0x6e736673;
/** include/uapi/linux/nsfs.h; Linux 4.11. */
const NS_GET_NSTYPE = 0xb703;
/** include/uapi/linux/sched.h */
const CLONE_NEWNET = 0x40000000;

/**
 * The number of a network namespace, which the kernel has in `struct net` as `ns.inum`.
 * @throws {PathError} where the file stands for none.
 */
export function networkNamespace({ syscalls }: Kernel, path: string): number {
  const cannotOpen = (errno: number) => new PathError(path, `cannot open it: ${describeErrno(errno)}`);
  const type = syscalls.fileSystem(path);
  if (type < 0) throw cannotOpen(-type);
  // Before it is opened, which might do something to a device or a pipe.
  if (type !== NSFS_MAGIC)
    throw new PathError(path, 'no namespace: those are files as /proc/PID/ns/net and /run/netns/NAME');
  const fd = syscalls.openFile(path);
  if (fd < 0) throw cannotOpen(-fd);
  const file = new Descriptor(syscalls, fd);
  try {
    if (syscalls.ioctl(file.fd, NS_GET_NSTYPE, 0) !== CLONE_NEWNET)
      throw new PathError(path, 'a namespace, but none of networks');
    return Number(syscalls.inode(file.fd));
  } finally {
    file.close();
  }
}
