/** What the kernel allows for maps of special types, for the messages of calls that it refuses. */

import { BPF_F_RDONLY, BPF_F_WRONLY } from '../../asm/flags.ts';
import { storageOf } from '../../asm/local-storage.ts';
import { type MapSpec, MapType, mapTypeName, mapTypeSince } from '../../asm/map.ts';
import { flagNames } from '../../asm/map-limits.ts';
import { isMapOfMaps } from '../../asm/map-of-maps.ts';
import { isBloomFilter, isKeyless } from '../../asm/queue.ts';
import { Errno } from '../errno.ts';

/** Returns why a map of this type refuses a command of bpf(2), and what to do instead. */
export function typeHint(spec: MapSpec, command: string, errno: number): string | undefined {
  const isListing = command === 'BPF_MAP_GET_NEXT_KEY';
  if (isKeyless(spec)) return keylessHint(spec);
  if (spec.type === MapType.stackTrace && command === 'BPF_MAP_UPDATE_ELEM')
    return 'only programs add stacks, with b.stackId';
  const storage = storageOf(spec);
  if (storage && isListing) return 'the kernel does not list the values of a storage map; look up each owner';
  const isWrongKey = errno === Errno.EBADF || errno === Errno.EINVAL || errno === Errno.ENOTSOCK;
  return storage && isWrongKey ? `the key must be ${storage.descriptor}` : undefined;
}

/** What the kernel answers to a map that it cannot create, and the likely causes. Values are part of it. */
export function createHint(
  spec: MapSpec,
  { key, value, maxEntries }: { key: number; value: number; maxEntries: number },
  errno: number,
): string | undefined {
  const flags = spec.flags === 0 ? 'no flags' : `flags ${flagNames(spec.flags)}`;
  const what = `${mapTypeName(spec.type)}, key ${key} bytes, value ${value} bytes, maxEntries ${maxEntries}, ${flags}`;
  const MiB = Math.ceil((maxEntries * (key + value)) / (1 << 20));
  switch (errno) {
    case Errno.EINVAL:
      return `${what}: this kernel may lack the map type or a flag (Linux ${mapTypeSince(spec.type)}), or a size is not one it accepts`;
    case Errno.E2BIG:
      return `${what}: too large; before Linux 5.11 a key of a hash table has at most 512 bytes, key and value together less than 4 MiB on every kernel, and the entries take ${MiB} MiB; make them smaller, or lower maxEntries`;
    case Errno.ENOMEM:
      return `${what}: the entries take ${MiB} MiB, but the system or the cgroup of this process is out of memory; lower maxEntries, use BPF_F_NO_PREALLOC for a hash table, or raise the limit (memory.max)`;
    case Errno.ENOTSUPP:
      return `${what}: this kernel does not support the flags for this type`;
    default:
      return undefined;
  }
}

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
      return isUpdate
        ? `the map is full, or the index is beyond its ${maxEntries} entries; increase maxEntries`
        : undefined;
    case Errno.ENOSPC:
      return isUpdate ? `the map is full (maxEntries ${maxEntries}); increase maxEntries` : undefined;
    case Errno.EEXIST:
      return ARRAYS.has(type)
        ? 'every index of an array exists from the beginning; use UpdateMode.any or replace'
        : 'the map has this key; use UpdateMode.any or replace';
    case Errno.EBUSY:
      return 'a program that interrupted this call holds the lock of the key; try again';
    case Errno.EPERM:
      if (isWrite && spec.frozen) return 'the map is frozen: its content never changes';
      if (isWrite && (flags & BPF_F_RDONLY) !== 0)
        return 'the map has the flag BPF_F_RDONLY: only programs write it';
      if (!isWrite && (flags & BPF_F_WRONLY) !== 0)
        return 'the map has the flag BPF_F_WRONLY: only programs read it';
      return undefined;
    case Errno.EINVAL:
      if (isUpdate && isMapOfMaps(spec))
        return (
          `an inner map must have the type, sizes and flags of '${spec.inner.name}', ` +
          'and, if it is an array or before Linux 5.10, its maxEntries'
        );
      if (command.includes('DELETE') && ARRAYS.has(type))
        return 'the keys of an array are indices, which cannot be deleted; update the entry to zero';
      return undefined;
    case Errno.ENOTSUPP:
      return `the kernel does not let processes do this with maps of type ${mapTypeName(type)}; only programs can`;
    default:
      return undefined;
  }
}

/** The methods for a map without keys. */
export function keylessHint(spec: MapSpec): string {
  return isBloomFilter(spec)
    ? 'a bloom filter has no keys; use add and has'
    : 'a queue or stack has no keys; use push, pop and peek';
}
