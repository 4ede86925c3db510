/**
 * The BTF objects of kernel modules, which programs for their functions refer to.
 *
 * Source: man 2 bpf; kernel/bpf/btf.c (`btf_get_info_by_fd`), include/uapi/linux/bpf.h (`struct
 * bpf_btf_info`).
 */
import { Command, Descriptor } from '../bpf.ts';
import type { Kernel } from '../kernel.ts';
import { fdById, idsOf } from '../loaded/find.ts';
import { btfInfo } from '../loaded/objects.ts';

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
      const { isKernel, name } = btfInfo(kernel, descriptor.fd, 'a BTF object');
      wanted = isKernel && name === module;
    } finally {
      if (!wanted) descriptor.close();
    }
    if (wanted) return descriptor;
  }
  return undefined;
}
