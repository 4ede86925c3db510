/**
 * What the kernel demands of the sizes and flags of each map type, on all versions. A map that breaks a rule
 * is refused with EINVAL, which does not say why.
 *
 * Source: kernel/bpf/syscall.c (`map_create`), and `map_alloc_check` of each type: hashtab.c, arraymap.c,
 * lpm_trie.c, queue_stack_maps.c, stackmap.c, bloom_filter.c, bpf_local_storage.c, ringbuf.c.
 */
import { MapType, mapFlags, mapTypeName } from './map-type.ts';

/** The flags that a type accepts, as bits. */
const [NO_PREALLOC, NO_COMMON_LRU, NUMA, STACK_BUILD_ID, ZERO_SEED, CLONE] = [1, 2, 4, 32, 64, 512];
const [MMAPABLE, PRESERVE_ELEMS, INNER_MAP] = [1024, 2048, 4096];
/** Access of processes, and of both processes and programs. */
const [PROCESS, ACCESS] = [0x18, 0x198];

/** The rules of a map type. */
interface Limits {
  readonly flags: number;
  /** The largest value in bytes, and the divisor of its size. */
  readonly largest?: number;
  readonly multiple?: number;
  /** The least and the largest key in bytes. */
  readonly key?: readonly [number, number];
}

/** `PCPU_MIN_UNIT_SIZE`. */
const LARGEST_PER_CPU = 32 << 10;

const LIMITS: { readonly [type in MapType]?: Limits } = {
  [MapType.hash]: { flags: NO_PREALLOC | NUMA | ACCESS | ZERO_SEED },
  [MapType.lruHash]: { flags: NO_COMMON_LRU | NUMA | ACCESS | ZERO_SEED },
  [MapType.perCpuHash]: { flags: NO_PREALLOC | NUMA | ACCESS | ZERO_SEED, largest: LARGEST_PER_CPU },
  [MapType.lruPerCpuHash]: { flags: NO_COMMON_LRU | NUMA | ACCESS | ZERO_SEED, largest: LARGEST_PER_CPU },
  [MapType.hashOfMaps]: { flags: NO_PREALLOC | NUMA | ACCESS | ZERO_SEED },
  [MapType.array]: { flags: NUMA | ACCESS | MMAPABLE | INNER_MAP },
  [MapType.perCpuArray]: { flags: NUMA | ACCESS, largest: LARGEST_PER_CPU },
  [MapType.arrayOfMaps]: { flags: NUMA | PROCESS },
  [MapType.programArray]: { flags: NUMA | PROCESS },
  [MapType.cgroupArray]: { flags: NUMA | PROCESS },
  [MapType.perfEventArray]: { flags: NUMA | PROCESS | PRESERVE_ELEMS },
  // A u32 and 1 to 256 bytes.
  [MapType.lpmTrie]: { flags: NO_PREALLOC | NUMA | ACCESS, key: [5, 260] },
  [MapType.queue]: { flags: NUMA | ACCESS },
  [MapType.stack]: { flags: NUMA | ACCESS },
  [MapType.bloomFilter]: { flags: NUMA | ACCESS | ZERO_SEED },
  [MapType.stackTrace]: { flags: NUMA | PROCESS | STACK_BUILD_ID, multiple: 8 },
  [MapType.skStorage]: { flags: NO_PREALLOC | CLONE },
  [MapType.inodeStorage]: { flags: NO_PREALLOC | CLONE },
  [MapType.taskStorage]: { flags: NO_PREALLOC | CLONE },
  [MapType.cgrpStorage]: { flags: NO_PREALLOC | CLONE },
};

/** Pairs of flags that exclude each other. */
const EXCLUSIVE: readonly number[] = [0x18, 0x180];

/** The properties of a map that the kernel checks. `key` and `value` are sizes in bytes. */
export interface MapSizes {
  readonly type: MapType;
  readonly key: number;
  readonly value: number;
  readonly flags: number;
}

/** Returns why every kernel refuses such a map, and what to do; undefined if it breaks no rule. */
export function mapFault({ type, key, value, flags }: MapSizes): string | undefined {
  const limits = LIMITS[type];
  if (!limits) return undefined;
  const name = mapTypeName(type);
  for (const pair of EXCLUSIVE)
    if ((flags & pair) === pair) return `the flags ${flagNames(pair)} exclude each other`;
  const refused = flags & ~limits.flags & 0x1fff;
  if (refused !== 0)
    return `maps of type ${name} cannot have ${flagNames(refused)}; they accept ${flagNames(limits.flags)}`;
  if (limits.key && (key < limits.key[0] || key > limits.key[1]))
    return `keys of type ${name} have ${limits.key.join(' to ')} bytes, not ${key}`;
  if (limits.multiple && value % limits.multiple !== 0)
    return `values of type ${name} have a multiple of ${limits.multiple} bytes, not ${value}`;
  if (limits.largest && value > limits.largest)
    return `values of type ${name} have at most ${limits.largest} bytes, not ${value}`;
  return undefined;
}

/** The names of flags: `BPF_F_RDONLY, BPF_F_WRONLY`; unknown bits as a number. */
export function flagNames(flags: number): string {
  const named = Object.entries(mapFlags()).filter(([, [bit]]) => (flags & bit) !== 0);
  const rest = named.reduce((bits, [, [bit]]) => bits & ~bit, flags);
  return [...named.map(([name]) => name), ...(rest === 0 ? [] : [`0x${(rest >>> 0).toString(16)}`])].join(
    ', ',
  );
}
