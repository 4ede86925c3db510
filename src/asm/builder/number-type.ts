/**
 * Number types: the range of integers that a register or memory may hold.
 *
 * The range of `u32` is 0 to 2^32-1; `and(0xff)` narrows it to 0 to 255. Arithmetic computes the range of its
 * result, so that a later store or comparison knows whether it is exact.
 */
import type { IntLayout } from '../layout.ts';

/** The type of a value or place: the integers from `min` to `max`, both within 64 bits. */
export interface NumberType {
  readonly min: bigint;
  readonly max: bigint;
}

/** The unsigned type: 0 to 2^bits - 1. */
export function unsigned(bits: number): NumberType {
  return { min: 0n, max: (1n << BigInt(bits)) - 1n };
}

/** The signed type: -2^(bits-1) to 2^(bits-1) - 1. */
export function signed(bits: number): NumberType {
  return { min: -(1n << BigInt(bits - 1)), max: (1n << BigInt(bits - 1)) - 1n };
}

export const U32 = unsigned(32);
export const U64 = unsigned(64);
export const S32 = signed(32);
export const S64 = signed(64);

/** The type of a constant. */
export function only(constant: bigint): NumberType {
  return { min: constant, max: constant };
}

/** The type of an integer layout. */
export function numberTypeOf({ size, signed: isSigned }: Pick<IntLayout, 'size' | 'signed'>): NumberType {
  return isSigned ? signed(8 * size) : unsigned(8 * size);
}

/** Whether `outer` contains every number of `inner`. */
export function includes(outer: NumberType, inner: NumberType): boolean {
  return inner.min >= outer.min && inner.max <= outer.max;
}

/** Whether the type contains negative numbers. */
export function mayBeNegative({ min }: NumberType): boolean {
  return min < 0n;
}

/** Describes a type for messages: `u32, 0 to 4294967295`, or `0 to 63` for a range without a name. */
export function describeType({ min, max }: NumberType): string {
  const bits = [8, 16, 32, 64];
  const same = (type: NumberType) => type.min === min && type.max === max;
  const name =
    bits.filter((n) => same(unsigned(n))).map((n) => `u${n}`)[0] ??
    bits.filter((n) => same(signed(n))).map((n) => `s${n}`)[0];
  const range = min === max ? `${min}` : `${min} to ${max}`;
  return name === undefined ? range : `${name}, ${range}`;
}

/**
 * The interpretation in which two numbers can be compared, divided or ordered as 64-bit words: unsigned if
 * neither is negative, signed if both fit s64, undefined if one may be negative and the other 2^63 or more.
 */
export function commonSign(left: NumberType, right: NumberType): 'unsigned' | 'signed' | undefined {
  if (!mayBeNegative(left) && !mayBeNegative(right)) return 'unsigned';
  return includes(S64, left) && includes(S64, right) ? 'signed' : undefined;
}

/**
 * The exact range if it fits 64 bits. Otherwise the result wraps, and takes the signedness of the left
 * operand.
 */
function wrapped(left: NumberType, min: bigint, max: bigint): NumberType {
  const exact = { min, max };
  if (includes(U64, exact) || includes(S64, exact)) return exact;
  return mayBeNegative(left) ? S64 : U64;
}

/** The number of significant bits of a non-negative number. */
function bitLength(number: bigint): number {
  return number === 0n ? 0 : number.toString(2).length;
}

const least = (...numbers: readonly bigint[]) => numbers.reduce((a, b) => (a < b ? a : b));
const greatest = (...numbers: readonly bigint[]) => numbers.reduce((a, b) => (a > b ? a : b));
const magnitude = ({ min, max }: NumberType) => greatest(-min, max);

export function sum(a: NumberType, b: NumberType): NumberType {
  return wrapped(a, a.min + b.min, a.max + b.max);
}

export function difference(a: NumberType, b: NumberType): NumberType {
  return wrapped(a, a.min - b.max, a.max - b.min);
}

export function product(a: NumberType, b: NumberType): NumberType {
  const corners = [a.min * b.min, a.min * b.max, a.max * b.min, a.max * b.max];
  return wrapped(a, least(...corners), greatest(...corners));
}

/** The quotient, truncated toward zero. Division by zero gives 0 (RFC 9669, section 4.1). */
export function quotient(a: NumberType, b: NumberType): NumberType {
  const divisors = [b.min, b.max, -1n, 1n].filter((each) => each !== 0n && each >= b.min && each <= b.max);
  const corners = divisors.flatMap((divisor) => [a.min / divisor, a.max / divisor]);
  return wrapped(a, least(0n, ...corners), greatest(0n, ...corners));
}

/** The remainder, with the sign of the dividend. Modulo zero gives the dividend (RFC 9669, section 4.1). */
export function remainder(a: NumberType, b: NumberType): NumberType {
  const mayBeZero = b.min <= 0n && b.max >= 0n;
  const most = mayBeZero ? magnitude(a) : least(magnitude(a), magnitude(b) - 1n);
  return { min: mayBeNegative(a) ? greatest(-most, a.min) : 0n, max: least(most, greatest(a.max, 0n)) };
}

export function conjunction(a: NumberType, b: NumberType): NumberType {
  if (!mayBeNegative(a) || !mayBeNegative(b))
    return {
      min: 0n,
      max: least(...[a, b].filter((each) => !mayBeNegative(each)).map(({ max }) => max)),
    };
  return signed(bitsOfBoth(a, b));
}

/** The result of `or` and `xor`. */
export function disjunction(a: NumberType, b: NumberType): NumberType {
  if (!mayBeNegative(a) && !mayBeNegative(b)) return unsigned(bitLength(greatest(a.max, b.max)));
  if (includes(S64, a) && includes(S64, b)) return signed(bitsOfBoth(a, b));
  return mayBeNegative(a) ? S64 : U64;
}

/** The width in bits of the smallest signed type that contains both. */
function bitsOfBoth(a: NumberType, b: NumberType): number {
  return 1 + Math.max(...[a.max, b.max, ~a.min, ~b.min].map((each) => (each < 0n ? 0 : bitLength(each))));
}

/** The result of a left shift by 0 to 63. */
export function shiftedLeft(a: NumberType, { min, max }: NumberType): NumberType {
  return product(a, { min: 1n << min, max: 1n << max });
}

/** The result of a right shift by 0 to 63: a division by a power of two that rounds down. */
export function shiftedRight(a: NumberType, { min, max }: NumberType): NumberType {
  const corners = [a.min >> min, a.min >> max, a.max >> min, a.max >> max];
  return { min: least(...corners), max: greatest(...corners) };
}

export function lesser(a: NumberType, b: NumberType): NumberType {
  return { min: least(a.min, b.min), max: least(a.max, b.max) };
}

export function greater(a: NumberType, b: NumberType): NumberType {
  return { min: greatest(a.min, b.min), max: greatest(a.max, b.max) };
}
