/**
 * Copies values and pointers to the registers that survive calls.
 */
import type { Target } from '../target.ts';
import { KernelPointer } from './kernel-pointer.ts';
import type { Machine } from './machine.ts';
import { MapPointer } from './map-pointer.ts';
import { rebase } from './memory.ts';
import { isStructMemory, Place, placeOf, type StructMemory } from './place.ts';
import { StackSlot } from './stack.ts';
import { Value } from './value.ts';

/** The arguments of `b.keep`: values, places, and memory or structures behind a pointer. */
export type Keepable = Value | Place | KernelPointer | MapPointer | StructMemory;

/**
 * Copies a value, the number in a place, or a pointer to one of r6 to r9. Throws RangeError if all four are
 * in use, and TypeError for stack memory, which needs no register.
 */
export function keep(
  machine: Machine,
  target: Target,
  thing: Keepable,
): Value | KernelPointer | MapPointer | StructMemory {
  if (thing instanceof KernelPointer)
    return new KernelPointer(machine, target, keepValue(machine, thing.value), {
      name: thing.struct,
      type: thing.type,
    });
  if (thing instanceof MapPointer) return new MapPointer(thing.spec, keepValue(machine, thing.value));
  if (!isStructMemory(thing)) return keepValue(machine, thing);
  const { base, name } = placeOf(thing);
  if (base instanceof StackSlot)
    throw new TypeError(`${name} is on the stack, which survives calls: use it without keep()`);
  return rebase(thing, keepValue(machine, base));
}

function keepValue(machine: Machine, source: Value | Place): Value {
  const holder = { name: source.name, position: machine.position };
  const { type, trusted } = source;
  if (source instanceof Place) {
    const register = machine.kept(holder);
    return new Value(machine, register, holder, { type, trusted, validBits: source.loadLowBits(register) });
  }
  source.read();
  const register = machine.kept(holder);
  source.moveInto(register);
  return new Value(machine, register, holder, { type, trusted, validBits: source.validBits });
}
