/**
 * The arithmetic of values: a row an operator, with the type of its result and its instruction.
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

/** The operators. */
export type Operator = 'add' | 'sub' | 'mul' | 'div' | 'mod' | 'and' | 'or' | 'xor' | 'lsh' | 'rsh' | 'arsh';

/** One of an operator's instructions: 64 bits, the result in `dst`. */
export type MakeOperation = (dst: Register, src: Register | number) => Instruction;

interface Row {
  /**
   * The numbers that the result may be. Throws RangeError or TypeError for operands that the operator doesn't
   * take.
   */
  readonly type: (left: Readable, right: Operand) => NumberType;
  /** The instruction for operands of those types. */
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
          `${describeOperand(left)} is shifted by ${describeOperand(right)}: an amount is 0 to 63${
            right instanceof Readable ? '; mask it with and(63)' : ''
          }`,
        );
      return type(left.type, amount);
    },
    make,
  };
}

/** For two numbers that have no common 64-bit type. */
export function mixedSigns(left: Operand, right: Operand): TypeError {
  return new TypeError(
    `${describeOperand(left)} and ${describeOperand(right)} have no common 64-bit type: one may be negative, the other 2^63 or more. ` +
      'Convert one on purpose: as(s64), or as(u64)',
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
        throw new TypeError(`${describeOperand(left)} has no sign to keep: rsh(), or as(s64) first`);
      return ARITHMETIC.rsh.type(left, right);
    },
    make: () => insn.arsh,
  },
};
