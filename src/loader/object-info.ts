/**
 * What the kernel reports about a program, map, link or BTF object (BPF_OBJ_GET_INFO_BY_FD).
 *
 * Source: man 2 bpf; kernel/bpf/syscall.c (`bpf_obj_get_info_by_fd`).
 */
import { Attr, Command } from './bpf.ts';
import type { KernelFacts } from './kernel-facts.ts';
import { kernelError } from './permission.ts';
import { decodeCString } from './text.ts';

/** An info structure, filled in by the kernel. */
export interface ObjectInfo {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** The number of bytes that this kernel filled in; older kernels have shorter structures. */
  readonly known: number;
}

/**
 * Reads the first `size` bytes of an object's info structure. `fill` sets fields of the request, such as the
 * buffers for arrays. `object` names the object in error messages.
 * @throws {KernelError}
 */
export function objectInfo(
  kernel: KernelFacts,
  fd: number,
  size: number,
  fill: (attr: Attr) => void = () => {},
  object = 'the object',
): ObjectInfo {
  const info = new Attr(kernel.syscalls, size);
  fill(info);
  const attr = new Attr(kernel.syscalls, 16).u32(0, fd).u32(4, size).pointer(8, info.bytes);
  const result = info.use(() => attr.send(Command.objGetInfoByFd));
  if (result < 0)
    throw kernelError(kernel, {
      syscall: 'bpf(BPF_OBJ_GET_INFO_BY_FD)',
      errno: -result,
      tried: `read the kernel's information about ${object}`,
    });
  return { bytes: info.bytes, view: new DataView(info.bytes.buffer), known: attr.getU32(4) };
}

/** The object name at an offset of an info structure: up to 15 characters and a NUL (`BPF_OBJ_NAME_LEN`). */
export function objectNameAt(bytes: Uint8Array, offset: number): string {
  return decodeCString(bytes.subarray(offset, offset + 16));
}
