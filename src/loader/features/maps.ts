/**
 * Probes of map types and map flags: the smallest map of a type is created and closed.
 *
 * Source: kernel/bpf/syscall.c (`map_create`) and the `map_alloc_check` of each type.
 */
import { BPF_F_MMAPABLE, BPF_F_NO_PREALLOC } from '../../asm/flags.ts';
import { type KernelMapType, type MapFlag, mapFlags, mapTypes } from '../../asm/kernel-features.ts';
import { Attr, Command } from '../bpf.ts';
import { Errno } from '../errno.ts';
import type { KernelFacts } from '../kernel-facts.ts';
import { withMemlock } from '../permission.ts';
import { judge, opened, type Verdict } from './attempt.ts';
import { NO_FD } from './programs.ts';

/** The attributes of a map. Default: keys and values of 4 bytes, one entry. */
interface Shape {
  readonly key?: number;
  readonly value?: number;
  readonly entries?: number | 'page';
  readonly flags?: number;
  /** Whether the map has an inner map. */
  readonly inner?: true;
  /** Whether the map needs the types of its keys and values. */
  readonly types?: true;
  /** The type of a kernel structure as its value. */
  readonly kernelType?: number;
  /** The errno of a check that only a kernel with this map type makes. */
  readonly known?: number;
}

const STORAGE: Shape = { entries: 0, flags: BPF_F_NO_PREALLOC, types: true, known: Errno.EBADF };
const NESTED: Shape = { inner: true, known: Errno.EBADF };
const CGROUP_STORAGE: Shape = { key: 16, entries: 0 };
const RING: Shape = { key: 0, value: 0, entries: 'page' };

const SHAPES: { readonly [T in KernelMapType]?: Shape } = {
  stack_trace: { value: 8 },
  lpm_trie: { key: 8, flags: BPF_F_NO_PREALLOC },
  array_of_maps: NESTED,
  hash_of_maps: NESTED,
  cgroup_storage: CGROUP_STORAGE,
  percpu_cgroup_storage: CGROUP_STORAGE,
  queue: { key: 0 },
  stack: { key: 0 },
  bloom_filter: { key: 0 },
  sk_storage: STORAGE,
  inode_storage: STORAGE,
  task_storage: STORAGE,
  cgrp_storage: STORAGE,
  struct_ops: { kernelType: 1, known: Errno.ENOTSUPP },
  ringbuf: RING,
  user_ringbuf: RING,
  arena: { key: 0, value: 0, flags: BPF_F_MMAPABLE },
  insn_array: { value: 16 },
};

/** Probes a map type, with flags if there are any. */
export function probeMapType(kernel: KernelFacts, type: KernelMapType, more: Shape = {}): Verdict {
  const shape = { ...SHAPES[type], ...more };
  const { key = 4, value = 4, entries = 1, inner, types, kernelType = 0 } = shape;
  const flags = (SHAPES[type]?.flags ?? 0) | (more.flags ?? 0);
  const attr = new Attr(kernel.syscalls, 64)
    .u32(0, Object.keys(mapTypes()).indexOf(type) + 1)
    .u32(4, key)
    .u32(8, value)
    .u32(12, entries === 'page' ? kernel.pageSize : entries)
    .u32(16, flags)
    .u32(20, inner ? NO_FD : 0)
    .u32(60, kernelType);
  // The types of key and value: `btf_fd`, `btf_key_type_id`, `btf_value_type_id`.
  if (types) attr.u32(48, NO_FD).u32(52, 1).u32(56, 1);
  const result = withMemlock(kernel, () => attr.send(Command.mapCreate));
  const tried = opened(kernel, 'bpf(BPF_MAP_CREATE)', result);
  return judge(kernel, tried, tried.errno === shape.known);
}

/** Probes a flag of map creation. */
export function probeMapFlag(kernel: KernelFacts, name: MapFlag): Verdict {
  const [flags, , type, value] = mapFlags()[name] as readonly [number, string, KernelMapType, number?];
  return probeMapType(kernel, type, value === undefined ? { flags } : { flags, value });
}
