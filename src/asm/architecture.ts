/**
 * What differs between processors, as far as a program or a loader has to know.
 */
import { TsbpfError } from './error.ts';

/** A processor's numbers. Offsets are bytes into `struct pt_regs`, the context of a kprobe. */
export interface Architecture {
  readonly name: ArchitectureName;
  /** System call numbers. */
  readonly syscalls: { readonly bpf: number; readonly perfEventOpen: number };
  /** Where the nth argument of a kernel function lies at its entry. */
  readonly kprobeArguments: readonly number[];
  /** Where the nth argument of a system call lies in the registers of who called it. */
  readonly systemCallArguments: readonly number[];
  /** Where the result of a kernel function lies at its return. */
  readonly kprobeReturn: number;
  readonly instructionPointer: number;
  readonly stackPointer: number;
}

/** The architectures there are numbers for, by Node's names for them. */
export type ArchitectureName = 'x64' | 'arm64';

/**
 * Sources: arch/x86/include/asm/ptrace.h (`struct pt_regs`) and arch/x86/entry/syscalls/syscall_64.tbl. The
 * fourth argument is rcx as everywhere in the kernel; r10 has it in system calls only.
 */
const x64: Architecture = {
  name: 'x64',
  syscalls: { bpf: 321, perfEventOpen: 298 },
  kprobeArguments: [112, 104, 96, 88, 72, 64], // rdi, rsi, rdx, rcx, r8, r9
  systemCallArguments: [112, 104, 96, 56, 72, 64], // the same but for the fourth, r10
  kprobeReturn: 80, // rax
  instructionPointer: 128, // rip
  stackPointer: 152, // rsp
};

/**
 * Sources: arch/arm64/include/uapi/asm/ptrace.h (`struct user_pt_regs`, with which `struct pt_regs` begins)
 * and include/uapi/asm-generic/unistd.h.
 */
const arm64: Architecture = {
  name: 'arm64',
  syscalls: { bpf: 280, perfEventOpen: 241 },
  kprobeArguments: [0, 8, 16, 24, 32, 40, 48, 56], // regs[0] to regs[7]
  systemCallArguments: [0, 8, 16, 24, 32, 40], // regs[0] to regs[5]
  kprobeReturn: 0, // regs[0]
  instructionPointer: 256, // pc
  stackPointer: 248, // sp
};

/** Every architecture there are numbers for. */
export const architectures: { readonly [Name in ArchitectureName]: Architecture } = { x64, arm64 };

/** An architecture that there are no numbers for. */
export class UnknownArchitectureError extends TsbpfError {
  override readonly name = 'UnknownArchitectureError';
  override readonly code = 'ERR_ARCHITECTURE';
}

/**
 * The architecture of that name, as `process.arch` has it. Throws UnknownArchitectureError for any but `x64` and `arm64`.
 */
export function architectureOf(name: string): Architecture {
  if (Object.hasOwn(architectures, name)) return architectures[name as ArchitectureName];
  const names = Object.keys(architectures).join(' and ');
  throw new UnknownArchitectureError(`no eBPF target for the architecture '${name}': there are ${names}`);
}
