/**
 * Comparisons as jumps: the width and sign in which the jump compares the two mathematical numbers.
 */
import type { Instruction, Register } from '../instruction.ts';
import { mixedSigns } from './arithmetic.ts';
import { type Interpretation, JUMPS } from './jumps.ts';
import type { Machine } from './machine.ts';
import { commonSign, includes, mayBeNegative, type NumberType, S32, U32, unsigned } from './number-type.ts';
import type { Compare, Comparison, Test } from './operand.ts';
import {
  constantOf,
  describeOperand,
  fits32,
  immediateOrRegister,
  type Operand,
  Readable,
  requireFits,
} from './operand.ts';
import { bytesOf, isBigEndian, Place } from './place.ts';
import { Value } from './value.ts';

/** A comparison whose operands are loaded: what is left is the jump, either way round. */
export interface LoadedComparison {
  jumpIf(target: string): Instruction;
  /** Undefined if the jump has no opposite. */
  jumpUnless(target: string): Instruction | undefined;
}

/** Loads the operands of a comparison that `checkTest` has passed. */
export function loadComparison(machine: Machine, { left, comparison, right }: Compare): LoadedComparison {
  const { position } = machine;
  const operands = loadOperands(machine, left, comparison, right);
  const jump = (which: Comparison, target: string): Instruction => ({
    ...JUMPS[which][operands.interpretation](operands.left, operands.right, target),
    position,
  });
  const { inverse } = JUMPS[comparison];
  return {
    jumpIf: (target) => jump(comparison, target),
    jumpUnless: (target) => (inverse ? jump(inverse, target) : undefined),
  };
}

/** Throws if a comparison of the test can't be computed or would always come out the same. */
export function checkTest(test: Test): void {
  if (test.kind === 'not') checkTest(test.of);
  else if (test.kind === 'compare') checkOperands(test);
  else {
    checkTest(test.first);
    checkTest(test.second);
  }
}

function checkOperands({ left, comparison, right }: Compare): void {
  if (!(left instanceof Readable)) throw new TypeError('a condition compares a value or a place');
  if (comparison === 'bits') checkMask(left, right);
  else if (right instanceof Readable) {
    if (commonSign(left.type, right.type) === undefined) throw mixedSigns(left, right);
  } else requireFits(right, left.type, left.name);
}

/** A mask is compared bit by bit: it may name any bit that the left side has. */
function checkMask(left: Readable, mask: Operand): void {
  if (mask instanceof Readable) return;
  const { min, max } = left.type;
  const most = mayBeNegative(left.type) ? 2n * max + 1n : max;
  const constant = constantOf(mask);
  let bits = 1n;
  while (bits <= most) bits <<= 1n;
  if (constant < min || constant >= bits)
    throw new RangeError(`the mask ${mask} has bits that ${describeOperand(left)} doesn't have`);
}

interface Loaded {
  readonly interpretation: Interpretation;
  readonly left: Register;
  readonly right: Register | number;
}

function loadOperands(machine: Machine, left: Readable, comparison: Comparison, right: Operand): Loaded {
  if (!(right instanceof Readable)) return withConstant(machine, left, comparison, constantOf(right));
  const half = lowHalf(left, right);
  if (half) return { interpretation: half, left: (left as Value).read(), right: (right as Value).read() };
  // A test of bits does not depend on the signs.
  const interpretation = commonSign(left.type, right.type) ?? 'unsigned';
  return { interpretation, left: left.toRegister(), right: right.toRegister() };
}

/**
 * How the low halves of two registers, as they are, compare the two numbers; undefined if more bits are
 * needed.
 */
function lowHalf(left: Readable, right: Readable): Interpretation | undefined {
  if (!(left instanceof Value && right instanceof Value) || Math.min(left.validBits, right.validBits) !== 32)
    return undefined;
  const both = (half: NumberType) => includes(half, left.type) && includes(half, right.type);
  return both(U32) ? 'unsigned32' : both(S32) ? 'signed32' : undefined;
}

function withConstant(machine: Machine, left: Readable, comparison: Comparison, constant: bigint): Loaded {
  // A place is compared as it lies in memory if that saves swapping it or extending its sign.
  if (left instanceof Place && left.isWhole && (isBigEndian(left) || mayBeNegative(left.type))) {
    const isEquality = comparison === 'eq' || comparison === 'ne';
    const isWord = left.size === 4 && !isBigEndian(left);
    if (isEquality || isWord) {
      const register = machine.scratch();
      left.loadRaw(register);
      return isEquality
        ? withImmediate(machine, register, unsigned(8 * left.size), bytesOf(left, constant))
        : { interpretation: 'signed32', left: register, right: Number(BigInt.asIntN(32, constant)) };
    }
  }
  if (left instanceof Value && left.validBits === 32)
    return {
      interpretation: mayBeNegative(left.type) ? 'signed32' : 'unsigned32',
      left: left.read(),
      right: Number(BigInt.asIntN(32, constant)),
    };
  return withImmediate(machine, left.toRegister(), left.type, constant);
}

/** The number in `register` is one of `type`. */
function withImmediate(machine: Machine, register: Register, type: NumberType, constant: bigint): Loaded {
  const interpretation = mayBeNegative(type) ? 'signed' : 'unsigned';
  if (interpretation === 'unsigned' && includes(U32, type) && !fits32(constant))
    return { interpretation: 'unsigned32', left: register, right: Number(BigInt.asIntN(32, constant)) };
  const signedConstant = BigInt.asIntN(64, constant);
  return {
    interpretation,
    left: register,
    right: immediateOrRegister(machine, fits32(signedConstant) ? signedConstant : constant),
  };
}
