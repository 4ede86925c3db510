/**
 * Memory with the shape of a schema: `attempt.comm` instead of an offset.
 */
import type { TArray, TObject, TSchema } from '@sinclair/typebox';
import type { BodyResult } from '../body.ts';
import * as insn from '../constructors.ts';
import { type ArrayLayout, hasFields, type Layout, layoutOf, type UnionSchema } from '../layout.ts';
import { Branch } from './flow.ts';
import type { Machine } from './machine.ts';
import { mayBeNegative } from './number-type.ts';
import { constantOf, describeOperand } from './operand.ts';
import { type Base, Place, type PlaceKind, type Provenance } from './place.ts';
import { StackSlot } from './stack.ts';
import { Value } from './value.ts';

const PLACE = Symbol('place');

/** The whole of a structure in memory; its fields are properties beside it. */
export interface StructMemory {
  readonly [PLACE]: Place;
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

/** Memory of schema `T`: an object of its fields for a struct or a union, `Elements` for an array, a `Place` for everything else. */
export type Memory<T extends TSchema> = T extends TObject<infer P> | UnionSchema<infer P>
  ? { readonly [K in keyof P]: Memory<P[K]> } & StructMemory
  : T extends TArray<infer E>
    ? Elements<E>
    : Place;

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

/** Memory as one place, whatever its shape. */
export function placeOf(memory: Place | StructMemory): Place {
  return memory instanceof Place ? memory : memory[PLACE];
}

/** Whether it is the whole of a structure. */
export function isStructMemory(thing: unknown): thing is StructMemory {
  return typeof thing === 'object' && thing !== null && PLACE in thing;
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
  const fields = layout.fields.map((field) => [
    field.name,
    memoryWith(machine, base, offset + field.offset, field.layout, `${name}.${field.name}`, kind, provenance),
  ]);
  return { ...Object.fromEntries(fields), [PLACE]: place };
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
