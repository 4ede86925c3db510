/**
 * The BTF objects of kernel modules, which programs for their functions refer to.
 *
 * Source: man 2 bpf; kernel/bpf/btf.c (`btf_get_info_by_fd`), include/uapi/linux/bpf.h (`struct
 * bpf_btf_info`).
 */
import { allocate, Command, Descriptor } from '../bpf.ts';
import type { Kernel } from '../kernel.ts';
import { fdById, idsOf } from '../loaded/find.ts';
import { objectInfo } from '../object-info.ts';
import { decodeCString } from '../text.ts';

/** Offsets into `struct bpf_btf_info`, which has a name since Linux 5.11. */
const At = { name: 16, nameLength: 24, isKernel: 28, size: 32 } as const;
/** Bytes of a module's name and its NUL (`MODULE_NAME_LEN`). */
const LONGEST_NAME = 64;

/**
 * Opens the BTF of a loaded module. The caller closes it. Undefined if no module with BTF has this name.
 * Needs CAP_SYS_ADMIN, which alone may list BTF objects.
 * @throws {NotPermittedError} @throws {KernelError}
 */
export function openModuleBtf(kernel: Kernel, module: string): Descriptor | undefined {
  for (const id of idsOf(
    kernel,
    Command.btfGetNextId,
    'bpf(BPF_BTF_GET_NEXT_ID)',
    'list the BTF of modules',
    '5.4',
  )) {
    const fd = fdById(kernel, Command.btfGetFdById, id);
    if (fd < 0) continue; // removed since it was listed
    const descriptor = new Descriptor(kernel.syscalls, fd, `the BTF object ${id}`);
    let wanted = false;
    try {
      wanted = moduleOf(kernel, descriptor.fd) === module;
    } finally {
      if (!wanted) descriptor.close();
    }
    if (wanted) return descriptor;
  }
  return undefined;
}

/** The name of the module that a BTF object belongs to; undefined for the BTF of a program. */
function moduleOf(kernel: Kernel, fd: number): string | undefined {
  const name = allocate(LONGEST_NAME);
  const { view, known } = objectInfo(
    kernel,
    fd,
    At.size,
    (attr) => attr.pointer(At.name, name).u32(At.nameLength, name.length),
    'a BTF object',
  );
  const isKernel = known >= At.size && view.getUint32(At.isKernel, true) !== 0;
  return isKernel ? decodeCString(name) : undefined;
}
