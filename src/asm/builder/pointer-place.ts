/**
 * Places that hold pointers to kernel structures.
 */
import type { PointedStruct } from '../btf.ts';
import type { Layout } from '../layout.ts';
import type { Machine } from './machine.ts';
import { type Base, Place, type PlaceKind } from './place.ts';

/** What a pointer's place is besides its base. */
export interface PointerPart {
  readonly offset: number;
  readonly layout: Layout;
  readonly kind: PlaceKind | undefined;
  readonly pointsTo: PointedStruct;
}

/** A place that holds a pointer to a structure that the kernel's types know: `b.kernel(place)` reads it. */
export class PointerPlace extends Place {
  readonly pointsTo: PointedStruct;

  constructor(machine: Machine, base: Base, { offset, layout, kind, pointsTo }: PointerPart, name: string) {
    super(machine, base, offset, layout, name, kind);
    this.pointsTo = pointsTo;
  }
}
