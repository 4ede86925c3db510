/**
 * Pointers to kernel structures, stored in memory.
 */
import type { PointedStruct } from '../btf.ts';
import type { Layout } from '../layout.ts';
import type { Machine } from './machine.ts';
import { type Base, Place, type PlaceKind } from './place.ts';

/** The position and type of a stored pointer. */
export interface PointerPart {
  readonly offset: number;
  readonly layout: Layout;
  readonly kind: PlaceKind | undefined;
  readonly pointsTo: PointedStruct;
}

/** A stored pointer to a structure that kernel BTF describes. `b.kernel(place)` follows it. */
export class PointerPlace extends Place {
  readonly pointsTo: PointedStruct;

  constructor(machine: Machine, base: Base, { offset, layout, kind, pointsTo }: PointerPart, name: string) {
    super(machine, base, offset, layout, name, kind);
    this.pointsTo = pointsTo;
  }
}
