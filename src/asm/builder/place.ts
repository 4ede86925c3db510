/**
 * Places: typed pieces of memory, read again each time they are used.
 */

import type { TSchema } from '@sinclair/typebox';
import * as insn from '../constructors.ts';
import { ProgramError } from '../error.ts';
import type { Register } from '../instruction.ts';
import { hasFields, type IntLayout, type Layout, layoutOf } from '../layout.ts';
import { describePosition } from '../position.ts';
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
import { StackSlot, type TrackedMemory } from './stack.ts';
import { type ValidBits, Value } from './value.ts';

/** The largest offset of a load or store, plus its width: 16 bits with a sign. */
const MOST_OFFSET = 32_767;

/**
 * What loads may come from: memory whose address helpers take (the stack, map values), the program's context or a kernel
 * structure, and an argument in the context whose type the verifier knows.
 */
export type PlaceKind = 'memory' | 'kernel' | 'trusted';

/** What memory is counted from: the frame, in which a slot owns it, or a pointer in a register. */
export type Base = StackSlot | Value;

/** Bits of a number in memory, as bit fields have them: from bit `shift` of the load on. */
export interface BitField {
  readonly shift: number;
  readonly count: number;
}

/** What is known of memory beside its address. */
export interface Provenance {
  /** What the base is aligned to, in bytes; 8 if not given. */
  readonly align?: number;
  /** If the program has to write it before it reads it: stack slots, and memory that the caller of a subprogram wants filled. */
  readonly tracked?: TrackedMemory;
  readonly bits?: BitField;
}

/** Key of the place that the memory of a struct is as a whole. */
export const PLACE = Symbol('place');

/** The memory of a struct or union as a whole; its fields are properties beside it. */
export interface StructMemory {
  readonly [PLACE]: Place;
  /**
   * Writes the whole struct, padding too: 0, a copy of memory of the same size (by the widest loads and stores that both
   * sides' alignment allows), or a value if the struct has 1, 2, 4 or 8 bytes.
   *
   * Throws TypeError for any other constant and for memory of another size, RangeError for a value that may not fit.
   */
  set(source: Operand | StructMemory): void;
}

/** Whether it is the memory of a whole struct or union. */
export function isStructMemory(thing: unknown): thing is StructMemory {
  return typeof thing === 'object' && thing !== null && PLACE in thing;
}

/** Memory as one place. Throws TypeError for anything else, such as a method in the place of a field. */
export function placeOf(memory: Place | StructMemory): Place {
  if (memory instanceof Place) return memory;
  if (isStructMemory(memory)) return memory[PLACE];
  throw new TypeError(`${describeOperand(memory)} is no memory`);
}

/** A typed piece of memory, at an offset from its base. Numbers can be compared, everything can be copied. */
export class Place extends Readable {
  readonly machine: Machine;
  readonly base: Base;
  readonly offset: number;
  readonly layout: Layout;
  readonly name: string;
  readonly kind: PlaceKind;
  readonly provenance: Provenance;

  /** `offset` counts from r10 for a slot, else from the pointer. */
  constructor(
    machine: Machine,
    base: Base,
    offset: number,
    layout: Layout,
    name: string,
    kind: PlaceKind = 'memory',
    provenance: Provenance = {},
  ) {
    super();
    this.machine = machine;
    this.base = base;
    this.offset = offset;
    this.layout = layout;
    this.name = name;
    this.kind = kind;
    this.provenance = provenance;
  }

  get size(): number {
    return this.layout.size;
  }

  get type(): NumberType {
    const { bits } = this.provenance;
    const layout = this.#number();
    if (bits === undefined) return numberTypeOf(layout);
    return layout.signed ? signed(bits.count) : unsigned(bits.count);
  }

  /** Whether its bytes are all of a number, and not a bit field. */
  get isWhole(): boolean {
    return this.provenance.bits === undefined;
  }

  /** What its address is surely aligned to, in bytes: at most 8. */
  get alignment(): number {
    return this.#alignment(this.offset);
  }

  /** What the address `offset` bytes from the base is surely aligned to, at most 8. */
  #alignment(offset: number): number {
    const ofBase = this.base instanceof StackSlot ? 8 : (this.provenance.align ?? 8);
    const ofOffset = offset === 0 ? 8 : offset & -offset;
    return Math.min(8, ofBase, ofOffset);
  }

  /** The widths of the accesses that make up `size` bytes: the verifier takes only aligned ones of the stack, which a parameter may be on. */
  #accessWidth(): Width['size'] {
    const { size } = this.#number();
    const isStrict = this.base instanceof StackSlot || (this.provenance.align ?? 8) < 8;
    return isStrict ? (Math.min(size, this.#alignment(this.offset)) as Width['size']) : size;
  }

  /** Whether loading it takes a register besides the one that it is loaded into. */
  get takesScratch(): boolean {
    return this.#accessWidth() < this.size || this.offset + this.size > MOST_OFFSET;
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

  /** Loads the number in the host's byte order, without extending its sign: the result is how many low bits count. */
  loadLowBits(register: Register): ValidBits {
    const { size, signed: isSigned, bigEndian } = this.#number();
    const bits = (8 * size) as ValidBits;
    this.loadRaw(register);
    if (bigEndian) this.machine.emit(insn.toBe(bits as 16 | 32 | 64, register));
    if (this.provenance.bits) {
      this.#extract(register, this.provenance.bits);
      return 64;
    }
    return isSigned ? bits : 64;
  }

  /** Leaves the bits of a bit field in a register, with their sign. A field of 64 bits is none: it is a whole number. */
  #extract(register: Register, { shift, count }: BitField): void {
    const above = 64 - shift - count;
    if (above > 0) this.machine.emit(insn.lsh(register, above));
    const right = this.#number().signed ? insn.arsh : insn.rsh;
    this.machine.emit(right(register, 64 - count));
  }

  /** Loads the bytes as they lie in memory: by one load, or by several if the address is not aligned to their size. */
  loadRaw(register: Register): void {
    const { size } = this.#number();
    this.requireWritten();
    const width = this.#accessWidth();
    const from = this.#reach(size);
    if (width === size) {
      this.machine.emit(insn.ldx({ size }, register, from.register, from.offset));
      return;
    }
    this.machine.part(() => {
      const piece = this.#scratchBeside(register);
      const sum = from.register.register === register.register ? this.#scratchBeside(register) : register;
      for (let done = 0; done < size; done += width) {
        this.machine.emit(
          insn.ldx({ size: width }, done === 0 ? sum : piece, from.register, from.offset + done),
        );
        if (done > 0) this.machine.emit(insn.lsh(piece, 8 * done), insn.or(sum, piece));
      }
      if (sum !== register) this.machine.emit(insn.mov(register, sum));
    });
  }

  /** A scratch register that is not `register`, which nothing may hold yet. */
  #scratchBeside(register: Register): Register {
    const scratch = this.machine.scratch();
    return scratch.register === register.register ? this.machine.scratch() : scratch;
  }

  /** A register and a 16-bit offset that lead to `size` bytes from the beginning: a moved copy of the base for offsets that are larger. */
  #reach(size: number): { readonly register: Register; readonly offset: number } {
    const register = this.baseRegister();
    if (this.offset + size <= MOST_OFFSET) return { register, offset: this.offset };
    const moved = this.machine.scratch();
    this.machine.emit(insn.mov(moved, register), insn.add(moved, this.offset));
    return { register: moved, offset: 0 };
  }

  /** Reads it into a temporary: one load, and a swap if it is big-endian. */
  get(): Value {
    return this.machine.statement(this.get, () => {
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
      this.#requireWhole();
      const { machine, base, offset, name, kind, provenance } = this;
      return new Place(machine, base, offset, layout, name, kind, provenance);
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
  set(source: Operand | StructMemory): void {
    this.machine.statement(this.set, () => {
      this.#requireWhole();
      this.#requireOpen();
      if (source instanceof Place || isStructMemory(source)) this.#copyFrom(placeOf(source));
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
      if (this.#accessWidth() < size)
        throw new TypeError(
          `${this.name} is not aligned to its ${size} bytes: an atomic addition needs that`,
        );
      this.#requireWhole();
      this.requireWritten();
      requireBits(amount, size, this.name);
      const to = this.#reach(size);
      const register = withLowBits(this.machine, amount, 8 * size);
      this.machine.emit(insn.atomic.add({ size }, to.register, to.offset, register));
    });
  }

  /** The register that the offset counts from. Throws if the block that owns the memory has ended. */
  baseRegister(): Register {
    this.#requireOpen();
    return this.base instanceof StackSlot ? r10 : this.base.read();
  }

  #requireOpen(): void {
    if (!(this.base instanceof StackSlot) || this.machine.stack.has(this.base)) return;
    throw new ProgramError(
      `${this.name} of ${describePosition(this.base.position)} is on the stack of a block that has ended: make it before the block`,
    );
  }

  #requireWhole(): void {
    if (!this.isWhole)
      throw new TypeError(`${this.name} is a bit field: it can be read, not written or seen otherwise`);
  }

  /** What has to be written before it is read, and where this place lies in it. */
  #tracked(): { readonly memory: TrackedMemory; readonly offset: number } | undefined {
    if (this.base instanceof StackSlot) return { memory: this.base, offset: this.offset - this.base.offset };
    const memory = this.provenance.tracked;
    return memory && { memory, offset: this.offset };
  }

  /** Says that every byte is written; for memory that raw instructions have filled. */
  markWritten(): void {
    this.#requireOpen();
    const tracked = this.#tracked();
    if (tracked) this.machine.stack.write(tracked.memory, tracked.offset, this.size);
  }

  /** Throws if a byte hasn't been written, and names the field; also if the block that owns the memory has ended. */
  requireWritten(): void {
    this.#requireOpen();
    const tracked = this.#tracked();
    if (!tracked) return;
    const at = this.machine.stack.firstUnwritten(tracked.memory, tracked.offset, this.size);
    if (at >= 0)
      throw new ProgramError(
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
      source.isWhole &&
      this.size === source.size &&
      (to.kind !== 'int' || from.kind !== 'int' || to.bigEndian === from.bigEndian || this.size === 1);
    const register = this.machine.scratch();
    if (!asTheyLie) {
      source.loadInto(register);
      this.#store(register);
      return;
    }
    const [target, origin] = [this.#reach(this.size), source.#reach(source.size)];
    const chunks: { readonly at: number; readonly size: Width['size'] }[] = [];
    for (let at = 0; at < this.size; at += chunks.at(-1)?.size as number) {
      const aligned = Math.min(this.#alignment(this.offset + at), source.#alignment(source.offset + at));
      chunks.push({ at, size: widest(aligned, this.size - at) });
    }
    // Memory that overlaps is copied from the end that the copy does not overwrite before it is read.
    if (this.base === source.base && this.offset > source.offset) chunks.reverse();
    for (const { at, size } of chunks)
      this.machine.emit(
        insn.ldx({ size }, register, origin.register, origin.offset + at),
        insn.stx({ size }, target.register, target.offset + at, register),
      );
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
    const to = this.#reach(size);
    const width = widest(this.#alignment(this.offset), size);
    this.machine.emit(insn.stx({ size: width }, to.register, to.offset, register));
    if (width === size) return;
    const rest = this.machine.scratch();
    this.machine.emit(insn.mov(rest, register));
    for (let done: number = width; done < size; done += width)
      this.machine.emit(
        insn.rsh(rest, 8 * width),
        insn.stx({ size: width }, to.register, to.offset + done, rest),
      );
  }

  #storeConstant(constant: bigint): void {
    if (this.layout.kind === 'int') {
      const { size } = this.layout;
      requireFits(constant, this.type, this.name);
      const bytes = bytesOf(this, constant);
      const width = widest(this.#alignment(this.offset), size);
      const immediate = size === 8 ? BigInt.asIntN(64, bytes) : bytes;
      if (width === 8 && !fits32(immediate)) {
        const register = this.machine.scratch();
        this.machine.emit(insn.lddw(register, bytes));
        this.#storeRegister(register);
        return;
      }
      const to = this.#reach(size);
      for (let done = 0; done < size; done += width) {
        const piece = width === size ? immediate : BigInt.asUintN(8 * width, bytes >> BigInt(8 * done));
        this.machine.emit(insn.st({ size: width }, to.register, to.offset + done, Number(piece)));
      }
      return;
    }
    if (constant !== 0n)
      throw new TypeError(`${this.name} is ${describeLayout(this.layout)}: it can be set to 0 or copied`);
    const to = this.#reach(this.size);
    for (let done = 0; done < this.size; ) {
      const width = widest(this.#alignment(this.offset + done), this.size - done);
      this.machine.emit(insn.st({ size: width }, to.register, to.offset + done, 0));
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
  return hasFields(layout) ? `a ${layout.kind} of ${layout.size} bytes` : `${layout.kind}(${layout.size})`;
}

/** The widest access to memory of that alignment, of which so many bytes are left. */
function widest(align: number, left: number): Width['size'] {
  for (const width of [8, 4, 2] as const) if (left >= width && align >= width) return width;
  return 1;
}

/** The innermost field that a byte belongs to, or the one that its padding follows. */
function fieldAt(layout: Layout, byte: number, name: string): string {
  if (!hasFields(layout)) return name;
  const gap = layout.padding.find(({ offset, size }) => byte >= offset && byte < offset + size);
  if (gap) return `the padding after ${name}.${gap.after}`;
  const field = layout.fields.findLast(
    ({ offset, layout: { size } }) => offset <= byte && byte < offset + size,
  );
  return field ? fieldAt(field.layout, byte - field.offset, `${name}.${field.name}`) : name;
}
