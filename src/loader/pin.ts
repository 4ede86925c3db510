/**
 * Pins: names in a bpffs that keep maps, programs and links in the kernel after their process has ended.
 *
 * Source: man 2 bpf (BPF_OBJ_PIN, BPF_OBJ_GET), kernel/bpf/inode.c.
 */
import { basename, dirname } from 'node:path';
import { Attr, Command, cString, Descriptor } from './bpf.ts';
import { Errno } from './errno.ts';
import { KernelError, PathError } from './errors.ts';
import type { Kernel } from './kernel.ts';
import { kernelError } from './permission.ts';
import { readText } from './text.ts';

/** The magic number of a bpffs (include/uapi/linux/magic.h). */
export const BPF_FS_MAGIC = 0xcafe4a11;

/** How messages say where pins can be. */
const MOUNT = 'mount one (mount -t bpf bpf /sys/fs/bpf) and use a path in it';

/** The kinds of objects that can be pinned, by the line of /proc/self/fdinfo that only they have. */
const KINDS = { map: 'map_type:', program: 'prog_type:', link: 'link_type:' } as const;

/** A kind of object in a bpffs. */
export type PinKind = keyof typeof KINDS;

/**
 * Pins an object at a path. `object` names it in messages: `the map 'counts'`. `refused` is the likely cause
 * if the kernel cannot pin such an object.
 * @throws {PathError} if the path is not in a bpffs, or cannot be a pin. @throws {NotPermittedError} @throws
 * {KernelError} `EEXIST` if there is a file.
 */
export function pinObject(kernel: Kernel, fd: number, object: string, path: string, refused?: string): void {
  const attr = new Attr(kernel.syscalls, 16).pointer(0, cString(path)).u32(8, fd);
  const result = attr.send(Command.objPin);
  if (result >= 0) return;
  checkFolder(kernel, path);
  const name = basename(path);
  if (result === -Errno.EPERM && name.includes('.'))
    throw new PathError(path, `the name of a pin cannot contain a dot; use ${name.replaceAll('.', '_')}`);
  const hint =
    result === -Errno.EEXIST
      ? 'this path exists; remove it (unpin) or use another one'
      : result === -Errno.EINVAL
        ? refused
        : PATH_HINTS[-result];
  throw kernelError(kernel, {
    syscall: 'bpf(BPF_OBJ_PIN)',
    errno: -result,
    tried: `pin ${object} at ${path}`,
    hint,
  });
}

/** The cause of errnos of a path. */
const PATH_HINTS: { readonly [errno: number]: string } = {
  [Errno.ENOTDIR]: 'a part of the path is a file; use a directory of the bpffs',
};

/** Throws an error if the folder of a pin does not exist, or is not in a bpffs. */
function checkFolder({ syscalls }: Kernel, path: string): void {
  if (path === '') throw new PathError("''", `an empty path; ${MOUNT}`);
  const folder = dirname(path);
  const type = syscalls.fileSystem(folder);
  if (type === -Errno.ENOENT) throw new PathError(path, `the directory ${folder} does not exist; create it`);
  if (type >= 0 && type !== BPF_FS_MAGIC) throw new PathError(path, `not in a bpffs; ${MOUNT}`);
}

/** Opens an object of any kind by its pin (BPF_OBJ_GET). Returns its descriptor, or minus the errno. */
export function getPinned({ syscalls }: Kernel, path: string): number {
  return new Attr(syscalls, 16).pointer(0, cString(path)).send(Command.objGet);
}

/**
 * Opens the object that is pinned at a path. Returns undefined if there is nothing. The caller closes the
 * descriptor.
 * @throws {PathError} if the path is not a pin, or a pin of another kind. @throws {NotPermittedError} @throws
 * {KernelError}
 */
export function openPin(kernel: Kernel, path: string, kind: PinKind): Descriptor | undefined {
  const { syscalls } = kernel;
  const object = `the ${kind} pinned at ${path}`;
  const fd = getPinned(kernel, path);
  if (fd < 0) {
    checkFolder(kernel, path);
    if (fd === -Errno.ENOENT) return undefined;
    const isDenied = fd === -Errno.EACCES && syscalls.fileSystem(path) === BPF_FS_MAGIC;
    if (isDenied && isDirectory(kernel, path)) throw new PathError(path, 'a directory of a bpffs, not a pin');
    const hint = isDenied
      ? 'its permissions deny it (ls -l), or it is no pin (the kernel has files of its own in a bpffs, such as maps.debug)'
      : PATH_HINTS[-fd];
    throw kernelError(kernel, { syscall: 'bpf(BPF_OBJ_GET)', errno: -fd, tried: `open ${object}`, hint });
  }
  const descriptor = new Descriptor(syscalls, fd, object);
  const actual = kindOf(kernel, descriptor.fd);
  if (actual === undefined || actual === kind) return descriptor;
  descriptor.close();
  throw new PathError(path, `a ${actual} is pinned here, not a ${kind}`);
}

function isDirectory({ syscalls }: Kernel, path: string): boolean {
  return typeof syscalls.folders(path) !== 'number';
}

/** The kind of object of a descriptor; undefined if /proc is not mounted. */
function kindOf({ syscalls }: Kernel, fd: number): PinKind | undefined {
  const text = readText(syscalls, `/proc/self/fdinfo/${fd}`);
  if (typeof text === 'number') return undefined;
  // The fdinfo of a link has lines of its program too.
  return (['link', 'map', 'program'] as const).find((kind) => text.includes(`\n${KINDS[kind]}`));
}

/** The error for a path at which nothing is pinned. */
export function nothingPinned(path: string): PathError {
  return new PathError(path, 'nothing is pinned here; bpftool -f map, prog and link list the pins');
}

/**
 * Removes the pin of a map, program or link. The object stays in the kernel as long as a process or another
 * object uses it; a link without a process detaches its program.
 *
 * Returns whether there was a pin. Source: kernel/bpf/inode.c.
 * @throws {PathError} if the path is not in a bpffs, or is a directory. @throws {KernelError} `EACCES`
 * without write access to its directory.
 * @example
 * ```ts no run
 * import { Kernel, unpin } from 'tsbpf';
 *
 * console.log(unpin(new Kernel(), '/sys/fs/bpf/calls')); // true
 * ```
 */
export function unpin(kernel: Kernel, path: string): boolean {
  checkFolder(kernel, path);
  const result = kernel.syscalls.removeFile(path);
  if (result >= 0) return true;
  if (result === -Errno.ENOENT) return false;
  if (result === -Errno.EISDIR || result === -Errno.EPERM)
    if (isDirectory(kernel, path)) throw new PathError(path, 'a directory of a bpffs, not a pin');
  throw new KernelError({
    syscall: 'unlink',
    errno: -result,
    tried: `remove the pin ${path}`,
    hint:
      result === -Errno.EACCES || result === -Errno.EPERM
        ? `this needs write access to ${dirname(path)}; run it as root`
        : PATH_HINTS[-result],
  });
}
