/**
 * Maps whose values are maps: which of many maps a program looks into is decided while it runs, and one is exchanged for another in a step.
 *
 * Source: man 2 bpf (BPF_MAP_TYPE_ARRAY_OF_MAPS, BPF_MAP_TYPE_HASH_OF_MAPS; Linux 4.12), kernel/bpf/map_in_map.c.
 */
import type { Static, TSchema } from '@sinclair/typebox';
import { withSourcePosition } from './error-position.ts';
import { layoutOf, u32 } from './layout.ts';
import { type MapSpec, MapType, spec } from './map.ts';

/** A map of maps that are all made as `inner` is. What this process reads as its values are their ids, as bpftool shows them. */
export interface MapOfMapsSpec<K extends TSchema = TSchema, I extends MapSpec = MapSpec>
  extends MapSpec<K, typeof u32> {
  readonly type: typeof MapType.arrayOfMaps | typeof MapType.hashOfMaps;
  readonly inner: I;
  /** What it holds from the beginning. */
  readonly maps: readonly (readonly [Static<K>, I])[];
}

export function isMapOfMaps(map: MapSpec): map is MapOfMapsSpec {
  return 'inner' in map;
}

/**
 * An array of maps by their index, `maxEntries` of them (as many as it holds from the beginning, if that isn't given). All have the type, the
 * shapes of keys and values and the flags of `inner`, and arrays its number of entries; `maps` are there from the beginning. Throws
 * TypeError where one is another.
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

/** The same under keys of any shape: pairs of a key and a map are there from the beginning. */
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

/** In what a map differs from another, so that the verifier couldn't take the one for the other. */
function difference(map: MapSpec, other: MapSpec): string | undefined {
  if (map.type !== other.type) return 'type';
  if (layoutOf(map.key).size !== layoutOf(other.key).size) return 'key size';
  if (layoutOf(map.value).size !== layoutOf(other.value).size) return 'value size';
  if (map.flags !== other.flags) return 'set of flags';
  if (map.type === MapType.array && map.maxEntries !== other.maxEntries) return 'number of entries';
  return undefined;
}
