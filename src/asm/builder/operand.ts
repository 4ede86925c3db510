/**
 * Operands of the builder's statements (constants, values and places), and the conditions that compare them.
 */
import * as insn from '../constructors.ts';
import type { Register } from '../instruction.ts';
import type { Machine } from './machine.ts';
import { describeType, includes, type NumberType, only, S64, U64 } from './number-type.ts';

/**
 * A number for a statement: a constant, a value in a register or a place in memory. A number beyond 2^53 must
 * be a bigint.
 *
 * @example
 * ```ts
 * import { type Builder, type Operand, rawTracepoint, target } from 'tsbpf';
 *
 * const exitUnless = (b: Builder, expected: Operand) => b.if(b.arg(1).ne(expected), () => b.exit());
 *
 * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => exitUnless(b, 59));
 * ```
 */
export type Operand = number | bigint | Readable;

/**
 * A value or a place: a number with a type.
 *
 * Comparisons compare the mathematical numbers; the widths and signs of the two types may differ. A
 * comparison reads its operands when the branch is emitted. It throws RangeError for a constant that the type
 * does not include, because its result would always be the same.
 */
export abstract class Readable {
  /** The name in error messages. */
  abstract readonly name: string;
  /** The range of its numbers. @throws {TypeError} if it is not a number. */
  abstract readonly type: NumberType;
  /** Returns a register with the number in 64 bits: its own register, or else a scratch register. */
  abstract toRegister(): Register;
  /** Loads the number in 64 bits into a register. */
  abstract loadInto(register: Register): void;

  /** True if this number equals `right`. */
  eq(right: Operand): Condition {
    return this.#compare('eq', right);
  }
  /** True if this number differs from `right`. */
  ne(right: Operand): Condition {
    return this.#compare('ne', right);
  }
  /** True if this number is greater than `right`. */
  gt(right: Operand): Condition {
    return this.#compare('gt', right);
  }
  /** True if this number is greater than or equal to `right`. */
  ge(right: Operand): Condition {
    return this.#compare('ge', right);
  }
  /** True if this number is less than `right`. */
  lt(right: Operand): Condition {
    return this.#compare('lt', right);
  }
  /** True if this number is less than or equal to `right`. */
  le(right: Operand): Condition {
    return this.#compare('le', right);
  }
  /**
   * True if any bit of `mask` is set. Throws RangeError for a constant mask with more bits than the number's
   * type.
   */
  bits(mask: Operand): Condition {
    return this.#compare('bits', mask);
  }

  #compare(comparison: Comparison, right: Operand): Condition {
    return new Condition({ kind: 'compare', left: this, comparison, right });
  }
}

/** A comparison of two operands; `bits` is true if any bit is set in both. */
export type Comparison = 'eq' | 'ne' | 'gt' | 'ge' | 'lt' | 'le' | 'bits';

/** A comparison and its operands: one jump. */
export interface Compare {
  readonly kind: 'compare';
  readonly left: Readable;
  readonly comparison: Comparison;
  readonly right: Operand;
}

/** The expression of a condition. */
export type Test =
  | Compare
  | { readonly kind: 'and' | 'or'; readonly first: Test; readonly second: Test }
  | { readonly kind: 'not'; readonly of: Test };

/**
 * A condition for `b.if`, made by the comparisons of values and places. The branch reads the operands, not
 * the comparison.
 *
 * @example
 * ```ts
 * import { rawTracepoint, target } from 'tsbpf';
 *
 * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
 *   const number = b.arg(1);
 *   const isWrite = number.eq(1).or(number.eq(20));
 *   b.if(isWrite.not(), () => b.exit());
 * });
 * ```
 */
export class Condition {
  readonly test: Test;

  constructor(test: Test) {
    this.test = test;
  }

  /** True if both conditions are true. `other` is tested only if this one is true. */
  and(other: Condition): Condition {
    return new Condition({ kind: 'and', first: this.test, second: other.test });
  }

  /** True if either condition is true. `other` is tested only if this one is false. */
  or(other: Condition): Condition {
    return new Condition({ kind: 'or', first: this.test, second: other.test });
  }

  /** True if this condition is false. */
  not(): Condition {
    return new Condition({ kind: 'not', of: this.test });
  }
}

/**
 * A constant as a bigint. @throws {RangeError} for a fraction, a number beyond 2^53 (JavaScript rounds
 * those), and more than 64 bits. @throws {TypeError} for anything but a number or bigint.
 */
export function constantOf(constant: number | bigint): bigint {
  if (typeof constant !== 'number' && typeof constant !== 'bigint')
    throw new TypeError(
      `${describeOperand(constant)} is not an operand: pass a number, a bigint, a value or a place`,
    );
  if (typeof constant === 'number' && !Number.isSafeInteger(constant))
    throw new RangeError(
      Number.isInteger(constant)
        ? `${constant} is beyond 2^53, where a number is not exact: use a bigint, such as 2n ** 60n`
        : `${constant} is not an integer`,
    );
  const exact = BigInt(constant);
  if (!includes(U64, only(exact)) && !includes(S64, only(exact)))
    throw new RangeError(`${constant} does not fit 64 bits`);
  return exact;
}

/** The range of an operand's numbers. */
export function typeOfOperand(operand: Operand): NumberType {
  return operand instanceof Readable ? operand.type : only(constantOf(operand));
}

/** An operand and its type, for messages: `stack.port (u16, 0 to 65535)`. */
export function describeOperand(operand: Operand): string {
  if (operand instanceof Readable) return `${operand.name} (${describeType(operand.type)})`;
  // A field of that name is hidden by the method: see `Memory`.
  if (typeof operand === 'function')
    return `the method ${(operand as () => void).name}() (a field of its name is memory.field('${(operand as () => void).name}'))`;
  return String(operand);
}

/** Throws RangeError unless `type`, the type of `what`, includes every number that the operand may have. */
export function requireFits(operand: Operand, type: NumberType, what: string, remedy?: string): void {
  const from = typeOfOperand(operand);
  if (includes(type, from)) return;
  const advised =
    remedy ?? (operand instanceof Readable ? 'narrow it on purpose with .as(schema)' : undefined);
  const advice = advised === undefined ? '' : `: ${advised}`;
  throw new RangeError(`${describeOperand(operand)} doesn't fit ${what} (${describeType(type)})${advice}`);
}

/** An operand for an instruction: an immediate if it fits 32 signed bits, else a register. */
export function immediateOrRegister(machine: Machine, operand: Operand): Register | number {
  if (operand instanceof Readable) return operand.toRegister();
  const constant = constantOf(operand);
  return fits32(constant) ? Number(constant) : intoRegister(machine, constant);
}

/** Returns a register with the operand: its own register, or else a scratch register. */
export function intoRegister(machine: Machine, operand: Operand): Register {
  if (operand instanceof Readable) return operand.toRegister();
  const register = machine.scratch();
  loadInto(machine, register, operand);
  return register;
}

/** Loads an operand into a register. */
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

/** Whether a number fits an instruction's immediate: 32 bits, sign-extended. */
export function fits32(constant: bigint): boolean {
  return BigInt.asIntN(32, constant) === constant;
}
