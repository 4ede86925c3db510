/** The differences between processor architectures. */
import { TsbpfError } from './error.ts';

/**
 * A processor architecture. Offsets are in bytes into `struct pt_regs`, the context of a kprobe. See
 * `architectures`.
 */
export interface Architecture {
  /** The name, as in `process.arch`. */
  readonly name: ArchitectureName;
  /** The numbers of the system calls that the loader needs. */
  readonly syscalls: { readonly bpf: number; readonly perfEventOpen: number; readonly seccomp: number };
  /** The number that seccomp filters see (`AUDIT_ARCH_*`, include/uapi/linux/audit.h). */
  readonly audit: number;
  /** The offsets of the arguments of a kernel function at its entry. */
  readonly kprobeArguments: readonly number[];
  /** The offsets of the arguments of a system call in the registers of its caller. */
  readonly systemCallArguments: readonly number[];
  /** The offset and size of the number of the system call. */
  readonly systemCallNumber: { readonly offset: number; readonly size: 4 | 8 };
  /** The offset of the result of a kernel function at its return. */
  readonly kprobeReturn: number;
  /** The offset of the instruction pointer. */
  readonly instructionPointer: number;
  /** The offset of the stack pointer. */
  readonly stackPointer: number;
}

/** The name of a supported architecture, as in `process.arch`. */
export type ArchitectureName = 'x64' | 'arm64';

/**
 * Sources: arch/x86/include/asm/ptrace.h (`struct pt_regs`), arch/x86/entry/syscalls/syscall_64.tbl. The
 * fourth argument of a kernel function is in rcx, that of a system call in r10.
 */
const x64: Architecture = {
  name: 'x64',
  syscalls: { bpf: 321, perfEventOpen: 298, seccomp: 317 },
  audit: 0xc000_003e,
  kprobeArguments: [112, 104, 96, 88, 72, 64], // rdi, rsi, rdx, rcx, r8, r9
  systemCallArguments: [112, 104, 96, 56, 72, 64], // the same, but r10 as the fourth
  systemCallNumber: { offset: 120, size: 8 }, // orig_ax
  kprobeReturn: 80, // rax
  instructionPointer: 128, // rip
  stackPointer: 152, // rsp
};

/**
 * Sources: arch/arm64/include/uapi/asm/ptrace.h (`struct user_pt_regs`, the start of `struct pt_regs`),
 * arch/arm64/include/asm/ptrace.h (the rest), include/uapi/asm-generic/unistd.h.
 */
const arm64: Architecture = {
  name: 'arm64',
  syscalls: { bpf: 280, perfEventOpen: 241, seccomp: 277 },
  audit: 0xc000_00b7,
  kprobeArguments: [0, 8, 16, 24, 32, 40, 48, 56], // regs[0] to regs[7]
  systemCallArguments: [0, 8, 16, 24, 32, 40], // regs[0] to regs[5]
  systemCallNumber: { offset: 280, size: 4 }, // syscallno
  kprobeReturn: 0, // regs[0]
  instructionPointer: 256, // pc
  stackPointer: 248, // sp
};

/**
 * All supported architectures by their names in `process.arch`.
 *
 * @example
 * import { architectures } from 'tsbpf';
 * architectures.arm64.syscalls.bpf; // 280
 */
export const architectures: { readonly [Name in ArchitectureName]: Architecture } = { x64, arm64 };

/**
 * The architecture is not supported: only `x64` and `arm64` are.
 *
 * @example
 * import { target, UnknownArchitectureError } from 'tsbpf';
 *
 * try {
 *   target('riscv64');
 * } catch (error) {
 *   if (error instanceof UnknownArchitectureError) console.log(error.message);
 * }
 */
export class UnknownArchitectureError extends TsbpfError {
  override readonly name = 'UnknownArchitectureError';
  override readonly code = 'ERR_ARCHITECTURE';
}

/**
 * Returns the architecture with a name, as in `process.arch`. Throws UnknownArchitectureError for any other
 * than `x64` and `arm64`.
 */
export function architectureOf(name: string): Architecture {
  if (Object.hasOwn(architectures, name)) return architectures[name as ArchitectureName];
  const names = Object.keys(architectures).join(' and ');
  throw new UnknownArchitectureError(`unsupported architecture '${name}'; supported are ${names}`);
}
