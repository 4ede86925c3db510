/**
 * The types of maps: their numbers, names and first kernels.
 *
 * Source: include/uapi/linux/bpf.h (`enum bpf_map_type`).
 */

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

/** The name of a map type: that of the function that makes such maps. */
export function mapTypeName(type: MapType): keyof typeof MapType {
  const [name] = Object.entries(MapType).find(([, number]) => number === type) ?? [];
  return name as keyof typeof MapType;
}

/** The first Linux with each map type. */
export const MAP_SINCE: Readonly<Record<keyof typeof MapType, string>> = {
  hash: '3.19',
  array: '3.19',
  programArray: '4.2',
  perfEventArray: '4.3',
  perCpuHash: '4.6',
  perCpuArray: '4.6',
  stackTrace: '4.6',
  cgroupArray: '4.8',
  lruHash: '4.10',
  lruPerCpuHash: '4.10',
  lpmTrie: '4.11',
  arrayOfMaps: '4.12',
  hashOfMaps: '4.12',
  queue: '4.20',
  stack: '4.20',
  skStorage: '5.2',
  ringBuffer: '5.8',
  inodeStorage: '5.10',
  taskStorage: '5.11',
  bloomFilter: '5.16',
  cgrpStorage: '6.2',
  instructionArray: '6.19',
};
