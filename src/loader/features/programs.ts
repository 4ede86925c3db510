/**
 * Probes of program types, attach types and calls. A program is loaded and closed, or a call fails in a way
 * that shows whether the kernel knows the type.
 *
 * Source: kernel/bpf/syscall.c (`bpf_prog_load`, `bpf_prog_load_check_attach`, `bpf_prog_attach`),
 * kernel/bpf/verifier.c (`bpf_check_attach_target`, `check_helper_call`, `fetch_kfunc_meta`).
 */
import { call, callKernelFunction, exit, mov } from '../../asm/constructors.ts';
import type { Instruction } from '../../asm/instruction.ts';
import {
  attachTypes,
  type KernelAttachType,
  type KernelProgramType,
  programTypes,
} from '../../asm/kernel-features.ts';
import { PROGRAM_TYPES, type ProgramKind } from '../../asm/program-types.ts';
import { r0, r2, r3, r4, r5 } from '../../asm/registers.ts';
import { Attr, allocate, Command } from '../bpf.ts';
import { Errno } from '../errno.ts';
import type { KernelFacts } from '../kernel-facts.ts';
import { LINK_TO_PERF_EVENT } from '../perf-event.ts';
import {
  answered,
  judge,
  no,
  opened,
  type Trial,
  tryProgram,
  unknown,
  type Verdict,
  withProgram,
} from './attempt.ts';

/**
 * A function of the kernel that only its own tests call (net/bpf/test_run.c, Linux 5.5), so attaching to it
 * disturbs no other program.
 */
export const TEST_FUNCTION = 'bpf_fentry_test1';

/** What a program of a type needs besides two instructions. `btf`: something to attach to, by its BTF id. */
const NEEDS: { readonly [T in KernelProgramType]?: Omit<Trial, 'type'> & { readonly btf?: true } } = {
  cgroup_sock_addr: { attachType: 10 },
  cgroup_sockopt: { attachType: 21 },
  tracing: { attachType: 24, btf: true },
  struct_ops: { btf: true },
  ext: { btf: true },
  lsm: { attachType: 27, btf: true },
  sk_lookup: { attachType: 36 },
  syscall: { flags: 0x10 },
  netfilter: { attachType: 45 },
};

/**
 * The first type of every kernel's BTF: an integer. The verifier refuses it as a function to attach to, with
 * a message that only a kernel with this program type has.
 */
const SOME_TYPE = 1;

export function numberOf(type: KernelProgramType): number {
  return Object.keys(programTypes()).indexOf(type) + 1;
}

/** Probes a program type. An answer of the verifier shows that the kernel knows it. */
export function probeProgramType(kernel: KernelFacts, type: KernelProgramType): Verdict {
  const { btf, ...trial } = NEEDS[type] ?? {};
  const tried = tryProgram(kernel, {
    type: numberOf(type),
    btfId: btf && SOME_TYPE,
    ...trial,
  });
  const verdict = judge(kernel, tried, tried.log !== '');
  return btf ? orByHook(kernel, verdict, type === 'tracing' ? 'tp_btf' : undefined) : verdict;
}

/**
 * The verdict of a probe that attaches to `SOME_TYPE`. Without kernel BTF it proves nothing. A security
 * policy can forbid that program but not one that attaches to a tracepoint.
 */
function orByHook(kernel: KernelFacts, verdict: Verdict, kind: ProgramKind | undefined): Verdict {
  if (verdict.answer === 'yes') return verdict;
  const missing = withoutBtf(kernel);
  if (missing || verdict.answer === 'no' || kind === undefined) return missing ?? verdict;
  const trial = trialOf(kernel, kind);
  return 'answer' in trial ? trial : judge(kernel, tryProgram(kernel, trial));
}

/** The verdict if the kernel shows no BTF, without which the probe proves nothing. */
export function withoutBtf({ btf }: KernelFacts): Verdict | undefined {
  if (btf !== undefined) return undefined;
  return unknown(
    'this kernel shows no BTF (/sys/kernel/btf/vmlinux): /sys is not mounted, or it was built without CONFIG_DEBUG_INFO_BTF',
  );
}

/** A number that is no attach type. */
const NO_ATTACH_TYPE = 0xffff;

/** The program types whose attach type the kernel checks when it loads a program. */
const CHECKED_AT_LOAD: readonly KernelProgramType[] = ['tracing', 'lsm', 'sk_reuseport', 'netfilter'];

/**
 * Probes an attach type. BPF_PROG_ATTACH looks for the program only after it has recognized the type, so it
 * reports a bad descriptor (EBADF). It does not know the types of tracing programs, nor those of links.
 */
export function probeAttachType(kernel: KernelFacts, name: KernelAttachType): Verdict {
  const [number, , type] = attachTypes()[name];
  if (type === 'kprobe') return probeLinkType(kernel, number);
  if (CHECKED_AT_LOAD.includes(type) && name !== 'lsm_cgroup') {
    const { btf } = NEEDS[type] ?? {};
    const tried = tryProgram(kernel, { type: numberOf(type), attachType: number, btfId: btf && SOME_TYPE });
    const verdict = judge(kernel, tried, /\bis not a\b/.test(tried.log));
    if (btf) return orByHook(kernel, verdict, name === 'trace_raw_tp' ? 'tp_btf' : undefined);
    // A kernel that does not know the attach types of a program type accepts any number.
    const any = tryProgram(kernel, { type: numberOf(type), attachType: NO_ATTACH_TYPE });
    return any.errno === 0 ? no('this kernel does not check the attach type') : verdict;
  }
  const attr = new Attr(kernel.syscalls, 16).u32(4, NO_FD).u32(8, number);
  const tried = answered('bpf(BPF_PROG_ATTACH)', attr.send(Command.progAttach));
  return judge(kernel, tried, tried.errno === Errno.EBADF);
}

/** A descriptor that is never open. */
export const NO_FD = 0xffff_ffff;

/** The attach types of links to several uprobes. */
const UPROBE_LINKS = [48, 57];

/**
 * Probes an attach type of BPF_LINK_CREATE with a program that suits, and a target that does not exist: a bad
 * descriptor (EBADF), or the addresses of names that cannot be read (EFAULT).
 */
function probeLinkType(kernel: KernelFacts, number: number): Verdict {
  const trial = { type: numberOf('kprobe'), attachType: number === LINK_TO_PERF_EVENT ? 0 : number };
  const tried = withProgram(kernel, trial, (fd) => {
    // `link_create` of `union bpf_attr`: program, target, attach type; then `kprobe_multi` or `uprobe_multi`.
    const attr = new Attr(kernel.syscalls, 64).u32(0, fd).u32(8, number);
    if (number === LINK_TO_PERF_EVENT) attr.u32(4, NO_FD);
    else if (UPROBE_LINKS.includes(number)) attr.u64(16, NO_ADDRESS).u64(24, NO_ADDRESS).u32(48, 1);
    else attr.u32(20, 1).pointer(24, allocate(8));
    return opened(kernel, 'bpf(BPF_LINK_CREATE)', attr.send(Command.linkCreate));
  });
  return judge(kernel, tried, tried.errno === Errno.EBADF || tried.errno === Errno.EFAULT);
}

/** An address at which no process has memory. */
const NO_ADDRESS = 1n;

/** The verifier's messages for a helper that the kernel, or the program's type, does not have. */
const NO_HELPER =
  /unknown func|invalid func|cannot use helper|not supported for program type|supported only for|might sleep|non-sleepable/;

/** Probes a helper in programs of a type. The arguments do not suit, which proves that the helper exists. */
export function probeHelper(kernel: KernelFacts, id: number, type: ProgramKind | KernelProgramType): Verdict {
  return probeCall(kernel, type, call(id), NO_HELPER);
}

/** The verifier's messages for a kfunc that the program's type may not call, or without kfuncs. */
const NO_KFUNC =
  /calling kernel function.* (not allowed|not supported)|reserved fields|JIT (does not|is required)/;

/** Program types that may call some kfuncs, those of tracing first. */
const CALL_KFUNCS: readonly (ProgramKind | KernelProgramType)[] = [
  'tp_btf',
  'kprobe',
  'syscall',
  'sched_cls',
  'xdp',
];

/** Probes a kfunc in programs of a type, or in those that call kfuncs. */
export function probeKfunc(
  kernel: KernelFacts,
  name: string,
  types: readonly (ProgramKind | KernelProgramType)[] = CALL_KFUNCS,
): Verdict {
  const missing = withoutBtf(kernel);
  if (missing) return missing;
  const id = kernel.btf?.find('func', name);
  if (id === undefined)
    return no("the kernel's BTF has no such function (functions of modules are not probed)");
  const verdicts = types.map((type) => probeCall(kernel, type, callKernelFunction(id), NO_KFUNC));
  const best = (answer: Verdict['answer']) => verdicts.find((verdict) => verdict.answer === answer);
  return best('yes') ?? best('unknown') ?? best('no') ?? no('no program type was tried');
}

function probeCall(
  kernel: KernelFacts,
  type: ProgramKind | KernelProgramType,
  instruction: Instruction,
  refused: RegExp,
): Verdict {
  const trial = trialOf(kernel, type);
  if ('answer' in trial) return trial;
  const others = [r2, r3, r4, r5].map((register) => mov(register, 0));
  const tried = tryProgram(kernel, { ...trial, items: [...others, instruction, mov(r0, 0), exit()] });
  return judge(kernel, tried, tried.log !== '' && !refused.test(tried.log));
}

/** The names in the kernel's BTF to which programs of a type attach in a probe. */
const ATTACH_TO: { readonly [type: string]: readonly [kind: 'func' | 'typedef', name: string] } = {
  tp_btf: ['typedef', 'btf_trace_sys_enter'],
  lsm: ['func', 'bpf_lsm_file_open'],
};

/** A program of a type that the verifier checks completely, or the verdict if there can be none. */
export function trialOf(kernel: KernelFacts, type: ProgramKind | KernelProgramType): Trial | Verdict {
  const kind = Object.hasOwn(PROGRAM_TYPES, type) ? PROGRAM_TYPES[type as ProgramKind] : undefined;
  const { btf = kind?.trusted, ...needed } = NEEDS[type as KernelProgramType] ?? {};
  if (type === 'struct_ops' || type === 'ext')
    return unknown(`${type} programs belong to a type or program of their own, so they cannot be probed`);
  const trial = {
    type: kind?.number ?? numberOf(type as KernelProgramType),
    attachType: kind?.expectedAttachType,
    ...needed,
  };
  if (!btf) return trial;
  const [of, name] = ATTACH_TO[type] ?? ['func', TEST_FUNCTION];
  const btfId = kernel.btf?.find(of, name);
  return btfId === undefined
    ? (withoutBtf(kernel) ?? no(`the kernel's BTF has no ${name}`))
    : { ...trial, btfId };
}
