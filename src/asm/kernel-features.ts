/**
 * The features of kernels by name: program types, attach types, map types, flags, commands and others, with
 * their numbers and first kernels. The tables are built on first use.
 *
 * Source: include/uapi/linux/bpf.h (`enum bpf_prog_type`, `enum bpf_attach_type`, `enum bpf_map_type`,
 * `enum bpf_cmd`, `BPF_F_*`).
 */
import type { Helper } from './helpers.ts';
import type { Instruction } from './instruction.ts';
import type { KernelMapType, MapFlag } from './map-type.ts';
import { once } from './once.ts';
import type { ProgramKind } from './program-types.ts';

export { type KernelMapType, type MapFlag, mapFlags, mapTypes } from './map-type.ts';

/** The first kernel of each program type. The numbers ascend from 1. */
export const programTypes = once(
  () =>
    ({
      socket_filter: '3.19',
      kprobe: '4.1',
      sched_cls: '4.1',
      sched_act: '4.1',
      tracepoint: '4.7',
      xdp: '4.8',
      perf_event: '4.9',
      cgroup_skb: '4.10',
      cgroup_sock: '4.10',
      lwt_in: '4.10',
      lwt_out: '4.10',
      lwt_xmit: '4.10',
      sock_ops: '4.13',
      sk_skb: '4.14',
      cgroup_device: '4.15',
      sk_msg: '4.17',
      raw_tracepoint: '4.17',
      cgroup_sock_addr: '4.17',
      lwt_seg6local: '4.18',
      lirc_mode2: '4.18',
      sk_reuseport: '4.19',
      flow_dissector: '4.20',
      cgroup_sysctl: '5.2',
      raw_tracepoint_writable: '5.2',
      cgroup_sockopt: '5.3',
      tracing: '5.5',
      struct_ops: '5.6',
      ext: '5.6',
      lsm: '5.7',
      sk_lookup: '5.9',
      syscall: '5.14',
      netfilter: '6.4',
    }) as const,
);

/** A program type by the kernel's name: `xdp` for BPF_PROG_TYPE_XDP. */
export type KernelProgramType = keyof ReturnType<typeof programTypes>;

/** The kernel's name of a program type by its number. */
export function kernelProgramType(number: number): KernelProgramType | undefined {
  return Object.keys(programTypes())[number - 1] as KernelProgramType | undefined;
}

/**
 * The number, first kernel and program type of each attach type that a kernel can be asked for. No call
 * distinguishes the missing ones (`xdp_devmap`, `xdp_cpumap`, `struct_ops`) from unknown numbers.
 */
export const attachTypes = once(
  () =>
    ({
      cgroup_inet_ingress: [0, '4.10', 'cgroup_skb'],
      cgroup_inet_egress: [1, '4.10', 'cgroup_skb'],
      cgroup_inet_sock_create: [2, '4.10', 'cgroup_sock'],
      cgroup_sock_ops: [3, '4.13', 'sock_ops'],
      sk_skb_stream_parser: [4, '4.14', 'sk_skb'],
      sk_skb_stream_verdict: [5, '4.14', 'sk_skb'],
      cgroup_device: [6, '4.15', 'cgroup_device'],
      sk_msg_verdict: [7, '4.17', 'sk_msg'],
      cgroup_inet4_bind: [8, '4.17', 'cgroup_sock_addr'],
      cgroup_inet6_bind: [9, '4.17', 'cgroup_sock_addr'],
      cgroup_inet4_connect: [10, '4.17', 'cgroup_sock_addr'],
      cgroup_inet6_connect: [11, '4.17', 'cgroup_sock_addr'],
      cgroup_inet4_post_bind: [12, '4.17', 'cgroup_sock'],
      cgroup_inet6_post_bind: [13, '4.17', 'cgroup_sock'],
      cgroup_udp4_sendmsg: [14, '4.18', 'cgroup_sock_addr'],
      cgroup_udp6_sendmsg: [15, '4.18', 'cgroup_sock_addr'],
      lirc_mode2: [16, '4.18', 'lirc_mode2'],
      flow_dissector: [17, '4.20', 'flow_dissector'],
      cgroup_sysctl: [18, '5.2', 'cgroup_sysctl'],
      cgroup_udp4_recvmsg: [19, '5.2', 'cgroup_sock_addr'],
      cgroup_udp6_recvmsg: [20, '5.2', 'cgroup_sock_addr'],
      cgroup_getsockopt: [21, '5.3', 'cgroup_sockopt'],
      cgroup_setsockopt: [22, '5.3', 'cgroup_sockopt'],
      trace_raw_tp: [23, '5.5', 'tracing'],
      trace_fentry: [24, '5.5', 'tracing'],
      trace_fexit: [25, '5.5', 'tracing'],
      modify_return: [26, '5.7', 'tracing'],
      lsm_mac: [27, '5.7', 'lsm'],
      trace_iter: [28, '5.8', 'tracing'],
      cgroup_inet4_getpeername: [29, '5.8', 'cgroup_sock_addr'],
      cgroup_inet6_getpeername: [30, '5.8', 'cgroup_sock_addr'],
      cgroup_inet4_getsockname: [31, '5.8', 'cgroup_sock_addr'],
      cgroup_inet6_getsockname: [32, '5.8', 'cgroup_sock_addr'],
      cgroup_inet_sock_release: [34, '5.9', 'cgroup_sock'],
      sk_lookup: [36, '5.9', 'sk_lookup'],
      xdp: [37, '5.9', 'xdp'],
      sk_skb_verdict: [38, '5.13', 'sk_skb'],
      sk_reuseport_select: [39, '5.14', 'sk_reuseport'],
      sk_reuseport_select_or_migrate: [40, '5.14', 'sk_reuseport'],
      perf_event: [41, '5.15', 'kprobe'],
      trace_kprobe_multi: [42, '5.18', 'kprobe'],
      lsm_cgroup: [43, '6.0', 'lsm'],
      netfilter: [45, '6.4', 'netfilter'],
      tcx_ingress: [46, '6.6', 'sched_cls'],
      tcx_egress: [47, '6.6', 'sched_cls'],
      trace_uprobe_multi: [48, '6.6', 'kprobe'],
      cgroup_unix_connect: [49, '6.7', 'cgroup_sock_addr'],
      cgroup_unix_sendmsg: [50, '6.7', 'cgroup_sock_addr'],
      cgroup_unix_recvmsg: [51, '6.7', 'cgroup_sock_addr'],
      cgroup_unix_getpeername: [52, '6.7', 'cgroup_sock_addr'],
      cgroup_unix_getsockname: [53, '6.7', 'cgroup_sock_addr'],
      netkit_primary: [54, '6.7', 'sched_cls'],
      netkit_peer: [55, '6.7', 'sched_cls'],
      trace_kprobe_session: [56, '6.10', 'kprobe'],
      trace_uprobe_session: [57, '6.13', 'kprobe'],
    }) as const satisfies Record<string, readonly [number, string, KernelProgramType]>,
);

/** An attach type by the kernel's name: `trace_fentry` for BPF_TRACE_FENTRY. */
export type KernelAttachType = keyof ReturnType<typeof attachTypes>;

/** The flags of program loading, and their first kernels. */
export const programFlags = once(
  () =>
    ({
      BPF_F_STRICT_ALIGNMENT: [0x1, '4.12'],
      BPF_F_ANY_ALIGNMENT: [0x2, '5.0'],
      BPF_F_TEST_RND_HI32: [0x4, '5.3'],
      BPF_F_TEST_STATE_FREQ: [0x8, '5.4'],
      BPF_F_SLEEPABLE: [0x10, '5.10'],
      BPF_F_XDP_HAS_FRAGS: [0x20, '5.18'],
      BPF_F_TEST_REG_INVARIANTS: [0x80, '6.8'],
    }) as const,
);

/** A flag of program loading by the kernel's name: `BPF_F_SLEEPABLE`. */
export type ProgramFlag = keyof ReturnType<typeof programFlags>;

/** The commands of bpf(2) that take a descriptor: number, first kernel, and the offset of the descriptor. */
export const commands = once(
  () =>
    ({
      BPF_MAP_LOOKUP_AND_DELETE_ELEM: [21, '4.20', 0],
      BPF_MAP_FREEZE: [22, '5.2', 0],
      BPF_MAP_LOOKUP_BATCH: [24, '5.6', 36],
      BPF_MAP_LOOKUP_AND_DELETE_BATCH: [25, '5.6', 36],
      BPF_MAP_UPDATE_BATCH: [26, '5.6', 36],
      BPF_MAP_DELETE_BATCH: [27, '5.6', 36],
      BPF_LINK_CREATE: [28, '5.7', 0],
      BPF_LINK_UPDATE: [29, '5.7', 0],
      BPF_ITER_CREATE: [33, '5.8', 0],
      BPF_LINK_DETACH: [34, '5.9', 0],
      BPF_PROG_BIND_MAP: [35, '5.10', 0],
      BPF_TOKEN_CREATE: [36, '6.9', 4],
      BPF_PROG_STREAM_READ_BY_FD: [37, '6.17', 16],
    }) as const,
);

/** A command of bpf(2) by the kernel's name: `BPF_MAP_LOOKUP_BATCH`. */
export type CommandName = keyof ReturnType<typeof commands>;

/** The first kernels of the features that are neither a type nor a flag nor a command. */
export const abilities = once(
  () =>
    ({
      'kernel BTF': '5.4',
      'BTF of programs and maps': '4.18',
      'large programs': '5.2',
      'bounded loops': '5.3',
      'log size': '6.4',
      'missed runs of programs': '5.12',
      'missed hits of kprobes': '6.7',
      kprobe: '4.17',
      uprobe: '4.17',
      raw_tracepoint: '4.17',
      tp_btf: '5.5',
      fentry: '5.5',
      fexit: '5.5',
      'fentry cookie': '5.19',
    }) as const,
);

/**
 * A feature that is neither a type nor a flag nor a command: `kprobe` and `fentry` are attached to, `large
 * programs` have more than 4096 instructions.
 */
export type AbilityName = keyof ReturnType<typeof abilities>;

/**
 * A version of the instruction set, as in `llc -mcpu`: `v2` adds unsigned and signed less-than jumps, `v3`
 * 32-bit jumps, `v4` sign extension, signed division, byte swaps and `gotol`.
 */
export type InstructionSet = 'v1' | 'v2' | 'v3' | 'v4';

/** The release that completed each version of the instruction set. */
export const INSTRUCTION_SETS: Readonly<Record<InstructionSet, string>> = {
  v1: '3.18',
  v2: '4.14',
  v3: '5.1',
  v4: '6.6',
};

/** A program type by the kernel's name, or a kind of program of this library: `kprobe`, `fentry`, `xdp`. */
export type ProgramTypeName = ProgramKind | KernelProgramType;

/**
 * A feature to ask for, by the kernel's names: `{ mapType: 'ringbuf' }`, `{ helper: 'loop', in: 'kprobe' }`.
 *
 * - `attachType` includes the links of kprobe programs: `perf_event`, `trace_kprobe_multi`.
 * - `helper`: its name, its number, or the value that `b.call` takes; `in` is the type of program that calls
 *   it (kprobe by default).
 * - `kfunc`: a function of the kernel itself, not of a module. Without `in`, in any type of program.
 * - `instruction`: an instruction, or the name of a constructor of `tsbpf/asm` for all its forms.
 * - `ability`: the features that have no number in the kernel's interface.
 *
 * @example
 * ```ts
 * import { type Feature, Kernel } from 'tsbpf';
 *
 * const wanted: Feature[] = [{ mapType: 'ringbuf' }, { helper: 'loop' }, { instructionSet: 'v4' }];
 * for (const feature of wanted) console.log(new Kernel().features.support(feature));
 * ```
 */
export type Feature =
  | { readonly programType: KernelProgramType }
  | { readonly attachType: KernelAttachType }
  | { readonly mapType: KernelMapType }
  | { readonly mapFlag: MapFlag }
  | { readonly programFlag: ProgramFlag }
  | { readonly command: CommandName }
  | { readonly instructionSet: InstructionSet }
  | { readonly instruction: string | Instruction }
  | { readonly ability: AbilityName }
  | { readonly helper: string | number | Helper; readonly in?: ProgramTypeName }
  | { readonly kfunc: string; readonly in?: ProgramTypeName };
