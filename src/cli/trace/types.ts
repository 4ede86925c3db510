/**
 * The kernel's types: its own, or those of a file for a kernel that shows none.
 */

import { Btf, BtfError } from '../../asm/btf.ts';
import { isElf } from '../../asm/elf.ts';
import { TsbpfError } from '../../asm/error.ts';
import { messageWithoutPosition } from '../../asm/error-position.ts';
import { type Target, target } from '../../asm/target.ts';
import { describeErrno, Errno } from '../../loader/errno.ts';
import type { Kernel } from '../../loader/kernel.ts';
import { LARGEST_FILE } from '../../loader/syscalls.ts';
import type { Options } from '../arguments.ts';

const FROM_VMLINUX = 'The types of a vmlinux: objcopy -O binary --only-section=.BTF vmlinux FILE';

/** The file of `--btf` is none of the sort. */
export class BtfFileError extends TsbpfError {
  override readonly name = 'BtfFileError';
  override readonly code = 'ERR_BTF_FILE';

  constructor(file: string, fault: string) {
    super(`--btf ${file}: ${fault}`);
  }
}

/**
 * What programs are made for: this processor, and the types of the kernel or of the file that the user named.
 * @throws {BtfFileError}
 */
export function targetOf({ btf }: Options, kernel: Kernel): Target {
  return target(process.arch, btf === undefined ? kernel.btf : typesIn(btf, kernel));
}

function typesIn(file: string, kernel: Kernel): Btf {
  const bytes = kernel.syscalls.readFile(file);
  if (bytes === -Errno.EFBIG)
    throw new BtfFileError(
      file,
      `it is larger than ${LARGEST_FILE >> 20} MiB, and no kernel's BTF is. ${FROM_VMLINUX}`,
    );
  if (typeof bytes === 'number') throw new BtfFileError(file, `cannot read it: ${describeErrno(-bytes)}`);
  if (isElf(bytes)) throw new BtfFileError(file, `it is an ELF file, not BTF. ${FROM_VMLINUX}`);
  const types = namingFile(file, () => Btf.parse(bytes));
  if (!namingFile(file, () => types.has('sock')))
    throw new BtfFileError(file, 'it is BTF, but not that of a kernel: it has no struct sock');
  return types;
}

/** Runs `work`, whose complaints about the format of the types are the file's. */
export function namingFile<T>(file: string | undefined, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (file === undefined || !(error instanceof BtfError)) throw error;
    throw new BtfFileError(file, messageWithoutPosition(error));
  }
}
