/**
 * Comparisons: select the jump whose width and sign give the mathematical result.
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

/** A comparison whose operands are loaded. Only its jump is missing: on true or on false. */
export interface LoadedComparison {
  jumpIf(target: string): Instruction;
  /** Undefined if the instruction set has no inverse of the jump (`jset`). */
  jumpUnless(target: string): Instruction | undefined;
}

/** Loads the operands of a comparison that `checkTest` has accepted. */
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

/** Throws if a comparison of the test cannot be computed or always has the same result. */
export function checkTest(test: Test): void {
  if (test.kind === 'not') checkTest(test.of);
  else if (test.kind === 'compare') checkOperands(test);
  else {
    checkTest(test.first);
    checkTest(test.second);
  }
}

function checkOperands({ left, comparison, right }: Compare): void {
  if (!(left instanceof Readable))
    throw new TypeError('the left side of a condition must be a value or memory');
  if (comparison === 'bits') checkMask(left, right);
  else if (right instanceof Readable) {
    if (commonSign(left.type, right.type) === undefined) throw mixedSigns(left, right);
  } else requireFits(right, left.type, left.name);
}

/** Throws RangeError if a constant mask has a bit outside the left side's type. */
function checkMask(left: Readable, mask: Operand): void {
  if (mask instanceof Readable) return;
  const { min, max } = left.type;
  const most = mayBeNegative(left.type) ? 2n * max + 1n : max;
  const constant = constantOf(mask);
  let bits = 1n;
  while (bits <= most) bits <<= 1n;
  if (constant < min || constant >= bits)
    throw new RangeError(`the mask ${mask} has bits that ${describeOperand(left)} does not have`);
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
  // A bit test (`jset`) does not depend on the signs.
  const interpretation = commonSign(left.type, right.type) ?? 'unsigned';
  return { interpretation, left: left.toRegister(), right: right.toRegister() };
}

/**
 * The 32-bit comparison that gives the right result for two registers without extending them; undefined if
 * there is none.
 */
function lowHalf(left: Readable, right: Readable): Interpretation | undefined {
  if (!(left instanceof Value && right instanceof Value) || Math.min(left.validBits, right.validBits) !== 32)
    return undefined;
  const both = (half: NumberType) => includes(half, left.type) && includes(half, right.type);
  return both(U32) ? 'unsigned32' : both(S32) ? 'signed32' : undefined;
}

function withConstant(machine: Machine, left: Readable, comparison: Comparison, constant: bigint): Loaded {
  // Memory is compared without conversion if that saves a byte swap or a sign extension.
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

/** Compares a register, which holds a number of `type`, with a constant. */
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
