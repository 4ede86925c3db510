/**
 * The table of conditional jumps: a row for each comparison, a column for each width and sign.
 */
import * as insn from '../constructors.ts';
import type { Instruction, Register } from '../instruction.ts';
import { mixedSigns } from './arithmetic.ts';
import type { Machine } from './machine.ts';
import { commonSign, greater, lesser, type NumberType } from './number-type.ts';
import {
  type Comparison,
  immediateOrRegister,
  type Operand,
  type Readable,
  typeOfOperand,
} from './operand.ts';

type Jump = (left: Register, right: Register | number, target: string) => Instruction;

/** How a jump interprets its operands: signed or unsigned, as 64 bits or as the low 32 bits. */
export type Interpretation = 'unsigned' | 'signed' | 'unsigned32' | 'signed32';

interface JumpRow extends Readonly<Record<Interpretation, Jump>> {
  /** The comparison that is true if and only if this one is false; undefined if there is none. */
  readonly inverse?: Comparison;
}

function row(unsigned: Jump, signed: Jump, unsigned32: Jump, signed32: Jump, inverse?: Comparison): JumpRow {
  return { unsigned, signed, unsigned32, signed32, inverse };
}

export const JUMPS: Readonly<Record<Comparison, JumpRow>> = {
  eq: row(insn.jeq, insn.jeq, insn.jeq32, insn.jeq32, 'ne'),
  ne: row(insn.jne, insn.jne, insn.jne32, insn.jne32, 'eq'),
  gt: row(insn.jgt, insn.jsgt, insn.jgt32, insn.jsgt32, 'le'),
  ge: row(insn.jge, insn.jsge, insn.jge32, insn.jsge32, 'lt'),
  lt: row(insn.jlt, insn.jslt, insn.jlt32, insn.jslt32, 'ge'),
  le: row(insn.jle, insn.jsle, insn.jle32, insn.jsle32, 'gt'),
  bits: row(insn.jset, insn.jset, insn.jset32, insn.jset32),
};

export type Extreme = 'min' | 'max';

/**
 * Prepares `min` or `max` of two numbers. Returns the type of the result and a function that emits the
 * instructions: they replace the first number, in `register`, by the result.
 */
export function choose(
  machine: Machine,
  which: Extreme,
  left: Readable,
  right: Operand,
): { readonly type: NumberType; readonly emit: (register: Register) => void } {
  const rightType = typeOfOperand(right);
  const interpretation = commonSign(left.type, rightType);
  if (interpretation === undefined) throw mixedSigns(left, right);
  const comparison = which === 'min' ? 'le' : 'ge';
  const source = immediateOrRegister(machine, right);
  return {
    type: (which === 'min' ? lesser : greater)(left.type, rightType),
    emit(register) {
      const end = machine.freshLabel('end');
      machine.emit(JUMPS[comparison][interpretation](register, source, end), insn.mov(register, source));
      machine.emit(insn.label(end));
    },
  };
}
