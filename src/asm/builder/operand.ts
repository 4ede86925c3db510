/**
 * What statements work on: values in registers, places in memory, and the conditions made of them.
 *
 * A `Value` is a register, and its operators change it in place: one call, one instruction. A `Place` is a
 * typed piece of memory; it is read anew each time it is used.
 */
import * as insn from '../constructors.ts';
import type { Instruction, Register } from '../instruction.ts';
import type { Layout } from '../layout.ts';
import { describePosition } from '../position.ts';
import { r10 } from '../registers.ts';
import type { Holder, Machine } from './machine.ts';

/** A constant, a register or memory. */
export type Operand = number | bigint | Value | Place;

/** How two operands are compared; `bits` is true where any bit of the mask is set. */
export type Comparison = 'eq' | 'ne' | 'gt' | 'ge' | 'lt' | 'le' | 'bits';

/** A question that becomes one jump when a branch asks it. */
export interface Condition {
  readonly left: Comparable;
  readonly comparison: Comparison;
  readonly right: Operand;
}

type Width = 1 | 2 | 4 | 8;

/** The comparisons that values and places share. Unsigned, unless the operand is signed. */
export abstract class Comparable {
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

/**
 * A 64-bit value in a register: kept (r6 to r9, until its block ends) or temporary (until the next call).
 * Reading one that is gone throws, and names the line that took it.
 */
export class Value extends Comparable {
  readonly machine: Machine;
  readonly register: Register;
  readonly holder: Holder;
  /** Whether comparisons are signed. */
  readonly signed: boolean;
  /** Whether the verifier knows by BTF what it points to. */
  readonly trusted: boolean;

  constructor(
    machine: Machine,
    register: Register,
    holder: Holder,
    traits: { readonly signed?: boolean; readonly trusted?: boolean } = {},
  ) {
    super();
    this.machine = machine;
    this.register = register;
    this.holder = holder;
    this.signed = traits.signed ?? false;
    this.trusted = traits.trusted ?? false;
  }

  /** The register, if it still holds this value. */
  read(): Register {
    if (!this.machine.isHeldBy(this.register, this.holder)) {
      const { name, position, lost } = this.holder;
      const what = `${name} of ${describePosition(position)}`;
      throw new Error(
        lost
          ? `${what} was a temporary in r${this.register.register} and is gone since ${lost.by} at ${describePosition(lost.position)}: keep() it before`
          : `${what} was made in a block that has ended`,
      );
    }
    return this.register;
  }

  /** The same register, compared as a signed number. */
  asSigned(): Value {
    return new Value(this.machine, this.register, this.holder, { signed: true });
  }

  add(right: Operand): this {
    return this.#change(this.add, right, insn.add);
  }
  sub(right: Operand): this {
    return this.#change(this.sub, right, insn.sub);
  }
  mul(right: Operand): this {
    return this.#change(this.mul, right, insn.mul);
  }
  /** Unsigned; by zero gives zero. */
  div(right: Operand): this {
    return this.#change(this.div, right, insn.div);
  }
  /** Unsigned; by zero leaves the value. */
  mod(right: Operand): this {
    return this.#change(this.mod, right, insn.mod);
  }
  and(right: Operand): this {
    return this.#change(this.and, right, insn.and);
  }
  or(right: Operand): this {
    return this.#change(this.or, right, insn.or);
  }
  xor(right: Operand): this {
    return this.#change(this.xor, right, insn.xor);
  }
  lsh(right: Operand): this {
    return this.#change(this.lsh, right, insn.lsh);
  }
  rsh(right: Operand): this {
    return this.#change(this.rsh, right, insn.rsh);
  }
  arsh(right: Operand): this {
    return this.#change(this.arsh, right, insn.arsh);
  }

  /** Swaps the low 16, 32 or 64 bits between the host's byte order and the network's, and clears the rest. */
  toBe(bits: 16 | 32 | 64): this {
    return this.machine.statement(this.toBe, () => {
      this.machine.emit(insn.toBe(bits, this.read()));
      return this;
    });
  }

  #change(
    callee: (right: Operand) => this,
    right: Operand,
    make: (dst: Register, src: Register | number) => Instruction,
  ): this {
    return this.machine.statement(callee, () => {
      const source = immediateOrRegister(this.machine, right);
      this.machine.emit(make(this.read(), source));
      return this;
    });
  }
}

/**
 * What loads may come from: memory whose address helpers take (the stack, map values), the program's context or a kernel
 * structure, and an argument in the context whose type the verifier knows.
 */
export type PlaceKind = 'memory' | 'kernel' | 'trusted';

/** Where memory is counted from: the frame, or a pointer in a register. */
export type Base = 'stack' | Value;

/** A typed piece of memory, at an offset from its base. Scalars can be compared, everything can be copied. */
export class Place extends Comparable {
  readonly machine: Machine;
  readonly base: Base;
  readonly offset: number;
  readonly layout: Layout;
  readonly name: string;
  readonly kind: PlaceKind;

  constructor(
    machine: Machine,
    base: Base,
    offset: number,
    layout: Layout,
    name: string,
    kind: PlaceKind = 'memory',
  ) {
    super();
    this.machine = machine;
    this.base = base;
    this.offset = offset;
    this.layout = layout;
    this.name = name;
    this.kind = kind;
  }

  get size(): number {
    return this.layout.size;
  }

  get signed(): boolean {
    return this.layout.kind === 'int' && this.layout.signed;
  }

  /** Whether it holds a pointer whose type the verifier knows by BTF. */
  get trusted(): boolean {
    return this.kind === 'trusted';
  }

  /** Reads it into a temporary: one load, and for big-endian or narrow signed numbers the instructions that widen it. */
  get(): Value {
    return this.machine.statement(this.get, () => {
      const holder = { name: this.name, position: this.machine.position };
      const register = this.machine.temporary(holder);
      loadInto(this.machine, register, this);
      return new Value(this.machine, register, holder, this);
    });
  }

  /**
   * Writes it. From a constant or a register one store (a constant that doesn't fit 32 bits is loaded
   * first); from memory a copy, by the widest loads that both sides' alignment allows.
   */
  set(source: Operand): void {
    this.machine.statement(this.set, () => {
      if (source instanceof Place) this.#copyFrom(source);
      else if (source instanceof Value) this.#store(source.read());
      else this.#storeConstant(BigInt(source));
      this.markWritten();
    });
  }

  /** Adds to it in one step that no other CPU can come between. Wraps. */
  atomicAdd(amount: Operand): void {
    this.machine.statement(this.atomicAdd, () => {
      const { size } = this.layout;
      if (size !== 4 && size !== 8)
        throw new TypeError(`${this.name} has ${size} bytes; an atomic addition takes 4 or 8`);
      const source = intoRegister(this.machine, amount);
      this.machine.emit(insn.atomic.add({ size }, this.baseRegister(), this.offset, source));
    });
  }

  /** The register that the offset counts from. */
  baseRegister(): Register {
    return this.base === 'stack' ? r10 : this.base.read();
  }

  /** Says that every byte is written; for memory that raw instructions have filled. */
  markWritten(): void {
    if (this.base === 'stack') this.machine.stack.write(this.offset, this.size);
  }

  /** Throws if a byte on the stack hasn't been written, and names the field. */
  requireWritten(): void {
    if (this.base !== 'stack') return;
    const at = this.machine.stack.firstUnwritten(this.offset, this.size);
    if (at >= 0)
      throw new Error(
        `${fieldAt(this.layout, at, this.name)} was never written (byte ${at} of ${this.name})`,
      );
  }

  #copyFrom(source: Place): void {
    source.requireWritten();
    if (this.size !== source.size) {
      if (
        this.layout.kind !== 'int' ||
        source.layout.kind !== 'int' ||
        this.size < source.size ||
        bigEndian(this)
      )
        throw new TypeError(
          `${source.name} (${source.size} bytes) doesn't fit ${this.name} (${this.size} bytes)`,
        );
      const register = this.machine.scratch();
      loadNumber(this.machine, register, source);
      this.#store(register);
      return;
    }
    const register = this.machine.scratch();
    for (let done = 0; done < this.size; ) {
      const width = widestCopy(this.offset + done, source.offset + done, this.size - done);
      this.machine.emit(
        insn.ldx({ size: width }, register, source.baseRegister(), source.offset + done),
        insn.stx({ size: width }, this.baseRegister(), this.offset + done, register),
      );
      done += width;
    }
  }

  #store(register: Register): void {
    if (bigEndian(this))
      throw new TypeError(`${this.name} is big-endian; swap the value and write it to a field that isn't`);
    this.machine.emit(insn.stx({ size: scalarWidth(this) }, this.baseRegister(), this.offset, register));
  }

  #storeConstant(constant: bigint): void {
    const size = this.layout.kind === 'int' ? scalarWidth(this) : 8;
    if (this.layout.kind === 'int') {
      const bytes = inMemoryOrder(this, constant);
      if (bytes !== undefined) {
        this.machine.emit(insn.st({ size }, this.baseRegister(), this.offset, bytes));
        return;
      }
      const register = this.machine.scratch();
      this.machine.emit(insn.lddw(register, constant));
      this.#store(register);
      return;
    }
    if (constant !== 0n)
      throw new TypeError(`${this.name} has ${this.size} bytes: it can be set to 0 or copied`);
    for (let done = 0; done < this.size; ) {
      const width = widestCopy(this.offset + done, this.offset + done, this.size - done);
      this.machine.emit(insn.st({ size: width }, this.baseRegister(), this.offset + done, 0));
      done += width;
    }
  }
}

/** Puts an operand where an instruction can have it: a number that fits 32 signed bits, or a register. */
export function immediateOrRegister(machine: Machine, operand: Operand): Register | number {
  if (operand instanceof Value || operand instanceof Place) return intoRegister(machine, operand);
  const constant = BigInt(operand);
  if (BigInt.asIntN(32, constant) === constant) return Number(constant);
  return intoRegister(machine, constant);
}

/** Puts an operand into a register: its own if it has one, else a scratch register. */
export function intoRegister(machine: Machine, operand: Operand): Register {
  if (operand instanceof Value) return operand.read();
  const register = machine.scratch();
  loadInto(machine, register, operand);
  return register;
}

/** Loads an operand into the given register. */
export function loadInto(machine: Machine, register: Register, operand: Operand): void {
  if (operand instanceof Value) {
    if (operand.read() !== register) machine.emit(insn.mov(register, operand.read()));
  } else if (operand instanceof Place) {
    loadNumber(machine, register, operand);
  } else {
    const constant = BigInt(operand);
    if (BigInt.asIntN(32, constant) === constant) machine.emit(insn.mov(register, Number(constant)));
    else if (BigInt.asUintN(32, constant) === constant) machine.emit(insn.mov32(register, Number(constant)));
    else machine.emit(insn.lddw(register, constant));
  }
}

/** Loads a scalar as it lies in memory, without widening a sign or swapping bytes. */
export function loadRaw(machine: Machine, register: Register, place: Place): void {
  place.requireWritten();
  machine.emit(insn.ldx({ size: scalarWidth(place) }, register, place.baseRegister(), place.offset));
}

function loadNumber(machine: Machine, register: Register, place: Place): void {
  loadRaw(machine, register, place);
  const bits = 8 * place.size;
  if (bigEndian(place)) machine.emit(insn.toBe(bits as 16 | 32 | 64, register));
  if (place.signed && bits < 64) machine.emit(insn.lsh(register, 64 - bits), insn.arsh(register, 64 - bits));
}

/** A constant as the 32-bit immediate whose bytes are the number in the place's byte order; undefined if it needs more. */
export function inMemoryOrder(place: Place, constant: bigint): number | undefined {
  const bits = 8 * place.size;
  const fits = place.signed
    ? BigInt.asIntN(bits, constant) === constant
    : BigInt.asUintN(bits, constant) === constant;
  if (!fits)
    throw new RangeError(
      `${constant} doesn't fit ${place.name} (${bits} bits, ${place.signed ? 'signed' : 'unsigned'})`,
    );
  let bytes = BigInt.asUintN(bits, constant);
  if (bigEndian(place)) {
    let swapped = 0n;
    for (let i = 0; i < place.size; i++) swapped = (swapped << 8n) | ((bytes >> BigInt(8 * i)) & 0xffn);
    bytes = swapped;
  }
  if (bits < 64) return Number(bytes);
  return BigInt.asIntN(32, constant) === constant && !bigEndian(place) ? Number(constant) : undefined;
}

function scalarWidth(place: Place): Width {
  const { size } = place.layout;
  if (size !== 1 && size !== 2 && size !== 4 && size !== 8)
    throw new TypeError(`${place.name} has ${size} bytes: it can be copied, not read into a register`);
  return size;
}

export function bigEndian(place: Place): boolean {
  return place.layout.kind === 'int' && place.layout.bigEndian;
}

function widestCopy(to: number, from: number, left: number): Width {
  const misaligned = to | from;
  if (left >= 8 && (misaligned & 7) === 0) return 8;
  if (left >= 4 && (misaligned & 3) === 0) return 4;
  if (left >= 2 && (misaligned & 1) === 0) return 2;
  return 1;
}

/** The innermost field that a byte belongs to, or the one that its padding follows. */
function fieldAt(layout: Layout, byte: number, name: string): string {
  if (layout.kind !== 'struct') return name;
  const gap = layout.padding.find(({ offset, size }) => byte >= offset && byte < offset + size);
  if (gap) return `the padding after ${name}.${gap.after}`;
  const field = layout.fields.findLast(({ offset }) => offset <= byte);
  return field ? fieldAt(field.layout, byte - field.offset, `${name}.${field.name}`) : name;
}
