/**
 * Schemas of C data: TypeBox schemas that also have a size in bytes.
 *
 * One definition gives the layout (`layoutOf`), the decoder (`valueDecoder`), the encoder (`encodeValue`) and
 * the static type (`Static<typeof Attempt>` of TypeBox). As JSON Schema, they describe the decoded values as
 * far as JSON can: `u64`, `s64` and `bytes` have types that only TypeBox knows (`bigint`, `Uint8Array`).
 *
 * TypeBox's functions are imported one by one, so that bundlers can drop the others: 7 KB instead of the 115
 * KB behind its `Type` object.
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

/** The schema of an integer of `S` bytes that is a number in JavaScript. */
export interface NumberSchema<S extends Width['size'] = Width['size']> extends TInteger {
  readonly ctype: ScalarName;
  readonly size: S;
}

/** The schema of a 64-bit integer that is a bigint in JavaScript. */
export interface BigIntSchema extends TBigInt {
  readonly ctype: ScalarName;
  readonly size: 8;
}

/** The schema of NUL-terminated text in `size` bytes. See `chars`. */
export interface CharsSchema extends TString {
  readonly ctype: 'chars';
  readonly size: number;
}

/** The schema of `size` raw bytes. See `bytes`. */
export interface BytesSchema extends TUint8Array {
  readonly ctype: 'bytes';
  readonly size: number;
}

/** The schema of an array, `size` bytes in total. See `arrayOf`. */
export interface ArraySchema<T extends TSchema = TSchema> extends TArray<T> {
  readonly ctype: 'array';
  readonly size: number;
}

/** The schema of a C struct with padding, `size` bytes in total. See `struct`. */
export interface StructSchema<F extends TProperties = TProperties> extends TObject<F> {
  readonly ctype: 'struct';
  readonly size: number;
}

/** The schema of a C union, `size` bytes. See `union`. */
export interface UnionSchema<F extends TProperties = TProperties> extends TSchema {
  readonly ctype: 'union';
  readonly size: number;
  readonly properties: F;
  static: { [K in keyof F]?: Static<F[K]> };
}

/**
 * An unsigned 8-bit integer, 0 to 255.
 *
 * @example
 * import { struct, u8 } from 'tsbpf';
 * const Rgb = struct({ red: u8, green: u8, blue: u8 });
 */
export const u8: NumberSchema<1> = number('u8', 1);
/**
 * An unsigned 16-bit integer, 0 to 65,535.
 *
 * @example
 * import { struct, u16 } from 'tsbpf';
 * const Ports = struct({ source: u16, destination: u16 });
 */
export const u16: NumberSchema<2> = number('u16', 2);
/**
 * An unsigned 32-bit integer, 0 to 4,294,967,295.
 *
 * @example
 * import { hash, u32, u64 } from 'tsbpf';
 * const counts = hash('counts', { key: u32, value: u64, maxEntries: 1024 });
 */
export const u32: NumberSchema<4> = number('u32', 4);
/**
 * A signed 8-bit integer, -128 to 127.
 *
 * @example
 * import { s8, struct } from 'tsbpf';
 * const Sample = struct({ level: s8 });
 */
export const s8: NumberSchema<1> = number('s8', 1);
/**
 * A signed 16-bit integer, -32,768 to 32,767.
 *
 * @example
 * import { s16, struct } from 'tsbpf';
 * const Sample = struct({ family: s16 });
 */
export const s16: NumberSchema<2> = number('s16', 2);
/**
 * A signed 32-bit integer, -2,147,483,648 to 2,147,483,647.
 *
 * @example
 * import { s32, struct } from 'tsbpf';
 * const Result = struct({ errno: s32 });
 */
export const s32: NumberSchema<4> = number('s32', 4);

/**
 * An unsigned 64-bit integer, 0 to 2^64-1, as a bigint. `u64n` is the same as a number.
 *
 * @example
 * import { encodeValue, u64 } from 'tsbpf';
 * encodeValue(u64, 2n ** 64n - 1n);
 */
export const u64: BigIntSchema = bigint('u64');
/**
 * A signed 64-bit integer, -2^63 to 2^63-1, as a bigint. `s64n` is the same as a number.
 *
 * @example
 * import { encodeValue, s64 } from 'tsbpf';
 * encodeValue(s64, -1n);
 */
export const s64: BigIntSchema = bigint('s64');

/**
 * An unsigned 64-bit integer as a JavaScript number.
 *
 * Decoding rounds values past 2^53 to the nearest double, as `Number(bigint)` does. Encoding throws
 * RangeError for an unsafe integer, so that nothing is rounded on the way into the kernel. As a map key, a
 * number beyond 2^53 is a bigint: see `BpfMap.keys`.
 *
 * @example
 * import { struct, u64n } from 'tsbpf';
 * const Event = struct({ durationNs: u64n }); // exact up to 104 days
 */
export const u64n: NumberSchema<8> = number('u64n', 8);
/**
 * A signed 64-bit integer as a JavaScript number, with the rules of `u64n`.
 *
 * @example
 * import { s64n, struct } from 'tsbpf';
 * const Event = struct({ deltaNs: s64n });
 */
export const s64n: NumberSchema<8> = number('s64n', 8);

/**
 * An unsigned 16-bit integer in network byte order, as a port in packets and sockets. JavaScript and programs
 * use the number itself.
 *
 * @example
 * import { encodeValue, u16be } from 'tsbpf';
 * encodeValue(u16be, 443); // 01 bb
 */
export const u16be: NumberSchema<2> = number('u16be', 2);
/**
 * An unsigned 32-bit integer in network byte order.
 *
 * @example
 * import { encodeValue, u32be } from 'tsbpf';
 * encodeValue(u32be, 0x7f000001); // 7f 00 00 01
 */
export const u32be: NumberSchema<4> = number('u32be', 4);
/**
 * An unsigned 64-bit integer in network byte order, as a bigint.
 *
 * @example
 * import { encodeValue, u64be } from 'tsbpf';
 * encodeValue(u64be, 1n); // 00 00 00 00 00 00 00 01
 */
export const u64be: BigIntSchema = bigint('u64be');
/**
 * A signed 16-bit integer in network byte order.
 *
 * @example
 * import { encodeValue, s16be } from 'tsbpf';
 * encodeValue(s16be, -2); // ff fe
 */
export const s16be: NumberSchema<2> = number('s16be', 2);
/**
 * A signed 32-bit integer in network byte order.
 *
 * @example
 * import { encodeValue, s32be } from 'tsbpf';
 * encodeValue(s32be, -2); // ff ff ff fe
 */
export const s32be: NumberSchema<4> = number('s32be', 4);
/**
 * A signed 64-bit integer in network byte order, as a bigint.
 *
 * @example
 * import { encodeValue, s64be } from 'tsbpf';
 * encodeValue(s64be, -2n); // ff ff ff ff ff ff ff fe
 */
export const s64be: BigIntSchema = bigint('s64be');

/**
 * Text in a field of `size` bytes, including its NUL (`char comm[16]`).
 *
 * Decoding stops at the first NUL, or at the end of the field if there is none. A byte that is not UTF-8
 * becomes a lone surrogate, U+DC80 for 0x80 to U+DCFF for 0xff, so that different bytes are different texts;
 * `toWellFormed()` replaces these by U+FFFD. Encoding writes UTF-8, and the bytes of such surrogates, and
 * zeroes the rest; it throws RangeError if the text does not fit with its NUL, contains a NUL, or has other
 * lone surrogates. As a map key, the text represents all bytes of the field: see `BpfMap.keys`.
 *
 * @throws {RangeError} if `size` is not a positive integer.
 *
 * @example
 * import { chars, struct, u32 } from 'tsbpf';
 * const Exec = struct({ pid: u32, comm: chars(16) });
 */
export function chars(size: number): CharsSchema {
  return sized(TypeString({ ctype: 'chars', size, maxLength: size }));
}

/**
 * `size` bytes as a Uint8Array. Decoding makes a copy, which the caller owns.
 *
 * @throws {RangeError} if `size` is not a positive integer.
 *
 * @example
 * import { bytes, struct, u16be } from 'tsbpf';
 * const Peer = struct({ address: bytes(16), port: u16be });
 */
export function bytes(size: number): BytesSchema {
  return sized(TypeUint8Array({ ctype: 'bytes', size, minByteLength: size, maxByteLength: size }));
}

/**
 * An array of `length` elements, as `T name[length]` in C.
 *
 * @throws {TypeError} if the element has no C layout.
 * @throws {RangeError} if `length` is not a positive integer.
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
 * A C struct: fields in order, each with C's alignment. Structs nest. `options` are TypeBox's: `$id`,
 * `title`, `description`.
 *
 * @throws {TypeError} if a field has no C layout, is optional, or has a name that is not a C identifier.
 *
 * @example
 * import { chars, type Static, struct, u32, u64 } from 'tsbpf';
 *
 * const Attempt = struct({ startNs: u64, pid: u32, comm: chars(16) });
 * const attempt: Static<typeof Attempt> = { startNs: 1n, pid: 42, comm: 'curl' };
 */
export function struct<F extends TProperties>(fields: F, options: SchemaOptions = {}): StructSchema<F> {
  return sized(TypeObject(fields, { ...options, ctype: 'struct', additionalProperties: false }));
}

/**
 * A C union: its members share their bytes. A decoded value has every member, each one a different reading of
 * the same bytes. A value to encode has one member, or several that agree on the bytes they share; bytes of
 * no member are 0.
 *
 * @throws {TypeError} if a member has no C layout, or a name that is not a C identifier.
 *
 * @example
 * import { bytes, encodeValue, struct, u16, union } from 'tsbpf';
 *
 * const Address = union({ v4: bytes(4), v6: bytes(16) });
 * const Key = struct({ family: u16, address: Address });
 * encodeValue(Key, { family: 2, address: { v4: Uint8Array.of(127, 0, 0, 1) } });
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
 * Declares a parameter of a subprogram as output: the caller passes memory that need not be written before
 * the call, and the subprogram must write every byte of it before it returns.
 *
 * @example
 * import { ktimeGetNs, out, struct, subprogram, u64 } from 'tsbpf';
 *
 * const Stamp = struct({ ns: u64 });
 * const now = subprogram('now', [out(Stamp)], (b, stamp) => stamp.ns.set(b.call(ktimeGetNs)));
 */
export function out<T extends TSchema>(schema: T): T {
  return { ...schema, writeOnly: true };
}

/**
 * Whether a schema is an output parameter, made by `out`.
 *
 * @example
 * import { isOut, out, u32, struct } from 'tsbpf';
 * isOut(out(struct({ pid: u32 }))); // true
 */
export function isOut(schema: TSchema): boolean {
  return schema.writeOnly === true;
}

function number<S extends Width['size']>(ctype: ScalarName, size: S): NumberSchema<S> {
  const { signed } = scalarLayout(ctype);
  const bits = size * 8;
  // The largest 64-bit values have no exact double: the bounds are their rounded values.
  const [minimum, top] = signed ? [-(2 ** (bits - 1)), 2 ** (bits - 1)] : [0, 2 ** bits];
  return TypeInteger({ ctype, size, minimum, maximum: size === 8 ? top : top - 1 }) as NumberSchema<S>;
}

function bigint(ctype: ScalarName): BigIntSchema {
  // No bounds here: JSON.stringify of the schema would throw for bigints. encodeValue() checks them.
  return TypeBigInt({ ctype, size: 8 }) as BigIntSchema;
}

/** Gives a schema its `size`. Throws now rather than at first use if it has no layout. */
function sized<T extends TSchema, R extends T & { readonly size: number }>(schema: T): R {
  return Object.assign(schema, { size: layoutOf(schema).size }) as R;
}
