/**
 * The shape of a schema over memory that others write at the same time: what programs call a place (`b.global`) is a cell here, and has
 * the same words.
 */
import type { Static, TArray, TObject, TSchema } from '@sinclair/typebox';
import { reportAtCaller, withSourcePosition } from '../../asm/error-position.ts';
import {
  encodeValue,
  hasFields,
  type IntLayout,
  layoutOf,
  type UnionSchema,
  valueDecoder,
} from '../../asm/layout.ts';
import type { Mapping } from './mapping.ts';

/** A text or bytes in shared memory, `V` in JavaScript. Others may write while it is read or written: it is not one step. */
export interface Cell<V> {
  /** A copy of what is there now. @throws after the map was closed. */
  get(): V;
  /** Writes it. @throws {RangeError} @throws {TypeError} for what doesn't fit, and after the map was closed. */
  set(value: V): void;
}

/** A number in shared memory. Each method is one step that no program and no other process can come between, whatever the width. */
export interface NumberCell<V> extends Cell<V> {
  /** Adds to it, and wraps where it overflows; a negative amount subtracts. Gives what was there before. */
  atomicAdd(amount: V): V;
  /** Writes it, and gives what was there before: to read a counter and begin anew. */
  exchange(value: V): V;
}

/** Elements in a row. */
export interface CellArray<T extends TSchema> extends Iterable<View<T>> {
  readonly length: number;
  /** The element of that index. @throws {RangeError} where there is none. */
  at(index: number): View<T>;
}

/** Memory of schema `T`: an object of its fields for a struct, and cells for what is in them. */
export type View<T extends TSchema> = T extends TObject<infer P> | UnionSchema<infer P>
  ? { readonly [K in keyof P]: View<P[K]> }
  : T extends TArray<infer E>
    ? CellArray<E>
    : Static<T> extends number | bigint
      ? NumberCell<Static<T>>
      : Cell<Static<T>>;

/** Memory at `offset` of the mapping, where something of that schema lies as C aligns it. Nothing is read yet. */
export function viewOf<T extends TSchema>(
  mapping: Mapping,
  schema: T,
  offset: number,
  name: string,
): View<T> {
  return viewAt(mapping, schema, offset, name) as View<T>;
}

function viewAt(mapping: Mapping, schema: TSchema, offset: number, name: string): unknown {
  const layout = layoutOf(schema);
  if (layout.kind === 'int') return new IntCell(mapping, schema, layout, offset, name);
  if (hasFields(layout)) {
    const inside = layout.fields.map((field) => [
      field.name,
      viewAt(mapping, schema.properties[field.name], offset + field.offset, `${name}.${field.name}`),
    ]);
    return Object.freeze(Object.fromEntries(inside));
  }
  if (layout.kind === 'array') return new Elements(mapping, schema.items, layout.length, offset, name);
  return new BytesCell(mapping, schema, layout.size, offset);
}

/** A word's bytes on their way. */
const SCRATCH = new DataView(new ArrayBuffer(8));

class IntCell implements NumberCell<number | bigint> {
  readonly #mapping: Mapping;
  readonly #schema: TSchema;
  readonly #layout: IntLayout;
  readonly #decode: (view: DataView, offset: number) => number | bigint;
  /** Which of the words of its size it is. */
  readonly #index: number;
  readonly #name: string;

  constructor(mapping: Mapping, schema: TSchema, layout: IntLayout, offset: number, name: string) {
    this.#mapping = mapping;
    this.#schema = schema;
    this.#layout = layout;
    this.#decode = valueDecoder(schema) as (view: DataView, offset: number) => number | bigint;
    this.#index = offset / layout.size;
    this.#name = name;
  }

  get(): number | bigint {
    return this.#number(this.#atomic('load'));
  }

  set(value: number | bigint): void {
    this.#atomic('store', this.#word(value));
  }

  exchange(value: number | bigint): number | bigint {
    return this.#number(this.#atomic('exchange', this.#word(value)));
  }

  atomicAdd(amount: number | bigint): number | bigint {
    const { as, bigEndian } = this.#layout;
    if (typeof amount !== as)
      throw withSourcePosition(new TypeError(`${this.#name}: ${String(amount)} is no ${as}`));
    if (typeof amount === 'number' && !Number.isSafeInteger(amount))
      throw withSourcePosition(
        new RangeError(`${this.#name}: ${amount} is no safe integer (at most 2^53 - 1 either way)`),
      );
    if (bigEndian)
      throw withSourcePosition(
        new TypeError(`${this.#name} is big-endian: a processor can't add to it in one step`),
      );
    return this.#number(this.#atomic('add', BigInt(amount)));
  }

  /** Does it to the word, the first operand and the result being its bits as an unsigned number of the host's order. */
  #atomic(what: 'load' | 'store' | 'exchange' | 'add', operand = 0n): bigint {
    const { size } = this.#layout;
    const { words } = this.#mapping;
    if (size === 8) return BigInt.asUintN(64, Atomics[what](words[8], this.#index, operand));
    return BigInt(Atomics[what](words[size], this.#index, Number(BigInt.asUintN(8 * size, operand))));
  }

  /** The number that a word is: through its bytes, as everything else that programs write is read. */
  #number(word: bigint): number | bigint {
    SCRATCH.setBigUint64(0, word, true);
    return this.#decode(SCRATCH, 0);
  }

  #word(value: number | bigint): bigint {
    const bytes = new Uint8Array(8);
    bytes.set(reportAtCaller(() => encodeValue(this.#schema, value)));
    return new DataView(bytes.buffer).getBigUint64(0, true);
  }
}

class BytesCell implements Cell<string | Uint8Array> {
  readonly #mapping: Mapping;
  readonly #schema: TSchema;
  readonly #size: number;
  readonly #offset: number;

  constructor(mapping: Mapping, schema: TSchema, size: number, offset: number) {
    this.#mapping = mapping;
    this.#schema = schema;
    this.#size = size;
    this.#offset = offset;
  }

  get(): string | Uint8Array {
    const bytes = this.#mapping.words[1].slice(this.#offset, this.#offset + this.#size);
    return valueDecoder(this.#schema)(new DataView(bytes.buffer), 0) as string | Uint8Array;
  }

  set(value: string | Uint8Array): void {
    const bytes = reportAtCaller(() => encodeValue(this.#schema, value));
    this.#mapping.words[1].set(bytes, this.#offset);
  }
}

class Elements<T extends TSchema> implements CellArray<T> {
  readonly length: number;
  readonly #mapping: Mapping;
  readonly #schema: T;
  readonly #offset: number;
  readonly #name: string;

  constructor(mapping: Mapping, schema: T, length: number, offset: number, name: string) {
    this.length = length;
    this.#mapping = mapping;
    this.#schema = schema;
    this.#offset = offset;
    this.#name = name;
  }

  at(index: number): View<T> {
    if (!Number.isInteger(index) || index < 0 || index >= this.length)
      throw withSourcePosition(new RangeError(`${this.#name} has ${this.length} elements, and no ${index}`));
    const at = this.#offset + index * layoutOf(this.#schema).size;
    return viewOf(this.#mapping, this.#schema, at, `${this.#name}[${index}]`);
  }

  *[Symbol.iterator](): Generator<View<T>, void, undefined> {
    for (let index = 0; index < this.length; index++) yield this.at(index);
  }
}
