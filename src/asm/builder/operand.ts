/**
 * What statements work on: constants, and what can be read into a register. Conditions are made of them.
 */
import * as insn from '../constructors.ts';
import type { Register } from '../instruction.ts';
import type { Machine } from './machine.ts';

/** A constant, a register or memory. */
export type Operand = number | bigint | Readable;

/** How two operands are compared; `bits` is true where any bit of the mask is set. */
export type Comparison = 'eq' | 'ne' | 'gt' | 'ge' | 'lt' | 'le' | 'bits';

/** A question that becomes one jump when a branch asks it. */
export interface Condition {
  readonly left: Readable;
  readonly comparison: Comparison;
  readonly right: Operand;
}

/** A value or a place. Comparisons are unsigned, unless it is signed. */
export abstract class Readable {
  /** Its own register if it has one, else a scratch register that it is loaded into. */
  abstract toRegister(): Register;
  /** Loads it into the given register. */
  abstract loadInto(register: Register): void;

  eq(right: Operand): Condition {
    return this.#compare('eq', right);
  }
  ne(right: Operand): Condition {
    return this.#compare('ne', right);
  }
  gt(right: Operand): Condition {
    return this.#compare('gt', right);
  }
  ge(right: Operand): Condition {
    return this.#compare('ge', right);
  }
  lt(right: Operand): Condition {
    return this.#compare('lt', right);
  }
  le(right: Operand): Condition {
    return this.#compare('le', right);
  }
  /** True where any of the bits is set in both. */
  bits(mask: Operand): Condition {
    return this.#compare('bits', mask);
  }

  #compare(comparison: Comparison, right: Operand): Condition {
    return { left: this, comparison, right };
  }
}

/** Puts an operand where an instruction can have it: a number that fits 32 signed bits, or a register. */
export function immediateOrRegister(machine: Machine, operand: Operand): Register | number {
  if (operand instanceof Readable) return operand.toRegister();
  const constant = BigInt(operand);
  return fits32(constant) ? Number(constant) : intoRegister(machine, constant);
}

/** Puts an operand into a register: its own if it has one, else a scratch register. */
export function intoRegister(machine: Machine, operand: Operand): Register {
  if (operand instanceof Readable) return operand.toRegister();
  const register = machine.scratch();
  loadInto(machine, register, operand);
  return register;
}

/** Loads an operand into the given register. */
export function loadInto(machine: Machine, register: Register, operand: Operand): void {
  if (operand instanceof Readable) {
    operand.loadInto(register);
    return;
  }
  const constant = BigInt(operand);
  if (fits32(constant)) machine.emit(insn.mov(register, Number(constant)));
  else if (BigInt.asUintN(32, constant) === constant) machine.emit(insn.mov32(register, Number(constant)));
  else machine.emit(insn.lddw(register, constant));
}

function fits32(constant: bigint): boolean {
  return BigInt.asIntN(32, constant) === constant;
}
