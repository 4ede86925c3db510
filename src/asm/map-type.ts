/**
 * The types of maps and the flags of their creation: numbers, names and first kernels.
 *
 * Source: include/uapi/linux/bpf.h (`enum bpf_map_type`, `BPF_F_*`).
 */
import {
  BPF_F_INNER_MAP,
  BPF_F_MMAPABLE,
  BPF_F_NO_COMMON_LRU,
  BPF_F_NO_PREALLOC,
  BPF_F_RDONLY,
  BPF_F_RDONLY_PROG,
  BPF_F_WRONLY,
  BPF_F_WRONLY_PROG,
} from './flags.ts';
import { once } from './once.ts';

/**
 * Map types by number. Each has the kernel's name in camel case, and so does the function that makes such a
 * map: `lruHash` for BPF_MAP_TYPE_LRU_HASH.
 */
export const MapType = {
  hash: 1,
  array: 2,
  programArray: 3,
  perfEventArray: 4,
  perCpuHash: 5,
  perCpuArray: 6,
  stackTrace: 7,
  cgroupArray: 8,
  lruHash: 9,
  lruPerCpuHash: 10,
  lpmTrie: 11,
  arrayOfMaps: 12,
  hashOfMaps: 13,
  queue: 22,
  stack: 23,
  skStorage: 24,
  ringBuffer: 27,
  inodeStorage: 28,
  taskStorage: 29,
  bloomFilter: 30,
  cgrpStorage: 32,
  instructionArray: 34,
} as const;
export type MapType = (typeof MapType)[keyof typeof MapType];

/** The name of the function that makes maps of a type: `hash`. If there is none, `type 77`. */
export function mapTypeName(type: MapType): string {
  return Object.entries(MapType).find(([, number]) => number === type)?.[0] ?? `type ${type}`;
}

/** The first kernel of each map type. The numbers ascend from 1. */
export const mapTypes = once(
  () =>
    ({
      hash: '3.19',
      array: '3.19',
      prog_array: '4.2',
      perf_event_array: '4.3',
      percpu_hash: '4.6',
      percpu_array: '4.6',
      stack_trace: '4.6',
      cgroup_array: '4.8',
      lru_hash: '4.10',
      lru_percpu_hash: '4.10',
      lpm_trie: '4.11',
      array_of_maps: '4.12',
      hash_of_maps: '4.12',
      devmap: '4.14',
      sockmap: '4.14',
      cpumap: '4.15',
      xskmap: '4.18',
      sockhash: '4.18',
      cgroup_storage: '4.19',
      reuseport_sockarray: '4.19',
      percpu_cgroup_storage: '4.20',
      queue: '4.20',
      stack: '4.20',
      sk_storage: '5.2',
      devmap_hash: '5.4',
      struct_ops: '5.6',
      ringbuf: '5.8',
      inode_storage: '5.10',
      task_storage: '5.11',
      bloom_filter: '5.16',
      user_ringbuf: '6.1',
      cgrp_storage: '6.2',
      arena: '6.9',
      insn_array: '6.19',
    }) as const,
);

/** A map type by the kernel's name: `ringbuf` for BPF_MAP_TYPE_RINGBUF. */
export type KernelMapType = keyof ReturnType<typeof mapTypes>;

/** The kernel's name of a map type by its number. */
export function kernelMapType(type: number): KernelMapType | undefined {
  return Object.keys(mapTypes())[type - 1] as KernelMapType | undefined;
}

/** The first kernel of a map type. */
export function mapTypeSince(type: MapType): string {
  return Object.values(mapTypes())[type - 1] as string;
}

/**
 * The flags of map creation: the bit, its first kernel, and a map type that accepts it, with the size of its
 * values if that matters.
 */
export const mapFlags = once(
  () =>
    ({
      BPF_F_NO_PREALLOC: [BPF_F_NO_PREALLOC, '4.6', 'hash'],
      BPF_F_NO_COMMON_LRU: [BPF_F_NO_COMMON_LRU, '4.10', 'lru_hash'],
      BPF_F_NUMA_NODE: [0x4, '4.14', 'hash'],
      BPF_F_RDONLY: [BPF_F_RDONLY, '4.15', 'array'],
      BPF_F_WRONLY: [BPF_F_WRONLY, '4.15', 'array'],
      BPF_F_STACK_BUILD_ID: [0x20, '4.17', 'stack_trace', 32],
      BPF_F_ZERO_SEED: [0x40, '5.0', 'hash'],
      BPF_F_RDONLY_PROG: [BPF_F_RDONLY_PROG, '5.2', 'array'],
      BPF_F_WRONLY_PROG: [BPF_F_WRONLY_PROG, '5.2', 'array'],
      BPF_F_CLONE: [0x200, '5.4', 'sk_storage'],
      BPF_F_MMAPABLE: [BPF_F_MMAPABLE, '5.5', 'array'],
      BPF_F_PRESERVE_ELEMS: [0x800, '5.10', 'perf_event_array'],
      BPF_F_INNER_MAP: [BPF_F_INNER_MAP, '5.10', 'array'],
      BPF_F_SEGV_ON_FAULT: [0x2_0000, '6.9', 'arena'],
      BPF_F_NO_USER_CONV: [0x4_0000, '6.9', 'arena'],
    }) as const satisfies Record<string, readonly [number, string, KernelMapType, number?]>,
);

/** A flag of map creation by the kernel's name: `BPF_F_MMAPABLE`. */
export type MapFlag = keyof ReturnType<typeof mapFlags>;
