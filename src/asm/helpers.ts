/**
 * The kernel's helpers that tracing programs use: numbers, the first release with each, and what their arguments are,
 * so that whoever places the arguments can check them.
 *
 * Source: include/uapi/linux/bpf.h; kernel/trace/bpf_trace.c and kernel/bpf/helpers.c for the arguments. Helpers marked GPL
 * there ask for a program that declares a GPL-compatible licence.
 */

import type { ProgramKind } from './program-types.ts';

/** What a helper's argument is. */
export type ArgKind =
  /** The program's own context, as it came in r1. */
  | 'ctx'
  /** A map. */
  | 'map'
  /** The address of a key of that map. */
  | 'key'
  /** The address of a value of that map. */
  | 'value'
  /** The address of memory that the helper reads; its size is the next argument. */
  | 'memory'
  /** The address of memory that the helper fills; its size is the next argument. */
  | 'out'
  /**
   * The address of memory that the helper may fill only in part, as with a string up to its NUL; its size is the next argument. The builder
   * sets it to 0 before the call, so that no old bytes stay behind.
   */
  | 'partial'
  /** The number of bytes at the address before it. */
  | 'size'
  /** A subprogram that the helper calls. */
  | 'callback'
  /** The address of memory on the stack that is handed to that, or 0. */
  | 'handed'
  /** Any number; for the `_user` helpers an address of the process. */
  | 'scalar'
  /** An address in the kernel. */
  | 'kernelPointer';

/** One of the kernel's helpers. */
export interface Helper {
  /** The kernel's name without `bpf_`. */
  readonly name: string;
  readonly id: number;
  /** The first kernel release that has it. Older ones reject the program. */
  readonly since: string;
  /** At most five, in r1 to r5. */
  readonly args: readonly ArgKind[];
  /** How many of the last arguments may be left out. */
  readonly optional?: number;
  /**
   * The type of the result; u64 if not given. Of an `int` only the low 32 bits count: before Linux 6.4 the calls of map operations leave
   * the upper ones undefined.
   */
  readonly result?: 'u64' | 'u32' | 's64' | 'int';
  /** The kinds of programs that may call it; all that trace if absent. */
  readonly only?: readonly ProgramKind[];
}

const TRACING: readonly ProgramKind[] = ['tp_btf', 'fentry', 'fexit'];
const AT_FUNCTIONS: readonly ProgramKind[] = ['kprobe', 'kretprobe', 'fentry', 'fexit'];

function helper(
  id: number,
  name: string,
  since: string,
  args: readonly ArgKind[],
  more: Pick<Helper, 'optional' | 'result' | 'only'> = {},
): Helper {
  return { name, id, since, args, ...more };
}

// Maps.

/** (map, key): the address of the value in r0, or 0. */
export const mapLookupElem = helper(1, 'map_lookup_elem', '3.19', ['map', 'key']);
/** (map, key, value, flags `BPF_ANY|NOEXIST|EXIST`): 0 or a negative errno. */
export const mapUpdateElem = helper(2, 'map_update_elem', '3.19', ['map', 'key', 'value', 'scalar'], {
  result: 'int',
});
/** (map, key): 0 or -ENOENT. */
export const mapDeleteElem = helper(3, 'map_delete_elem', '3.19', ['map', 'key'], { result: 'int' });
/** (map, key, cpu): the value of that CPU, or 0. */
export const mapLookupPercpuElem = helper(195, 'map_lookup_percpu_elem', '5.19', ['map', 'key', 'scalar']);
/** (ctx, program array, index): goes on in another program; comes back only where it can't. */
export const tailCall = helper(12, 'tail_call', '4.2', ['ctx', 'map', 'scalar'], { result: 's64' });

// Calling a subprogram again and again, until it returns 1 instead of 0. They give the number of its calls.

/** (map, callback, handed, flags 0): of the map, the entry's key and value, and what is handed over, for each entry. */
export const forEachMapElem = helper(
  164,
  'for_each_map_elem',
  '5.13',
  ['map', 'callback', 'handed', 'scalar'],
  { result: 's64' },
);
/** (times, callback, handed, flags 0): of its number, from 0, and what is handed over; at most 2^23 times. */
export const loop = helper(181, 'loop', '5.17', ['scalar', 'callback', 'handed', 'scalar'], {
  result: 's64',
});

// Reading memory that the verifier doesn't know: 0, or -EFAULT with the memory zeroed. The `Str` ones give the length.

/** (out, size, address): of the kernel or the process; where there is a choice use the two that say which. GPL. */
export const probeRead = helper(4, 'probe_read', '4.1', ['out', 'size', 'kernelPointer'], { result: 's64' });
/** (out, size, address): a string, terminated even if cut. GPL. */
export const probeReadStr = helper(45, 'probe_read_str', '4.11', ['partial', 'size', 'kernelPointer'], {
  result: 's64',
});
/** (out, size, user address). GPL. */
export const probeReadUser = helper(112, 'probe_read_user', '5.5', ['out', 'size', 'scalar'], {
  result: 's64',
});
/** (out, size, kernel address). GPL. */
export const probeReadKernel = helper(113, 'probe_read_kernel', '5.5', ['out', 'size', 'kernelPointer'], {
  result: 's64',
});
/** (out, size, user address): a string, terminated even if cut. GPL. */
export const probeReadUserStr = helper(114, 'probe_read_user_str', '5.5', ['partial', 'size', 'scalar'], {
  result: 's64',
});
/** (out, size, kernel address): a string, terminated even if cut. GPL. */
export const probeReadKernelStr = helper(
  115,
  'probe_read_kernel_str',
  '5.5',
  ['partial', 'size', 'kernelPointer'],
  { result: 's64' },
);
/** (out, size, user address): may sleep, so for sleepable programs alone. */
export const copyFromUser = helper(148, 'copy_from_user', '5.10', ['out', 'size', 'scalar'], {
  result: 's64',
  only: [],
});
/** (path, out, size): the path as text. GPL. */
export const dPath = helper(147, 'd_path', '5.10', ['kernelPointer', 'partial', 'size'], {
  result: 's64',
  only: TRACING,
});

// Time, in nanoseconds.

/** (): since boot, not counting suspend (CLOCK_MONOTONIC). GPL. */
export const ktimeGetNs = helper(5, 'ktime_get_ns', '4.1', []);
/** (): since boot, counting suspend (CLOCK_BOOTTIME). GPL. */
export const ktimeGetBootNs = helper(125, 'ktime_get_boot_ns', '5.8', []);
/** (): `ktimeGetNs` as of the last tick. Programs that trace may not call it since Linux 5.16. GPL. */
export const ktimeGetCoarseNs = helper(160, 'ktime_get_coarse_ns', '5.11', []);
/** (): international atomic time (CLOCK_TAI). GPL. */
export const ktimeGetTaiNs = helper(208, 'ktime_get_tai_ns', '6.1', []);
/** (): the kernel's tick counter. */
export const jiffies64 = helper(118, 'jiffies64', '5.6', []);

// The current task.

/** (): tgid << 32 | pid, in user space's words pid << 32 | tid. */
export const getCurrentPidTgid = helper(14, 'get_current_pid_tgid', '4.2', []);
/** (): gid << 32 | uid. */
export const getCurrentUidGid = helper(15, 'get_current_uid_gid', '4.2', []);
/** (out, size): the task's name, at most 16 bytes with its zero. */
export const getCurrentComm = helper(16, 'get_current_comm', '4.2', ['out', 'size'], { result: 's64' });
/** (): the address of the task_struct. GPL. */
export const getCurrentTask = helper(35, 'get_current_task', '4.8', []);
/** (): the task_struct as a pointer whose fields can be loaded. GPL. */
export const getCurrentTaskBtf = helper(158, 'get_current_task_btf', '5.11', []);
/** (cgroup array, index): 1 if the task is below that cgroup. */
export const currentTaskUnderCgroup = helper(37, 'current_task_under_cgroup', '4.9', ['map', 'scalar'], {
  result: 'int',
});
/** (): the id of the task's cgroup (v2). */
export const getCurrentCgroupId = helper(80, 'get_current_cgroup_id', '4.18', []);
/** (level): the id of the task's cgroup at that level below the root. */
export const getCurrentAncestorCgroupId = helper(123, 'get_current_ancestor_cgroup_id', '5.7', ['scalar']);
/** (device, inode, out, size): struct bpf_pidns_info of that pid namespace. */
export const getNsCurrentPidTgid = helper(
  120,
  'get_ns_current_pid_tgid',
  '5.7',
  ['scalar', 'scalar', 'out', 'size'],
  { result: 'int' },
);
/** (signal): sends it to the task's process. */
export const sendSignal = helper(109, 'send_signal', '5.3', ['scalar'], { result: 'int' });
/** (signal): sends it to the task's thread. */
export const sendSignalThread = helper(117, 'send_signal_thread', '5.6', ['scalar'], { result: 'int' });
/** (task): the address of its user registers. */
export const taskPtRegs = helper(175, 'task_pt_regs', '5.15', ['kernelPointer']);

// Telling user space.

/** (ctx, perf event array, flags with the CPU or `BPF_F_CURRENT_CPU`, data, size): 0 or a negative errno. GPL. */
export const perfEventOutput = helper(
  25,
  'perf_event_output',
  '4.4',
  ['ctx', 'map', 'scalar', 'memory', 'size'],
  { result: 'int' },
);
/** (format, size, up to three numbers): a line in trace_pipe, for debugging. GPL. */
export const tracePrintk = helper(
  6,
  'trace_printk',
  '4.1',
  ['memory', 'size', 'scalar', 'scalar', 'scalar'],
  { optional: 3, result: 's64' },
);

// Stacks, counters, the probe itself.

/** (ctx, out, size, flags): the stack's addresses; gives their bytes. GPL. */
export const getStack = helper(67, 'get_stack', '4.18', ['ctx', 'partial', 'size', 'scalar'], {
  result: 's64',
});
/** (task, out, size, flags): that task's stack. */
export const getTaskStack = helper(
  141,
  'get_task_stack',
  '5.9',
  ['kernelPointer', 'partial', 'size', 'scalar'],
  {
    result: 's64',
  },
);
/** (perf event array, flags): the counter's value, or a negative errno that can't be told from it. GPL. */
export const perfEventRead = helper(22, 'perf_event_read', '4.3', ['map', 'scalar']);
/** (perf event array, flags, out, size): struct bpf_perf_event_value. GPL. */
export const perfEventReadValue = helper(
  55,
  'perf_event_read_value',
  '4.15',
  ['map', 'scalar', 'out', 'size'],
  { result: 'int' },
);
/** (ctx): the address of the probed function. GPL. */
export const getFuncIp = helper(173, 'get_func_ip', '5.15', ['ctx'], { only: AT_FUNCTIONS });
/** (ctx): the number given when the program was attached. */
export const getAttachCookie = helper(174, 'get_attach_cookie', '5.15', ['ctx']);
/** (ctx): the number of arguments of the traced function, or of a tp_btf tracepoint (which 6.18 refuses and 7.3 accepts). */
export const getFuncArgCnt = helper(185, 'get_func_arg_cnt', '5.17', ['ctx'], {
  result: 's64',
  only: TRACING,
});
/** (ctx, value): makes the probed function return it, where the kernel marks it so. GPL. */
export const overrideReturn = helper(58, 'override_return', '4.16', ['ctx', 'scalar'], {
  result: 's64',
  only: ['kprobe', 'kretprobe'],
});

// Sockets.

/** (socket): a number that no other socket has; of a socket pointer in tracing programs since 5.12. */
export const getSocketCookie = helper(46, 'get_socket_cookie', '4.12', ['kernelPointer'], { only: TRACING });
/** (socket): the same as a TCP socket (struct tcp_sock), or 0. */
export const skcToTcpSock = helper(137, 'skc_to_tcp_sock', '5.9', ['kernelPointer'], { only: TRACING });
/** (socket): the same as an IPv6 TCP socket (struct tcp6_sock), or 0. */
export const skcToTcp6Sock = helper(136, 'skc_to_tcp6_sock', '5.9', ['kernelPointer'], { only: TRACING });

// The machine.

/** (): the CPU it runs on. */
export const getSmpProcessorId = helper(8, 'get_smp_processor_id', '4.1', [], { result: 'u32' });
/** (): its NUMA node. */
export const getNumaNodeId = helper(42, 'get_numa_node_id', '4.10', [], { result: 'u32' });
/** (): a random number of 32 bits. */
export const getPrandomU32 = helper(7, 'get_prandom_u32', '4.1', [], { result: 'u32' });
