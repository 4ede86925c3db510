/** What the kernel allows for maps of special types, for the messages of calls that it refuses. */

import { BPF_F_NO_PREALLOC, BPF_F_RDONLY, BPF_F_WRONLY } from '../../asm/flags.ts';
import { storageOf } from '../../asm/local-storage.ts';
import { type MapSpec, MapType, mapTypeName, mapTypeSince } from '../../asm/map.ts';
import { flagNames } from '../../asm/map-limits.ts';
import { isMapOfMaps } from '../../asm/map-of-maps.ts';
import { isBloomFilter, isKeyless } from '../../asm/queue.ts';
import { Errno } from '../errno.ts';

/** Returns why a map of this type refuses a command of bpf(2), and what to do instead. */
export function typeHint(spec: MapSpec, command: string, errno: number): string | undefined {
  const isListing = command === 'BPF_MAP_GET_NEXT_KEY';
  const storage = storageOf(spec);
  if (storage && WRONG_OWNER.has(errno) && !isListing) return `the key must be ${storage.descriptor}`;
  if (!REFUSALS.has(errno)) return undefined;
  if (isKeyless(spec)) return keylessHint(spec);
  if (spec.type === MapType.stackTrace && command === 'BPF_MAP_UPDATE_ELEM')
    return 'only programs add stacks, with b.stackId';
  return storage && isListing
    ? 'the kernel does not list the values of a storage map; look up each owner'
    : undefined;
}

/** The errnos of a key that is not the descriptor of an owner. */
const WRONG_OWNER: ReadonlySet<number> = new Set([Errno.EBADF, Errno.EINVAL, Errno.ENOTSOCK]);

/** The errnos of an operation that a map type does not have. */
const REFUSALS: ReadonlySet<number> = new Set([Errno.EINVAL, Errno.ENOTSUPP, Errno.EOPNOTSUPP]);

/** What the values of some map types must be. */
const DESCRIPTORS: Partial<Record<MapType, string>> = {
  [MapType.perfEventArray]: 'of an open perf event',
  [MapType.programArray]: 'of a program of the type that uses the array',
  [MapType.cgroupArray]: 'of a cgroup v2, as openCgroup opens it',
};

/** What the kernel answers to a map that it cannot create, and the likely causes. Values are part of it. */
export function createHint(
  spec: MapSpec,
  { key, value, maxEntries }: { key: number; value: number; maxEntries: number },
  errno: number,
): string | undefined {
  const { flags, type } = spec;
  const since = mapTypeSince(type);
  const isHash = HASHES.has(type);
  const described = flags === 0 ? 'no flags' : `flags ${flagNames(flags)}`;
  const what =
    type === MapType.ringBuffer
      ? `ringBuffer, ${maxEntries} bytes`
      : `${mapTypeName(type)}, key ${key} bytes, value ${value} bytes, maxEntries ${maxEntries}, ${described}`;
  const MiB = Math.ceil((type === MapType.ringBuffer ? maxEntries : maxEntries * (key + value)) / (1 << 20));
  const takes = maxEntries === 0 ? '' : `it takes up to ${MiB} MiB; `;
  const smaller =
    type === MapType.ringBuffer
      ? 'use fewer bytes'
      : maxEntries === 0
        ? 'use smaller values'
        : 'use smaller keys and values, or fewer entries (maxEntries)';
  const [refused, remedy] =
    flags === 0 ? ['a size', smaller] : ['a flag or a size', `create it without flags; ${smaller}`];
  switch (errno) {
    case Errno.EINVAL:
      return `${what}: this kernel refuses ${refused}${since === FIRST ? '' : `, or lacks the map type (Linux ${since} and later)`}; ${remedy}`;
    case Errno.E2BIG: {
      const longKey = isHash ? ', and before Linux 5.11 a key at most 512 bytes' : '';
      return `${what}: too large; ${takes}key and value together have less than 4 MiB${longKey}; ${smaller}`;
    }
    case Errno.ENOMEM: {
      const preallocated = isHash && (flags & BPF_F_NO_PREALLOC) === 0;
      const lazy = preallocated ? ', set BPF_F_NO_PREALLOC' : '';
      return `${what}: ${takes}the system or the cgroup of this process is out of memory; ${smaller}${lazy}, or raise the limit (memory.max)`;
    }
    case Errno.ENOTSUPP:
      return `${what}: this kernel does not support ${flags === 0 ? 'such values' : 'such flags or values'} for this type; ${remedy}`;
    default:
      return undefined;
  }
}

/** The first kernel with maps. */
export const FIRST = '3.19';

/** Hash tables that allocate all entries at their creation, unless a flag forbids it. */
const HASHES: ReadonlySet<MapType> = new Set([MapType.hash, MapType.perCpuHash, MapType.hashOfMaps]);

/** Whether the keys of a map are indices, which cannot be added or deleted. */
export const ARRAYS: ReadonlySet<MapType> = new Set([
  ...[MapType.array, MapType.perCpuArray, MapType.arrayOfMaps, MapType.instructionArray],
  ...[MapType.programArray, MapType.perfEventArray, MapType.cgroupArray],
]);

/** The likely cause of an errno of a call for elements; `command` is its name. */
export function elementHint(spec: MapSpec, command: string, errno: number): string | undefined {
  const { flags, maxEntries, type } = spec;
  const isUpdate = command.startsWith('BPF_MAP_UPDATE');
  const isWrite = isUpdate || command.includes('DELETE');
  switch (errno) {
    case Errno.E2BIG:
      if (!isUpdate || storageOf(spec)) return undefined;
      return ARRAYS.has(type)
        ? `the index is beyond ${maxEntries === 0 ? 'the entries of the map' : `its ${maxEntries} entries`}; use a smaller index, or increase maxEntries`
        : `the map is full (maxEntries ${maxEntries}); increase maxEntries, or delete entries`;
    case Errno.ENOENT:
      return isUpdate ? 'the map does not have this key; use UpdateMode.any or create' : undefined;
    case Errno.ESRCH:
      return type === MapType.taskStorage
        ? 'the process of this pidfd has exited, and the kernel has freed its value'
        : undefined;
    case Errno.ENOSPC:
      return isUpdate ? `the map is full (maxEntries ${maxEntries}); increase maxEntries` : undefined;
    case Errno.EEXIST:
      return ARRAYS.has(type)
        ? 'every index of an array exists from the beginning; use UpdateMode.any or replace'
        : 'the map has this key; use UpdateMode.any or replace';
    case Errno.EBUSY:
      return 'a program that interrupted this call holds the lock that it needs; try again';
    case Errno.EPERM:
      if (isWrite && spec.frozen) return 'the map is frozen: its content never changes';
      if (isWrite && (flags & BPF_F_RDONLY) !== 0)
        return 'the map has the flag BPF_F_RDONLY: only programs write it';
      if (!isWrite && (flags & BPF_F_WRONLY) !== 0)
        return 'the map has the flag BPF_F_WRONLY: only programs read it';
      return undefined;
    case Errno.EBADF:
      if (isUpdate && isMapOfMaps(spec)) return 'the inner map is closed; pass an open map';
      return isUpdate ? descriptorHint(type) : undefined;
    case Errno.EINVAL:
      if (isUpdate && isMapOfMaps(spec))
        return (
          `an inner map must have the type, sizes and flags of '${spec.inner.name}', ` +
          'and, if it is an array or before Linux 5.10, its maxEntries'
        );
      if (command.includes('DELETE') && ARRAYS.has(type))
        return 'the keys of an array are indices, which cannot be deleted; update the entry to zero';
      return (
        (isUpdate ? descriptorHint(type) : undefined) ?? (PLAIN.has(type) ? undefined : noOperation(type))
      );
    case Errno.ENOTSUPP:
    case Errno.EOPNOTSUPP:
      return noOperation(type);
    default:
      return undefined;
  }
}

/** The map types that have every operation. */
const PLAIN: ReadonlySet<MapType> = new Set([
  ...[MapType.hash, MapType.perCpuHash, MapType.lruHash, MapType.lruPerCpuHash, MapType.hashOfMaps],
  ...[MapType.array, MapType.perCpuArray, MapType.arrayOfMaps, MapType.lpmTrie],
]);

function descriptorHint(type: MapType): string | undefined {
  const of = DESCRIPTORS[type];
  return of === undefined ? undefined : `the value must be the descriptor ${of}`;
}

function noOperation(type: MapType): string {
  return `this kernel does not let processes do this with maps of type ${mapTypeName(type)}; let a program do it`;
}

/** The methods for a map without keys. */
export function keylessHint(spec: MapSpec): string {
  return isBloomFilter(spec)
    ? 'a bloom filter has no keys; use add and has'
    : 'a queue or stack has no keys; use push, pop and peek';
}
