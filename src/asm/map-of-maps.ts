/**
 * Maps of maps: a program selects a map at run time, and user space replaces one map by another atomically.
 *
 * Source: man 2 bpf (BPF_MAP_TYPE_ARRAY_OF_MAPS, BPF_MAP_TYPE_HASH_OF_MAPS; Linux 4.12),
 * kernel/bpf/map_in_map.c.
 */
import type { Static, TSchema } from '@sinclair/typebox';
import { withSourcePosition } from './error-position.ts';
import { layoutOf, u32 } from './layout.ts';
import { type MapSpec, MapType, spec } from './map.ts';

/**
 * A map of maps, which all have the types and sizes of `inner`. User space reads map ids as its values, as
 * bpftool does.
 */
export interface MapOfMapsSpec<K extends TSchema = TSchema, I extends MapSpec = MapSpec>
  extends MapSpec<K, typeof u32> {
  readonly type: typeof MapType.arrayOfMaps | typeof MapType.hashOfMaps;
  /** The template of the inner maps. */
  readonly inner: I;
  /** The initial inner maps. */
  readonly maps: readonly (readonly [Static<K>, I])[];
}

export function isMapOfMaps(map: MapSpec): map is MapOfMapsSpec {
  return 'inner' in map;
}

/**
 * An array of maps (Linux 4.12). The inner maps have the type, key size, value size and flags of `inner`;
 * inner arrays also have its number of entries. `maps` are the initial inner maps, and `maxEntries` is their
 * number by default.
 *
 * Throws TypeError for an inner map that differs from `inner`.
 *
 * @example
 * ```ts
 * import { arrayOfMaps, hash, rawTracepoint, target, u64 } from 'tsbpf';
 *
 * const counts = (name: string) => hash(name, { key: u64, value: u64, maxEntries: 512 });
 * const maps = [counts('even'), counts('odd')];
 * const generations = arrayOfMaps('generations', { inner: counts('inner'), maps });
 *
 * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
 *   const number = b.keep(b.arg(1));
 *   b.lookup(generations, 0, { found: (map) => b.count(b.keep(map), number) });
 * });
 * ```
 */
export function arrayOfMaps<I extends MapSpec>(
  name: string,
  {
    inner,
    maps = [],
    maxEntries = maps.length,
    flags,
  }: {
    readonly inner: I;
    readonly maxEntries?: number;
    readonly flags?: number;
    readonly maps?: readonly NoInfer<I>[];
  },
): MapOfMapsSpec<typeof u32, I> {
  const type = MapType.arrayOfMaps;
  const held = maps.map((map, index) => [index, map] as const);
  return {
    ...spec(name, type, { key: u32, value: u32, maxEntries, flags }),
    type,
    inner,
    maps: checked(name, inner, held, maxEntries),
  };
}

/**
 * A hash table of maps under keys of any schema (Linux 4.12). `maps` are the initial pairs of a key and an
 * inner map. The inner maps are as those of `arrayOfMaps`.
 *
 * Throws TypeError for an inner map that differs from `inner`, and RangeError for more maps than
 * `maxEntries`.
 *
 * @example
 * ```ts
 * import { hash, hashOfMaps, u32, u64 } from 'tsbpf';
 *
 * const perProcess = hashOfMaps('per_process', {
 *   key: u32,
 *   inner: hash('calls', { key: u64, value: u64, maxEntries: 512 }),
 *   maxEntries: 64,
 * });
 * ```
 */
export function hashOfMaps<K extends TSchema, I extends MapSpec>(
  name: string,
  {
    key,
    inner,
    maps = [],
    maxEntries,
    flags,
  }: {
    readonly key: K;
    readonly inner: I;
    readonly maxEntries: number;
    readonly flags?: number;
    readonly maps?: readonly (readonly [Static<K>, NoInfer<I>])[];
  },
): MapOfMapsSpec<K, I> {
  const type = MapType.hashOfMaps;
  return {
    ...spec(name, type, { key, value: u32, maxEntries, flags }),
    type,
    inner,
    maps: checked(name, inner, maps, maxEntries),
  };
}

function checked<Held extends readonly (readonly [unknown, MapSpec])[]>(
  name: string,
  inner: MapSpec,
  maps: Held,
  maxEntries: number,
): Held {
  if (isMapOfMaps(inner))
    throw withSourcePosition(
      new TypeError(`map ${name}: its maps can't hold maps themselves: the kernel goes one level deep`),
    );
  if (maps.length > maxEntries)
    throw withSourcePosition(new RangeError(`map ${name}: ${maps.length} maps, and room for ${maxEntries}`));
  for (const [, map] of maps) {
    const fault = difference(map, inner);
    if (fault)
      throw withSourcePosition(
        new TypeError(`map ${name} can't hold ${map.name}: its ${fault} is not that of ${inner.name}`),
      );
  }
  return maps;
}

/** The property in which an inner map differs from the template, so that the kernel would reject it. */
function difference(map: MapSpec, other: MapSpec): string | undefined {
  if (map.type !== other.type) return 'type';
  if (layoutOf(map.key).size !== layoutOf(other.key).size) return 'key size';
  if (layoutOf(map.value).size !== layoutOf(other.value).size) return 'value size';
  if (map.flags !== other.flags) return 'set of flags';
  if (map.type === MapType.array && map.maxEntries !== other.maxEntries) return 'number of entries';
  return undefined;
}
