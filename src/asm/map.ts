/**
 * Maps as values. Programs refer to them, and the loader creates them.
 *
 * Source: man 2 bpf, include/uapi/linux/bpf.h (`enum bpf_map_type`).
 */

import type { Static, TSchema } from '@sinclair/typebox';
import { reportAtCaller, withSourcePosition } from './error-position.ts';
import { BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, BPF_F_RDONLY_PROG } from './flags.ts';
import { encodeValue, layoutOf, u32 } from './layout.ts';
import { mapFault } from './map-limits.ts';
import { MapType } from './map-type.ts';
import { checkObjectName } from './object-name.ts';

export { MapType, mapTypeName, mapTypeSince } from './map-type.ts';

/** A map before it exists. `K` and `V` are the schemas of its keys and values. */
export interface MapSpec<K extends TSchema = TSchema, V extends TSchema = TSchema> {
  readonly kind: 'map';
  /** 1 to 15 characters of [A-Za-z0-9_.]; bpftool shows it. */
  readonly name: string;
  readonly type: MapType;
  readonly key: K;
  readonly value: V;
  readonly maxEntries: number;
  /** `BPF_F_*` of map creation. */
  readonly flags: number;
  /** `map_extra` of map creation (Linux 5.16): see `bloomFilter`. */
  readonly extra?: number;
  /** The initial entries. */
  readonly entries?: Entries<K, V>;
  /**
   * Whether the loader freezes the map after writing `entries` (Linux 5.2). The verifier then treats them as
   * constants.
   */
  readonly frozen?: true;
  /** The initial cgroups by index, as paths of their directories: see `cgroupArray`. */
  readonly cgroups?: readonly string[];
  /** The path of the map's pin: see `pinned`. */
  readonly pin?: string;
}

/** Pairs of keys and values. */
export type Entries<K extends TSchema, V extends TSchema> = readonly (readonly [Static<K>, Static<V>])[];

/** One value that programs and this process have in common: see `globals`. */
export interface GlobalsSpec<V extends TSchema = TSchema> extends MapSpec<typeof u32, V> {
  readonly flags: typeof BPF_F_MMAPABLE;
}

/** The JavaScript value of a map's keys. */
export type KeyOf<M extends MapSpec> = Static<M['key']>;
/**
 * The JavaScript value of a map's values. For a per-CPU map it is an array with a value for each possible
 * CPU.
 */
export type ValueOf<M extends MapSpec> = M extends PerCpuSpec ? Static<M['value']>[] : Static<M['value']>;

/** The map types that hold a value for each possible CPU. */
const PER_CPU = [MapType.perCpuHash, MapType.perCpuArray, MapType.lruPerCpuHash] as const;

/**
 * A map with a value for each possible CPU under every key. A program accesses the value of the CPU that it
 * runs on, which no other CPU writes. User space reads and writes all of them.
 */
export interface PerCpuSpec<K extends TSchema = TSchema, V extends TSchema = TSchema> extends MapSpec<K, V> {
  readonly type: (typeof PER_CPU)[number];
}

export function isPerCpu(spec: MapSpec): spec is PerCpuSpec {
  return PER_CPU.some((type) => type === spec.type);
}

interface MapDefinition<K extends TSchema, V extends TSchema> {
  readonly key: K;
  readonly value: V;
  readonly maxEntries: number;
  readonly flags?: number;
  readonly entries?: Entries<K, V>;
}

/**
 * A hash table. The kernel allocates its entries when it creates the map, so an update fails only if
 * `maxEntries` are in use.
 *
 * Throws RangeError for a bad name or number of entries, and TypeError if a schema has no C layout. So do the
 * other map functions.
 *
 * @example
 * ```ts
 * import { hash, struct, u32, u64 } from 'tsbpf';
 *
 * const calls = hash('calls', { key: u32, value: struct({ count: u64, lastNs: u64 }), maxEntries: 10_240 });
 * ```
 */
export function hash<K extends TSchema, V extends TSchema>(
  name: string,
  definition: MapDefinition<K, V>,
): MapSpec<K, V> {
  return spec(name, MapType.hash, definition);
}

/**
 * A hash table that evicts the least recently used entry when it is full (Linux 4.10). It may evict a little
 * earlier, because each CPU keeps some free entries.
 *
 * @example
 * ```ts
 * import { lruHash, u32, u64 } from 'tsbpf';
 *
 * const lastNs = lruHash('last_ns', { key: u32, value: u64, maxEntries: 4_096 });
 * ```
 */
export function lruHash<K extends TSchema, V extends TSchema>(
  name: string,
  definition: MapDefinition<K, V>,
): MapSpec<K, V> {
  return spec(name, MapType.lruHash, definition);
}

/**
 * A hash table with a value for each CPU under every key (Linux 4.6). Programs change values without atomic
 * operations.
 *
 * @example
 * ```ts
 * import { perCpuHash, u32, u64 } from 'tsbpf';
 *
 * const calls = perCpuHash('calls', { key: u32, value: u64, maxEntries: 10_240 });
 * ```
 */
export function perCpuHash<K extends TSchema, V extends TSchema>(
  name: string,
  definition: Omit<MapDefinition<K, V>, 'entries'>,
): PerCpuSpec<K, V> {
  return { ...spec(name, MapType.perCpuHash, definition), type: MapType.perCpuHash };
}

/**
 * A per-CPU hash table that evicts the least recently used entry when it is full (Linux 4.10).
 *
 * @example
 * ```ts
 * import { lruPerCpuHash, u32, u64 } from 'tsbpf';
 *
 * const calls = lruPerCpuHash('calls', { key: u32, value: u64, maxEntries: 4_096 });
 * ```
 */
export function lruPerCpuHash<K extends TSchema, V extends TSchema>(
  name: string,
  definition: Omit<MapDefinition<K, V>, 'entries'>,
): PerCpuSpec<K, V> {
  return { ...spec(name, MapType.lruPerCpuHash, definition), type: MapType.lruPerCpuHash };
}

/**
 * An array with a value for each CPU at every index, zero at first (Linux 4.6). `maxEntries` is 1 by default.
 *
 * @example
 * ```ts
 * import { perCpuArray, u64 } from 'tsbpf';
 *
 * const latencies = perCpuArray('latencies', { value: u64, maxEntries: 64 });
 * ```
 */
export function perCpuArray<V extends TSchema>(
  name: string,
  definition: { readonly value: V; readonly maxEntries?: number; readonly flags?: number },
): PerCpuSpec<typeof u32, V> {
  return {
    ...spec(name, MapType.perCpuArray, { maxEntries: 1, ...definition, key: u32 }),
    type: MapType.perCpuArray,
  };
}

/**
 * An array map: `maxEntries` values (1 by default), zero at first. Entries can be updated but not deleted.
 * For the schema of a C array see `arrayOf`.
 *
 * @example
 * ```ts
 * import { array, u64 } from 'tsbpf';
 *
 * const counts = array('counts', { value: u64, maxEntries: 16 });
 * ```
 */
export function array<V extends TSchema>(
  name: string,
  definition: { readonly value: V; readonly maxEntries?: number; readonly flags?: number },
): MapSpec<typeof u32, V> {
  return spec(name, MapType.array, { maxEntries: 1, ...definition, key: u32 });
}

/**
 * The variables of a program, like the sections `.data` and `.bss` of a compiled one: a value of any schema,
 * usually a struct, zero at first unless `initial` is passed. The kernel's map type is an array of one entry.
 *
 * Programs reach its fields without a lookup (`b.global`, Linux 5.2), and this process without a system call
 * (`BpfMap.view`, Linux 5.5). Before Linux 5.5 the kernel makes no such map: use `array` and its `lookup`
 * there.
 *
 * @example
 * ```ts
 * import { globals, struct, u32, u64 } from 'tsbpf';
 *
 * const stats = globals('stats', struct({ pid: u32, calls: u64 }));
 * ```
 */
export function globals<V extends TSchema>(name: string, value: V, initial?: Static<V>): GlobalsSpec<V> {
  return { ...single(name, value, BPF_F_MMAPABLE, initial), flags: BPF_F_MMAPABLE };
}

/**
 * The constants of a program, like the section `.rodata` of a compiled one: a value that never changes. The
 * kernel's map type is an array of one entry, frozen.
 *
 * Programs reach its fields as those of `globals` (Linux 5.2). From Linux 5.5 on the verifier treats them as
 * known numbers and skips the branches that they rule out. It refuses programs that write to them.
 *
 * @example
 * ```ts
 * import { constants, struct, u64 } from 'tsbpf';
 *
 * const settings = constants('settings', struct({ minNs: u64 }), { minNs: 1_000_000n });
 * ```
 */
export function constants<V extends TSchema>(
  name: string,
  value: V,
  content: Static<V>,
): MapSpec<typeof u32, V> {
  return { ...single(name, value, BPF_F_RDONLY_PROG, content), frozen: true };
}

/** An array of one entry. */
function single<V extends TSchema>(
  name: string,
  value: V,
  flags: number,
  content: Static<V> | undefined,
): MapSpec<typeof u32, V> {
  const entries =
    content === undefined ? undefined : [[0, reportAtCaller(() => checked(value, content))] as const];
  return spec(name, MapType.array, { key: u32, value, maxEntries: 1, flags, entries });
}

/** The value, if it fits its schema. */
function checked<V extends TSchema>(schema: V, value: Static<V>): Static<V> {
  encodeValue(schema, value);
  return value;
}

/**
 * A longest-prefix-match trie (Linux 4.11). A key is a struct of a u32, the number of significant bits, and
 * of the bits themselves, most significant bit first, as IP addresses in packets. A lookup finds the longest
 * matching prefix. `maxEntries` is the number of `entries` by default.
 *
 * Throws TypeError for any other key.
 *
 * @example
 * ```ts
 * import { bytes, lpmTrie, struct, u8, u32 } from 'tsbpf';
 *
 * const Prefix = struct({ bits: u32, address: bytes(4) });
 * const networks = lpmTrie('networks', {
 *   key: Prefix,
 *   value: u8,
 *   entries: [[{ bits: 8, address: Uint8Array.of(10, 0, 0, 0) }, 1]], // 10.0.0.0/8
 * });
 * ```
 */
export function lpmTrie<K extends TSchema, V extends TSchema>(
  name: string,
  {
    entries = [],
    maxEntries = entries.length,
    flags = 0,
    ...definition
  }: Partial<MapDefinition<K, V>> & Pick<MapDefinition<K, V>, 'key' | 'value'>,
): MapSpec<K, V> {
  const layout = layoutOf(definition.key);
  const [first] = layout.kind === 'struct' ? layout.fields : [];
  if (first?.layout.kind !== 'int' || first.layout.size !== 4 || layout.size === 4)
    throw withSourcePosition(
      new TypeError(`map ${name}: the key of a trie is a struct of a u32 and the bits after it`),
    );
  return spec(name, MapType.lpmTrie, {
    ...definition,
    entries,
    maxEntries,
    flags: flags | BPF_F_NO_PREALLOC,
  });
}

/**
 * An array of cgroups (version 2), for `currentTaskUnderCgroup` (Linux 4.9). `cgroups` are the paths of their
 * directories, which the loader opens when it creates the map.
 *
 * @example
 * ```ts
 * import { cgroupArray, currentTaskUnderCgroup, rawTracepoint, target } from 'tsbpf';
 *
 * const services = cgroupArray('services', ['/sys/fs/cgroup/system.slice']);
 *
 * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
 *   b.if(b.call(currentTaskUnderCgroup, services, 0).ne(1), () => b.exit());
 * });
 * ```
 */
export function cgroupArray(name: string, cgroups: readonly string[]): MapSpec<typeof u32, typeof u32> {
  return {
    ...spec(name, MapType.cgroupArray, { key: u32, value: u32, maxEntries: cgroups.length }),
    cgroups,
  };
}

/** A program array for tail calls: see `programArray`. `N` are the names of its slots. */
export interface ProgramArraySpec<N extends string = string> extends MapSpec<typeof u32, typeof u32> {
  readonly type: typeof MapType.programArray;
  /** The names of the slots in order; empty if the slots have only numbers. */
  readonly slots: readonly N[];
}

/**
 * A program array: the programs that others tail-call with `b.tailCall` (Linux 4.2). Its slots have names, or
 * only numbers up to `maxEntries`. All its programs must have one program type. `Tool.tailCalled` fills it
 * when the tool is loaded; a slot may stay empty.
 *
 * Throws RangeError if two slots have the same name.
 *
 * @example
 * ```ts
 * import { programArray, rawTracepoint, target, type Tool } from 'tsbpf';
 *
 * const on = target('x64');
 * const stages = programArray('stages', { slots: ['second'] });
 * const first = rawTracepoint('sys_enter', on, (b) => b.tailCall(stages, 'second'));
 * const second = rawTracepoint('sys_enter', on, (b) => b.exit());
 *
 * const tool: Tool = {
 *   name: 'stages',
 *   programs: [first],
 *   tailCalled: [{ array: stages, programs: { second } }],
 * };
 * ```
 */
export function programArray<const N extends string = never>(
  name: string,
  definition: { readonly slots: readonly N[] } | { readonly maxEntries: number },
): ProgramArraySpec<N> {
  const slots = 'slots' in definition ? definition.slots : [];
  const maxEntries = 'slots' in definition ? slots.length : definition.maxEntries;
  if (new Set(slots).size < slots.length)
    throw withSourcePosition(
      new RangeError(`map ${name}: two slots have the same name: ${slots.join(', ')}`),
    );
  const type = MapType.programArray;
  return { ...spec(name, type, { key: u32, value: u32, maxEntries }), type, slots };
}

/** The number of a slot of a program array. Throws RangeError if the array has no such slot. */
export function slotNumber(
  { name, slots, maxEntries }: ProgramArraySpec,
  slot: string | number | bigint,
): number {
  const named = slots.indexOf(String(slot));
  if (named >= 0) return named;
  const number = typeof slot !== 'string' || /^\d+$/.test(slot) ? Number(slot) : -1;
  if (Number.isInteger(number) && number >= 0 && number < maxEntries) return number;
  const there = slots.length > 0 ? slots.join(', ') : `0 to ${maxEntries - 1}`;
  throw withSourcePosition(new RangeError(`program array ${name} has no slot ${slot}; its slots: ${there}`));
}

/** The map types without a number of entries of their own, or for which the loader chooses it. */
const UNSIZED: readonly MapType[] = [
  ...[MapType.perfEventArray, MapType.skStorage, MapType.inodeStorage],
  ...[MapType.taskStorage, MapType.cgrpStorage],
];

/**
 * Makes a map of a type. Throws RangeError for a bad name or number of entries, and TypeError for a bad
 * schema.
 */
export function spec<K extends TSchema, V extends TSchema>(
  name: string,
  type: MapType,
  { key, value, maxEntries, flags = 0, entries }: MapDefinition<K, V>,
): MapSpec<K, V> {
  if (typeof name !== 'string')
    throw withSourcePosition(
      new TypeError('a map needs a name as its first argument; for a schema use arrayOf(type, length)'),
    );
  checkObjectName('map', name);
  if (!Number.isInteger(maxEntries) || maxEntries < 0 || maxEntries > 0xffff_ffff)
    throw withSourcePosition(
      new RangeError(`map ${name}: maxEntries ${maxEntries} is not between 0 and 2^32-1`),
    );
  if (maxEntries === 0 && !UNSIZED.includes(type))
    throw withSourcePosition(
      new RangeError(`map ${name}: maxEntries is 0, but the kernel requires at least 1`),
    );
  if (entries && entries.length > maxEntries)
    throw withSourcePosition(
      new RangeError(`map ${name}: ${entries.length} entries do not fit maxEntries ${maxEntries}`),
    );
  const sizes = { key: layoutOf(key).size, value: layoutOf(value).size };
  const fault = mapFault({ type, ...sizes, flags });
  if (fault !== undefined) throw withSourcePosition(new RangeError(`map ${name}: ${fault}`));
  return { kind: 'map', name, type, key, value, maxEntries, flags, ...(entries && { entries }) };
}
