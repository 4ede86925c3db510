/**
 * Maps that a program finds at run time.
 */
import type { MapSpec } from '../map.ts';
import type { Value } from './value.ts';

/**
 * A map that a lookup in a map of maps found: its address in a register. It is accepted wherever a map is.
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
