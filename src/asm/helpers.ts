/**
 * The kernel's helpers for tracing programs: number, first release, and the kinds of the arguments, by which
 * `b.call` places and checks them.
 *
 * Source: include/uapi/linux/bpf.h; for the arguments kernel/trace/bpf_trace.c and kernel/bpf/helpers.c. "GPL
 * only" means that only programs with a GPL-compatible license may call the helper (`gpl_only` in those
 * files).
 */
import type { ProgramKind } from './program-types.ts';

/** The kind of a helper's argument. */
export type ArgKind =
  /** The program context, as passed in r1. */
  | 'ctx'
  /** A map. */
  | 'map'
  /** The address of a key of the map. */
  | 'key'
  /** The address of a value of the map. */
  | 'value'
  /** The address of a value of the map that the helper fills; of a bloom filter, that it reads. */
  | 'mapOut'
  /** The address of a value of the map, for a new element, or 0. */
  | 'initial'
  /** A pointer that the verifier knows to the `owner` of the map's values. */
  | 'owner'
  /** The address of memory that the helper reads; the next argument is its size. */
  | 'memory'
  /** The address of memory that the helper fills; the next argument is its size. */
  | 'out'
  /**
   * The address of memory that the helper may fill only in part, as a string up to its NUL; the next argument
   * is its size. The builder zeroes the memory before the call, so that no old bytes remain.
   */
  | 'partial'
  /** The number of bytes at the address before it. */
  | 'size'
  /** A subprogram that the helper calls. */
  | 'callback'
  /** The address of memory on the stack that the helper passes to the subprogram, or 0. */
  | 'callbackContext'
  /** A record of a ring buffer that `bpf_ringbuf_reserve` returned, which the helper releases. */
  | 'record'
  /** Any number; for the `_user` helpers an address in user space. */
  | 'scalar'
  /** An address in the kernel. */
  | 'kernelPointer';

/** A kernel helper, for `b.call` and for `call` of `tsbpf/asm`. */
export interface Helper {
  /** The kernel's name without `bpf_`. */
  readonly name: string;
  /** The helper's number (`BPF_FUNC_*`). */
  readonly id: number;
  /** The first kernel release with this helper. Older kernels reject the program. */
  readonly since: string;
  /** The arguments in r1 to r5. */
  readonly args: readonly ArgKind[];
  /** How many of the last arguments may be omitted; 0 if absent. */
  readonly optional?: number;
  /**
   * The type of the result; u64 if absent. Only the low 32 bits of an `int` count: before Linux 6.4, calls of
   * map operations leave the upper bits undefined. After a `void` helper r0 is not set. A `pointer` is an
   * address whose type the verifier knows.
   */
  readonly result?: 'u64' | 'u32' | 's64' | 's32' | 'int' | 'pointer' | 'void';
  /** The program types that may call it; all tracing programs if absent. */
  readonly only?: readonly ProgramKind[];
  /** The kernel structure that an `owner` argument points to. */
  readonly owner?: string;
}

const TRACING: readonly ProgramKind[] = ['tp_btf', 'fentry', 'fexit'];
const LSM: readonly ProgramKind[] = ['lsm'];
const AT_FUNCTIONS: readonly ProgramKind[] = [
  ...(['kprobe', 'kretprobe', 'kprobe_multi', 'kretprobe_multi'] as const),
  ...(['fentry', 'fexit'] as const),
];

const all: Helper[] = [];
/** The helpers of this module. */
export const HELPERS: readonly Helper[] = all;

function helper(
  id: number,
  name: string,
  since: string,
  args: readonly ArgKind[],
  more: Pick<Helper, 'optional' | 'result' | 'only' | 'owner'> = {},
): Helper {
  const made = { name, id, since, args, ...more };
  all.push(made);
  return made;
}

// Maps.

/**
 * Returns the address of the value for a key, or 0 if the map has no such key (Linux 3.19). `b.lookup` calls
 * it and branches on 0.
 *
 * @example
 * import { hash, kprobe, mapLookupElem, target, u32, u64 } from 'tsbpf';
 *
 * const counts = hash('counts', { key: u32, value: u64, maxEntries: 64 });
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(mapLookupElem, counts, 7));
 */
export const mapLookupElem = helper(1, 'map_lookup_elem', '3.19', ['map', 'key']);

/**
 * Writes a map element. Flags: `BPF_ANY` (0), `BPF_NOEXIST` (1) or `BPF_EXIST` (2). Returns 0 or a negative
 * errno (Linux 3.19). `b.update` calls it.
 *
 * @example
 * import { hash, kprobe, mapUpdateElem, target, u32, u64 } from 'tsbpf';
 *
 * const counts = hash('counts', { key: u32, value: u64, maxEntries: 64 });
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(mapUpdateElem, counts, 7, 1, 0));
 */
export const mapUpdateElem = helper(2, 'map_update_elem', '3.19', ['map', 'key', 'value', 'scalar'], {
  result: 'int',
});

/**
 * Deletes a map element. Returns 0, or -ENOENT if the map has no such key (Linux 3.19). `b.delete` calls it.
 *
 * @example
 * import { hash, kprobe, mapDeleteElem, target, u32, u64 } from 'tsbpf';
 *
 * const counts = hash('counts', { key: u32, value: u64, maxEntries: 64 });
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(mapDeleteElem, counts, 7));
 */
export const mapDeleteElem = helper(3, 'map_delete_elem', '3.19', ['map', 'key'], { result: 'int' });

/**
 * Returns the address of the value for a key on a given CPU of a per-CPU map, or 0 (Linux 5.19).
 *
 * @example
 * import { kprobe, mapLookupPercpuElem, perCpuHash, target, u32, u64 } from 'tsbpf';
 *
 * const counts = perCpuHash('counts', { key: u32, value: u64, maxEntries: 64 });
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(mapLookupPercpuElem, counts, 7, 0));
 */
export const mapLookupPercpuElem = helper(195, 'map_lookup_percpu_elem', '5.19', ['map', 'key', 'scalar']);

/**
 * Adds a value to a queue, a stack or a bloom filter. Flags: `BPF_ANY` (0), or `BPF_EXIST` (2) to replace the
 * oldest value of a full queue or stack. Returns 0 or a negative errno (Linux 4.20). `b.push` calls it.
 *
 * @example
 * import { kprobe, mapPushElem, queue, target, u64 } from 'tsbpf';
 *
 * const recent = queue('recent', { value: u64, maxEntries: 64 });
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(mapPushElem, recent, 7, 0));
 */
export const mapPushElem = helper(87, 'map_push_elem', '4.20', ['map', 'value', 'scalar'], { result: 'int' });

/**
 * Removes the next value of a queue or a stack and writes it to memory. Returns 0, or -ENOENT if the map is
 * empty (Linux 4.20). `b.pop` calls it and branches on the result.
 *
 * @example
 * import { kprobe, mapPopElem, queue, target, u64 } from 'tsbpf';
 *
 * const recent = queue('recent', { value: u64, maxEntries: 64 });
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(mapPopElem, recent, b.stack(u64)));
 */
export const mapPopElem = helper(88, 'map_pop_elem', '4.20', ['map', 'mapOut'], { result: 'int' });

/**
 * Writes the next value of a queue or a stack to memory without removing it. For a bloom filter, reads a
 * value and tests whether it was added. Returns 0 or -ENOENT (Linux 4.20; bloom filters 5.16). `b.peek` calls
 * it and branches on the result.
 *
 * @example
 * import { kprobe, mapPeekElem, queue, target, u64 } from 'tsbpf';
 *
 * const recent = queue('recent', { value: u64, maxEntries: 64 });
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(mapPeekElem, recent, b.stack(u64)));
 */
export const mapPeekElem = helper(89, 'map_peek_elem', '4.20', ['map', 'mapOut'], { result: 'int' });

// Storage of tasks, inodes, cgroups and sockets. `b.lookup` and `b.delete` call these helpers.

const STORAGE_GET: readonly ArgKind[] = ['map', 'owner', 'initial', 'scalar'];

/**
 * Returns the address of a task's value, or 0 (Linux 5.11; in tracing programs 5.12). With the flag
 * `BPF_LOCAL_STORAGE_GET_F_CREATE` (1) it creates a missing value, from memory or with zeros.
 *
 * @example
 * import { getCurrentTaskBtf, kprobe, target, taskStorage, taskStorageGet, u64 } from 'tsbpf';
 *
 * const starts = taskStorage('starts', { value: u64 });
 * kprobe('tcp_v4_connect', target('x64'), (b) =>
 *   b.call(taskStorageGet, starts, b.call(getCurrentTaskBtf), 0, 1),
 * );
 */
export const taskStorageGet = helper(156, 'task_storage_get', '5.11', STORAGE_GET, {
  owner: 'task_struct',
});

/**
 * Deletes a task's value. Returns 0, or -ENOENT if there is none (Linux 5.11; in tracing programs 5.12).
 *
 * @example
 * import { getCurrentTaskBtf, kprobe, target, taskStorage, taskStorageDelete, u64 } from 'tsbpf';
 *
 * const starts = taskStorage('starts', { value: u64 });
 * kprobe('tcp_v4_connect', target('x64'), (b) => {
 *   b.call(taskStorageDelete, starts, b.call(getCurrentTaskBtf));
 * });
 */
export const taskStorageDelete = helper(157, 'task_storage_delete', '5.11', ['map', 'owner'], {
  result: 'int',
  owner: 'task_struct',
});

/**
 * Returns the address of an inode's value, or 0 (Linux 5.10). With the flag `BPF_LOCAL_STORAGE_GET_F_CREATE`
 * (1) it creates a missing value, from memory or with zeros. Only LSM programs may call it.
 *
 * @example
 * import { inodeStorage, inodeStorageGet, Kernel, lsm, target, u64 } from 'tsbpf';
 *
 * const opens = inodeStorage('opens', { value: u64 });
 * lsm('inode_permission', target(process.arch, new Kernel().btf), (b) => {
 *   b.call(inodeStorageGet, opens, b.arg('inode'), 0, 1);
 * });
 */
export const inodeStorageGet = helper(145, 'inode_storage_get', '5.10', STORAGE_GET, {
  owner: 'inode',
  only: LSM,
});

/**
 * Deletes an inode's value. Returns 0, or -ENOENT if there is none (Linux 5.10). Only LSM programs may call
 * it.
 *
 * @example
 * import { inodeStorage, inodeStorageDelete, Kernel, lsm, target, u64 } from 'tsbpf';
 *
 * const opens = inodeStorage('opens', { value: u64 });
 * lsm('inode_permission', target(process.arch, new Kernel().btf), (b) => {
 *   b.call(inodeStorageDelete, opens, b.arg('inode'));
 * });
 */
export const inodeStorageDelete = helper(146, 'inode_storage_delete', '5.10', ['map', 'owner'], {
  result: 'int',
  owner: 'inode',
  only: LSM,
});

/**
 * Returns the address of a cgroup's value, or 0 (Linux 6.2). With the flag `BPF_LOCAL_STORAGE_GET_F_CREATE`
 * (1) it creates a missing value, from memory or with zeros.
 *
 * @example
 * import { cgrpStorage, cgrpStorageGet, Kernel, target, tpBtf, u64 } from 'tsbpf';
 *
 * const moves = cgrpStorage('moves', { value: u64 });
 * tpBtf('cgroup_attach_task', target(process.arch, new Kernel().btf), (b) => {
 *   b.call(cgrpStorageGet, moves, b.arg(0), 0, 1);
 * });
 */
export const cgrpStorageGet = helper(210, 'cgrp_storage_get', '6.2', STORAGE_GET, { owner: 'cgroup' });

/**
 * Deletes a cgroup's value. Returns 0, or -ENOENT if there is none (Linux 6.2).
 *
 * @example
 * import { cgrpStorage, cgrpStorageDelete, Kernel, target, tpBtf, u64 } from 'tsbpf';
 *
 * const moves = cgrpStorage('moves', { value: u64 });
 * tpBtf('cgroup_attach_task', target(process.arch, new Kernel().btf), (b) => {
 *   b.call(cgrpStorageDelete, moves, b.arg(0));
 * });
 */
export const cgrpStorageDelete = helper(211, 'cgrp_storage_delete', '6.2', ['map', 'owner'], {
  result: 'int',
  owner: 'cgroup',
});

/**
 * Returns the address of a socket's value, or 0 (Linux 5.2; in tracing programs 5.11). With the flag
 * `BPF_SK_STORAGE_GET_F_CREATE` (1) it creates a missing value, from memory or with zeros. For fentry, fexit
 * and tp_btf programs.
 *
 * @example
 * import { Kernel, skStorage, skStorageGet, target, tpBtf, u64 } from 'tsbpf';
 *
 * const changes = skStorage('changes', { value: u64 });
 * tpBtf('inet_sock_set_state', target(process.arch, new Kernel().btf), (b) => {
 *   b.call(skStorageGet, changes, b.arg(0), 0, 1);
 * });
 */
export const skStorageGet = helper(107, 'sk_storage_get', '5.2', STORAGE_GET, {
  owner: 'sock',
  only: [...TRACING, ...LSM],
});

/**
 * Deletes a socket's value. Returns 0, or -ENOENT if there is none (Linux 5.2; in tracing programs 5.11). For
 * fentry, fexit and tp_btf programs.
 *
 * @example
 * import { Kernel, skStorage, skStorageDelete, target, tpBtf, u64 } from 'tsbpf';
 *
 * const changes = skStorage('changes', { value: u64 });
 * tpBtf('inet_sock_set_state', target(process.arch, new Kernel().btf), (b) => {
 *   b.call(skStorageDelete, changes, b.arg(0));
 * });
 */
export const skStorageDelete = helper(108, 'sk_storage_delete', '5.2', ['map', 'owner'], {
  result: 'int',
  owner: 'sock',
  only: [...TRACING, ...LSM],
});

/**
 * Continues in the program at an index of a program array. Returns only if it cannot (Linux 4.2).
 * `b.tailCall` calls it.
 *
 * @example
 * import { kprobe, programArray, tailCall, target } from 'tsbpf';
 *
 * const stages = programArray('stages', { slots: ['parse'] });
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(tailCall, stages, 0));
 */
export const tailCall = helper(12, 'tail_call', '4.2', ['ctx', 'map', 'scalar'], { result: 's64' });

// Loops: these helpers call a subprogram until it returns 1, and return the number of calls.

/**
 * Calls a subprogram for each element of a map (Linux 5.13).
 *
 * Arguments: the map, the subprogram, the callback context (memory on the stack, or 0), flags (0). The
 * subprogram gets the map, the addresses of the key and the value, and the callback context.
 *
 * @example
 * import { forEachMapElem, hash, kprobe, subprogram, target, u32, u64 } from 'tsbpf';
 *
 * const counts = hash('counts', { key: u32, value: u64, maxEntries: 64 });
 * const each = subprogram('each', [u64, u64, u64], (b) => b.return(0));
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(forEachMapElem, counts, each, 0, 0));
 */
export const forEachMapElem = helper(
  164,
  'for_each_map_elem',
  '5.13',
  ['map', 'callback', 'callbackContext', 'scalar'],
  { result: 's64' },
);

/**
 * Calls a subprogram a number of times, at most 2^23 (Linux 5.17).
 *
 * Arguments: the number of calls, the subprogram, the callback context (memory on the stack, or 0), flags
 * (0). The subprogram gets the number of the iteration, from 0, and the callback context.
 *
 * @example
 * import { kprobe, loop, struct, subprogram, target, u32, u64 } from 'tsbpf';
 *
 * const State = struct({ sum: u64 });
 * const add = subprogram('add', [u32, State], (b, n, state) => state.sum.set(state.sum.get().add(n)));
 * kprobe('tcp_v4_connect', target('x64'), (b) => {
 *   const state = b.stack(State);
 *   state.set(0);
 *   b.call(loop, 10, add, state, 0);
 * });
 */
export const loop = helper(181, 'loop', '5.17', ['scalar', 'callback', 'callbackContext', 'scalar'], {
  result: 's64',
});

// Memory that the verifier cannot check. These helpers return 0, or -EFAULT and zero the destination; the
// `Str` helpers return the length with its NUL. `b.call` takes the destination and the address; the size
// follows from the destination.

/**
 * Copies kernel or user memory (Linux 4.1, GPL only). Returns 0 or -EFAULT. Prefer `probeReadKernel` and
 * `probeReadUser`, which say which.
 *
 * @example
 * import { bytes, kprobe, probeRead, target } from 'tsbpf';
 *
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(probeRead, b.stack(bytes(16)), b.arg(0)));
 */
export const probeRead = helper(4, 'probe_read', '4.1', ['out', 'size', 'kernelPointer'], { result: 's64' });

/**
 * Copies a NUL-terminated string from kernel or user memory, and terminates it even if it is cut (Linux 4.11,
 * GPL only). Returns the length with its NUL, or a negative errno. Prefer `probeReadKernelStr` and
 * `probeReadUserStr`, which say which.
 *
 * @example
 * import { chars, kprobe, probeReadStr, target } from 'tsbpf';
 *
 * kprobe('do_sys_openat2', target('x64'), (b) => b.call(probeReadStr, b.stack(chars(64)), b.arg(1)));
 */
export const probeReadStr = helper(45, 'probe_read_str', '4.11', ['partial', 'size', 'kernelPointer'], {
  result: 's64',
});

/**
 * Copies user memory (Linux 5.5, GPL only). Returns 0 or -EFAULT.
 *
 * @example
 * import { bytes, kprobe, probeReadUser, target } from 'tsbpf';
 *
 * kprobe('do_sys_openat2', target('x64'), (b) => b.call(probeReadUser, b.stack(bytes(16)), b.arg(1)));
 */
export const probeReadUser = helper(112, 'probe_read_user', '5.5', ['out', 'size', 'scalar'], {
  result: 's64',
});

/**
 * Copies kernel memory (Linux 5.5, GPL only). Returns 0 or -EFAULT. The fields of a kernel pointer
 * (`b.kernel`) call it.
 *
 * @example
 * import { bytes, kprobe, probeReadKernel, target } from 'tsbpf';
 *
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(probeReadKernel, b.stack(bytes(16)), b.arg(0)));
 */
export const probeReadKernel = helper(113, 'probe_read_kernel', '5.5', ['out', 'size', 'kernelPointer'], {
  result: 's64',
});

/**
 * Copies a NUL-terminated string from user memory, and terminates it even if it is cut (Linux 5.5, GPL only).
 * Returns the length with its NUL, or a negative errno.
 *
 * @example
 * import { chars, kprobe, probeReadUserStr, target } from 'tsbpf';
 *
 * kprobe('do_sys_openat2', target('x64'), (b) => b.call(probeReadUserStr, b.stack(chars(64)), b.arg(1)));
 */
export const probeReadUserStr = helper(114, 'probe_read_user_str', '5.5', ['partial', 'size', 'scalar'], {
  result: 's64',
});

/**
 * Copies a NUL-terminated string from kernel memory, and terminates it even if it is cut (Linux 5.5, GPL
 * only). Returns the length with its NUL, or a negative errno.
 *
 * @example
 * import { chars, kprobe, probeReadKernelStr, target } from 'tsbpf';
 *
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(probeReadKernelStr, b.stack(chars(16)), b.arg(0)));
 */
export const probeReadKernelStr = helper(
  115,
  'probe_read_kernel_str',
  '5.5',
  ['partial', 'size', 'kernelPointer'],
  { result: 's64' },
);

/**
 * Copies user memory, and may sleep until it is paged in (Linux 5.10). Only sleepable programs may call it;
 * the builder makes none, so call it from a list of instructions. Returns 0 or -EFAULT.
 *
 * @example
 * import { copyFromUser } from 'tsbpf';
 * import { call } from 'tsbpf/asm';
 *
 * call(copyFromUser);
 */
export const copyFromUser = helper(148, 'copy_from_user', '5.10', ['out', 'size', 'scalar'], {
  result: 's64',
  only: [],
});

/**
 * Writes the path of a `struct path` as text, in functions that the kernel allows (Linux 5.10, GPL only).
 * Only fentry, fexit and tp_btf programs may call it. Returns the length with its NUL, or a negative errno.
 *
 * @example
 * import { chars, dPath, fentry, Kernel, target } from 'tsbpf';
 *
 * const on = target(process.arch, new Kernel().btf);
 * fentry('vfs_truncate', on, (b) => b.call(dPath, b.arg(0), b.stack(chars(64))));
 */
export const dPath = helper(147, 'd_path', '5.10', ['kernelPointer', 'partial', 'size'], {
  result: 's64',
  only: TRACING,
});

// Time, in nanoseconds.

/**
 * Returns the nanoseconds since boot without time spent in suspend: CLOCK_MONOTONIC (Linux 4.1, GPL only).
 *
 * @example
 * import { kprobe, ktimeGetNs, target } from 'tsbpf';
 *
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(ktimeGetNs));
 */
export const ktimeGetNs = helper(5, 'ktime_get_ns', '4.1', []);

/**
 * Returns the nanoseconds since boot with time spent in suspend: CLOCK_BOOTTIME (Linux 5.8, GPL only).
 *
 * @example
 * import { kprobe, ktimeGetBootNs, target } from 'tsbpf';
 *
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(ktimeGetBootNs));
 */
export const ktimeGetBootNs = helper(125, 'ktime_get_boot_ns', '5.8', []);

/**
 * Returns `ktimeGetNs` as of the last timer tick (Linux 5.11, GPL only). Tracing programs may not call it
 * since Linux 5.16.
 *
 * @example
 * import { kprobe, ktimeGetCoarseNs, target } from 'tsbpf';
 *
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(ktimeGetCoarseNs));
 */
export const ktimeGetCoarseNs = helper(160, 'ktime_get_coarse_ns', '5.11', []);

/**
 * Returns the nanoseconds of international atomic time: CLOCK_TAI (Linux 6.1, GPL only).
 *
 * @example
 * import { kprobe, ktimeGetTaiNs, target } from 'tsbpf';
 *
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(ktimeGetTaiNs));
 */
export const ktimeGetTaiNs = helper(208, 'ktime_get_tai_ns', '6.1', []);

/**
 * Returns the kernel's tick counter (Linux 5.6).
 *
 * @example
 * import { jiffies64, kprobe, target } from 'tsbpf';
 *
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(jiffies64));
 */
export const jiffies64 = helper(118, 'jiffies64', '5.6', []);

// The current task.

/**
 * Returns the process and thread id, `tgid << 32 | pid` in the kernel's terms (Linux 4.2). The upper half is
 * what user space calls the PID, the lower half the TID.
 *
 * @example
 * import { getCurrentPidTgid, kprobe, target } from 'tsbpf';
 *
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(getCurrentPidTgid).rsh(32));
 */
export const getCurrentPidTgid = helper(14, 'get_current_pid_tgid', '4.2', []);

/**
 * Returns the user and group id, `gid << 32 | uid` (Linux 4.2).
 *
 * @example
 * import { getCurrentUidGid, kprobe, target } from 'tsbpf';
 *
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(getCurrentUidGid));
 */
export const getCurrentUidGid = helper(15, 'get_current_uid_gid', '4.2', []);

/**
 * Writes the name of the current task, at most 16 bytes with its NUL (Linux 4.2). Returns 0 or a negative
 * errno. `b.call` takes the destination; the size follows from it. Some kernels (Linux 6.1) leave old bytes
 * after the NUL, so `b.call` clears the memory first.
 *
 * @example
 * import { chars, getCurrentComm, kprobe, target } from 'tsbpf';
 *
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(getCurrentComm, b.stack(chars(16))));
 */
export const getCurrentComm = helper(16, 'get_current_comm', '4.2', ['partial', 'size'], { result: 's64' });

/**
 * Returns the address of the current `task_struct` (Linux 4.8, GPL only). Read its fields with `b.kernel`.
 *
 * @example
 * import { getCurrentTask, kprobe, target } from 'tsbpf';
 *
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(getCurrentTask));
 */
export const getCurrentTask = helper(35, 'get_current_task', '4.8', []);

/**
 * Returns the current `task_struct` as a pointer that the verifier knows, so that plain loads read its fields
 * (Linux 5.11, GPL only).
 *
 * @example
 * import { getCurrentTaskBtf, kprobe, target } from 'tsbpf';
 *
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(getCurrentTaskBtf));
 */
export const getCurrentTaskBtf = helper(158, 'get_current_task_btf', '5.11', [], { result: 'pointer' });

/**
 * Returns 1 if the current task is in or below the cgroup at an index of a cgroup array, 0 if not, or a
 * negative errno (Linux 4.9).
 *
 * @example
 * import { cgroupArray, currentTaskUnderCgroup, kprobe, target } from 'tsbpf';
 *
 * const groups = cgroupArray('groups', ['/sys/fs/cgroup/system.slice']);
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(currentTaskUnderCgroup, groups, 0));
 */
export const currentTaskUnderCgroup = helper(37, 'current_task_under_cgroup', '4.9', ['map', 'scalar'], {
  result: 'int',
});

/**
 * Returns the id of the current task's cgroup, version 2 (Linux 4.18).
 *
 * @example
 * import { getCurrentCgroupId, kprobe, target } from 'tsbpf';
 *
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(getCurrentCgroupId));
 */
export const getCurrentCgroupId = helper(80, 'get_current_cgroup_id', '4.18', []);

/**
 * Returns the id of the ancestor of the current task's cgroup at a level; level 0 is the root (Linux 5.7).
 *
 * @example
 * import { getCurrentAncestorCgroupId, kprobe, target } from 'tsbpf';
 *
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(getCurrentAncestorCgroupId, 1));
 */
export const getCurrentAncestorCgroupId = helper(123, 'get_current_ancestor_cgroup_id', '5.7', ['scalar']);

/**
 * Writes the process and thread id in a PID namespace as `struct bpf_pidns_info`, two u32 (Linux 5.7). The
 * device and inode number of `/proc/PID/ns/pid` identify the namespace. Returns 0 or a negative errno.
 *
 * @example
 * import { getNsCurrentPidTgid, kprobe, struct, target, u32 } from 'tsbpf';
 *
 * const Ids = struct({ pid: u32, tgid: u32 });
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(getNsCurrentPidTgid, 4, 4026531836, b.stack(Ids)));
 */
export const getNsCurrentPidTgid = helper(
  120,
  'get_ns_current_pid_tgid',
  '5.7',
  ['scalar', 'scalar', 'out', 'size'],
  { result: 'int' },
);

/**
 * Sends a signal to the process of the current task (Linux 5.3). Returns 0 or a negative errno.
 *
 * @example
 * import { kprobe, sendSignal, target } from 'tsbpf';
 *
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(sendSignal, 9));
 */
export const sendSignal = helper(109, 'send_signal', '5.3', ['scalar'], { result: 'int' });

/**
 * Sends a signal to the current thread (Linux 5.6). Returns 0 or a negative errno.
 *
 * @example
 * import { kprobe, sendSignalThread, target } from 'tsbpf';
 *
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(sendSignalThread, 9));
 */
export const sendSignalThread = helper(117, 'send_signal_thread', '5.6', ['scalar'], { result: 'int' });

/**
 * Returns the address of the user-space registers of a task (Linux 5.15).
 *
 * @example
 * import { getCurrentTaskBtf, kprobe, target, taskPtRegs } from 'tsbpf';
 *
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(taskPtRegs, b.call(getCurrentTaskBtf)));
 */
export const taskPtRegs = helper(175, 'task_pt_regs', '5.15', ['kernelPointer'], {
  result: 'pointer',
});

// Output to user space.

/**
 * Sends memory as an event to a perf event array (Linux 4.4, GPL only). Flags: a CPU number, or
 * `BPF_F_CURRENT_CPU` (0xffffffff). Returns 0 or a negative errno. `b.output` calls it.
 *
 * @example
 * import { BPF_F_CURRENT_CPU, kprobe, perfEventArray, perfEventOutput, struct, target, u64 } from 'tsbpf';
 *
 * const Event = struct({ ns: u64 });
 * const events = perfEventArray('events', Event);
 * kprobe('tcp_v4_connect', target('x64'), (b) => {
 *   const event = b.stack(Event);
 *   event.set(0);
 *   b.call(perfEventOutput, events, BPF_F_CURRENT_CPU, event);
 * });
 */
export const perfEventOutput = helper(
  25,
  'perf_event_output',
  '4.4',
  ['ctx', 'map', 'scalar', 'memory', 'size'],
  { result: 'int' },
);

/**
 * Copies memory as an event into a ring buffer (Linux 5.8). Flags: `BPF_RB_NO_WAKEUP`,
 * `BPF_RB_FORCE_WAKEUP`, or 0. Returns 0, or -EAGAIN if there is no space. `b.output` calls it, and counts
 * lost events, which this helper does not.
 *
 * @example
 * import { kprobe, ringBuffer, ringbufOutput, struct, target, u64 } from 'tsbpf';
 *
 * const Event = struct({ ns: u64 });
 * const events = ringBuffer('events', Event, { bytes: 4096 });
 * kprobe('tcp_v4_connect', target('x64'), (b) => {
 *   const event = b.stack(Event);
 *   event.set(0);
 *   b.call(ringbufOutput, events, event, 0);
 * });
 */
export const ringbufOutput = helper(130, 'ringbuf_output', '5.8', ['map', 'memory', 'size', 'scalar'], {
  result: 's64',
});

/**
 * Reserves memory in a ring buffer (Linux 5.8). Only `b.reserve` can call it, because the record must be
 * released on every path.
 */
export const ringbufReserve = helper(131, 'ringbuf_reserve', '5.8', ['map', 'scalar', 'scalar']);

/**
 * Publishes a record that `b.reserve` has reserved (Linux 5.8). Flags as for `ringbufOutput`. `b.submit`
 * calls it.
 */
export const ringbufSubmit = helper(132, 'ringbuf_submit', '5.8', ['record', 'scalar'], { result: 'void' });

/**
 * Drops a record that `b.reserve` has reserved (Linux 5.8). Flags as for `ringbufOutput`. `b.discard`
 * calls it.
 */
export const ringbufDiscard = helper(133, 'ringbuf_discard', '5.8', ['record', 'scalar'], { result: 'void' });

/**
 * Returns a fact about a ring buffer (Linux 5.8): `BPF_RB_AVAIL_DATA`, `BPF_RB_RING_SIZE`, `BPF_RB_CONS_POS`
 * or `BPF_RB_PROD_POS`. It may have changed when the program uses it.
 *
 * @example
 * import { BPF_RB_AVAIL_DATA, kprobe, ringBuffer, ringbufQuery, struct, target, u64 } from 'tsbpf';
 *
 * const events = ringBuffer('events', struct({ ns: u64 }), { bytes: 4096 });
 * kprobe('tcp_v4_connect', target('x64'), (b) => {
 *   b.if(b.call(ringbufQuery, events, BPF_RB_AVAIL_DATA).gt(2048), () => b.exit());
 * });
 */
export const ringbufQuery = helper(134, 'ringbuf_query', '5.8', ['map', 'scalar']);

/**
 * Prints a line to `trace_pipe` of tracefs, for debugging (Linux 4.1, GPL only). Arguments: the format, and
 * up to three numbers. Returns the number of characters or a negative errno.
 *
 * @example
 * import { tracePrintk } from 'tsbpf';
 * import { add, call, mov, r1, r10, r2, st } from 'tsbpf/asm';
 *
 * const hi = [st({ size: 4 }, r10, -4, 0x6968), mov(r1, r10), add(r1, -4), mov(r2, 4), call(tracePrintk)];
 */
export const tracePrintk = helper(
  6,
  'trace_printk',
  '4.1',
  ['memory', 'size', 'scalar', 'scalar', 'scalar'],
  { optional: 3, result: 's64' },
);

// Stacks, counters, the probe itself.

/**
 * Writes the addresses of the current kernel stack, or of the user stack with flag `BPF_F_USER_STACK` (256)
 * (Linux 4.18, GPL only). Returns the number of bytes or a negative errno.
 *
 * @example
 * import { arrayOf, getStack, kprobe, target, u64 } from 'tsbpf';
 *
 * const Stack = arrayOf(u64, 16);
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(getStack, b.stack(Stack), 0));
 */
export const getStack = helper(67, 'get_stack', '4.18', ['ctx', 'partial', 'size', 'scalar'], {
  result: 's64',
});

/**
 * Stores the current kernel stack, or the user stack with flag `BPF_F_USER_STACK` (256), in a stack trace map
 * (Linux 4.6, GPL only). Returns its number or a negative errno. `b.stackId` calls it.
 *
 * @example
 * import { getStackid, kprobe, stackTrace, target } from 'tsbpf';
 *
 * const stacks = stackTrace('stacks', { maxEntries: 1_024 });
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(getStackid, stacks, 0));
 */
export const getStackid = helper(27, 'get_stackid', '4.6', ['ctx', 'map', 'scalar'], { result: 's32' });

/**
 * Writes the addresses of the stack of a task (Linux 5.9). Returns the number of bytes or a negative errno.
 *
 * @example
 * import { arrayOf, getCurrentTaskBtf, getTaskStack, kprobe, target, u64 } from 'tsbpf';
 *
 * const Stack = arrayOf(u64, 16);
 * kprobe('tcp_v4_connect', target('x64'), (b) => {
 *   b.call(getTaskStack, b.call(getCurrentTaskBtf), b.stack(Stack), 0);
 * });
 */
export const getTaskStack = helper(
  141,
  'get_task_stack',
  '5.9',
  ['kernelPointer', 'partial', 'size', 'scalar'],
  {
    result: 's64',
  },
);

/**
 * Returns the value of a counter of a perf event array (Linux 4.3, GPL only). A negative errno is not
 * distinguishable from a value; prefer `perfEventReadValue`. The flags are a CPU number or
 * `BPF_F_CURRENT_CPU`.
 *
 * @example
 * import { perfEventRead } from 'tsbpf';
 * import { call } from 'tsbpf/asm';
 *
 * call(perfEventRead);
 */
export const perfEventRead = helper(22, 'perf_event_read', '4.3', ['map', 'scalar']);

/**
 * Writes the value of a counter of a perf event array as `struct bpf_perf_event_value`: counter, enabled and
 * running time in ns, u64 each (Linux 4.15, GPL only). Returns 0 or a negative errno.
 *
 * @example
 * import { perfEventReadValue } from 'tsbpf';
 * import { call } from 'tsbpf/asm';
 *
 * call(perfEventReadValue);
 */
export const perfEventReadValue = helper(
  55,
  'perf_event_read_value',
  '4.15',
  ['map', 'scalar', 'out', 'size'],
  { result: 'int' },
);

/**
 * Returns the address of the traced function (Linux 5.15, GPL only). For kprobe, kretprobe, kprobe.multi,
 * fentry and fexit programs.
 *
 * @example
 * import { getFuncIp, kprobe, target } from 'tsbpf';
 *
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(getFuncIp));
 */
export const getFuncIp = helper(173, 'get_func_ip', '5.15', ['ctx'], { only: AT_FUNCTIONS });

/**
 * Returns the number that was passed when the program was attached (Linux 5.15): with `kprobeMulti` that of
 * the function, otherwise 0.
 *
 * @example
 * import { getAttachCookie, hash, kprobeMulti, target, u64 } from 'tsbpf';
 *
 * const calls = hash('calls', { key: u64, value: u64, maxEntries: 1024 });
 * kprobeMulti('tcp_*', target('x64'), (b) => b.count(calls, b.call(getAttachCookie)));
 */
export const getAttachCookie = helper(174, 'get_attach_cookie', '5.15', ['ctx']);

/**
 * Returns the number of arguments of the traced function (Linux 5.17). For fentry and fexit programs; also
 * for tp_btf programs on kernels that accept it (7.3 does, 6.18 does not).
 *
 * @example
 * import { fentry, getFuncArgCnt, Kernel, target } from 'tsbpf';
 *
 * fentry('tcp_v4_connect', target(process.arch, new Kernel().btf), (b) => b.call(getFuncArgCnt));
 */
export const getFuncArgCnt = helper(185, 'get_func_arg_cnt', '5.17', ['ctx'], {
  result: 's64',
  only: TRACING,
});

/**
 * Makes the probed function return a value without running, if the kernel allows error injection for it
 * (Linux 4.16, GPL only). For kprobe and kretprobe programs.
 *
 * @example
 * import { kprobe, overrideReturn, target } from 'tsbpf';
 *
 * kprobe('should_failslab', target('x64'), (b) => b.call(overrideReturn, -12));
 */
export const overrideReturn = helper(58, 'override_return', '4.16', ['ctx', 'scalar'], {
  result: 's64',
  only: ['kprobe', 'kretprobe'],
});

// Sockets.

/**
 * Returns the cookie of a socket, which no other socket has (Linux 4.12; in tracing programs 5.12). For
 * fentry, fexit and tp_btf programs.
 *
 * @example
 * import { fentry, getSocketCookie, Kernel, target } from 'tsbpf';
 *
 * fentry('tcp_v4_connect', target(process.arch, new Kernel().btf), (b) => b.call(getSocketCookie, b.arg(0)));
 */
export const getSocketCookie = helper(46, 'get_socket_cookie', '4.12', ['kernelPointer'], { only: TRACING });

/**
 * Casts a socket to `struct tcp_sock`; returns 0 if it is none (Linux 5.9). For fentry, fexit and tp_btf
 * programs.
 *
 * @example
 * import { fentry, Kernel, skcToTcpSock, target } from 'tsbpf';
 *
 * fentry('tcp_v4_connect', target(process.arch, new Kernel().btf), (b) => b.call(skcToTcpSock, b.arg(0)));
 */
export const skcToTcpSock = helper(137, 'skc_to_tcp_sock', '5.9', ['kernelPointer'], {
  result: 'pointer',
  only: TRACING,
});

/**
 * Casts a socket to `struct tcp6_sock`; returns 0 if it is none (Linux 5.9). For fentry, fexit and tp_btf
 * programs.
 *
 * @example
 * import { fentry, Kernel, skcToTcp6Sock, target } from 'tsbpf';
 *
 * fentry('tcp_v6_connect', target(process.arch, new Kernel().btf), (b) => b.call(skcToTcp6Sock, b.arg(0)));
 */
export const skcToTcp6Sock = helper(136, 'skc_to_tcp6_sock', '5.9', ['kernelPointer'], {
  result: 'pointer',
  only: TRACING,
});

// The machine.

/**
 * Returns the number of the CPU that runs the program (Linux 4.1).
 *
 * @example
 * import { getSmpProcessorId, kprobe, target } from 'tsbpf';
 *
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(getSmpProcessorId));
 */
export const getSmpProcessorId = helper(8, 'get_smp_processor_id', '4.1', [], { result: 'u32' });

/**
 * Returns the NUMA node of the CPU that runs the program (Linux 4.10).
 *
 * @example
 * import { getNumaNodeId, kprobe, target } from 'tsbpf';
 *
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(getNumaNodeId));
 */
export const getNumaNodeId = helper(42, 'get_numa_node_id', '4.10', [], { result: 'u32' });

/**
 * Returns a pseudo-random 32-bit number (Linux 4.1).
 *
 * @example
 * import { getPrandomU32, kprobe, target } from 'tsbpf';
 *
 * kprobe('tcp_v4_connect', target('x64'), (b) => b.call(getPrandomU32));
 */
export const getPrandomU32 = helper(7, 'get_prandom_u32', '4.1', [], { result: 'u32' });
