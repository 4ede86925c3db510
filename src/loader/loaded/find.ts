/**
 * Programs among all that are loaded: by id, by name, or where they are pinned.
 *
 * Source: man 2 bpf; include/uapi/linux/bpf.h.
 */
import { TsbpfError } from '../../asm/error.ts';
import { Attr, Command, cString, Descriptor } from '../bpf.ts';
import { Errno } from '../errno.ts';
import type { Kernel } from '../kernel.ts';
import { objectInfo, objectNameAt } from '../object-info.ts';
import { kernelError } from '../permission.ts';

/** How a program is told from others. */
export type ProgramSelector =
  | { readonly id: number }
  | { readonly name: string }
  /** Where it is pinned in a bpffs. */
  | { readonly pin: string };

/** There is no such program, or more than one. */
export class NoSuchProgramError extends TsbpfError {
  override readonly name = 'NoSuchProgramError';
  override readonly code = 'ERR_NO_PROGRAM';
}

/** Offset of the name in `struct bpf_prog_info`. */
const NAME = 64;

/** The descriptor of an object, by one of the commands `BPF_*_GET_FD_BY_ID`, or minus the errno. */
export function fdById(kernel: Kernel, command: number, id: number): number {
  return new Attr(kernel.syscalls, 12).u32(0, id).send(command);
}

/** The program that is wanted; the caller owns the result. @throws {NoSuchProgramError} @throws {NotPermittedError} @throws {KernelError} */
export function openProgram(kernel: Kernel, wanted: ProgramSelector): Descriptor {
  if ('id' in wanted) {
    const fd = fdById(kernel, Command.progGetFdById, wanted.id);
    if (fd === -Errno.ENOENT) throw new NoSuchProgramError(`no program has the id ${wanted.id}`);
    return opened(kernel, fd, 'BPF_PROG_GET_FD_BY_ID', `open the program with the id ${wanted.id}`);
  }
  if ('pin' in wanted) {
    const fd = new Attr(kernel.syscalls, 16).pointer(0, cString(wanted.pin)).send(Command.objGet);
    if (fd === -Errno.ENOENT) throw new NoSuchProgramError(`nothing is pinned at ${wanted.pin}`);
    return opened(kernel, fd, 'BPF_OBJ_GET', `open what is pinned at ${wanted.pin}`);
  }
  return openProgram(kernel, { id: idOf(kernel, wanted.name) });
}

function opened(kernel: Kernel, fd: number, command: string, tried: string): Descriptor {
  if (fd < 0) throw kernelError(kernel, { syscall: `bpf(${command})`, errno: -fd, tried });
  return new Descriptor(kernel.syscalls, fd, 'the loaded program');
}

/** The id of the program of that name, of which the kernel keeps 15 characters. */
function idOf(kernel: Kernel, name: string): number {
  const ids: number[] = [];
  for (const id of programIds(kernel)) {
    const fd = fdById(kernel, Command.progGetFdById, id);
    if (fd === -Errno.ENOENT) continue; // gone meanwhile
    const descriptor = opened(kernel, fd, 'BPF_PROG_GET_FD_BY_ID', `open the program with the id ${id}`);
    try {
      const found = objectNameAt(objectInfo(kernel, descriptor.fd, NAME + 16).bytes, NAME);
      if (found === name || (name.length > 15 && found === name.slice(0, 15))) ids.push(id);
    } finally {
      descriptor.close();
    }
  }
  const [id, ...others] = ids;
  if (id === undefined) throw new NoSuchProgramError(`no program is called ${name}`);
  if (others.length > 0)
    throw new NoSuchProgramError(
      `several programs are called ${name}: say which by its id, ${ids.join(' or ')}`,
    );
  return id;
}

/** The ids of all loaded programs, ascending. @throws {KernelError} */
export function* programIds(kernel: Kernel): Generator<number, void, undefined> {
  for (let id = 0; ; ) {
    const attr = new Attr(kernel.syscalls, 12).u32(0, id);
    const result = attr.send(Command.progGetNextId);
    if (result === -Errno.ENOENT) return;
    if (result < 0)
      throw kernelError(kernel, {
        syscall: 'bpf(BPF_PROG_GET_NEXT_ID)',
        errno: -result,
        tried: 'list the loaded programs',
      });
    id = attr.getU32(4);
    yield id;
  }
}
