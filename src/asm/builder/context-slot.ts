/**
 * Places of arguments and results, each in a slot of 8 bytes of the context.
 */
import type { TSchema } from '@sinclair/typebox';
import { layoutOf } from '../layout.ts';
import type { ContextSlot } from './context-layout.ts';
import type { Machine } from './machine.ts';
import { Place } from './place.ts';
import { PointerPlace } from './pointer-place.ts';
import type { Value } from './value.ts';

/** Bytes of a slot. */
const SLOT = 8;

/** A number that is shorter than its slot. Nothing defines the slot's other bytes. */
class ContextSlotPlace extends Place {
  /** As `Place.as`, but up to the 8 bytes of the slot. */
  override as(schema: TSchema): Place {
    return this.machine.statement(this.as, () => {
      const layout = layoutOf(schema);
      if (layout.kind !== 'int' || layout.size > SLOT) return super.as(schema);
      return new Place(this.machine, this.base, this.offset, layout, this.name, this.kind);
    });
  }
}

/** The place of an argument or a result. */
export function contextSlotPlace(machine: Machine, context: Value, slot: ContextSlot): Place {
  const { name, offset, layout, pointsTo, trusted } = slot;
  const kind = trusted ? 'trusted' : 'kernel';
  if (pointsTo !== undefined)
    return new PointerPlace(machine, context, { offset, layout, kind, pointsTo }, name);
  const Made = layout.kind === 'int' ? ContextSlotPlace : Place;
  return new Made(machine, context, offset, layout, name, kind);
}
