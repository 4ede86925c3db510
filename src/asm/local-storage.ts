/**
 * Storage maps: a value for each task, inode, cgroup or socket, which the kernel frees with its owner.
 *
 * Source: kernel/bpf/bpf_local_storage.c, bpf_task_storage.c, bpf_inode_storage.c, bpf_cgrp_storage.c;
 * net/core/bpf_sk_storage.c.
 */
import type { TSchema } from '@sinclair/typebox';
import { BPF_F_NO_PREALLOC } from './flags.ts';
import {
  cgrpStorageDelete,
  cgrpStorageGet,
  type Helper,
  inodeStorageDelete,
  inodeStorageGet,
  skStorageDelete,
  skStorageGet,
  taskStorageDelete,
  taskStorageGet,
} from './helpers.ts';
import { s32 } from './layout.ts';
import { type MapSpec, MapType, spec } from './map.ts';

/** A storage map. In this process its keys are file descriptors of the owners. */
export interface StorageSpec<V extends TSchema = TSchema> extends MapSpec<typeof s32, V> {
  readonly type: keyof typeof STORAGE;
}

/** The helpers of the storage maps, and the descriptors by which a process reaches their values. */
const STORAGE = {
  [MapType.taskStorage]: {
    get: taskStorageGet,
    delete: taskStorageDelete,
    descriptor: 'a pidfd, as openProcess opens it',
  },
  [MapType.inodeStorage]: {
    get: inodeStorageGet,
    delete: inodeStorageDelete,
    descriptor: 'the descriptor of an open file',
  },
  [MapType.cgrpStorage]: {
    get: cgrpStorageGet,
    delete: cgrpStorageDelete,
    descriptor: "the descriptor of a cgroup's directory, as openCgroup opens it",
  },
  [MapType.skStorage]: {
    get: skStorageGet,
    delete: skStorageDelete,
    descriptor: 'the descriptor of a socket',
  },
} as const;

/** What distinguishes a kind of storage from the others. */
export interface Storage {
  /** The helper that finds or creates the value of an owner. */
  readonly get: Helper;
  readonly delete: Helper;
  /** What a process uses as a key. */
  readonly descriptor: string;
}

/** The kind of storage that a map is; undefined for other maps. */
export function storageOf({ type }: MapSpec): Storage | undefined {
  return (STORAGE as Partial<Record<MapType, Storage>>)[type];
}

interface StorageDefinition<V extends TSchema> {
  readonly value: V;
  readonly flags?: number;
}

function storage<V extends TSchema>(
  name: string,
  type: StorageSpec['type'],
  { value, flags = 0 }: StorageDefinition<V>,
): StorageSpec<V> {
  // The kernel demands the flag, because the owners allocate the values.
  return { ...spec(name, type, { key: s32, value, maxEntries: 0, flags: flags | BPF_F_NO_PREALLOC }), type };
}

/**
 * A value for each task, that is, each thread (Linux 5.11; in tracing programs 5.12). The kernel frees it
 * when the task exits. `b.lookup` takes a pointer to a `task_struct` that the verifier knows, such as the
 * result of `getCurrentTaskBtf`, and creates the value with `create`. A hash map under the thread ID has no
 * such end, and has a limit of entries.
 *
 * In this process the keys are pidfds: see `openProcess`. The kernel does not list the values.
 *
 * @example
 * ```ts
 * import { getCurrentTaskBtf, Kernel, ktimeGetNs, target, taskStorage, tpBtf, u64 } from 'tsbpf';
 *
 * const enteredNs = taskStorage('entered_ns', { value: u64 });
 *
 * const on = target(process.arch, new Kernel().btf);
 * const onCall = tpBtf('sys_enter', on, (b) => {
 *   const now = b.keep(b.call(ktimeGetNs));
 *   b.lookup(enteredNs, b.call(getCurrentTaskBtf), { create: true, found: (ns) => ns.set(now) });
 * });
 * ```
 */
export function taskStorage<V extends TSchema>(
  name: string,
  definition: StorageDefinition<V>,
): StorageSpec<V> {
  return storage(name, MapType.taskStorage, definition);
}

/**
 * A value for each inode (Linux 5.10, CONFIG_BPF_LSM). The kernel frees it with the inode. Only LSM programs
 * may use it: see `lsm`.
 *
 * In this process the keys are descriptors of open files. The kernel does not list the values.
 *
 * @example
 * ```ts
 * import { inodeStorage, Kernel, lsm, target, u64 } from 'tsbpf';
 *
 * const opens = inodeStorage('opens', { value: u64 });
 *
 * const on = target(process.arch, new Kernel().btf);
 * const onPermission = lsm('inode_permission', on, (b) => b.count(opens, b.arg('inode')));
 * ```
 */
export function inodeStorage<V extends TSchema>(
  name: string,
  definition: StorageDefinition<V>,
): StorageSpec<V> {
  return storage(name, MapType.inodeStorage, definition);
}

/**
 * A value for each cgroup (Linux 6.2). The kernel frees it with the cgroup. `b.lookup` takes a pointer to a
 * `cgroup` that the verifier knows.
 *
 * In this process the keys are descriptors of the cgroups' directories: see `openCgroup`. The kernel does not
 * list the values.
 *
 * @example
 * ```ts
 * import { cgrpStorage, Kernel, target, tpBtf, u64 } from 'tsbpf';
 *
 * const moves = cgrpStorage('moves', { value: u64 });
 *
 * // cgroup_attach_task(struct cgroup *dst_cgrp, const char *path, ...)
 * const on = target(process.arch, new Kernel().btf);
 * const onMove = tpBtf('cgroup_attach_task', on, (b) => b.count(moves, b.arg(0)));
 * ```
 */
export function cgrpStorage<V extends TSchema>(
  name: string,
  definition: StorageDefinition<V>,
): StorageSpec<V> {
  return storage(name, MapType.cgrpStorage, definition);
}

/**
 * A value for each socket (Linux 5.2; in tracing programs 5.11). The kernel frees it with the socket.
 * `b.lookup` takes a pointer to a `sock` that the verifier knows; only fentry, fexit and tp_btf programs have
 * one.
 *
 * In this process the keys are descriptors of sockets. The kernel does not list the values.
 *
 * @example
 * ```ts
 * import { Kernel, skStorage, target, tpBtf, u64 } from 'tsbpf';
 *
 * const changes = skStorage('changes', { value: u64 });
 *
 * // inet_sock_set_state(const struct sock *sk, int oldstate, int newstate)
 * const on = target(process.arch, new Kernel().btf);
 * const onState = tpBtf('inet_sock_set_state', on, (b) => b.count(changes, b.arg(0)));
 * ```
 */
export function skStorage<V extends TSchema>(name: string, definition: StorageDefinition<V>): StorageSpec<V> {
  return storage(name, MapType.skStorage, definition);
}
