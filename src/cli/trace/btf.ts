/**
 * The BTF of the kernel: its own, or that of a file for kernels without /sys/kernel/btf/vmlinux.
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

const FROM_VMLINUX = 'Extract it from a vmlinux: objcopy -O binary --only-section=.BTF vmlinux FILE';

/** The file of `--btf` cannot be read, or is not the BTF of a kernel. */
export class BtfFileError extends TsbpfError {
  override readonly name = 'BtfFileError';
  override readonly code = 'ERR_BTF_FILE';

  constructor(file: string, fault: string) {
    super(`--btf ${file}: ${fault}`);
  }
}

/**
 * The target of the programs: this architecture, and the BTF of the kernel or of the file in `--btf`.
 * @throws {BtfFileError}
 */
export function traceTarget({ btf }: Options, kernel: Kernel): Target {
  return target(process.arch, btf === undefined ? kernel.btf : btfFrom(btf, kernel));
}

function btfFrom(file: string, kernel: Kernel): Btf {
  const bytes = kernel.syscalls.readFile(file);
  if (bytes === -Errno.EFBIG)
    throw new BtfFileError(
      file,
      `it is larger than ${LARGEST_FILE >> 20} MiB, and so not BTF. ${FROM_VMLINUX}`,
    );
  if (typeof bytes === 'number')
    throw new BtfFileError(file, `cannot read the file: ${describeErrno(-bytes)}`);
  if (isElf(bytes)) throw new BtfFileError(file, `it is an ELF file, not BTF. ${FROM_VMLINUX}`);
  const types = withBtfFile(file, () => Btf.parse(bytes));
  if (!withBtfFile(file, () => types.has('sock')))
    throw new BtfFileError(file, 'this is not the BTF of a kernel: it has no struct sock');
  return types;
}

/** Runs `work`, and attributes its BtfErrors to the file. */
export function withBtfFile<T>(file: string | undefined, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (file === undefined || !(error instanceof BtfError)) throw error;
    throw new BtfFileError(file, messageWithoutPosition(error));
  }
}
