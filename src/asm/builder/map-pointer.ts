/**
 * Maps that a program finds at run time.
 */
import type { MapSpec } from '../map.ts';
import type { Value } from './value.ts';

/**
 * A map that a lookup in a map of maps found: its address in a register. Every statement that takes a
 * map also takes a map pointer.
 *
 * @example
 * ```ts
 * import { array, arrayOfMaps, type MapPointer, rawTracepoint, target, u64 } from 'tsbpf';
 *
 * const inner = array('inner', { value: u64 });
 * const outer = arrayOfMaps('outer', { inner, maps: [inner] });
 *
 * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
 *   const count = (map: MapPointer<typeof inner>) => b.count(map, 0);
 *   b.lookup(outer, 0, { found: count });
 * });
 * ```
 */
export class MapPointer<M extends MapSpec = MapSpec> {
  /** The template of the inner maps. */
  readonly spec: M;
  /** The address of the map. */
  readonly value: Value;

  constructor(spec: M, value: Value) {
    this.spec = spec;
    this.value = value;
  }
}

/** The spec of a map, or of the maps that a pointer may refer to; anything else is returned as it is. */
export function specOf<T>(map: T | MapPointer): T | MapSpec {
  return map instanceof MapPointer ? map.spec : map;
}
