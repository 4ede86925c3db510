/**
 * cgroups by the folders that they show as.
 *
 * Source: man 7 cgroups, include/uapi/linux/magic.h.
 */
import { Descriptor } from './bpf.ts';
import { describeErrno } from './errno.ts';
import { PathError } from './errors.ts';
import type { Kernel } from './kernel.ts';

const CGROUP_SUPER_MAGIC = 0x27e0eb;
const CGROUP2_SUPER_MAGIC = 0x63677270;

/**
 * Opens the folder of a cgroup of version 2. The caller owns the result.
 * @throws {PathError} where there is none.
 */
export function openCgroup({ syscalls }: Kernel, path: string): Descriptor {
  const type = syscalls.fileSystem(path);
  if (type >= 0 && type !== CGROUP2_SUPER_MAGIC)
    throw new PathError(
      path,
      type === CGROUP_SUPER_MAGIC
        ? 'a cgroup of version 1, and version 2 is needed (mount -t cgroup2 none FOLDER shows those, beside version 1 too)'
        : 'no cgroup: those are the folders where cgroup2 is mounted, mostly below /sys/fs/cgroup',
    );
  // A file of a cgroup, as cgroup.procs, is not the cgroup.
  const fd = type < 0 ? type : syscalls.openFile(`${path}/.`);
  if (fd < 0) throw new PathError(path, `cannot open it: ${describeErrno(-fd)}`);
  return new Descriptor(syscalls, fd);
}
