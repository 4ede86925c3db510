/**
 * Memory of a schema, with its fields as properties: `attempt.comm` instead of an offset.
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
   * The field `name`. Needed only for fields with the names of the methods of struct memory: `set` and
   * `field`. Emits nothing. Throws RangeError if the struct has no such field.
   */
  field<K extends keyof P & string>(name: K): Memory<P[K]>;
}

/** Memory of an array. The whole array is a place. */
export interface Elements<E extends TSchema> extends Place {
  /** The number of elements. */
  readonly length: number;
  /** The element at a constant index. Emits nothing. Throws RangeError if the array has no such element. */
  at(index: number): Memory<E>;
  /**
   * The element at a variable index, in a map value or (Linux 5.12) on the stack. `found` receives its
   * memory, whose address is a temporary; `otherwise` runs if the index is out of range. Emits a comparison
   * and two or three instructions.
   *
   * Throws RangeError if the index may be negative.
   *
   * @example
   * ```ts
   * import { array, arrayOf, rawTracepoint, struct, target, u64 } from 'tsbpf';
   *
   * const counters = array('counters', { value: struct({ calls: arrayOf(u64, 512) }) });
   *
   * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
   *   b.global(counters).calls.at(b.arg(1), (count) => count.atomicAdd(1));
   * });
   * ```
   */
  at(index: Value | Place, found: (element: Memory<E>) => BodyResult, otherwise?: () => BodyResult): void;
}

/**
 * Memory of schema `T`: an object with the fields of a struct or union, `Elements` for an array, else a
 * `Place`. All have a method `set`. The fields `set` and `field` of a struct are hidden by the methods: use
 * `memory.field('set')`.
 *
 * @example
 * ```ts
 * import { type Builder, type Memory, rawTracepoint, struct, target, u64 } from 'tsbpf';
 *
 * const Sample = struct({ number: u64 });
 *
 * const fill = (b: Builder, sample: Memory<typeof Sample>) => sample.number.set(b.arg(1));
 *
 * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => fill(b, b.stack(Sample)));
 * ```
 */
export type Memory<T extends TSchema> = T extends TObject<infer P> | UnionSchema<infer P>
  ? { readonly [K in keyof P as Exclude<K, Method>]: Memory<P[K]> } & FieldsByName<P> & StructMemory
  : T extends TArray<infer E>
    ? Elements<E>
    : Place;

/** The methods of struct memory, which hide fields of their names. */
const METHODS = ['set', 'field'] as const;
type Method = (typeof METHODS)[number];

/** Memory of a schema at `offset` bytes from `base`. */
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

/** The same memory under another schema. */
export function view<T extends TSchema>(from: Place | StructMemory, schema: T): Memory<T> {
  const { machine, base, offset, size, name, kind, provenance } = placeOf(from);
  const layout = layoutOf(schema);
  if (layout.size > size)
    throw new TypeError(`${name} has ${size} bytes, but the schema of as() has ${layout.size}`);
  if (provenance.bits)
    throw new TypeError(`${name} is a bit field: it can only be read, as a number of its type`);
  const align = base instanceof StackSlot ? 8 : (provenance.align ?? 8);
  if (offset % layout.align !== 0 || align % layout.align !== 0) {
    const where =
      base instanceof StackSlot ? `at r10${offset}` : `${offset} bytes from a pointer aligned to ${align}`;
    throw new TypeError(`${name} is ${where}, but the schema needs an alignment of ${layout.align} bytes`);
  }
  return memoryWith(machine, base, offset, layout, name, kind, provenance) as Memory<T>;
}

/** The same memory from another base: a pointer that was moved to another register. */
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
      branch.run(() => found(machine.at(branch.position, element) as never), otherwise);
    } finally {
      release();
    }
    return undefined;
  }

  #constant(index: number): Place | StructMemory {
    const number = Number(constantOf(index));
    const { element, length } = this.layout;
    if (number < 0 || number >= length)
      throw new RangeError(
        `${this.name} has no element ${number}: it has ${length}, from 0 to ${length - 1}`,
      );
    const [name, offset] = [`${this.name}[${number}]`, this.offset + number * element.size];
    return memoryWith(this.machine, this.base, offset, element, name, this.kind, this.provenance);
  }

  /** Emits the comparison of the index. In its first arm, `element` emits the address. */
  #variable(index: Value | Place): {
    readonly branch: Branch;
    element(): Place | StructMemory;
    release(): void;
  } {
    const { machine, layout, name } = this;
    if (this.kind !== 'memory')
      throw new TypeError(
        `a variable index needs memory on the stack or in a map, and ${name} is in the kernel: use constant indexes`,
      );
    if (mayBeNegative(index.type))
      throw new RangeError(
        `the index ${describeOperand(index)} may be negative: cast it with as(u32) or as(u64) first`,
      );
    this.requireWritten();
    const base = this.baseRegister();
    const align = this.base instanceof StackSlot ? 8 : (this.provenance.align ?? 8);
    const { size } = layout.element;
    const holder = { name: `${name}[]`, position: machine.position };
    const register = machine.temporary(holder);
    index.loadInto(register);
    const number = new Value(machine, register, holder, { type: index.type });
    // The verifier needs a comparison even if the type of the index is always in range.
    const inRange = index.type.max < layout.length ? number.le(index.type.max) : number.lt(layout.length);
    return {
      branch: new Branch(machine, inRange),
      element: () => {
        if (size > 1) machine.emit(insn.mul(register, size));
        machine.emit(insn.add(register, base));
        return memoryWith(
          ...([machine, new Value(machine, register, holder), this.offset, layout.element] as const),
          ...([
            holder.name,
            this.kind,
            { align: Math.min(align, size & -size), record: this.provenance.record },
          ] as const),
        );
      },
      release: () => machine.release(register, holder),
    };
  }
}
