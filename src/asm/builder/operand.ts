/**
 * What statements compute with: constants, and values and places, which can be read into a register; and the conditions that compare them.
 */
import * as insn from '../constructors.ts';
import type { Register } from '../instruction.ts';
import type { Machine } from './machine.ts';
import { describeType, includes, type NumberType, only, S64, U64 } from './number-type.ts';

/** A constant, a register or memory. */
export type Operand = number | bigint | Readable;

/**
 * A value or a place: a number with a type. A comparison compares the two mathematical numbers; the widths and signs
 * of their types may differ. A constant that the type doesn't include is an error, since the result would never change.
 */
export abstract class Readable {
  /** What messages call it. */
  abstract readonly name: string;
  /** The numbers that it may be. @throws {TypeError} if it is no number. */
  abstract readonly type: NumberType;
  /** The number as 64 bits: in its own register if it has one, else in a scratch register. */
  abstract toRegister(): Register;
  /** Loads the number as 64 bits. */
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
  /** True if any bit is set in both. */
  bits(mask: Operand): Condition {
    return this.#compare('bits', mask);
  }

  #compare(comparison: Comparison, right: Operand): Condition {
    return new Condition({ kind: 'compare', left: this, comparison, right });
  }
}

/** How two operands are compared; `bits` is true if any bit is set in both. */
export type Comparison = 'eq' | 'ne' | 'gt' | 'ge' | 'lt' | 'le' | 'bits';

/** Two operands and how they are compared: one jump. */
export interface Compare {
  readonly kind: 'compare';
  readonly left: Readable;
  readonly comparison: Comparison;
  readonly right: Operand;
}

/** What a condition is made of. */
export type Test =
  | Compare
  | { readonly kind: 'and' | 'or'; readonly first: Test; readonly second: Test }
  | { readonly kind: 'not'; readonly of: Test };

/** A condition for `b.if`. Its operands are read when the branch tests it. */
export class Condition {
  readonly test: Test;

  constructor(test: Test) {
    this.test = test;
  }

  /** True if both are. The second one is tested only if the first is true. */
  and(other: Condition): Condition {
    return new Condition({ kind: 'and', first: this.test, second: other.test });
  }

  /** True if either is. The second one is tested only if the first is false. */
  or(other: Condition): Condition {
    return new Condition({ kind: 'or', first: this.test, second: other.test });
  }

  /** True if this one is false. */
  not(): Condition {
    return new Condition({ kind: 'not', of: this.test });
  }
}

/**
 * A constant as a bigint. @throws {RangeError} for a fraction, for a number beyond 2^53 (JavaScript has rounded it), and for more
 * than 64 bits.
 */
export function constantOf(constant: number | bigint): bigint {
  if (typeof constant !== 'number' && typeof constant !== 'bigint')
    throw new TypeError(`${describeOperand(constant)} is not a number, a bigint, a value or a place`);
  if (typeof constant === 'number' && !Number.isSafeInteger(constant))
    throw new RangeError(
      Number.isInteger(constant)
        ? `${constant} is beyond 2^53, and a number is not exact there: write a bigint, as 2n ** 60n`
        : `${constant} is not a whole number`,
    );
  const exact = BigInt(constant);
  if (!includes(U64, only(exact)) && !includes(S64, only(exact)))
    throw new RangeError(`${constant} does not fit 64 bits`);
  return exact;
}

/** The numbers that an operand may be. */
export function typeOfOperand(operand: Operand): NumberType {
  return operand instanceof Readable ? operand.type : only(constantOf(operand));
}

/** What messages call an operand, with its type: `stack.port (u16, 0 to 65535)`. */
export function describeOperand(operand: Operand): string {
  if (operand instanceof Readable) return `${operand.name} (${describeType(operand.type)})`;
  // A field of that name is hidden by the method: see `Memory`.
  if (typeof operand === 'function')
    return `the method ${(operand as () => void).name}() (a field of its name is memory.field('${(operand as () => void).name}'))`;
  return String(operand);
}

/** Throws RangeError unless every number that the operand may be is one of `type`, that of `what`. */
export function requireFits(operand: Operand, type: NumberType, what: string, remedy?: string): void {
  const from = typeOfOperand(operand);
  if (includes(type, from)) return;
  const advised =
    remedy ?? (operand instanceof Readable ? 'narrow it on purpose with .as(schema)' : undefined);
  const advice = advised === undefined ? '' : `: ${advised}`;
  throw new RangeError(`${describeOperand(operand)} doesn't fit ${what} (${describeType(type)})${advice}`);
}

/** Gives an operand in a form that instructions take: a number that fits 32 signed bits, or a register. */
export function immediateOrRegister(machine: Machine, operand: Operand): Register | number {
  if (operand instanceof Readable) return operand.toRegister();
  const constant = constantOf(operand);
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
  const constant = constantOf(operand);
  if (fits32(constant)) machine.emit(insn.mov(register, Number(constant)));
  else if (BigInt.asUintN(32, constant) === constant) machine.emit(insn.mov32(register, Number(constant)));
  else machine.emit(insn.lddw(register, constant));
}

/** Whether an instruction's immediate of 32 signed bits can be that number. */
export function fits32(constant: bigint): boolean {
  return BigInt.asIntN(32, constant) === constant;
}
