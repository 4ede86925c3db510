/**
 * Places: typed memory that each use reads again.
 */

import type { TSchema } from '@sinclair/typebox';
import * as insn from '../constructors.ts';
import { ProgramError } from '../error.ts';
import type { Register } from '../instruction.ts';
import { hasFields, type IntLayout, type Layout, layoutOf } from '../layout.ts';
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
import type { Reservation } from './reservation.ts';
import { StackSlot, type TrackedMemory } from './stack.ts';
import { describeHolder } from './state.ts';
import { type ValidBits, Value } from './value.ts';

/** The largest offset of a load or store plus its width: the offset has 16 bits with a sign. */
const MOST_OFFSET = 32_767;

/**
 * The kind of memory at a place: `memory` (the stack and map values, whose address helpers accept), `kernel`
 * (the program context and kernel structures), or `trusted` (a context argument whose type the verifier
 * knows).
 */
export type PlaceKind = 'memory' | 'kernel' | 'trusted';

/** The base of an offset: a stack slot (from r10), or a pointer in a register. */
export type Base = StackSlot | Value;

/** The bits of a bit field: `count` bits from bit `shift` of the loaded number. */
export interface BitField {
  readonly shift: number;
  readonly count: number;
}

/** The properties of memory besides its address. */
export interface Provenance {
  /** The alignment of the base in bytes; 8 by default. */
  readonly align?: number;
  /**
   * Memory of the caller that a subprogram must write before it reads it. (Stack slots are tracked by
   * themselves.)
   */
  readonly tracked?: TrackedMemory;
  /** The record of a ring buffer that the memory belongs to. */
  readonly record?: Reservation;
  readonly bits?: BitField;
}

/** The key of struct memory's place. */
export const PLACE = Symbol('place');

/**
 * Memory of a whole struct or union. Its fields are properties: places, arrays, and structs of their own.
 *
 * @example
 * ```ts
 * import { rawTracepoint, type StructMemory, struct, target, u64 } from 'tsbpf';
 *
 * const clear = (memory: StructMemory) => memory.set(0);
 *
 * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
 *   const sample = b.stack(struct({ number: u64, timeNs: u64 }));
 *   clear(sample);
 *   sample.number.set(b.arg(1));
 * });
 * ```
 */
export interface StructMemory {
  readonly [PLACE]: Place;
  /**
   * Writes the whole struct, padding included: 0, a copy of memory of the same size (by the widest loads and
   * stores that both alignments allow), or a value if the struct has 1, 2, 4 or 8 bytes.
   *
   * Throws TypeError for any other constant and for memory of another size, and RangeError for a value that
   * may not fit.
   */
  set(source: Operand | StructMemory): void;
}

/** Whether this is memory of a struct or union. */
export function isStructMemory(thing: unknown): thing is StructMemory {
  return typeof thing === 'object' && thing !== null && PLACE in thing;
}

/** Whether a thing is memory: a place, or the memory of a struct. */
export function isMemory(thing: unknown): thing is Place | StructMemory {
  return thing instanceof Place || isStructMemory(thing);
}

/**
 * The place of memory of any schema. Throws TypeError for anything else, such as a method of the name of a
 * field.
 */
export function placeOf(memory: Place | StructMemory): Place {
  if (memory instanceof Place) return memory;
  if (isStructMemory(memory)) return memory[PLACE];
  throw new TypeError(`${describeOperand(memory)} is not memory`);
}

/**
 * Typed memory: a field on the stack, in a map value, in the program context or in a kernel structure.
 * Numbers can be compared and used as operands, and every place can be copied. Each use emits a load.
 *
 * Stack memory must be written before it is read, or the statement throws ProgramError. Memory of the context
 * and of the kernel is read-only.
 *
 * @example
 * ```ts
 * import { ktimeGetNs, perfEventArray, rawTracepoint, struct, target, u32, u64 } from 'tsbpf';
 *
 * const Call = struct({ timeNs: u64, number: u32 });
 * const calls = perfEventArray('calls', Call);
 *
 * const onCall = rawTracepoint('sys_enter', target('x64'), (b) => {
 *   b.keep(b.context);
 *   const call = b.stack(Call);
 *   call.set(0); // the padding, too
 *   call.timeNs.set(b.call(ktimeGetNs)); // `call.timeNs` is a place: 8 bytes on the stack
 *   call.number.set(b.arg(1).as(u32));
 *   b.output(calls, call);
 * });
 * ```
 */
export class Place extends Readable {
  /** @internal */
  readonly machine: Machine;
  /** @internal */
  readonly base: Base;
  /** Bytes from r10 for stack memory, else from the pointer; for raw instructions. */
  readonly offset: number;
  /** The size, alignment and kind of the memory. */
  readonly layout: Layout;
  /** The name in error messages. */
  readonly name: string;
  /** @internal */
  readonly kind: PlaceKind;
  /** @internal */
  readonly provenance: Provenance;

  /** @internal `offset` counts from r10 for a slot, else from the pointer. */
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

  /** The size in bytes. */
  get size(): number {
    return this.layout.size;
  }

  /** The range of the number. @throws {TypeError} if the memory is not a number. */
  get type(): NumberType {
    const { bits } = this.provenance;
    const layout = this.#number();
    if (bits === undefined) return numberTypeOf(layout);
    return layout.signed ? signed(bits.count) : unsigned(bits.count);
  }

  /** Whether the place is whole bytes and not a bit field. */
  get isWhole(): boolean {
    return this.provenance.bits === undefined;
  }

  /** The guaranteed alignment of the address in bytes: at most 8. */
  get alignment(): number {
    return this.#alignment(this.offset);
  }

  /** The guaranteed alignment `offset` bytes from the base, at most 8. */
  #alignment(offset: number): number {
    const ofBase = this.base instanceof StackSlot ? 8 : (this.provenance.align ?? 8);
    const ofOffset = offset === 0 ? 8 : offset & -offset;
    return Math.min(8, ofBase, ofOffset);
  }

  /**
   * The width of each access to the number. The verifier accepts only aligned accesses to the stack, where
   * the memory of a parameter may be.
   */
  #accessWidth(): Width['size'] {
    const { size } = this.#number();
    const isStrict = this.base instanceof StackSlot || (this.provenance.align ?? 8) < 8;
    return isStrict ? (Math.min(size, this.#alignment(this.offset)) as Width['size']) : size;
  }

  /** Whether a load needs another register besides its destination. */
  get takesScratch(): boolean {
    return this.#accessWidth() < this.size || this.offset + this.size > MOST_OFFSET;
  }

  /** Whether the place holds a pointer whose type the verifier knows by BTF. */
  get trusted(): boolean {
    return this.kind === 'trusted';
  }

  /** The layout of the number. @throws {TypeError} if the memory is not a number. */
  #number(): IntLayout {
    if (this.layout.kind === 'int') return this.layout;
    const remedy = [1, 2, 4, 8].includes(this.size)
      ? `: read it as one with b.as(memory, u${8 * this.size})`
      : '';
    throw new TypeError(`${this.name} is ${describeLayout(this.layout)}, not a number${remedy}`);
  }

  /** @internal Loads the number into a scratch register. */
  toRegister(): Register {
    const register = this.machine.scratch();
    this.loadInto(register);
    return register;
  }

  /** @internal Loads the number into a register, extended to 64 bits. */
  loadInto(register: Register): void {
    const validBits = this.loadLowBits(register);
    if (validBits < 64)
      this.machine.emit(insn.lsh(register, 64 - validBits), insn.arsh(register, 64 - validBits));
  }

  /**
   * @internal Loads the number in the host's byte order without extending its sign. Returns the number of
   * valid low bits.
   */
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

  /** Extracts a bit field from a register, with its sign. A bit field has less than 64 bits. */
  #extract(register: Register, { shift, count }: BitField): void {
    const above = 64 - shift - count;
    if (above > 0) this.machine.emit(insn.lsh(register, above));
    const right = this.#number().signed ? insn.arsh : insn.rsh;
    this.machine.emit(right(register, 64 - count));
  }

  /**
   * @internal Loads the bytes in memory order: by one load, or by several if the address is not aligned to
   * their size.
   */
  loadRaw(register: Register): void {
    const { size } = this.#number();
    this.requireWritten();
    const width = this.#accessWidth();
    const from = this.#reach(size);
    if (width === size) {
      this.machine.emit(insn.ldx({ size }, register, from.register, from.offset));
      return;
    }
    this.machine.withScratch(() => {
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

  /** A scratch register other than `register`, which may still be free. */
  #scratchBeside(register: Register): Register {
    const scratch = this.machine.scratch();
    return scratch.register === register.register ? this.machine.scratch() : scratch;
  }

  /**
   * A register and a 16-bit offset of the first `size` bytes. For a larger offset: a copy of the base, moved
   * by it.
   */
  #reach(size: number): { readonly register: Register; readonly offset: number } {
    const register = this.baseRegister();
    if (this.offset + size <= MOST_OFFSET) return { register, offset: this.offset };
    const moved = this.machine.scratch();
    this.machine.emit(insn.mov(moved, register), insn.add(moved, this.offset));
    return { register: moved, offset: 0 };
  }

  /**
   * Reads the number into a temporary. Emits one load, and a swap if the memory is big-endian.
   *
   * Throws TypeError if the place is not a number, and ProgramError for unwritten memory.
   */
  get(): Value {
    return this.machine.statement(this.get, () => {
      const holder = { name: this.name, position: this.machine.position };
      const register = this.machine.temporary(holder);
      const validBits = this.loadLowBits(register);
      return new Value(this.machine, register, holder, { type: this.type, trusted: this.trusted, validBits });
    });
  }

  /**
   * The same memory as a number of another integer schema of at most its size. A shorter one reads the first
   * bytes, which are the low ones in the host's byte order. Emits nothing.
   *
   * Throws TypeError for other schemas (`b.as` takes any), and for bit fields.
   */
  as(schema: TSchema): Place {
    return this.machine.statement(this.as, () => {
      const layout = layoutOf(schema);
      if (layout.kind !== 'int')
        throw new TypeError('as() of a place needs an integer schema; b.as(memory, schema) takes any');
      if (layout.size > this.size)
        throw new TypeError(`${this.name} has ${this.size} bytes, but the schema of as() has ${layout.size}`);
      this.#requireWhole();
      const { machine, base, offset, name, kind, provenance } = this;
      return new Place(machine, base, offset, layout, name, kind, provenance);
    });
  }

  /**
   * Reads the number into a temporary as a signed one: `get().as(s64)`, or `get().as(s32)` for the low 32
   * bits.
   */
  asSigned(bits: 32 | 64 = 64): Value {
    return this.machine.statement(this.asSigned, () => this.get().asSigned(bits));
  }

  /**
   * Writes the place. A number is one store, after a swap if the place is big-endian; a number from memory of
   * another width is extended. Other memory is copied by the widest loads and stores that both alignments
   * allow. 0 clears any memory.
   *
   * Throws RangeError if the source may be a number that the place cannot hold (narrow it with `as`),
   * TypeError for memory of another size, and ProgramError if the source is not written or has ended.
   */
  set(source: Operand | StructMemory): void {
    this.machine.statement(this.set, () => {
      this.#requireWhole();
      this.#requireOpen();
      if (isMemory(source)) this.#copyFrom(placeOf(source));
      else if (source instanceof Value) this.#storeValue(source);
      else this.#storeConstant(constantOf(source as number | bigint));
      this.markWritten();
    });
  }

  /**
   * Adds `amount` to the number atomically; the sum wraps. A negative amount subtracts. Emits one
   * instruction, after a `mov` if the amount is a constant.
   *
   * Throws TypeError unless the place is an aligned number of 4 or 8 bytes in the host's byte order.
   */
  atomicAdd(amount: Operand): void {
    this.machine.statement(this.atomicAdd, () => {
      const { size, bigEndian } = this.#number();
      if (bigEndian)
        throw new TypeError(`${this.name} is big-endian: an atomic addition needs the host's byte order`);
      if (size !== 4 && size !== 8)
        throw new TypeError(`${this.name} has ${size} bytes: an atomic addition needs 4 or 8`);
      if (this.#accessWidth() < size)
        throw new TypeError(`${this.name} is not aligned to its ${size} bytes, as an atomic addition needs`);
      this.#requireWhole();
      this.requireWritten();
      requireBits(amount, size, this.name);
      const to = this.#reach(size);
      const register = withLowBits(this.machine, amount, 8 * size);
      this.machine.emit(insn.atomic.add({ size }, to.register, to.offset, register));
    });
  }

  /**
   * The register that the offset counts from, for raw instructions. Throws ProgramError if the memory's block
   * has ended.
   */
  baseRegister(): Register {
    this.#requireOpen();
    return this.base instanceof StackSlot ? r10 : this.base.read();
  }

  #requireOpen(): void {
    const { record } = this.provenance;
    if (record && !this.machine.reserved.has(record)) throw record.gone();
    if (!(this.base instanceof StackSlot) || this.machine.stack.has(this.base)) return;
    throw new ProgramError(
      `${describeHolder({ name: this.name, position: this.base.position })} is on the stack of a block that has ended: make it before the block`,
    );
  }

  #requireWhole(): void {
    if (!this.isWhole)
      throw new TypeError(`${this.name} is a bit field: it can only be read, as a number of its type`);
  }

  /** The tracked memory that contains this place, and the place's offset in it. */
  #tracked(): { readonly memory: TrackedMemory; readonly offset: number } | undefined {
    if (this.base instanceof StackSlot) return { memory: this.base, offset: this.offset - this.base.offset };
    const memory = this.provenance.tracked;
    return memory && { memory, offset: this.offset };
  }

  /** @internal Marks every byte as written. */
  markWritten(): void {
    this.#requireOpen();
    const tracked = this.#tracked();
    if (tracked) this.machine.stack.write(tracked.memory, tracked.offset, this.size);
  }

  /**
   * @internal Throws ProgramError with the field of an unwritten byte, or if the memory's block has ended.
   */
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
        `cannot copy ${source.name} (${source.size} bytes) to ${this.name} (${this.size} bytes): the sizes differ`,
      );
    const isByteCopy =
      source.isWhole &&
      this.size === source.size &&
      (to.kind !== 'int' || from.kind !== 'int' || to.bigEndian === from.bigEndian || this.size === 1);
    const register = this.machine.scratch();
    if (!isByteCopy) {
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
    // Overlapping memory is copied backwards if a forward copy would overwrite bytes before it reads them.
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

  /** Stores a scratch register, and swaps it first if the place is big-endian. */
  #store(register: Register): void {
    if (isBigEndian(this)) this.machine.emit(insn.toBe((8 * this.size) as 16 | 32 | 64, register));
    this.#storeRegister(register);
  }

  #storeRegister(register: Register): void {
    const { size } = this.layout;
    if (size !== 1 && size !== 2 && size !== 4 && size !== 8)
      throw new TypeError(`${this.name} has ${size} bytes: copy other memory to it, or set it to 0`);
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
      throw new TypeError(
        `${this.name} is ${describeLayout(this.layout)}: set it to 0, or copy other memory to it`,
      );
    const to = this.#reach(this.size);
    for (let done = 0; done < this.size; ) {
      const width = widest(this.#alignment(this.offset + done), this.size - done);
      this.machine.emit(insn.st({ size: width }, to.register, to.offset + done, 0));
      done += width;
    }
  }
}

/** A register with the number in its low `bits`: the value's own if enough of its bits are valid. */
function withLowBits(machine: Machine, operand: Operand, bits: number): Register {
  if (operand instanceof Value && operand.validBits >= bits) return operand.read();
  return intoRegister(machine, operand);
}

/** Throws RangeError unless the operand fits `size` bytes as a signed or an unsigned number. */
function requireBits(operand: Operand, size: number, name: string): void {
  const type = typeOfOperand(operand);
  if (includes(signed(8 * size), type) || includes(unsigned(8 * size), type)) return;
  throw new RangeError(
    `${describeOperand(operand)} doesn't fit the ${size} bytes of ${name}: narrow it on purpose with .as(schema)`,
  );
}

/**
 * A constant in the byte order of a place: the unsigned number that a load of its bytes in the host's order
 * gives.
 */
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

/** A layout for messages: `u32`, `struct of 24 bytes`, `chars(16)`. */
export function describeLayout(layout: Layout): string {
  const { kind, size } = layout;
  if (kind === 'int') return `${layout.signed ? 's' : 'u'}${8 * size}`;
  return hasFields(layout) || kind === 'array' ? `${kind} of ${size} bytes` : `${kind}(${size})`;
}

/** The widest access to memory with this alignment if `left` bytes are left. */
function widest(align: number, left: number): Width['size'] {
  for (const width of [8, 4, 2] as const) if (left >= width && align >= width) return width;
  return 1;
}

/** The innermost field that contains a byte, or the field before the byte if it is padding. */
function fieldAt(layout: Layout, byte: number, name: string): string {
  if (!hasFields(layout)) return name;
  const gap = layout.padding.find(({ offset, size }) => byte >= offset && byte < offset + size);
  if (gap) return `the padding after ${name}.${gap.after}`;
  const field = layout.fields.findLast(
    ({ offset, layout: { size } }) => offset <= byte && byte < offset + size,
  );
  return field ? fieldAt(field.layout, byte - field.offset, `${name}.${field.name}`) : name;
}
