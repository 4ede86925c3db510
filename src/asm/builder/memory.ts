/**
 * Memory with the shape of a schema: `attempt.comm` instead of an offset.
 */
import type { TObject, TSchema } from '@sinclair/typebox';
import { type Layout, layoutOf } from '../layout.ts';
import type { Machine } from './machine.ts';
import { type Base, Place, type PlaceKind } from './place.ts';

const PLACE = Symbol('place');

/** The whole of a structure in memory; its fields are properties beside it. */
export interface Block {
  readonly [PLACE]: Place;
}

/** Memory of schema `T`: an object of its fields for a struct, a `Place` for everything else. */
export type Memory<T extends TSchema> =
  T extends TObject<infer P> ? { readonly [K in keyof P]: Memory<P[K]> } & Block : Place;

/** Memory that lies at `offset` from `base`. */
export function memory<T extends TSchema>(
  machine: Machine,
  base: Base,
  offset: number,
  schema: T,
  name: string,
): Memory<T> {
  return shape(machine, base, offset, layoutOf(schema), name) as Memory<T>;
}

/** The same memory as another schema sees it. */
export function view<T extends TSchema>(from: Place | Block, schema: T): Memory<T> {
  const { machine, base, offset, size, name, kind } = placeOf(from);
  const layout = layoutOf(schema);
  if (layout.size > size)
    throw new TypeError(`${name} has ${size} bytes, too few to be seen as ${layout.size}`);
  if (base === 'stack' && offset % layout.align !== 0)
    throw new TypeError(`${name} lies at r10${offset}, which isn't aligned to ${layout.align} bytes`);
  return shape(machine, base, offset, layout, name, kind) as Memory<T>;
}

/** The same memory from another base (a pointer that has been moved to another register). */
export function rebase<M extends Place | Block>(block: M, base: Base): M {
  const { machine, offset, layout, name } = placeOf(block);
  return shape(machine, base, offset, layout, name) as M;
}

/** Memory as one place, whatever its shape. */
export function placeOf(memory: Place | Block): Place {
  return memory instanceof Place ? memory : memory[PLACE];
}

/** Whether it is the whole of a structure. */
export function isBlock(thing: unknown): thing is Block {
  return typeof thing === 'object' && thing !== null && PLACE in thing;
}

function shape(
  machine: Machine,
  base: Base,
  offset: number,
  layout: Layout,
  name: string,
  kind?: PlaceKind,
): Place | Block {
  const place = new Place(machine, base, offset, layout, name, kind);
  if (layout.kind !== 'struct') return place;
  const fields = layout.fields.map((field) => [
    field.name,
    shape(machine, base, offset + field.offset, field.layout, `${name}.${field.name}`, kind),
  ]);
  return { ...Object.fromEntries(fields), [PLACE]: place };
}
