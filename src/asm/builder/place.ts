/**
 * Places: typed pieces of memory, read again each time they are used.
 */
import type { TSchema } from '@sinclair/typebox';
import * as insn from '../constructors.ts';
import type { Register } from '../instruction.ts';
import { type IntLayout, type Layout, layoutOf } from '../layout.ts';
import { r10 } from '../registers.ts';
import type { Width } from '../width.ts';
import type { Machine } from './machine.ts';
import { includes, type NumberType, numberTypeOf, signed, unsigned } from './number-type.ts';
import {
  constantOf,
  describeOperand,
  fits32,
  intoRegister,
  type Operand,
  Readable,
  requireFits,
  typeOfOperand,
} from './operand.ts';
import { type ValidBits, Value } from './value.ts';

/**
 * What loads may come from: memory whose address helpers take (the stack, map values), the program's context or a kernel
 * structure, and an argument in the context whose type the verifier knows.
 */
export type PlaceKind = 'memory' | 'kernel' | 'trusted';

/** Where memory is counted from: the frame, or a pointer in a register. */
export type Base = 'stack' | Value;

/** A typed piece of memory, at an offset from its base. Numbers can be compared, everything can be copied. */
export class Place extends Readable {
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

  get type(): NumberType {
    return numberTypeOf(this.#number());
  }

  /** Whether it holds a pointer whose type the verifier knows by BTF. */
  get trusted(): boolean {
    return this.kind === 'trusted';
  }

  /** Its layout as a number. @throws {TypeError} if it is none. */
  #number(): IntLayout {
    if (this.layout.kind === 'int') return this.layout;
    const seen = [1, 2, 4, 8].includes(this.size)
      ? `: read it as one with b.as(memory, u${8 * this.size})`
      : '';
    throw new TypeError(`${this.name} is ${describeLayout(this.layout)}, not a number${seen}`);
  }

  toRegister(): Register {
    const register = this.machine.scratch();
    this.loadInto(register);
    return register;
  }

  loadInto(register: Register): void {
    const validBits = this.loadLowBits(register);
    if (validBits < 64)
      this.machine.emit(insn.lsh(register, 64 - validBits), insn.arsh(register, 64 - validBits));
  }

  /** Loads the number in the host's byte order, without extending its sign: as many low bits count as it gives. */
  loadLowBits(register: Register): ValidBits {
    const { size, signed: isSigned, bigEndian } = this.#number();
    const bits = (8 * size) as ValidBits;
    this.loadRaw(register);
    if (bigEndian) this.machine.emit(insn.toBe(bits as 16 | 32 | 64, register));
    return isSigned ? bits : 64;
  }

  /** Loads the bytes as they lie in memory. */
  loadRaw(register: Register): void {
    const { size } = this.#number();
    this.requireWritten();
    this.machine.emit(insn.ldx({ size }, register, this.baseRegister(), this.offset));
  }

  /** Reads it into a temporary: one load, and a swap if it is big-endian. */
  get(): Value {
    return this.machine.statement(this.get, () => {
      this.#number();
      const holder = { name: this.name, position: this.machine.position };
      const register = this.machine.temporary(holder);
      const validBits = this.loadLowBits(register);
      return new Value(this.machine, register, holder, { type: this.type, trusted: this.trusted, validBits });
    });
  }

  /**
   * The same memory as a number of another integer schema, which may be shorter: its first bytes, the low ones of a number in the host's
   * byte order. Nothing is emitted.
   */
  as(schema: TSchema): Place {
    return this.machine.statement(this.as, () => {
      const layout = layoutOf(schema);
      if (layout.kind !== 'int') throw new TypeError('as() takes an integer schema here; b.as() takes any');
      if (layout.size > this.size)
        throw new TypeError(`${this.name} has ${this.size} bytes, too few to be seen as ${layout.size}`);
      return new Place(this.machine, this.base, this.offset, layout, this.name, this.kind);
    });
  }

  /** `as(s64)`, or `as(s32)` for the low 32 bits. */
  asSigned(bits: 32 | 64 = 64): Value {
    return this.machine.statement(this.asSigned, () => this.get().asSigned(bits));
  }

  /**
   * Writes it. A number is stored by one instruction, swapped if the place is big-endian; from memory of another width it is extended.
   * Other memory is copied, by the widest loads that both sides' alignment allows. Throws RangeError if the source may be a number that
   * the place can't hold: `as` narrows on purpose.
   */
  set(source: Operand): void {
    this.machine.statement(this.set, () => {
      if (source instanceof Place) this.#copyFrom(source);
      else if (source instanceof Value) this.#storeValue(source);
      else this.#storeConstant(constantOf(source as number | bigint));
      this.markWritten();
    });
  }

  /**
   * Adds to it in one step that no other CPU can come between; wraps. A negative amount subtracts. Throws TypeError unless the place
   * is a number of 4 or 8 bytes in the host's byte order.
   */
  atomicAdd(amount: Operand): void {
    this.machine.statement(this.atomicAdd, () => {
      const { size, bigEndian } = this.#number();
      if (bigEndian)
        throw new TypeError(`${this.name} is big-endian: the processor can't add to it in one step`);
      if (size !== 4 && size !== 8)
        throw new TypeError(`${this.name} has ${size} bytes; an atomic addition takes 4 or 8`);
      requireBits(amount, size, this.name);
      const register = withLowBits(this.machine, amount, 8 * size);
      this.machine.emit(insn.atomic.add({ size }, this.baseRegister(), this.offset, register));
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
    const [to, from] = [this.layout, source.layout];
    if (to.kind === 'int' && from.kind === 'int') requireFits(source, this.type, this.name);
    else if (this.size !== source.size)
      throw new TypeError(
        `${source.name} (${source.size} bytes) doesn't fit ${this.name} (${this.size} bytes)`,
      );
    const asTheyLie =
      this.size === source.size &&
      (to.kind !== 'int' || from.kind !== 'int' || to.bigEndian === from.bigEndian || this.size === 1);
    const register = this.machine.scratch();
    if (!asTheyLie) {
      source.loadInto(register);
      this.#store(register);
      return;
    }
    for (let done = 0; done < this.size; ) {
      const width = widestCopy(this.offset + done, source.offset + done, this.size - done);
      this.machine.emit(
        insn.ldx({ size: width }, register, source.baseRegister(), source.offset + done),
        insn.stx({ size: width }, this.baseRegister(), this.offset + done, register),
      );
      done += width;
    }
  }

  #storeValue(source: Value): void {
    if (this.layout.kind === 'int') requireFits(source, this.type, this.name);
    else requireBits(source, this.size, this.name);
    const register = withLowBits(this.machine, source, 8 * this.size);
    if (!isBigEndian(this)) {
      this.#storeRegister(register);
      return;
    }
    const swapped = this.machine.scratch();
    this.machine.emit(insn.mov(swapped, register));
    this.#store(swapped);
  }

  /** Stores a scratch register, which is swapped first if the place is big-endian. */
  #store(register: Register): void {
    if (isBigEndian(this)) this.machine.emit(insn.toBe((8 * this.size) as 16 | 32 | 64, register));
    this.#storeRegister(register);
  }

  #storeRegister(register: Register): void {
    const { size } = this.layout;
    if (size !== 1 && size !== 2 && size !== 4 && size !== 8)
      throw new TypeError(`${this.name} has ${size} bytes: it can be copied, or set to 0`);
    this.machine.emit(insn.stx({ size }, this.baseRegister(), this.offset, register));
  }

  #storeConstant(constant: bigint): void {
    if (this.layout.kind === 'int') {
      const { size } = this.layout;
      requireFits(constant, this.type, this.name);
      const bytes = bytesOf(this, constant);
      const immediate = size === 8 ? BigInt.asIntN(64, bytes) : bytes;
      if (size < 8 || fits32(immediate)) {
        this.machine.emit(insn.st({ size }, this.baseRegister(), this.offset, Number(immediate)));
        return;
      }
      const register = this.machine.scratch();
      this.machine.emit(insn.lddw(register, bytes));
      this.#storeRegister(register);
      return;
    }
    if (constant !== 0n)
      throw new TypeError(`${this.name} is ${describeLayout(this.layout)}: it can be set to 0 or copied`);
    for (let done = 0; done < this.size; ) {
      const width = widestCopy(this.offset + done, this.offset + done, this.size - done);
      this.machine.emit(insn.st({ size: width }, this.baseRegister(), this.offset + done, 0));
      done += width;
    }
  }
}

/** A register whose low bits are the number: a value's own if so many of its bits count. */
function withLowBits(machine: Machine, operand: Operand, bits: number): Register {
  if (operand instanceof Value && operand.validBits >= bits) return operand.read();
  return intoRegister(machine, operand);
}

/** Throws RangeError unless the operand's bits fit `size` bytes, read as a number with or without a sign. */
function requireBits(operand: Operand, size: number, name: string): void {
  const type = typeOfOperand(operand);
  if (includes(signed(8 * size), type) || includes(unsigned(8 * size), type)) return;
  throw new RangeError(
    `${describeOperand(operand)} doesn't fit the ${size} bytes of ${name}: narrow it on purpose with .as(schema)`,
  );
}

/** A constant as it lies in the place's memory: the number that loading those bytes in the host's order gives, without a sign. */
export function bytesOf(place: Place, constant: bigint): bigint {
  const bits = 8 * place.size;
  const bytes = BigInt.asUintN(bits, constant);
  if (!isBigEndian(place)) return bytes;
  let swapped = 0n;
  for (let i = 0; i < place.size; i++) swapped = (swapped << 8n) | ((bytes >> BigInt(8 * i)) & 0xffn);
  return swapped;
}

export function isBigEndian(place: Place): boolean {
  return place.layout.kind === 'int' && place.layout.bigEndian;
}

/** For messages: what memory is that is no number. */
function describeLayout(layout: Layout): string {
  return layout.kind === 'struct' ? `a struct of ${layout.size} bytes` : `${layout.kind}(${layout.size})`;
}

function widestCopy(to: number, from: number, left: number): Width['size'] {
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
