/**
 * Cgroups by their directories.
 *
 * Source: man 7 cgroups, include/uapi/linux/magic.h.
 */
import { Descriptor } from './bpf.ts';
import { describeErrno, Errno } from './errno.ts';
import { PathError } from './errors.ts';
import type { Kernel } from './kernel.ts';

const CGROUP_SUPER_MAGIC = 0x27e0eb;
const CGROUP2_SUPER_MAGIC = 0x63677270;

/** What messages suggest for an errno of opening a cgroup. */
const REMEDIES: { readonly [errno: number]: string } = {
  [Errno.ENOENT]: '; cgroups are the directories below a cgroup2 mount, usually /sys/fs/cgroup',
  [Errno.ENOTDIR]: '; use the directory of the cgroup, not a file in it',
  [Errno.EACCES]: '; run it as root, or with access to this directory',
};

/**
 * Opens the directory of a cgroup v2. The caller owns the descriptor and closes it.
 *
 * A `cgroupArray` takes paths in its spec, so that a session opens them itself; this function is for updating
 * such a map later. Minimum kernel: 4.5 (cgroup v2). Source: man 7 cgroups.
 * @throws {PathError} if the path is not a cgroup v2 directory.
 * @example
 * ```ts no run
 * import { Kernel, openCgroup } from 'tsbpf';
 *
 * const cgroup = openCgroup(new Kernel(), '/sys/fs/cgroup');
 * console.log(`descriptor ${cgroup.fd}`);
 * cgroup.close();
 * ```
 */
export function openCgroup({ syscalls }: Kernel, path: string): Descriptor {
  const type = syscalls.fileSystem(path);
  if (type >= 0 && type !== CGROUP2_SUPER_MAGIC)
    throw new PathError(
      path,
      type === CGROUP_SUPER_MAGIC
        ? 'a cgroup of version 1, but version 2 is required; ' +
            'mount it (mount -t cgroup2 none DIRECTORY) and use the path of the cgroup there'
        : 'not a cgroup; use a directory below a cgroup2 mount, usually /sys/fs/cgroup',
    );
  // The appended `/.` refuses the files of a cgroup, such as cgroup.procs.
  const fd = type < 0 ? type : syscalls.openFile(`${path}/.`);
  if (fd < 0) throw new PathError(path, `cannot open it: ${describeErrno(-fd)}${REMEDIES[-fd] ?? ''}`);
  return new Descriptor(syscalls, fd, `the cgroup ${path}`);
}
