/**
 * Probes of the remaining features: flags of programs, commands of bpf(2), what programs may do, and how they
 * are attached.
 *
 * Source: kernel/bpf/syscall.c (`__sys_bpf`), kernel/bpf/verifier.c, kernel/events/core.c.
 */

import { BtfBuilder, IntEncoding } from '../../asm/btf/builder.ts';
import { add, exit, jne, label, mov } from '../../asm/constructors.ts';
import {
  type AbilityName,
  type CommandName,
  commands,
  type ProgramFlag,
  programFlags,
} from '../../asm/kernel-features.ts';
import { once } from '../../asm/once.ts';
import { r0 } from '../../asm/registers.ts';
import { Attr, allocate, allocateCopy, Command, cString } from '../bpf.ts';
import { Errno } from '../errno.ts';
import type { KernelFacts } from '../kernel-facts.ts';
import { anyCpu, LINK_TO_PERF_EVENT, PERF_FLAG_FD_CLOEXEC } from '../perf-event.ts';
import {
  type Attempt,
  answered,
  judge,
  no,
  opened,
  type Trial,
  tryProgram,
  type Verdict,
  withProgram,
  YES,
} from './attempt.ts';
import { NO_FD, numberOf, TEST_FUNCTION, trialOf, withoutBtf } from './programs.ts';

const SOCKET_FILTER = 1;

/** Probes a flag of program loading. An unknown one is refused before the verifier runs. */
export function probeProgramFlag(kernel: KernelFacts, name: ProgramFlag): Verdict {
  const tried = tryProgram(kernel, { type: SOCKET_FILTER, flags: programFlags()[name][0] });
  return judge(kernel, tried, tried.log !== '');
}

/** Probes a command. A kernel that knows it reports that the descriptor is bad. */
export function probeCommand(kernel: KernelFacts, name: CommandName): Verdict {
  const [number, , at] = commands()[name];
  const tried = answered(`bpf(${name})`, new Attr(kernel.syscalls, 56).u32(at, NO_FD).send(number));
  return judge(kernel, tried, tried.errno === Errno.EBADF);
}

/** The probes of the features that are neither a type nor a flag nor a command. */
const PROBES: Readonly<Record<AbilityName, (kernel: KernelFacts) => Verdict>> = {
  'kernel BTF': (kernel) => withoutBtf(kernel) ?? YES,
  'BTF of programs and maps': loadsBtf,
  'large programs': (kernel) => accepts(kernel, LARGE(), false),
  'bounded loops': (kernel) => accepts(kernel, LOOP()),
  'log size': reportsLogSize,
  'missed runs of programs': (kernel) =>
    verdictOf(
      kernel,
      withProgram(kernel, { type: SOCKET_FILTER }, (fd) => infoReaches(kernel, fd, RECURSION_MISSES)),
    ),
  'missed hits of kprobes': countsMissedHits,
  kprobe: (kernel) =>
    verdictOf(
      kernel,
      withKprobe(kernel, () => OPENED),
    ),
  uprobe: hasUprobes,
  raw_tracepoint: attachesRawTracepoint,
  tp_btf: (kernel) =>
    verdictOf(
      kernel,
      onProgram(kernel, 'tp_btf', () => OPENED),
    ),
  fentry: (kernel) => attaches(kernel, 'fentry'),
  fexit: (kernel) => attaches(kernel, 'fexit'),
  'fentry cookie': (kernel) => attaches(kernel, 'fentry', true),
};

/** Probes a feature that is neither a type nor a flag nor a command. */
export function probeAbility(kernel: KernelFacts, name: AbilityName): Verdict {
  return PROBES[name](kernel);
}

function reportsLogSize(kernel: KernelFacts): Verdict {
  const tried = tryProgram(kernel, { type: SOCKET_FILTER, items: [exit()] });
  return judge(kernel, tried, (tried.logSize ?? 0) > 0);
}

const OPENED: Attempt = { syscall: '', errno: 0, log: '' };

function verdictOf(kernel: KernelFacts, tried: Attempt | Verdict): Verdict {
  return 'answer' in tried ? tried : judge(kernel, tried);
}

/** More instructions than kernels before 5.2 accept. */
const LARGE = once(() => [...Array.from({ length: 4096 }, () => mov(r0, 0)), exit()]);
const LOOP = once(() => [mov(r0, 4), label('again'), add(r0, -1), jne(r0, 0, 'again'), exit()]);

function accepts(kernel: KernelFacts, items: Trial['items'], logged?: boolean): Verdict {
  return judge(kernel, tryProgram(kernel, { type: SOCKET_FILTER, items, logged }));
}

function loadsBtf(kernel: KernelFacts): Verdict {
  const types = new BtfBuilder();
  types.int('int', 4, IntEncoding.signed);
  const bytes = allocateCopy(types.bytes());
  const attr = new Attr(kernel.syscalls, 24).pointer(0, bytes).u32(16, bytes.length);
  return judge(kernel, opened(kernel, 'bpf(BPF_BTF_LOAD)', attr.send(Command.btfLoad)));
}

/** The end of `recursion_misses` in `bpf_prog_info`, and of a kprobe's `missed` in `bpf_link_info`. */
const RECURSION_MISSES = 216;
const MISSED = 56;

/** Whether the kernel fills in an information structure up to a field. */
function infoReaches(kernel: KernelFacts, fd: number, end: number): Attempt | Verdict {
  const info = allocate(end);
  const attr = new Attr(kernel.syscalls, 16).u32(0, fd).u32(4, end).pointer(8, info);
  const tried = answered('bpf(BPF_OBJ_GET_INFO_BY_FD)', attr.send(Command.objGetInfoByFd));
  if (tried.errno !== 0) return tried;
  return attr.getU32(4) >= end ? YES : no('the information that this kernel returns ends before the counter');
}

function countsMissedHits(kernel: KernelFacts): Verdict {
  const counted = withKprobe(kernel, (event) =>
    withProgram(kernel, { type: numberOf('kprobe') }, (program) => {
      const link = new Attr(kernel.syscalls, 16).u32(0, program).u32(4, event).u32(8, LINK_TO_PERF_EVENT);
      return withDescriptor(kernel, 'bpf(BPF_LINK_CREATE)', link.send(Command.linkCreate), (fd) =>
        infoReaches(kernel, fd, MISSED),
      );
    }),
  );
  return verdictOf(kernel, counted);
}

/** Calls `use` with a descriptor and closes it; or returns the failed attempt. */
function withDescriptor<T>(
  { syscalls }: KernelFacts,
  syscall: string,
  result: number,
  use: (fd: number) => T,
): Attempt | T {
  if (result < 0) return { syscall, errno: -result, log: '' };
  try {
    return use(result);
  } finally {
    syscalls.close(result);
  }
}

/** Calls `use` with a disabled kprobe of a function that only the kernel's tests call. */
function withKprobe<T>(kernel: KernelFacts, use: (event: number) => T): Attempt | Verdict | T {
  const pmu = kernel.kprobePmu;
  if (pmu === undefined)
    return no(
      'no perf PMU for kprobes (/sys/bus/event_source/devices/kprobe): built without CONFIG_KPROBES, or /sys is not mounted',
    );
  const attr = new Attr(kernel.syscalls, 72).u32(0, pmu).u32(4, 72).pointer(56, cString(TEST_FUNCTION));
  const event = attr.use((bytes) =>
    kernel.syscalls.perfEventOpen(bytes, -1, anyCpu(kernel), -1, PERF_FLAG_FD_CLOEXEC),
  );
  return withDescriptor(kernel, 'perf_event_open', event, use);
}

function hasUprobes({ syscalls }: KernelFacts): Verdict {
  const type = syscalls.readFile('/sys/bus/event_source/devices/uprobe/type');
  if (typeof type !== 'number') return YES;
  return no(
    'no perf PMU for uprobes (/sys/bus/event_source/devices/uprobe): built without CONFIG_UPROBES, or /sys is not mounted',
  );
}

/** A program of a kind that the verifier accepts, or why there is none. */
function onProgram<T>(
  kernel: KernelFacts,
  kind: 'tp_btf' | 'fentry' | 'fexit',
  use: (fd: number, btfId: number) => T,
): Attempt | Verdict | T {
  const trial = trialOf(kernel, kind);
  return 'answer' in trial ? trial : withProgram(kernel, trial, (fd) => use(fd, trial.btfId ?? 0));
}

/** The attach type of BPF_LINK_CREATE with a cookie. */
const TRACE_FENTRY = 24;

/** Attaches a program to a function that only the kernel's tests call, and detaches it. */
function attaches(kernel: KernelFacts, kind: 'fentry' | 'fexit', cookie = false): Verdict {
  const tried = onProgram(kernel, kind, (fd) =>
    cookie
      ? opened(
          kernel,
          'bpf(BPF_LINK_CREATE)',
          new Attr(kernel.syscalls, 32).u32(0, fd).u32(8, TRACE_FENTRY).u64(24, 1n).send(Command.linkCreate),
        )
      : openRaw(kernel, fd),
  );
  return verdictOf(kernel, tried);
}

function openRaw(kernel: KernelFacts, fd: number, name?: string): Attempt {
  const attr = new Attr(kernel.syscalls, 16).u32(8, fd);
  if (name !== undefined) attr.pointer(0, cString(name));
  return opened(kernel, 'bpf(BPF_RAW_TRACEPOINT_OPEN)', attr.send(Command.rawTracepointOpen));
}

/** Attaches to a tracepoint that does not exist. */
function attachesRawTracepoint(kernel: KernelFacts): Verdict {
  const tried = withProgram(kernel, { type: numberOf('raw_tracepoint') }, (fd) =>
    openRaw(kernel, fd, 'tsbpf none'),
  );
  return judge(kernel, tried, tried.errno === Errno.ENOENT);
}
