/**
 * Views of a schema over memory that programs write at the same time. A cell is to this process what a place
 * of
 * `b.global` is to a program, and has the same methods.
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

/**
 * A text or bytes in a shared `globals` map. Access is not atomic: a program can write between two bytes of a
 * read.
 *
 * @example
 * ```ts
 * import { BpfMap, type Cell, chars, globals, Kernel, struct } from 'tsbpf';
 *
 * const map = BpfMap.create(new Kernel(), globals('settings', struct({ comm: chars(16) })));
 * const comm: Cell<string> = map.view.comm;
 * comm.set('nginx');
 * console.log(comm.get()); // nginx
 * map.close();
 * ```
 */
export interface Cell<V> {
  /** Returns a copy of the current value. @throws {ClosedError} after the map was closed. */
  get(): V;
  /**
   * Writes a value. @throws {RangeError} or {TypeError} if it does not fit the schema. @throws {ClosedError}
   */
  set(value: V): void;
}

/**
 * A number in a shared `globals` map. Every method is atomic towards programs and other processes, at any
 * width.
 *
 * @example
 * ```ts
 * import { BpfMap, globals, Kernel, type NumberCell, struct, u64 } from 'tsbpf';
 *
 * const map = BpfMap.create(new Kernel(), globals('stats', struct({ calls: u64 })));
 * const calls: NumberCell<bigint> = map.view.calls;
 * calls.atomicAdd(1n);
 * console.log(calls.exchange(0n)); // 1n
 * map.close();
 * ```
 */
export interface NumberCell<V> extends Cell<V> {
  /**
   * Adds an amount, which may be negative; the sum wraps on overflow. Returns the previous value.
   * @throws {TypeError} for another type and for a big-endian number. @throws {RangeError} @throws
   * {ClosedError}
   */
  atomicAdd(amount: V): V;
  /**
   * Writes a value and returns the previous one, for example to read and reset a counter. @throws
   * {ClosedError}
   */
  exchange(value: V): V;
}

/**
 * An array in a shared `globals` map.
 *
 * @example
 * ```ts
 * import { arrayOf, BpfMap, globals, Kernel, struct, u64 } from 'tsbpf';
 *
 * const map = BpfMap.create(new Kernel(), globals('stats', struct({ perState: arrayOf(u64, 4) })));
 * const { perState } = map.view; // a CellArray of 4 cells
 * perState.at(2).atomicAdd(1n);
 * for (const cell of perState) console.log(cell.get());
 * map.close();
 * ```
 */
export interface CellArray<T extends TSchema> extends Iterable<View<T>> {
  /** The number of elements. */
  readonly length: number;
  /** Returns the view of an element. @throws {RangeError} if there is no such element. */
  at(index: number): View<T>;
}

/**
 * A view of a `globals` map's memory: an object of views for a struct or union, a `CellArray` for an array,
 * and a cell for everything else.
 *
 * Returned by `map.view`. It reads nothing until a cell is accessed.
 * @example
 * ```ts
 * import { BpfMap, globals, Kernel, struct, u32, u64, type View } from 'tsbpf';
 *
 * const Stats = struct({ pid: u32, calls: u64 });
 * const map = BpfMap.create(new Kernel(), globals('stats', Stats));
 * const view: View<typeof Stats> = map.view;
 * view.pid.set(process.pid);
 * console.log(view.pid.get(), view.calls.get());
 * map.close();
 * ```
 */
export type View<T extends TSchema> = T extends TObject<infer P> | UnionSchema<infer P>
  ? { readonly [K in keyof P]: View<P[K]> }
  : T extends TArray<infer E>
    ? CellArray<E>
    : Static<T> extends number | bigint
      ? NumberCell<Static<T>>
      : Cell<Static<T>>;

/** Returns the view of a schema at an aligned offset of a mapping. Reads nothing. */
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
  if (layout.kind === 'array') return new ArrayView(mapping, schema.items, layout.length, offset, name);
  return new BytesCell(mapping, schema, layout.size, offset);
}

/** A buffer for the bytes of one word. */
const SCRATCH = new DataView(new ArrayBuffer(8));

class IntCell implements NumberCell<number | bigint> {
  readonly #mapping: Mapping;
  readonly #schema: TSchema;
  readonly #layout: IntLayout;
  readonly #decode: (view: DataView, offset: number) => number | bigint;
  /** The index in the array of words of this size. */
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
      throw withSourcePosition(new TypeError(`${this.#name} takes a ${as}, not ${String(amount)}`));
    if (typeof amount === 'number' && !Number.isSafeInteger(amount))
      throw withSourcePosition(
        new RangeError(
          `${this.#name}: ${amount} is not a safe integer; use numbers from -(2^53 - 1) to 2^53 - 1`,
        ),
      );
    if (bigEndian)
      throw withSourcePosition(
        new TypeError(`${this.#name} is big-endian, which has no atomic addition; use a little-endian type`),
      );
    return this.#number(this.#atomic('add', BigInt(amount)));
  }

  /**
   * Runs an atomic operation on the word. Operand and result are its bits, unsigned and in the host's byte
   * order.
   */
  #atomic(what: 'load' | 'store' | 'exchange' | 'add', operand = 0n): bigint {
    const { size } = this.#layout;
    const { words } = this.#mapping;
    if (size === 8) return BigInt.asUintN(64, Atomics[what](words[8], this.#index, operand));
    return BigInt(Atomics[what](words[size], this.#index, Number(BigInt.asUintN(8 * size, operand))));
  }

  /** Decodes a word through its bytes, like all other values that programs write. */
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

class ArrayView<T extends TSchema> implements CellArray<T> {
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
      throw withSourcePosition(
        new RangeError(`${this.#name} has no element ${index}; it has the elements 0 to ${this.length - 1}`),
      );
    const at = this.#offset + index * layoutOf(this.#schema).size;
    return viewOf(this.#mapping, this.#schema, at, `${this.#name}[${index}]`);
  }

  *[Symbol.iterator](): Generator<View<T>, void, undefined> {
    for (let index = 0; index < this.length; index++) yield this.at(index);
  }
}
