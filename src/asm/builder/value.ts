/**
 * Numbers in registers.
 *
 * Every value has a numeric type, and only as many of its register's low bits count as the type needs (`validBits`): what a
 * helper returns as an `int` leaves the upper half undefined. The upper bits are extended when something reads them.
 */

import type { TSchema } from '@sinclair/typebox';
import * as insn from '../constructors.ts';
import { ProgramError } from '../error.ts';
import type { Register } from '../instruction.ts';
import { layoutOf } from '../layout.ts';
import { describePosition } from '../position.ts';
import { ARITHMETIC, type Operator } from './arithmetic.ts';
import { emitExponentialBucket, emitLog2 } from './histogram.ts';
import { choose, type Extreme } from './jumps.ts';
import type { Holder, Machine } from './machine.ts';
import {
  describeType,
  includes,
  mayBeNegative,
  type NumberType,
  numberTypeOf,
  only,
  product,
  signed,
  U64,
  unsigned,
} from './number-type.ts';
import { describeOperand, immediateOrRegister, type Operand, Readable, typeOfOperand } from './operand.ts';

/** How many low bits of a register hold the number. With 64 the whole register does, as two's complement. */
export type ValidBits = 8 | 16 | 32 | 64;

/** What a value is besides its register. */
export interface Traits {
  /** u64 if not given. */
  readonly type?: NumberType;
  /** 64 if not given. */
  readonly validBits?: ValidBits;
  /** Whether the verifier knows by BTF what it points to. */
  readonly trusted?: boolean;
}

/**
 * A number in a register: kept (r6 to r9, until its block ends) or temporary (until the next call).
 *
 * An operation on a temporary takes its register for the result, and the operand is gone; on a kept value it makes a new
 * temporary, and the kept value stays as it is. `addAssign` and the others of that form change the value itself. Reading a
 * value that is gone throws, and names the line that took it.
 */
export class Value extends Readable {
  readonly machine: Machine;
  readonly register: Register;
  readonly holder: Holder;
  readonly type: NumberType;
  readonly validBits: ValidBits;
  readonly trusted: boolean;
  /** The version of a kept register that this is another reading of; undefined for the value that holds the register. */
  readonly #version: number | undefined;

  constructor(machine: Machine, register: Register, holder: Holder, traits: Traits = {}, version?: number) {
    super();
    this.machine = machine;
    this.register = register;
    this.holder = holder;
    this.type = traits.type ?? U64;
    this.validBits = traits.validBits ?? 64;
    this.trusted = traits.trusted ?? false;
    this.#version = version;
  }

  get name(): string {
    return this.holder.name;
  }

  /** Whether it outlives calls. */
  get isKept(): boolean {
    return this.register.register >= 6;
  }

  /** The register, of which the low `validBits` count. Throws if it holds something else now. */
  read(): Register {
    if (!this.machine.isHeldBy(this.register, this.holder)) throw this.#gone();
    if (this.#version !== undefined && !this.machine.hasVersion(this.register, this.#version))
      throw new ProgramError(
        `${this.#origin()} is another reading of a value that has been assigned to since: read it again`,
      );
    return this.register;
  }

  #origin(): string {
    return `${this.name} of ${describePosition(this.holder.position)}`;
  }

  #gone(): Error {
    const { lost } = this.holder;
    if (!lost) return new ProgramError(`${this.#origin()} was made in a block that has ended`);
    const where = `${lost.by} at ${describePosition(lost.position)}`;
    return new ProgramError(
      !lost.changed
        ? `${this.#origin()} was a temporary in r${this.register.register}, lost to ${where}: keep() it before`
        : `${this.#origin()} was changed by ${where}: use the result, or keep() the value before`,
    );
  }

  toRegister(): Register {
    const register = this.read();
    if (this.validBits === 64) return register;
    // A temporary has one reader; a kept register may have others, which count other bits.
    const extended = this.isKept ? this.machine.scratch() : register;
    this.#extend(extended, register);
    return extended;
  }

  loadInto(register: Register): void {
    this.#extend(register, this.read());
  }

  /** Moves the register as it is. */
  moveInto(register: Register): void {
    if (this.read() !== register) this.machine.emit(insn.mov(register, this.read()));
  }

  /** Moves the number, with its upper bits. */
  #extend(to: Register, from: Register): void {
    const { machine, validBits } = this;
    const isSigned = mayBeNegative(this.type);
    if (validBits === 32 && !isSigned) {
      machine.emit(insn.mov32(to, from));
      return;
    }
    if (to !== from) machine.emit(insn.mov(to, from));
    if (validBits === 64) return;
    if (isSigned) machine.emit(insn.lsh(to, 64 - validBits), insn.arsh(to, 64 - validBits));
    else machine.emit(insn.and(to, 2 ** validBits - 1));
  }

  /**
   * The number of that integer schema that the low bits are, as a cast in C: nothing is emitted. Taking fewer bits drops the
   * upper ones; `as(u64)` of a negative number adds 2^64. A temporary is gone afterwards; a kept value stays as it is.
   */
  as(schema: TSchema): Value {
    return this.machine.statement(this.as, () => {
      const layout = layoutOf(schema);
      if (layout.kind !== 'int')
        throw new TypeError(`${this.name} is a number: as() takes an integer schema`);
      if (layout.bigEndian)
        throw new TypeError(`${this.name} is in a register, which has no byte order: swap it with toBe()`);
      return this.#reading('as()', numberTypeOf(layout), (8 * layout.size) as ValidBits);
    });
  }

  /** The same low bits as a signed number: `as(s64)`, or `as(s32)` for 32. */
  asSigned(bits: 32 | 64 = 64): Value {
    return this.machine.statement(this.asSigned, () => this.#reading('asSigned()', signed(bits), bits));
  }

  #reading(by: string, type: NumberType, bits: ValidBits): Value {
    const traits = { type, validBits: bits, trusted: this.trusted };
    if (includes(type, this.type)) {
      // The number stays the same, with as many bits valid as before: a wider type needs them extended.
      if (bits <= this.validBits) traits.validBits = this.validBits;
      else if (this.isKept) return this.#copy(by, traits);
      else this.toRegister();
    } else if (bits > this.validBits) {
      if (this.isKept) return this.#copy(by, traits);
      this.toRegister();
    }
    if (this.isKept) {
      this.read();
      return new Value(
        this.machine,
        this.register,
        this.holder,
        traits,
        this.machine.versionOf(this.register),
      );
    }
    return new Value(this.machine, this.read(), this.#takeOver(by), traits);
  }

  #copy(by: string, traits: Traits): Value {
    const holder = this.#derived(by);
    const register = this.machine.temporary(holder);
    this.loadInto(register);
    return new Value(this.machine, register, holder, traits);
  }

  #derived(by: string): Holder {
    return { name: `${this.name}.${by}`, position: this.machine.position };
  }

  /** Makes the result of an operation the holder of this temporary's register. */
  #takeOver(by: string): Holder {
    const holder = this.#derived(by);
    this.machine.replace(this.register, this.holder, holder, by);
    return holder;
  }

  add(right: Operand): Value {
    return this.#operate(this.add, 'add', right);
  }
  sub(right: Operand): Value {
    return this.#operate(this.sub, 'sub', right);
  }
  mul(right: Operand): Value {
    return this.#operate(this.mul, 'mul', right);
  }
  /** Truncated towards zero; by zero gives zero. If either number may be negative: one instruction of Linux 6.6. */
  div(right: Operand): Value {
    return this.#operate(this.div, 'div', right);
  }
  /** The remainder of `div`, with the sign of this number; by zero leaves the value. */
  mod(right: Operand): Value {
    return this.#operate(this.mod, 'mod', right);
  }
  and(right: Operand): Value {
    return this.#operate(this.and, 'and', right);
  }
  or(right: Operand): Value {
    return this.#operate(this.or, 'or', right);
  }
  xor(right: Operand): Value {
    return this.#operate(this.xor, 'xor', right);
  }
  /** By 0 to 63 bits: multiplies by a power of two. */
  lsh(right: Operand): Value {
    return this.#operate(this.lsh, 'lsh', right);
  }
  /** By 0 to 63 bits: divides by a power of two and rounds down, also below zero. */
  rsh(right: Operand): Value {
    return this.#operate(this.rsh, 'rsh', right);
  }
  /** `rsh` of a number that may be negative. Throws for one that may be 2^63 or more. */
  arsh(right: Operand): Value {
    return this.#operate(this.arsh, 'arsh', right);
  }

  addAssign(right: Operand): void {
    this.#assign(this.addAssign, 'add', right);
  }
  subAssign(right: Operand): void {
    this.#assign(this.subAssign, 'sub', right);
  }
  mulAssign(right: Operand): void {
    this.#assign(this.mulAssign, 'mul', right);
  }
  divAssign(right: Operand): void {
    this.#assign(this.divAssign, 'div', right);
  }
  modAssign(right: Operand): void {
    this.#assign(this.modAssign, 'mod', right);
  }
  andAssign(right: Operand): void {
    this.#assign(this.andAssign, 'and', right);
  }
  orAssign(right: Operand): void {
    this.#assign(this.orAssign, 'or', right);
  }
  xorAssign(right: Operand): void {
    this.#assign(this.xorAssign, 'xor', right);
  }
  lshAssign(right: Operand): void {
    this.#assign(this.lshAssign, 'lsh', right);
  }
  rshAssign(right: Operand): void {
    this.#assign(this.rshAssign, 'rsh', right);
  }

  /** Zero minus the number. */
  neg(): Value {
    return this.machine.statement(this.neg, () =>
      this.#change('neg()', product(this.type, only(-1n)), (register) =>
        this.machine.emit(insn.neg(register)),
      ),
    );
  }

  /** The lesser of the two numbers: a jump and a move. */
  min(right: Operand): Value {
    return this.#extreme(this.min, 'min', right);
  }
  /** The greater of the two numbers: a jump and a move. */
  max(right: Operand): Value {
    return this.#extreme(this.max, 'max', right);
  }

  /** Swaps the low 16, 32 or 64 bits between the host's byte order and the network's, and clears the rest. */
  toBe(bits: 16 | 32 | 64): Value {
    return this.machine.statement(this.toBe, () =>
      this.#change('toBe()', unsigned(bits), (register) => this.machine.emit(insn.toBe(bits, register))),
    );
  }

  /** The number of its highest bit: 0 for 0 and 1, 3 for 8 to 15, at most 63. 22 instructions and one scratch register. */
  log2(): Value {
    return this.machine.statement(this.log2, () => {
      this.#requireUnsigned('log2()');
      return this.#change('log2()', { min: 0n, max: 63n }, (register) => emitLog2(this.machine, register));
    });
  }

  /**
   * The index of the bucket that a duration in ns belongs to in an OpenTelemetry exponential histogram of scale 3: bucket i has the
   * durations above 2^(i/8) seconds, up to and with 2^((i+1)/8) seconds. The midpoint of a bucket is within 4.4 % of each. From
   * -240 (1 ns; 0 counts as 1) to 272. Some 60 instructions and two scratch registers; no floating point, and exact for every ns.
   *
   * Source: OpenTelemetry metrics data model, "Exponential Histogram".
   */
  exponentialBucket(): Value {
    return this.machine.statement(this.exponentialBucket, () => {
      this.#requireUnsigned('exponentialBucket()');
      return this.#change('exponentialBucket()', { min: -240n, max: 272n }, (register) =>
        emitExponentialBucket(this.machine, register),
      );
    });
  }

  #requireUnsigned(what: string): void {
    if (mayBeNegative(this.type))
      throw new TypeError(
        `${describeOperand(this)} may be negative, and ${what} takes numbers from 0: as(u64) first`,
      );
  }

  #operate(callee: (right: Operand) => Value, operator: Operator, right: Operand): Value {
    return this.machine.statement(callee, () => {
      const type = ARITHMETIC[operator].type(this, right);
      const make = ARITHMETIC[operator].make(this.type, typeOfOperand(right));
      const source = immediateOrRegister(this.machine, right);
      return this.#change(`${operator}()`, type, (register) => this.machine.emit(make(register, source)));
    });
  }

  #assign(callee: (right: Operand) => void, operator: Operator, right: Operand): void {
    this.machine.statement(callee, () => {
      const type = ARITHMETIC[operator].type(this, right);
      if (!includes(this.type, type))
        throw new RangeError(
          `the result of ${operator}Assign() (${describeType(type)}) doesn't fit ${describeOperand(this)}: make that as(u64) or as(s64) first`,
        );
      if (this.#version !== undefined)
        throw new ProgramError(`${this.#origin()} is another reading of a kept value: assign to that one`);
      const make = ARITHMETIC[operator].make(this.type, typeOfOperand(right));
      const source = immediateOrRegister(this.machine, right);
      this.loadInto(this.read());
      this.machine.emit(make(this.register, source));
      this.machine.touch(this.register);
    });
  }

  #extreme(callee: (right: Operand) => Value, which: Extreme, right: Operand): Value {
    return this.machine.statement(callee, () => {
      const { type, emit } = choose(this.machine, which, this, right);
      return this.#change(`${which}()`, type, emit);
    });
  }

  /** The result of instructions that change a register: this temporary's, or a new one with a copy of this kept value. */
  #change(by: string, type: NumberType, emit: (register: Register) => void): Value {
    if (this.isKept) {
      const copy = this.#copy(by, { type });
      emit(copy.register);
      return copy;
    }
    const register = this.toRegister();
    emit(register);
    return new Value(this.machine, register, this.#takeOver(by), { type });
  }
}
