/**
 * The conditional jumps: a row a comparison, a column for each reading of the two registers.
 */
import * as insn from '../constructors.ts';
import type { Instruction, Register } from '../instruction.ts';
import { mixedSigns } from './arithmetic.ts';
import type { Machine } from './machine.ts';
import { commonSign, greater, lesser, type NumberType } from './number-type.ts';
import type { Comparison } from './operand.ts';
import { immediateOrRegister, type Operand, type Readable, typeOfOperand } from './operand.ts';

type Jump = (left: Register, right: Register | number, target: string) => Instruction;

/** How a jump reads its operands: as 64 bits, or as the low 32 of each. */
export type Reading = 'unsigned' | 'signed' | 'unsigned32' | 'signed32';

interface JumpRow extends Readonly<Record<Reading, Jump>> {
  /** The comparison that is true if this one is false, if there is one. */
  readonly inverse?: Comparison;
}

export const JUMPS: Record<Comparison, JumpRow> = {
  eq: {
    ...{ unsigned: insn.jeq, signed: insn.jeq, unsigned32: insn.jeq32, signed32: insn.jeq32 },
    inverse: 'ne',
  },
  ne: {
    ...{ unsigned: insn.jne, signed: insn.jne, unsigned32: insn.jne32, signed32: insn.jne32 },
    inverse: 'eq',
  },
  gt: {
    ...{ unsigned: insn.jgt, signed: insn.jsgt, unsigned32: insn.jgt32, signed32: insn.jsgt32 },
    inverse: 'le',
  },
  ge: {
    ...{ unsigned: insn.jge, signed: insn.jsge, unsigned32: insn.jge32, signed32: insn.jsge32 },
    inverse: 'lt',
  },
  lt: {
    ...{ unsigned: insn.jlt, signed: insn.jslt, unsigned32: insn.jlt32, signed32: insn.jslt32 },
    inverse: 'ge',
  },
  le: {
    ...{ unsigned: insn.jle, signed: insn.jsle, unsigned32: insn.jle32, signed32: insn.jsle32 },
    inverse: 'gt',
  },
  bits: { unsigned: insn.jset, signed: insn.jset, unsigned32: insn.jset32, signed32: insn.jset32 },
};

/** `min` or `max`. */
export type Extreme = 'min' | 'max';

/** The type of the lesser or greater of two numbers, and the instructions that leave it in the register of the first. */
export function choose(
  machine: Machine,
  which: Extreme,
  left: Readable,
  right: Operand,
): { readonly type: NumberType; readonly emit: (register: Register) => void } {
  const rightType = typeOfOperand(right);
  const reading = commonSign(left.type, rightType);
  if (reading === undefined) throw mixedSigns(left, right);
  const comparison = which === 'min' ? 'le' : 'ge';
  const source = immediateOrRegister(machine, right);
  return {
    type: (which === 'min' ? lesser : greater)(left.type, rightType),
    emit(register) {
      const end = machine.freshLabel('end');
      machine.emit(JUMPS[comparison][reading](register, source, end), insn.mov(register, source));
      machine.emit(insn.label(end));
    },
  };
}
