/**
 * What the kernel tells of a program, a map or types, given a descriptor.
 *
 * Source: man 2 bpf; `bpf_obj_get_info_by_fd` of kernel/bpf/syscall.c.
 */
import { Attr, Command } from './bpf.ts';
import type { Kernel } from './kernel.ts';
import { kernelError } from './permission.ts';

/** A structure as the kernel has filled it in. */
export interface ObjectInfo {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** How many of the bytes this kernel knows of. */
  readonly known: number;
}

/**
 * Asks for the first `size` bytes of the structure; `ask` writes into it what the kernel is to fill besides.
 * @throws {KernelError} that says it couldn't be read what the kernel knows of `what`.
 */
export function objectInfo(
  kernel: Kernel,
  fd: number,
  size: number,
  ask: (attr: Attr) => void = () => {},
  what = 'it',
): ObjectInfo {
  const asked = new Attr(kernel.syscalls, size);
  ask(asked);
  const attr = new Attr(kernel.syscalls, 16).u32(0, fd).u32(4, size).pointer(8, asked.bytes);
  const result = asked.use(() => attr.send(Command.objGetInfoByFd));
  if (result < 0)
    throw kernelError(kernel, {
      syscall: 'bpf(BPF_OBJ_GET_INFO_BY_FD)',
      errno: -result,
      tried: `read what the kernel knows of ${what}`,
    });
  return { bytes: asked.bytes, view: new DataView(asked.bytes.buffer), known: attr.getU32(4) };
}

/** The name at an offset into what the kernel tells: up to 15 characters and a zero (`BPF_OBJ_NAME_LEN`). */
export function nameIn(bytes: Uint8Array, at: number): string {
  return Buffer.from(bytes.subarray(at, at + 16))
    .toString('latin1')
    .split('\0', 1)[0] as string;
}
