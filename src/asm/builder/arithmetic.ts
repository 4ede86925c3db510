/**
 * The arithmetic operators of values: one table row per operator, with its result type and its instruction.
 */
import * as insn from '../constructors.ts';
import type { Instruction, Register } from '../instruction.ts';
import {
  commonSign,
  conjunction,
  difference,
  disjunction,
  includes,
  mayBeNegative,
  type NumberType,
  product,
  quotient,
  remainder,
  S64,
  shiftedLeft,
  shiftedRight,
  sum,
} from './number-type.ts';
import { describeOperand, type Operand, Readable, typeOfOperand } from './operand.ts';

export type Operator = 'add' | 'sub' | 'mul' | 'div' | 'mod' | 'and' | 'or' | 'xor' | 'lsh' | 'rsh' | 'arsh';

/** Makes a 64-bit instruction that leaves its result in `dst`. */
export type MakeOperation = (dst: Register, src: Register | number) => Instruction;

interface Row {
  /**
   * Returns the type of the result. Throws RangeError or TypeError for operands that the operator rejects.
   */
  readonly type: (left: Readable, right: Operand) => NumberType;
  /** Returns the instruction for operands of these types. */
  readonly make: (left: NumberType, right: NumberType) => MakeOperation;
}

function plain(type: (left: NumberType, right: NumberType) => NumberType, make: MakeOperation): Row {
  return { type: (left, right) => type(left.type, typeOfOperand(right)), make: () => make };
}

function division(
  type: (left: NumberType, right: NumberType) => NumberType,
  unsigned: MakeOperation,
  signed: MakeOperation,
): Row {
  return {
    type(left, right) {
      const types = [left.type, typeOfOperand(right)] as const;
      if (!(right instanceof Readable) && types[1].min === 0n)
        throw new RangeError(`${describeOperand(left)} is divided by zero`);
      if (commonSign(...types) === undefined) throw mixedSigns(left, right);
      return type(...types);
    },
    make: (left, right) => (commonSign(left, right) === 'signed' ? signed : unsigned),
  };
}

function shift(
  type: (left: NumberType, right: NumberType) => NumberType,
  make: (left: NumberType) => MakeOperation,
): Row {
  return {
    type(left, right) {
      const amount = typeOfOperand(right);
      if (!includes({ min: 0n, max: 63n }, amount))
        throw new RangeError(
          `cannot shift ${describeOperand(left)} by ${describeOperand(right)}: the amount must be 0 to 63${
            right instanceof Readable ? '; mask it with and(63)' : ''
          }`,
        );
      return type(left.type, amount);
    },
    make,
  };
}

/** The error for two operands without a common 64-bit type. */
export function mixedSigns(left: Operand, right: Operand): TypeError {
  return new TypeError(
    `${describeOperand(left)} and ${describeOperand(right)} have no common 64-bit type: one may be negative, the other 2^63 or more. ` +
      'Convert one of them with as(s64) or as(u64)',
  );
}

export const ARITHMETIC: Readonly<Record<Operator, Row>> = {
  add: plain(sum, insn.add),
  sub: plain(difference, insn.sub),
  mul: plain(product, insn.mul),
  div: division(quotient, insn.div, insn.sdiv),
  mod: division(remainder, insn.mod, insn.smod),
  and: plain(conjunction, insn.and),
  or: plain(disjunction, insn.or),
  xor: plain(disjunction, insn.xor),
  lsh: shift(shiftedLeft, () => insn.lsh),
  rsh: shift(shiftedRight, (left) => (mayBeNegative(left) ? insn.arsh : insn.rsh)),
  arsh: {
    type(left, right) {
      if (!includes(S64, left.type))
        throw new TypeError(
          `${describeOperand(left)} may be 2^63 or more, which arsh() would treat as negative: use rsh(), or convert it with as(s64)`,
        );
      return ARITHMETIC.rsh.type(left, right);
    },
    make: () => insn.arsh,
  },
};
