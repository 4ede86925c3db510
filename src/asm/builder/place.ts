/**
 * Places: typed pieces of memory, read anew each time they are used.
 */
import * as insn from '../constructors.ts';
import type { Register } from '../instruction.ts';
import type { Layout } from '../layout.ts';
import { r10 } from '../registers.ts';
import type { Width } from '../width.ts';
import type { Machine } from './machine.ts';
import { intoRegister, type Operand, Readable } from './operand.ts';
import { Value } from './value.ts';

/**
 * What loads may come from: memory whose address helpers take (the stack, map values), the program's context or a kernel
 * structure, and an argument in the context whose type the verifier knows.
 */
export type PlaceKind = 'memory' | 'kernel' | 'trusted';

/** Where memory is counted from: the frame, or a pointer in a register. */
export type Base = 'stack' | Value;

/** A typed piece of memory, at an offset from its base. Scalars can be compared, everything can be copied. */
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

  get signed(): boolean {
    return this.layout.kind === 'int' && this.layout.signed;
  }

  /** Whether it holds a pointer whose type the verifier knows by BTF. */
  get trusted(): boolean {
    return this.kind === 'trusted';
  }

  toRegister(): Register {
    const register = this.machine.scratch();
    this.loadInto(register);
    return register;
  }

  /** As the number it is: swapped if it is big-endian, its sign widened. */
  loadInto(register: Register): void {
    this.loadRaw(register);
    const bits = 8 * scalarWidth(this);
    if (bigEndian(this)) this.machine.emit(insn.toBe(bits as 16 | 32 | 64, register));
    if (this.signed && bits < 64)
      this.machine.emit(insn.lsh(register, 64 - bits), insn.arsh(register, 64 - bits));
  }

  /** As it lies in memory. */
  loadRaw(register: Register): void {
    this.requireWritten();
    this.machine.emit(insn.ldx({ size: scalarWidth(this) }, register, this.baseRegister(), this.offset));
  }

  /** Reads it into a temporary: one load, and for big-endian or narrow signed numbers the instructions that widen it. */
  get(): Value {
    return this.machine.statement(this.get, () => {
      const holder = { name: this.name, position: this.machine.position };
      const register = this.machine.temporary(holder);
      this.loadInto(register);
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
      else if (source instanceof Readable) this.#store(source.toRegister());
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
    if (source.kind === 'memory' && bigEndian(source) !== bigEndian(this))
      throw new TypeError(`${source.name} and ${this.name} differ in byte order: copy by way of get()`);
    if (this.size !== source.size) {
      if (
        this.layout.kind !== 'int' ||
        source.layout.kind !== 'int' ||
        this.size < source.size ||
        bigEndian(this)
      )
        throw new TypeError(
          `${source.name} (${source.size} bytes) doesn't fit ${this.name} (${this.size} bytes)${narrowing(source.layout, this.layout)}`,
        );
      const register = this.machine.scratch();
      source.loadInto(register);
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

/** What to do where a number is wider than what it is written to, for the end of a message. */
export function narrowing(from: Layout, to: Layout): string {
  if (from.kind !== 'int' || to.kind !== 'int' || from.size <= to.size || to.bigEndian) return '';
  return `: get() takes its low ${to.size} bytes`;
}

/** A constant as the 32-bit immediate whose bytes are the number in the place's byte order; undefined if it needs more. */
export function inMemoryOrder(place: Place, constant: bigint): number | undefined {
  requireFits(constant, place);
  const bits = 8 * place.size;
  let bytes = BigInt.asUintN(bits, constant);
  if (bigEndian(place)) {
    let swapped = 0n;
    for (let i = 0; i < place.size; i++) swapped = (swapped << 8n) | ((bytes >> BigInt(8 * i)) & 0xffn);
    bytes = swapped;
  }
  if (bits < 64) return Number(bytes);
  return BigInt.asIntN(32, constant) === constant && !bigEndian(place) ? Number(constant) : undefined;
}

/** Throws where the constant isn't a number of that size. */
export function requireFits(
  constant: bigint,
  { size, signed, name }: { readonly size: number; readonly signed: boolean; readonly name: string },
): void {
  const bits = 8 * size;
  const same = signed ? BigInt.asIntN(bits, constant) : BigInt.asUintN(bits, constant);
  if (same !== constant)
    throw new RangeError(`${constant} doesn't fit ${name} (${bits} bits, ${signed ? 'signed' : 'unsigned'})`);
}

function scalarWidth(place: Place): Width['size'] {
  const { size } = place.layout;
  if (size !== 1 && size !== 2 && size !== 4 && size !== 8)
    throw new TypeError(`${place.name} has ${size} bytes: it can be copied, not read into a register`);
  return size;
}

export function bigEndian(place: Place): boolean {
  return place.layout.kind === 'int' && place.layout.bigEndian;
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
