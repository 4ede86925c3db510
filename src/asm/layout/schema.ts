/**
 * Schemas of C data: TypeBox schemas that also say how many bytes they take.
 *
 * One definition gives the layout (`layoutOf`), the reader (`valueDecoder`), the writer (`encodeValue`) and the static
 * type (`Static<typeof Attempt>` of TypeBox). As JSON Schema they describe the decoded values, as far as JSON
 * has such values: `u64`, `s64` and `bytes` are of types that only TypeBox knows (`bigint`, `Uint8Array`).
 *
 * TypeBox's functions are imported one by one since a bundler can drop the others then: 7 KB instead of the
 * 115 KB behind its `Type` object.
 */
import {
  type SchemaOptions,
  type Static,
  type TArray,
  type TBigInt,
  type TInteger,
  type TObject,
  type TProperties,
  type TSchema,
  type TString,
  type TUint8Array,
  Array as TypeArray,
  BigInt as TypeBigInt,
  Integer as TypeInteger,
  Object as TypeObject,
  String as TypeString,
  Uint8Array as TypeUint8Array,
} from '@sinclair/typebox';
import type { Width } from '../width.ts';
import { layoutOf, type ScalarName, scalarLayout } from './c-layout.ts';

/** An integer of `S` bytes that JavaScript sees as a number. */
export interface NumberSchema<S extends Width['size'] = Width['size']> extends TInteger {
  readonly ctype: ScalarName;
  readonly size: S;
}

/** A 64-bit integer that JavaScript sees as a bigint. */
export interface BigIntSchema extends TBigInt {
  readonly ctype: ScalarName;
  readonly size: 8;
}

/** NUL-terminated text in `size` bytes. */
export interface CharsSchema extends TString {
  readonly ctype: 'chars';
  readonly size: number;
}

/** `size` bytes. */
export interface BytesSchema extends TUint8Array {
  readonly ctype: 'bytes';
  readonly size: number;
}

/** Elements in a row, `size` bytes together. */
export interface ArraySchema<T extends TSchema = TSchema> extends TArray<T> {
  readonly ctype: 'array';
  readonly size: number;
}

/** Fields one after the other with C's padding, `size` bytes together. */
export interface StructSchema<F extends TProperties = TProperties> extends TObject<F> {
  readonly ctype: 'struct';
  readonly size: number;
}

/** Members that share their bytes, `size` bytes together. */
export interface UnionSchema<F extends TProperties = TProperties> extends TSchema {
  readonly ctype: 'union';
  readonly size: number;
  readonly properties: F;
  static: { [K in keyof F]?: Static<F[K]> };
}

/** 0 to 255. */
export const u8: NumberSchema<1> = number('u8', 1);
/** 0 to 65,535. */
export const u16: NumberSchema<2> = number('u16', 2);
/** 0 to 4,294,967,295. */
export const u32: NumberSchema<4> = number('u32', 4);
/** -128 to 127. */
export const s8: NumberSchema<1> = number('s8', 1);
/** -32,768 to 32,767. */
export const s16: NumberSchema<2> = number('s16', 2);
/** -2,147,483,648 to 2,147,483,647. */
export const s32: NumberSchema<4> = number('s32', 4);

/** 0 to 2^64-1 as a bigint. */
export const u64: BigIntSchema = bigint('u64');
/** -2^63 to 2^63-1 as a bigint. */
export const s64: BigIntSchema = bigint('s64');

/**
 * An unsigned 64-bit integer as a JavaScript number.
 *
 * Read: past 2^53 the nearest double (ties to even), exactly as `Number(bigint)` gives it. Written: a number
 * that is no safe integer throws RangeError, so nothing is rounded on the way into the kernel. As a map key, a
 * number beyond 2^53 is a bigint: see `BpfMap.keys`.
 */
export const u64n: NumberSchema<8> = number('u64n', 8);
/** A signed 64-bit integer as a JavaScript number; the same rules as `u64n`, on both sides of zero. */
export const s64n: NumberSchema<8> = number('s64n', 8);

/** `u16` in network byte order, as packets and sockets hold a port. JavaScript and programs see the number itself. */
export const u16be: NumberSchema<2> = number('u16be', 2);
/** `u32` in network byte order. */
export const u32be: NumberSchema<4> = number('u32be', 4);
/** `u64` in network byte order. */
export const u64be: BigIntSchema = bigint('u64be');
/** `s16` in network byte order. */
export const s16be: NumberSchema<2> = number('s16be', 2);
/** `s32` in network byte order. */
export const s32be: NumberSchema<4> = number('s32be', 4);
/** `s64` in network byte order. */
export const s64be: BigIntSchema = bigint('s64be');

/**
 * Text in a field of `size` bytes, NUL included (`char comm[16]`).
 *
 * Read: up to the first NUL, or the whole field if there is none; what isn't UTF-8 becomes U+FFFD. Written:
 * UTF-8, the rest zeroed; RangeError where it doesn't fit together with its NUL, contains one, or isn't
 * well-formed. As a map key, the text stands for all bytes of the field: see `BpfMap.keys`.
 */
export function chars(size: number): CharsSchema {
  return sized(TypeString({ ctype: 'chars', size, maxLength: size }));
}

/** `size` bytes as a Uint8Array; reading gives a copy that belongs to the caller. */
export function bytes(size: number): BytesSchema {
  return sized(TypeUint8Array({ ctype: 'bytes', size, minByteLength: size, maxByteLength: size }));
}

/**
 * `length` elements in a row, as `T name[length]` in C. Throws TypeError if the element has no C layout.
 *
 * @example
 * import { arrayOf, struct, u32, u64 } from 'tsbpf';
 *
 * const Path = struct({ depth: u32, inodes: arrayOf(u64, 8) });
 */
export function arrayOf<T extends TSchema>(element: T, length: number): ArraySchema<T> {
  return sized(TypeArray(element, { ctype: 'array', minItems: length, maxItems: length }));
}

/**
 * A C struct: its fields in the order given, each aligned as C aligns it. Structs nest.
 *
 * Throws TypeError where a field has no C layout or a name that is no C identifier. `options` are TypeBox's:
 * `$id`, `title`, `description`.
 */
export function struct<F extends TProperties>(fields: F, options: SchemaOptions = {}): StructSchema<F> {
  return sized(TypeObject(fields, { ...options, ctype: 'struct', additionalProperties: false }));
}

/**
 * A C union: its members lie at the same place. A value that was read has every member, each of them another
 * reading of the same bytes. A value to write has one member, or several that agree on the bytes they share;
 * bytes of no member are 0.
 *
 * Throws TypeError if a member has no C layout or a name that is no C identifier.
 *
 * @example
 * const Address = union({ v4: bytes(4), v6: bytes(16) });
 * const Key = struct({ family: u16, address: Address });
 * map.lookup({ family: 2, address: { v4: Uint8Array.of(127, 0, 0, 1) } });
 */
export function union<F extends TProperties>(members: F, options: SchemaOptions = {}): UnionSchema<F> {
  const { required: _all, ...schema } = TypeObject(members, {
    ...options,
    ctype: 'union',
    additionalProperties: false,
    minProperties: 1,
  });
  return sized(schema as TSchema) as UnionSchema<F>;
}

/**
 * A parameter of a subprogram that it fills: the memory that its caller hands over need not be written before the call, and the
 * subprogram has to write every byte of it before it returns.
 *
 * @example
 * const now = subprogram('now', [out(Stamp)], (b, stamp) => stamp.ns.set(b.call(ktimeGetNs)));
 */
export function out<T extends TSchema>(schema: T): T {
  return { ...schema, writeOnly: true };
}

/** Whether `out` made it. */
export function isOut(schema: TSchema): boolean {
  return schema.writeOnly === true;
}

function number<S extends Width['size']>(ctype: ScalarName, size: S): NumberSchema<S> {
  const { signed } = scalarLayout(ctype);
  const bits = size * 8;
  // The largest 64-bit values have no double of their own: the bounds are those that reading rounds to.
  const [minimum, top] = signed ? [-(2 ** (bits - 1)), 2 ** (bits - 1)] : [0, 2 ** bits];
  return TypeInteger({ ctype, size, minimum, maximum: size === 8 ? top : top - 1 }) as NumberSchema<S>;
}

function bigint(ctype: ScalarName): BigIntSchema {
  // No bounds here: as bigints they would make JSON.stringify of the schema throw. encodeValue() has them.
  return TypeBigInt({ ctype, size: 8 }) as BigIntSchema;
}

/** Gives a schema its `size`, and throws now rather than at first use if it has no layout. */
function sized<T extends TSchema, R extends T & { readonly size: number }>(schema: T): R {
  return Object.assign(schema, { size: layoutOf(schema).size }) as R;
}
