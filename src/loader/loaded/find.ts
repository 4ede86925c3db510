/**
 * Finding loaded programs by id, name or pin.
 *
 * Source: man 2 bpf; include/uapi/linux/bpf.h.
 */
import { Attr, Command, Descriptor } from '../bpf.ts';
import { Errno } from '../errno.ts';
import { KernelError, NoSuchProgramError } from '../errors.ts';
import type { Kernel } from '../kernel.ts';
import { objectInfo, objectNameAt } from '../object-info.ts';
import { kernelError } from '../permission.ts';
import { BPF_FS_MAGIC, getPinned } from '../pin.ts';

/**
 * Selects a loaded program by its id, its name, or the path of its pin in a bpffs. The kernel keeps 15
 * characters of a name; a longer one is cut for the comparison.
 *
 * @example
 * ```ts
 * import type { ProgramSelector } from 'tsbpf';
 *
 * const pinned: ProgramSelector = { pin: '/sys/fs/bpf/on_connect' };
 * const selectors: ProgramSelector[] = [{ id: 42 }, { name: 'on_connect' }, pinned];
 * console.log(selectors.length);
 * ```
 */
export type ProgramSelector = { readonly id: number } | { readonly name: string } | { readonly pin: string };

/** Offset of the name in `struct bpf_prog_info`. */
const NAME = 64;

/** Opens an object by a command `BPF_*_GET_FD_BY_ID`. Returns its descriptor, or minus the errno. */
export function fdById(kernel: Kernel, command: number, id: number): number {
  return new Attr(kernel.syscalls, 12).u32(0, id).send(command);
}

/** What messages about a missing program suggest. */
const LIST_PROGRAMS = 'bpftool prog lists the loaded programs';

/**
 * Opens a loaded program. The caller closes the descriptor.
 * @throws {NoSuchProgramError} @throws {NotPermittedError} @throws {KernelError}
 */
export function openProgram(kernel: Kernel, selector: ProgramSelector): Descriptor {
  if ('id' in selector) {
    const fd = fdById(kernel, Command.progGetFdById, selector.id);
    if (fd === -Errno.ENOENT)
      throw new NoSuchProgramError(`no program has the id ${selector.id}; ${LIST_PROGRAMS}`);
    return opened(kernel, fd, 'BPF_PROG_GET_FD_BY_ID', `open the program with the id ${selector.id}`);
  }
  if ('pin' in selector) {
    const fd = getPinned(kernel, selector.pin);
    if (fd === -Errno.ENOENT)
      throw new NoSuchProgramError(
        `nothing is pinned at ${selector.pin}; bpftool -f prog shows where programs are`,
      );
    const tried = `open the program pinned at ${selector.pin}`;
    if (fd === -Errno.EACCES && !isBpfFile(kernel, selector.pin))
      throw new KernelError({
        ...{ syscall: 'bpf(BPF_OBJ_GET)', errno: Errno.EACCES, tried },
        hint: 'the path is not in a BPF file system, which has all pins, usually at /sys/fs/bpf; mount it: mount -t bpf bpf /sys/fs/bpf',
      });
    return opened(kernel, fd, 'BPF_OBJ_GET', tried);
  }
  return openProgram(kernel, { id: idOf(kernel, selector.name) });
}

function opened(kernel: Kernel, fd: number, command: string, tried: string): Descriptor {
  if (fd < 0) throw kernelError(kernel, { syscall: `bpf(${command})`, errno: -fd, tried });
  return new Descriptor(kernel.syscalls, fd, 'the loaded program');
}

function isBpfFile({ syscalls }: Kernel, path: string): boolean {
  const magic = syscalls.fileSystem(path);
  return magic < 0 || magic === BPF_FS_MAGIC;
}

/** Finds the id of a program by its name. @throws {NoSuchProgramError} if none or several have it. */
function idOf(kernel: Kernel, name: string): number {
  const ids: number[] = [];
  for (const id of programIds(kernel)) {
    const fd = fdById(kernel, Command.progGetFdById, id);
    if (fd === -Errno.ENOENT) continue; // removed since it was listed
    const descriptor = opened(kernel, fd, 'BPF_PROG_GET_FD_BY_ID', `open the program with the id ${id}`);
    try {
      const found = objectNameAt(objectInfo(kernel, descriptor.fd, NAME + 16).bytes, NAME);
      if (found === name || (name.length > 15 && found === name.slice(0, 15))) ids.push(id);
    } finally {
      descriptor.close();
    }
  }
  const [id, ...others] = ids;
  if (id === undefined) throw new NoSuchProgramError(`no program is named '${name}'; ${LIST_PROGRAMS}`);
  if (others.length > 0)
    throw new NoSuchProgramError(
      `several programs are named '${name}'; select one by its id: ${ids.join(' or ')}`,
    );
  return id;
}

/**
 * Lists the ids of all loaded programs in ascending order. A program that is loaded during the listing may be
 * missing.
 *
 * Minimum kernel: 4.13. Source: man 2 bpf.
 * @throws {NotPermittedError} @throws {KernelError}
 * @example
 * ```ts
 * import { Kernel, programIds, readLoadedProgram } from 'tsbpf';
 *
 * const kernel = new Kernel();
 * for (const id of programIds(kernel)) console.log(id, readLoadedProgram(kernel, { id }).name);
 * ```
 */
export function programIds(kernel: Kernel): Generator<number, void, undefined> {
  return idsOf(
    kernel,
    Command.progGetNextId,
    'bpf(BPF_PROG_GET_NEXT_ID)',
    'list the loaded programs',
    '4.13',
  );
}

/** Lists ids by a command `BPF_*_GET_NEXT_ID`, which the kernel has since `since`. */
export function* idsOf(
  kernel: Kernel,
  command: number,
  syscall: string,
  tried: string,
  since: string,
): Generator<number, void, undefined> {
  for (let id = 0; ; ) {
    const attr = new Attr(kernel.syscalls, 12).u32(0, id);
    const result = attr.send(command);
    if (result === -Errno.ENOENT) return;
    if (result < 0)
      throw kernelError(kernel, {
        syscall,
        errno: -result,
        tried,
        hint:
          result === -Errno.EINVAL ? `this kernel cannot list them (Linux ${since} and later)` : undefined,
      });
    id = attr.getU32(4);
    yield id;
  }
}
