/**
 * Numbers in registers.
 *
 * A value has a numeric type, and only the low `validBits` of its register count: a helper that returns an
 * `int`, for example, leaves the upper half undefined. The upper bits are extended when a statement reads
 * them.
 */

import type { TSchema } from '@sinclair/typebox';
import * as insn from '../constructors.ts';
import { ProgramError } from '../error.ts';
import type { Register } from '../instruction.ts';
import { layoutOf } from '../layout.ts';
import { withLine } from '../position.ts';
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
import { describeHolder } from './state.ts';

/**
 * The number of low bits of a register that hold a value. 64 means the whole register, in two's complement.
 */
export type ValidBits = 8 | 16 | 32 | 64;

/** The properties of a value besides its register. */
export interface Traits {
  /** u64 by default. */
  readonly type?: NumberType;
  /** 64 by default. */
  readonly validBits?: ValidBits;
  /** Whether the verifier knows by BTF what the value points to. */
  readonly trusted?: boolean;
}

/**
 * A number in a register: *temporary* (r0 to r5, until the next call) or *kept* (r6 to r9, until its block
 * ends).
 *
 * An operation on a temporary leaves the result in its register and ends the operand. On a kept value it
 * makes a new temporary and leaves the kept value unchanged. `addAssign` and its like change the value
 * itself.
 *
 * The type of a result is the range that the operation can give; it wraps if the range exceeds 64 bits.
 * Reading a value that has ended throws ProgramError with the source line that ended it.
 *
 * @example
 * ```ts
 * import { hash, ktimeGetNs, rawTracepoint, target, u64 } from 'tsbpf';
 *
 * const seconds = hash('seconds', { key: u64, value: u64, maxEntries: 3_600 });
 *
 * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
 *   const now = b.call(ktimeGetNs); // temporary in r0
 *   b.count(seconds, now.div(1_000_000_000)); // `now` has ended, r0 holds the quotient
 * });
 * ```
 */
export class Value extends Readable {
  /** @internal */
  readonly machine: Machine;
  /** The register that holds the number, for raw instructions. */
  readonly register: Register;
  /** @internal */
  readonly holder: Holder;
  /** The range of the number. */
  readonly type: NumberType;
  /** The number of low bits of the register that count. */
  readonly validBits: ValidBits;
  /** Whether the verifier knows by BTF what the number points to. */
  readonly trusted: boolean;
  /**
   * For a cast of a kept value: the version of the register that it reads. Undefined for the value itself.
   */
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

  /** The name in error messages. */
  get name(): string {
    return this.holder.name;
  }

  /** Whether the value survives calls: it is in r6 to r9. */
  get isKept(): boolean {
    return this.register.register >= 6;
  }

  /** Returns the register; its low `validBits` count. Throws ProgramError if the value has ended. */
  read(): Register {
    if (!this.machine.isHeldBy(this.register, this.holder)) throw this.#gone();
    if (this.#version !== undefined && !this.machine.hasVersion(this.register, this.#version))
      throw new ProgramError(
        `${this.#origin()} is a cast of a value that was assigned to afterwards: cast it again`,
      );
    return this.register;
  }

  #origin(): string {
    return describeHolder(this.holder);
  }

  #gone(): Error {
    const { lost } = this.holder;
    if (!lost) return new ProgramError(`${this.#origin()} belongs to a block that has ended`);
    const by = withLine(lost.by, lost.position);
    return new ProgramError(
      !lost.changed
        ? `${this.#origin()} was a temporary in r${this.register.register}, lost to ${by}: keep() it before`
        : `${this.#origin()} was changed by ${by}: use the result, or keep() the value before`,
    );
  }

  toRegister(): Register {
    const register = this.read();
    if (this.validBits === 64) return register;
    // A temporary has one reader. A kept register may have casts, which read other bits of it.
    const extended = this.isKept ? this.machine.scratch() : register;
    this.#extend(extended, register);
    return extended;
  }

  loadInto(register: Register): void {
    this.#extend(register, this.read());
  }

  /** Copies the register without extending the number. */
  moveInto(register: Register): void {
    if (this.read() !== register) this.machine.emit(insn.mov(register, this.read()));
  }

  /** Copies the number, extended to 64 bits. */
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
   * Casts to an integer schema, as C does: fewer bits drop the upper ones, and `as(u64)` of a negative number
   * adds 2^64. Emits nothing, unless the new type has more bits than are valid. A temporary ends; a kept
   * value stays, and the cast reads the same register.
   *
   * Throws TypeError for other schemas, and for big-endian ones: swap with `toBe`.
   */
  as(schema: TSchema): Value {
    return this.machine.statement(this.as, () => {
      const layout = layoutOf(schema);
      if (layout.kind !== 'int')
        throw new TypeError(`${this.name} is a number: as() needs an integer schema, such as u32`);
      if (layout.bigEndian)
        throw new TypeError(`as() of ${this.name} needs a schema in the host's byte order: swap with toBe()`);
      return this.#reading('as()', numberTypeOf(layout), (8 * layout.size) as ValidBits);
    });
  }

  /** Casts to a signed number of 64 bits (`as(s64)`), or of the low 32 (`as(s32)`). Emits what `as` emits. */
  asSigned(bits: 32 | 64 = 64): Value {
    return this.machine.statement(this.asSigned, () => this.#reading('asSigned()', signed(bits), bits));
  }

  #reading(by: string, type: NumberType, bits: ValidBits): Value {
    const traits = { type, validBits: bits, trusted: this.trusted };
    if (includes(type, this.type)) {
      // The number stays the same, and so do its valid bits. A wider type needs them extended.
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

  /** Gives this temporary's register to the result of an operation. */
  #takeOver(by: string): Holder {
    const holder = this.#derived(by);
    this.machine.replace(this.register, this.holder, holder, by);
    return holder;
  }

  /**
   * This number plus `right`. One instruction, as every operation whose operand is a register or fits 32
   * bits.
   */
  add(right: Operand): Value {
    return this.#operate(this.add, 'add', right);
  }
  /** This number minus `right`. */
  sub(right: Operand): Value {
    return this.#operate(this.sub, 'sub', right);
  }
  /** This number times `right`. */
  mul(right: Operand): Value {
    return this.#operate(this.mul, 'mul', right);
  }
  /**
   * This number divided by `right`, truncated towards zero. A variable divisor of zero gives 0; a constant
   * one throws RangeError. If either number may be negative, the instruction needs Linux 6.6.
   */
  div(right: Operand): Value {
    return this.#operate(this.div, 'div', right);
  }
  /**
   * The remainder of `div`, with the sign of this number. A variable divisor of zero gives the number itself.
   */
  mod(right: Operand): Value {
    return this.#operate(this.mod, 'mod', right);
  }
  /** The bits that are set in both numbers. */
  and(right: Operand): Value {
    return this.#operate(this.and, 'and', right);
  }
  /** The bits that are set in either number. */
  or(right: Operand): Value {
    return this.#operate(this.or, 'or', right);
  }
  /** The bits that are set in one number only. */
  xor(right: Operand): Value {
    return this.#operate(this.xor, 'xor', right);
  }
  /** Shifts left by 0 to 63 bits: multiplies by a power of two. */
  lsh(right: Operand): Value {
    return this.#operate(this.lsh, 'lsh', right);
  }
  /** Shifts right by 0 to 63 bits: divides by a power of two and rounds down, also below zero. */
  rsh(right: Operand): Value {
    return this.#operate(this.rsh, 'rsh', right);
  }
  /**
   * Shifts right by 0 to 63 bits with the sign, as `rsh` does. Throws TypeError if the number may be 2^63 or
   * more.
   */
  arsh(right: Operand): Value {
    return this.#operate(this.arsh, 'arsh', right);
  }

  /** Adds `right` to this value. Throws RangeError if the result may not fit the value's type. */
  addAssign(right: Operand): void {
    this.#assign(this.addAssign, 'add', right);
  }
  /** Subtracts `right` from this value. Throws as `addAssign` does. */
  subAssign(right: Operand): void {
    this.#assign(this.subAssign, 'sub', right);
  }
  /** Multiplies this value by `right`. Throws as `addAssign` does. */
  mulAssign(right: Operand): void {
    this.#assign(this.mulAssign, 'mul', right);
  }
  /** Divides this value by `right`, as `div` does. Throws as `addAssign` does. */
  divAssign(right: Operand): void {
    this.#assign(this.divAssign, 'div', right);
  }
  /** Replaces this value by its remainder, as `mod` does. Throws as `addAssign` does. */
  modAssign(right: Operand): void {
    this.#assign(this.modAssign, 'mod', right);
  }
  /** Clears the bits of this value that are not set in `right`. Throws as `addAssign` does. */
  andAssign(right: Operand): void {
    this.#assign(this.andAssign, 'and', right);
  }
  /** Sets the bits of `right` in this value. Throws as `addAssign` does. */
  orAssign(right: Operand): void {
    this.#assign(this.orAssign, 'or', right);
  }
  /** Flips the bits of `right` in this value. Throws as `addAssign` does. */
  xorAssign(right: Operand): void {
    this.#assign(this.xorAssign, 'xor', right);
  }
  /** Shifts this value left, as `lsh` does. Throws as `addAssign` does. */
  lshAssign(right: Operand): void {
    this.#assign(this.lshAssign, 'lsh', right);
  }
  /** Shifts this value right, as `rsh` does. Throws as `addAssign` does. */
  rshAssign(right: Operand): void {
    this.#assign(this.rshAssign, 'rsh', right);
  }

  /** The number with the opposite sign. One instruction. */
  neg(): Value {
    return this.machine.statement(this.neg, () =>
      this.#change('neg()', product(this.type, only(-1n)), (register) =>
        this.machine.emit(insn.neg(register)),
      ),
    );
  }

  /** The lesser of the two numbers. Emits a jump and a `mov`. */
  min(right: Operand): Value {
    return this.#extreme(this.min, 'min', right);
  }
  /** The greater of the two numbers. Emits a jump and a `mov`. */
  max(right: Operand): Value {
    return this.#extreme(this.max, 'max', right);
  }

  /**
   * Swaps the low 16, 32 or 64 bits between the host's byte order and network byte order, and clears the
   * rest.
   */
  toBe(bits: 16 | 32 | 64): Value {
    return this.machine.statement(this.toBe, () =>
      this.#change('toBe()', unsigned(bits), (register) => this.machine.emit(insn.toBe(bits, register))),
    );
  }

  /**
   * The position of the highest set bit, for histograms with powers of two: 0 for 0 and 1, 3 for 8 to 15, at
   * most 63. Emits 22 instructions and needs one more register.
   *
   * Throws TypeError if the number may be negative.
   */
  log2(): Value {
    return this.machine.statement(this.log2, () => {
      this.#requireUnsigned('log2()');
      return this.#change('log2()', { min: 0n, max: 63n }, (register) => emitLog2(this.machine, register));
    });
  }

  /**
   * The bucket of a duration in ns in an OpenTelemetry exponential histogram of scale 3. Bucket i holds
   * durations above 2^(i/8) seconds, up to and including 2^((i+1)/8) seconds, so its midpoint is within 4.4 %
   * of each. The index is -240 (1 ns; 0 counts as 1) to 272 and exact for every ns.
   *
   * Emits some 60 instructions without floating point and needs two more registers. Throws TypeError if the
   * number may be negative.
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
        `${describeOperand(this)} may be negative, which ${what} does not allow: cast with as(u64) first`,
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
          `the result of ${operator}Assign() (${describeType(type)}) doesn't fit ${describeOperand(this)}: cast the value with as(u64) or as(s64) when you make it`,
        );
      if (this.#version !== undefined)
        throw new ProgramError(`${this.#origin()} is a cast of a kept value: assign to the kept value`);
      const make = ARITHMETIC[operator].make(this.type, typeOfOperand(right));
      const source = immediateOrRegister(this.machine, right);
      this.loadInto(this.read());
      this.machine.emit(make(this.register, source));
      this.machine.bumpVersion(this.register);
    });
  }

  #extreme(callee: (right: Operand) => Value, which: Extreme, right: Operand): Value {
    return this.machine.statement(callee, () => {
      const { type, emit } = choose(this.machine, which, this, right);
      return this.#change(`${which}()`, type, emit);
    });
  }

  /**
   * The result of instructions that change a register: this temporary's, or that of a copy of this kept
   * value.
   */
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
