/**
 * What the kernel reports about a map.
 *
 * Source: include/uapi/linux/bpf.h (`struct bpf_map_info`).
 */
import type { Kernel } from '../kernel.ts';
import { objectInfo, objectNameAt } from '../object-info.ts';

/**
 * A map that any process has created, as the kernel reports it. Holds no kernel resource.
 *
 * Source: `struct bpf_map_info`, include/uapi/linux/bpf.h.
 * @example
 * ```ts no run
 * import { Kernel, type LoadedMap, loadedMaps } from 'tsbpf';
 *
 * const maps: LoadedMap[] = [...loadedMaps(new Kernel())];
 * for (const { id, name, maxEntries } of maps) console.log(id, name, maxEntries);
 * ```
 */
export interface LoadedMap {
  /** The map's id, as in `bpftool map show`. */
  readonly id: number;
  /** The map's name, at most 15 characters; empty before Linux 4.15. */
  readonly name: string;
  /** The number of the map type: see `MapType`. */
  readonly type: number;
  /** The sizes of keys and values in bytes. */
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  /** `BPF_F_*` of map creation. */
  readonly flags: number;
  /** The id of the map's BTF, and the ids of the types of keys and values in it; 0 without BTF. */
  readonly btfId: number;
  readonly keyType: number;
  readonly valueType: number;
  /**
   * `map_extra` of map creation, such as the hash functions of a bloom filter; undefined before Linux 5.16.
   */
  readonly extra: number | undefined;
}

/** Offsets into `struct bpf_map_info`. */
const At = {
  ...{ type: 0, id: 4, keySize: 8, valueSize: 12, maxEntries: 16, flags: 20, name: 24 },
  ...{ btfId: 64, keyType: 68, valueType: 72, extra: 80, size: 88 },
} as const;

/** Reads the information about a map. @throws {KernelError} */
export function mapInfo(kernel: Kernel, fd: number, object: string): LoadedMap {
  const { bytes, view, known } = objectInfo(kernel, fd, At.size, undefined, object);
  const u32 = (at: number): number => view.getUint32(at, true);
  return {
    id: u32(At.id),
    name: objectNameAt(bytes, At.name),
    type: u32(At.type),
    keySize: u32(At.keySize),
    valueSize: u32(At.valueSize),
    maxEntries: u32(At.maxEntries),
    flags: u32(At.flags),
    btfId: u32(At.btfId),
    keyType: u32(At.keyType),
    valueType: u32(At.valueType),
    extra: known < At.size ? undefined : Number(view.getBigUint64(At.extra, true)),
  };
}
