/**
 * Maps that are known when the program runs.
 */
import type { MapSpec } from '../map.ts';
import type { Value } from './value.ts';

/** A map that was found in a map of maps: its address in a register, which goes where a map goes. */
export class MapPointer<M extends MapSpec = MapSpec> {
  /** What the map is like; which map it is, is known when the program runs. */
  readonly spec: M;
  readonly value: Value;

  constructor(spec: M, value: Value) {
    this.spec = spec;
    this.value = value;
  }
}
