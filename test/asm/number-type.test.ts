/** The number types of results, checked with all numbers of small types. */
import * as assert from 'uvu/assert';
import {
  commonSign,
  conjunction,
  describeType,
  difference,
  disjunction,
  greater,
  includes,
  lesser,
  type NumberType,
  product,
  quotient,
  remainder,
  S64,
  shiftedLeft,
  shiftedRight,
  signed,
  sum,
  U64,
  unsigned,
} from '../../src/asm/builder/number-type.ts';
import { suite } from '../harness.ts';

const test = suite('asm/number-type');

/** Every type within -6 to 6. */
const TYPES: readonly NumberType[] = Array.from({ length: 13 }, (_, i) => BigInt(i - 6)).flatMap((min) =>
  Array.from({ length: 13 }, (_, i) => ({ min, max: BigInt(i - 6) })).filter(({ max }) => max >= min),
);
const POSITIVE = TYPES.filter(({ min }) => min >= 0n);

function numbersOf({ min, max }: NumberType): bigint[] {
  return Array.from({ length: Number(max - min) + 1 }, (_, i) => min + BigInt(i));
}

type Operation = (a: bigint, b: bigint) => bigint;

/** The smallest type that holds the results of all pairs of numbers. */
function rangeOf(a: NumberType, b: NumberType, operation: Operation): NumberType {
  const results = numbersOf(a).flatMap((x) => numbersOf(b).map((y) => operation(x, y)));
  const sorted = results.sort((x, y) => (x < y ? -1 : x > y ? 1 : 0));
  return { min: sorted[0] as bigint, max: sorted.at(-1) as bigint };
}

for (const [name, type, operation, rights] of [
  ['sum', sum, (a, b) => a + b, TYPES],
  ['difference', difference, (a, b) => a - b, TYPES],
  ['product', product, (a, b) => a * b, TYPES],
  ['lesser', lesser, (a, b) => (a < b ? a : b), TYPES],
  ['greater', greater, (a, b) => (a > b ? a : b), TYPES],
  ['shiftedLeft', shiftedLeft, (a, b) => a << b, POSITIVE],
  ['shiftedRight', shiftedRight, (a, b) => a >> b, POSITIVE],
] as readonly [string, typeof sum, Operation, readonly NumberType[]][])
  test(`${name}: the exact range of all results`, () => {
    for (const a of TYPES) for (const b of rights) assert.equal(type(a, b), rangeOf(a, b, operation));
  });

for (const [name, type, operation] of [
  ['quotient', quotient, (a, b) => (b === 0n ? 0n : a / b)],
  ['remainder', remainder, (a, b) => (b === 0n ? a : a % b)],
  ['conjunction', conjunction, (a, b) => a & b],
  ['disjunction, of or', disjunction, (a, b) => a | b],
  ['disjunction, of xor', disjunction, (a, b) => a ^ b],
] as readonly [string, typeof sum, Operation][])
  test(`${name}: a range that holds all results`, () => {
    for (const a of TYPES)
      for (const b of TYPES) assert.ok(includes(type(a, b), rangeOf(a, b, operation)), `${name} of types`);
  });

const range = (min: number | bigint, max: number | bigint): NumberType => ({
  min: BigInt(min),
  max: BigInt(max),
});

test('a range is as narrow as the operands allow', () => {
  assert.equal(quotient(range(10, 20), range(2, 5)), range(0, 10));
  assert.equal(quotient(range(-20, -10), range(-5, -2)), range(0, 10));
  assert.equal(quotient(range(-20, 10), range(2, 5)), range(-10, 5));
  assert.equal(remainder(range(0, 100), range(1, 8)), range(0, 7));
  assert.equal(remainder(range(0, 3), range(1, 8)), range(0, 3));
  assert.equal(remainder(range(0, 100), range(0, 8)), range(0, 100));
  assert.equal(remainder(range(-3, 100), range(1, 8)), range(-3, 7));
  assert.equal(remainder(range(-100, -3), range(-8, -1)), range(-7, 0));
  assert.equal(conjunction(range(0, 1000), range(0, 15)), range(0, 15));
  assert.equal(conjunction(range(-1, 1000), range(0, 15)), range(0, 15));
  assert.equal(conjunction(range(0, 15), range(-1, 1000)), range(0, 15));
  assert.equal(conjunction(range(0, 15), range(-1, 3)), range(0, 15));
  assert.equal(conjunction(signed(16), signed(8)), signed(16));
  assert.equal(disjunction(range(0, 4), range(0, 9)), range(0, 15));
  assert.equal(disjunction(range(0, 0), range(0, 0)), range(0, 0));
  assert.equal(disjunction(signed(8), signed(16)), signed(16));
  assert.equal(disjunction(range(-129, 0), range(0, 1)), signed(9));
  assert.equal(disjunction(range(-1, 0), range(0, 128)), signed(9));
});

test("a result that may exceed 64 bits has the sign of the left operand's type", () => {
  assert.equal(sum(U64, range(0, 1)), U64);
  assert.equal(sum(S64, range(0, 1)), S64);
  assert.equal(sum(range(0, 2n ** 64n - 2n), range(0, 1)), U64);
  assert.equal(sum(range(0, 2n ** 63n - 1n), range(-1, 0)), range(-1, 2n ** 63n - 1n));
  assert.equal(difference(range(0, 1), U64), U64);
  assert.equal(product(U64, range(-1, 1)), U64);
  assert.equal(product(range(-1, 1), U64), S64);
  assert.equal(shiftedLeft(range(0, 1), range(63, 63)), range(0, 2n ** 63n));
  assert.equal(shiftedLeft(range(0, 2), range(63, 63)), U64);
  assert.equal(disjunction(U64, range(-1, 0)), U64);
  assert.equal(disjunction(range(-1, 0), U64), S64);
});

test('numbers are compared unsigned, signed, or not at all', () => {
  const large = range(0, 2n ** 63n);
  const rows = [
    [U64, U64, 'unsigned'],
    [S64, range(0, 2n ** 63n - 1n), 'signed'],
    [range(0, 1), range(-1, 1), 'signed'],
    [large, range(-1, 1), undefined],
    [range(-1, 1), large, undefined],
  ] as const;
  for (const [left, right, sign] of rows) assert.is(commonSign(left, right), sign);
});

test('errors name the C types and the limits of other ranges', () => {
  const rows = [
    [unsigned(8), 'u8, 0 to 255'],
    [signed(8), 's8, -128 to 127'],
    [unsigned(16), 'u16, 0 to 65535'],
    [unsigned(32), 'u32, 0 to 4294967295'],
    [signed(64), 's64, -9223372036854775808 to 9223372036854775807'],
    [range(0, 127), '0 to 127'],
    [range(-128, 255), '-128 to 255'],
    [range(7, 7), '7'],
  ] as const;
  for (const [type, text] of rows) assert.is(describeType(type), text);
});

test.run();
