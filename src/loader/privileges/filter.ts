/**
 * The seccomp filter of `dropPrivileges`: which system calls it denies.
 *
 * A filter sees the number and the arguments of a call (`struct seccomp_data`, include/uapi/linux/seccomp.h),
 * but not the memory that they point to. So it can decide by the command of bpf(2), and not by the attributes
 * of perf_event_open(2).
 */
import type { Architecture } from '../../asm/architecture.ts';
import { BPF_JUMP, BPF_STMT, Classic, type ClassicInstruction } from '../../asm/classic.ts';
import type { Label } from '../../asm/instruction.ts';
import { systemCallNumber } from '../../asm/system-calls.ts';
import { Command } from '../bpf.ts';
import { Errno } from '../errno.ts';

/** What an attached tool never calls. process_vm_readv and process_vm_writev are the short form of ptrace. */
const DENIED = [
  ...['ptrace', 'process_vm_readv', 'process_vm_writev'],
  ...['execve', 'execveat'],
  ...['init_module', 'finit_module', 'delete_module', 'kexec_load', 'kexec_file_load'],
  ...['mount', 'umount2', 'pivot_root', 'mount_setattr', 'open_tree', 'open_tree_attr', 'move_mount'],
  ...['fsopen', 'fsconfig', 'fsmount', 'fspick'],
];

/** The commands of bpf(2) that create something in the kernel. */
const DENIED_COMMANDS = [Command.progLoad, Command.mapCreate, Command.btfLoad];

/** Offsets in `struct seccomp_data`; the low half of the first argument. */
const Data = { nr: 0, arch: 4, firstArgument: 16 } as const;

/** `SECCOMP_RET_ALLOW` and `SECCOMP_RET_ERRNO`. */
const [ALLOW, ERRNO] = [0x7fff_0000, 0x0005_0000];

/** `__X32_SYSCALL_BIT`: the numbers of the x32 ABI, which has the same `arch` as x86-64. */
const X32 = 0x4000_0000;

const { BPF_LD, BPF_W, BPF_ABS, BPF_JMP, BPF_JEQ, BPF_JGE, BPF_K, BPF_RET } = Classic;

/**
 * The filter for an architecture. It answers denied calls, and all calls of foreign ABIs, with EPERM.
 * `perfEvents` allows perf_event_open(2).
 */
export function seccompFilter(
  architecture: Architecture,
  { perfEvents }: { readonly perfEvents: boolean },
): (ClassicInstruction | Label)[] {
  const numberOf = (name: string) => systemCallNumber({ architecture }, name);
  const load = (offset: number) => BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset);
  const ifEqual = (value: number, then?: string, otherwise?: string) =>
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, then, otherwise);
  const denied = perfEvents ? DENIED : [...DENIED, 'perf_event_open'];
  return [
    load(Data.arch),
    ifEqual(architecture.audit, undefined, 'deny'),
    load(Data.nr),
    ...(architecture.name === 'x64' ? [BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32, 'deny')] : []),
    ...denied.map((name) => ifEqual(numberOf(name), 'deny')),
    ifEqual(numberOf('bpf'), undefined, 'allow'),
    load(Data.firstArgument), // the command is an int: the kernel ignores the high half
    ...DENIED_COMMANDS.map((command) => ifEqual(command, 'deny')),
    { label: 'allow' },
    BPF_STMT(BPF_RET | BPF_K, ALLOW),
    { label: 'deny' },
    BPF_STMT(BPF_RET | BPF_K, ERRNO | Errno.EPERM),
  ];
}
