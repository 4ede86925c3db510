/** The number at the beginning of an event of one of several types. */
import { hasFields, layoutOf, u32, u64 } from '../layout.ts';
import { Place } from './place.ts';

/** Writes the number of the event's type, and the padding after it: one store. */
export function writeEventType(
  { machine, base, offset, layout, name, kind, provenance }: Place,
  number: number,
): void {
  const [, next] = hasFields(layout) ? layout.fields : [];
  const width = layoutOf(next?.offset === 8 ? u64 : u32);
  new Place(machine, base, offset, width, `${name}.type`, kind, provenance).set(number);
}
