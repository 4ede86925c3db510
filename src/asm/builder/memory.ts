/**
 * Memory with the shape of a schema: `attempt.comm` instead of an offset.
 */
import type { TArray, TObject, TProperties, TSchema } from '@sinclair/typebox';
import type { BodyResult } from '../body.ts';
import * as insn from '../constructors.ts';
import { type ArrayLayout, hasFields, type Layout, layoutOf, type UnionSchema } from '../layout.ts';
import { Branch } from './flow.ts';
import type { Machine } from './machine.ts';
import { mayBeNegative } from './number-type.ts';
import { constantOf, describeOperand, type Operand } from './operand.ts';
import {
  type Base,
  PLACE,
  Place,
  type PlaceKind,
  type Provenance,
  placeOf,
  type StructMemory,
} from './place.ts';
import { StackSlot } from './stack.ts';
import { Value } from './value.ts';

/** The fields of struct memory by name. */
export interface FieldsByName<P extends TProperties> {
  /**
   * The field of that name, for the names that the memory's own methods have: `set` and `field`. Nothing is emitted.
   * Throws RangeError if the struct has no such field.
   */
  field<K extends keyof P & string>(name: K): Memory<P[K]>;
}

/** Elements in a row, which are a place as a whole. */
export interface Elements<E extends TSchema> extends Place {
  readonly length: number;
  /** The element of that index. Nothing is emitted. Throws RangeError if there is none. */
  at(index: number): Memory<E>;
  /**
   * The element of an index that is known when the program runs: `found` gets its memory through a temporary. If the index is out of
   * range, `otherwise` runs. A comparison and two or three instructions; on the stack since Linux 5.12.
   */
  at(index: Value | Place, found: (element: Memory<E>) => BodyResult, otherwise?: () => BodyResult): void;
}

/**
 * Memory of schema `T`: an object of its fields for a struct or a union, `Elements` for an array, a `Place` for everything
 * else. All of them are written by `set`. A field whose name is that of a method of the object is reached by `field(name)`.
 */
export type Memory<T extends TSchema> = T extends TObject<infer P> | UnionSchema<infer P>
  ? { readonly [K in keyof P as Exclude<K, Method>]: Memory<P[K]> } & FieldsByName<P> & StructMemory
  : T extends TArray<infer E>
    ? Elements<E>
    : Place;

/** The methods of struct memory, which hide fields of their names. */
const METHODS = ['set', 'field'] as const;
type Method = (typeof METHODS)[number];

/** Memory that lies at `offset` from `base`. */
export function memory<T extends TSchema>(
  machine: Machine,
  base: Base,
  offset: number,
  schema: T,
  name: string,
  provenance: Provenance = {},
): Memory<T> {
  return memoryWith(machine, base, offset, layoutOf(schema), name, 'memory', provenance) as Memory<T>;
}

/** The same memory as another schema sees it. */
export function view<T extends TSchema>(from: Place | StructMemory, schema: T): Memory<T> {
  const { machine, base, offset, size, name, kind, provenance } = placeOf(from);
  const layout = layoutOf(schema);
  if (layout.size > size)
    throw new TypeError(`${name} has ${size} bytes, too few to be seen as ${layout.size}`);
  if (provenance.bits) throw new TypeError(`${name} is a bit field: it cannot be seen as other memory`);
  const align = base instanceof StackSlot ? 8 : (provenance.align ?? 8);
  if (offset % layout.align !== 0 || align % layout.align !== 0) {
    const where =
      base instanceof StackSlot ? `at r10${offset}` : `${offset} bytes from a pointer aligned to ${align}`;
    throw new TypeError(`${name} lies ${where}, which isn't aligned to ${layout.align} bytes`);
  }
  return memoryWith(machine, base, offset, layout, name, kind, provenance) as Memory<T>;
}

/** The same memory from another base (a pointer that has been moved to another register). */
export function rebase<M extends Place | StructMemory>(block: M, base: Base): M {
  const { machine, offset, layout, name, kind, provenance } = placeOf(block);
  return memoryWith(machine, base, offset, layout, name, kind, provenance) as M;
}

class StructPlace implements StructMemory {
  readonly [PLACE]: Place;
  readonly #fields: ReadonlyMap<string, Place | StructMemory>;

  constructor(place: Place, fields: ReadonlyMap<string, Place | StructMemory>) {
    this[PLACE] = place;
    this.#fields = fields;
    for (const [name, value] of fields)
      if (!METHODS.some((method) => method === name))
        Object.defineProperty(this, name, { value, enumerable: true });
  }

  set(source: Operand | StructMemory): void {
    const place = this[PLACE];
    place.machine.statement(this.set, () => place.set(source));
  }

  field(name: string): Place | StructMemory {
    const place = this[PLACE];
    return place.machine.statement(this.field, () => {
      const field = this.#fields.get(name);
      if (field) return field;
      const names = [...this.#fields.keys()].join(', ');
      throw new RangeError(`${place.name} has no field '${name}'; it has ${names}`);
    });
  }
}

function memoryWith(
  machine: Machine,
  base: Base,
  offset: number,
  layout: Layout,
  name: string,
  kind: PlaceKind,
  provenance: Provenance,
): Place | StructMemory {
  if (layout.kind === 'array')
    return new ElementsPlace(machine, base, offset, layout, name, kind, provenance) as unknown as Place;
  const place = new Place(machine, base, offset, layout, name, kind, provenance);
  if (!hasFields(layout)) return place;
  const fields = layout.fields.map((field): [string, Place | StructMemory] => [
    field.name,
    memoryWith(machine, base, offset + field.offset, field.layout, `${name}.${field.name}`, kind, provenance),
  ]);
  return new StructPlace(place, new Map(fields));
}

class ElementsPlace extends Place {
  declare readonly layout: ArrayLayout;

  get length(): number {
    return this.layout.length;
  }

  at(
    index: number | Value | Place,
    found: (element: never) => BodyResult = () => {},
    otherwise?: () => BodyResult,
  ): Place | StructMemory | undefined {
    const { machine } = this;
    if (typeof index === 'number' || typeof index === 'bigint')
      return machine.statement(this.at, () => this.#constant(index));
    const { branch, element, release } = machine.statement(this.at, () => this.#variable(index));
    try {
      branch.otherwise(found(machine.at(branch.position, element) as never));
      branch.end(otherwise?.());
    } catch (error) {
      throw branch.fail(error);
    } finally {
      release();
    }
    return undefined;
  }

  #constant(index: number): Place | StructMemory {
    const number = Number(constantOf(index));
    const { element, length } = this.layout;
    if (number < 0 || number >= length)
      throw new RangeError(`${this.name} has ${length} elements, and no element ${number}`);
    const [name, offset] = [`${this.name}[${number}]`, this.offset + number * element.size];
    return memoryWith(this.machine, this.base, offset, element, name, this.kind, this.provenance);
  }

  /** Emits the comparison of the index; in its first arm, `element` emits the address. */
  #variable(index: Value | Place): {
    readonly branch: Branch;
    element(): Place | StructMemory;
    release(): void;
  } {
    const { machine, layout, name } = this;
    if (this.kind !== 'memory')
      throw new TypeError(`${name} is not on the stack nor in a map: its elements have constant indexes`);
    if (mayBeNegative(index.type))
      throw new RangeError(
        `${describeOperand(index)} may be negative, and an index is not: as(u32) or as(u64) first`,
      );
    this.requireWritten();
    const base = this.baseRegister();
    const align = this.base instanceof StackSlot ? 8 : (this.provenance.align ?? 8);
    const { size } = layout.element;
    const holder = { name: `${name}[]`, position: machine.position };
    const register = machine.temporary(holder);
    index.loadInto(register);
    const number = new Value(machine, register, holder, { type: index.type });
    // An index that is always in range needs no comparison for us, but one that the verifier sees.
    const inRange = index.type.max < layout.length ? number.le(index.type.max) : number.lt(layout.length);
    return {
      branch: new Branch(machine, inRange),
      element: () => {
        if (size > 1) machine.emit(insn.mul(register, size));
        machine.emit(insn.add(register, base));
        return memoryWith(
          ...([machine, new Value(machine, register, holder), this.offset, layout.element] as const),
          ...([holder.name, this.kind, { align: Math.min(align, size & -size) }] as const),
        );
      },
      release: () => machine.release(register, holder),
    };
  }
}
