/**
 * Maps as values: what a program refers to and a loader creates.
 *
 * Source: man 2 bpf, include/uapi/linux/bpf.h (`enum bpf_map_type`).
 */

import type { Static, TSchema } from '@sinclair/typebox';
import { reportAtCaller, withSourcePosition } from './error-position.ts';
import { BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, BPF_F_RDONLY_PROG } from './flags.ts';
import { encodeValue, layoutOf, u32 } from './layout.ts';
import { checkObjectName } from './object-name.ts';

/**
 * Map types by number. Each has the kernel's name in camel case, and so does the function that makes such a map: `lruHash`
 * for BPF_MAP_TYPE_LRU_HASH.
 */
export const MapType = {
  hash: 1,
  array: 2,
  programArray: 3,
  perfEventArray: 4,
  perCpuHash: 5,
  perCpuArray: 6,
  cgroupArray: 8,
  lruHash: 9,
  lruPerCpuHash: 10,
  lpmTrie: 11,
  arrayOfMaps: 12,
  hashOfMaps: 13,
  instructionArray: 34,
} as const;
export type MapType = (typeof MapType)[keyof typeof MapType];

/** A map before it exists. `K` and `V` are the schemas of its keys and values. */
export interface MapSpec<K extends TSchema = TSchema, V extends TSchema = TSchema> {
  readonly kind: 'map';
  /** At most 15 characters of [A-Za-z0-9_.]; what bpftool shows. */
  readonly name: string;
  readonly type: MapType;
  readonly key: K;
  readonly value: V;
  readonly maxEntries: number;
  /** `BPF_F_*` of map creation. */
  readonly flags: number;
  /** What it holds from the beginning. */
  readonly entries?: Entries<K, V>;
  /** Nobody changes it any more, once it holds that (Linux 5.2): the verifier takes what is in it for constants. */
  readonly frozen?: true;
  /** Folders of cgroups that it holds from the beginning, by their index: see `cgroupArray`. */
  readonly cgroups?: readonly string[];
}

/** Keys with their values. */
export type Entries<K extends TSchema, V extends TSchema> = readonly (readonly [Static<K>, Static<V>])[];

/** One value that programs and this process have in common: see `globals`. */
export interface GlobalsSpec<V extends TSchema = TSchema> extends MapSpec<typeof u32, V> {
  readonly flags: typeof BPF_F_MMAPABLE;
}

/** The JavaScript value of a map's keys. */
export type KeyOf<M extends MapSpec> = Static<M['key']>;
/** The JavaScript value of a map's values: of a per-CPU map a list, with a value for each possible CPU. */
export type ValueOf<M extends MapSpec> = M extends PerCpuSpec ? Static<M['value']>[] : Static<M['value']>;

/** The types of maps that hold a value for each possible CPU. */
const PER_CPU = [MapType.perCpuHash, MapType.perCpuArray, MapType.lruPerCpuHash] as const;

/**
 * A map that holds a value for each possible CPU under every key. A program sees that of the CPU it runs on, which no other CPU
 * writes; this process sees all of them.
 */
export interface PerCpuSpec<K extends TSchema = TSchema, V extends TSchema = TSchema> extends MapSpec<K, V> {
  readonly type: (typeof PER_CPU)[number];
}

export function isPerCpu(spec: MapSpec): spec is PerCpuSpec {
  return PER_CPU.some((type) => type === spec.type);
}

interface Shape<K extends TSchema, V extends TSchema> {
  readonly key: K;
  readonly value: V;
  readonly maxEntries: number;
  readonly flags?: number;
  readonly entries?: Entries<K, V>;
}

/** A hash table, its entries allocated when it is created (so that an update can't fail for want of memory). */
export function hash<K extends TSchema, V extends TSchema>(name: string, shape: Shape<K, V>): MapSpec<K, V> {
  return spec(name, MapType.hash, shape);
}

/** A hash table that drops the least recently used entry when it is full. */
export function lruHash<K extends TSchema, V extends TSchema>(
  name: string,
  shape: Shape<K, V>,
): MapSpec<K, V> {
  return spec(name, MapType.lruHash, shape);
}

/** A hash table with a value of each CPU's own under every key (Linux 4.6). */
export function perCpuHash<K extends TSchema, V extends TSchema>(
  name: string,
  shape: Omit<Shape<K, V>, 'entries'>,
): PerCpuSpec<K, V> {
  return { ...spec(name, MapType.perCpuHash, shape), type: MapType.perCpuHash };
}

/** The same, that drops the least recently used entry when it is full (Linux 4.10). */
export function lruPerCpuHash<K extends TSchema, V extends TSchema>(
  name: string,
  shape: Omit<Shape<K, V>, 'entries'>,
): PerCpuSpec<K, V> {
  return { ...spec(name, MapType.lruPerCpuHash, shape), type: MapType.lruPerCpuHash };
}

/** An array as `array` makes it, with a value of each CPU's own at every index (Linux 4.6). */
export function perCpuArray<V extends TSchema>(
  name: string,
  shape: { readonly value: V; readonly maxEntries?: number; readonly flags?: number },
): PerCpuSpec<typeof u32, V> {
  return {
    ...spec(name, MapType.perCpuArray, { maxEntries: 1, ...shape, key: u32 }),
    type: MapType.perCpuArray,
  };
}

/** An array of `maxEntries` values (1 if not given), zero at first. Entries can be updated, not deleted. For the schema of a C array see `arrayOf`. */
export function array<V extends TSchema>(
  name: string,
  shape: { readonly value: V; readonly maxEntries?: number; readonly flags?: number },
): MapSpec<typeof u32, V> {
  return spec(name, MapType.array, { maxEntries: 1, ...shape, key: u32 });
}

/**
 * The variables of a program, like the sections `.data` and `.bss` of a compiled one: a value of any schema, usually a
 * struct, zero at first unless `initial` is passed. The kernel's map type is an array of one entry.
 *
 * Programs reach its fields without a lookup (`b.global`, Linux 5.2), and this process without a system call
 * (`BpfMap.view`, Linux 5.5). Before Linux 5.5 the kernel makes no such map: use `array` and its `lookup` there.
 *
 * @example
 * import { globals, struct, u32, u64 } from 'tsbpf';
 *
 * const stats = globals('stats', struct({ pid: u32, calls: u64 }));
 */
export function globals<V extends TSchema>(name: string, value: V, initial?: Static<V>): GlobalsSpec<V> {
  return { ...single(name, value, BPF_F_MMAPABLE, initial), flags: BPF_F_MMAPABLE };
}

/**
 * The constants of a program, like the section `.rodata` of a compiled one: a value that never changes. The kernel's map
 * type is an array of one entry, frozen.
 *
 * Programs reach its fields as those of `globals` (Linux 5.2). From Linux 5.5 on the verifier treats them as known numbers
 * and skips the branches that they rule out. It refuses programs that write to them.
 *
 * @example
 * import { constants, struct, u64 } from 'tsbpf';
 *
 * const settings = constants('settings', struct({ minNs: u64 }), { minNs: 1_000_000n });
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
 * A trie of prefixes, where a lookup finds the longest one that its key begins with (Linux 4.11). A key is a struct of a u32, which
 * says how many bits count, and of those bits behind it, the first one in the highest bit of the first byte: as addresses lie in
 * packets. Room for as many as it holds from the beginning, if nothing else is said. Throws TypeError for keys of another shape.
 */
export function lpmTrie<K extends TSchema, V extends TSchema>(
  name: string,
  {
    entries = [],
    maxEntries = entries.length,
    flags = 0,
    ...shape
  }: Partial<Shape<K, V>> & Pick<Shape<K, V>, 'key' | 'value'>,
): MapSpec<K, V> {
  const layout = layoutOf(shape.key);
  const [first] = layout.kind === 'struct' ? layout.fields : [];
  if (first?.layout.kind !== 'int' || first.layout.size !== 4 || layout.size === 4)
    throw withSourcePosition(
      new TypeError(`map ${name}: the key of a trie is a struct of a u32 and of bits behind it`),
    );
  return spec(name, MapType.lpmTrie, { ...shape, entries, maxEntries, flags: flags | BPF_F_NO_PREALLOC });
}

/**
 * cgroups of version 2, to ask whether a task is below one of them (`currentTaskUnderCgroup`; Linux 4.9). They are named by their
 * folders, which the loader opens when it makes the map.
 */
export function cgroupArray(name: string, cgroups: readonly string[]): MapSpec<typeof u32, typeof u32> {
  return {
    ...spec(name, MapType.cgroupArray, { key: u32, value: u32, maxEntries: cgroups.length }),
    cgroups,
  };
}

/** Programs that others go on in, each in a slot: see `programArray`. `N` are the slots' names. */
export interface ProgramArraySpec<N extends string = string> extends MapSpec<typeof u32, typeof u32> {
  readonly type: typeof MapType.programArray;
  /** The names of the first slots; none where they have numbers only. */
  readonly slots: readonly N[];
}

/**
 * Programs that others go on in by a tail call (`b.tailCall`; Linux 4.2), with a slot for each name or so many by their numbers. All of
 * them are of one type. `Tool.tailCalled` says which programs it holds from the beginning; a slot may be empty.
 */
export function programArray<const N extends string = never>(
  name: string,
  shape: { readonly slots: readonly N[] } | { readonly maxEntries: number },
): ProgramArraySpec<N> {
  const slots = 'slots' in shape ? shape.slots : [];
  const maxEntries = 'slots' in shape ? slots.length : shape.maxEntries;
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
  throw withSourcePosition(new RangeError(`program array ${name} has no slot ${slot}; there are ${there}`));
}

/** A perf event array, with the schema of the events that its rings carry: see `perfEventArray`. */
export interface EventsSpec<E extends TSchema = TSchema> extends MapSpec<typeof u32, typeof u32> {
  readonly type: typeof MapType.perfEventArray;
  /** The schema of its events: `b.output` accepts no others, and `Session.open` decodes them by it. */
  readonly event: E;
}

export function isEvents(spec: MapSpec): spec is EventsSpec {
  return spec.type === MapType.perfEventArray && (spec as Partial<EventsSpec>).event !== undefined;
}

/**
 * The perf rings that carry a tool's events, one ring for each CPU (Linux 4.4). `b.output` sends events of this schema
 * only; as `events` of a `Tool` the map gives `onEvent` its type. The loader makes the map as large as the highest
 * possible CPU number requires.
 *
 * Throws TypeError if the schema has no C layout.
 *
 * @example
 * import { chars, perfEventArray, struct, u32 } from 'tsbpf';
 *
 * const events = perfEventArray('events', struct({ pid: u32, comm: chars(16) }));
 */
export function perfEventArray<E extends TSchema>(name: string, event: E): EventsSpec<E> {
  if (event === undefined)
    throw withSourcePosition(
      new TypeError(`perf event array ${name} needs the schema of its events as its second argument`),
    );
  reportAtCaller(() => layoutOf(event));
  const type = MapType.perfEventArray;
  return { ...spec(name, type, { key: u32, value: u32, maxEntries: 0 }), type, event };
}

/** A map of that type, if it can be one. */
export function spec<K extends TSchema, V extends TSchema>(
  name: string,
  type: MapType,
  { key, value, maxEntries, flags = 0, entries }: Shape<K, V>,
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
  if (maxEntries === 0 && type !== MapType.perfEventArray)
    throw withSourcePosition(
      new RangeError(`map ${name}: maxEntries is 0, and the kernel makes no map without entries`),
    );
  if (entries && entries.length > maxEntries)
    throw withSourcePosition(
      new RangeError(`map ${name}: ${entries.length} entries, and room for ${maxEntries}`),
    );
  layoutOf(key);
  layoutOf(value);
  return { kind: 'map', name, type, key, value, maxEntries, flags, ...(entries && { entries }) };
}
