/**
 * A pointer to a structure of the kernel. Its fields are named, and found in the kernel's own types when
 * the program is assembled; how they are read is a property of the pointer, not of the program's text.
 */
import type { Member, PointedStruct, StructRef } from '../btf.ts';
import * as insn from '../constructors.ts';
import { probeReadKernel } from '../helpers.ts';
import { type Layout, layoutOf, u64 } from '../layout.ts';
import { r1, r2, r3, r10 } from '../registers.ts';
import { field, kernelTypes, type Target } from '../target.ts';
import type { Machine } from './machine.ts';
import { type Base, type BitField, Place } from './place.ts';
import { PointerPlace } from './pointer-place.ts';
import { Value } from './value.ts';

/** A field by its path (`__sk_common.skc_daddr`), or several where kernels differ: the first there is counts. */
export type FieldPath = string | readonly string[];

/** A structure of the kernel: its name for messages, and its BTF id or, if the target has no such type, the name again. */
export interface KernelStruct {
  readonly name: string;
  readonly type: StructRef;
}

/**
 * The structure of that name or BTF id. A name that the target does not have stays a name: its first field throws.
 * @throws {AmbiguousStructError} if the name has several definitions. @throws {NoSuchFieldError} if a choice fits no definition.
 */
export function kernelStruct({ kernel }: Target, ref: StructRef, named?: string): KernelStruct {
  const name = named ?? (typeof ref === 'object' ? ref.name : String(ref));
  if (kernel === undefined) return { name, type: ref };
  if (typeof ref === 'string' && !kernel.has(ref)) return { name, type: ref };
  const type = kernel.structId(ref);
  const found = typeof ref === 'number' && named === undefined ? kernel.type(type) : undefined;
  return { name: found && 'name' in found && found.name !== '' ? found.name : name, type };
}

/** The address of a structure of the kernel, in a register: `b.kernel('sock', b.arg(0))`. It lives as long as its value does. */
export class KernelPointer {
  readonly value: Value;
  /** The structure's name. */
  readonly struct: string;
  /** The structure's BTF id, or its name if the target has no such type. */
  readonly type: StructRef;
  readonly #machine: Machine;
  readonly #target: Target;

  constructor(machine: Machine, target: Target, value: Value, { name, type }: KernelStruct) {
    this.#machine = machine;
    this.#target = target;
    this.value = value;
    this.struct = name;
    this.type = type;
  }

  /** The same address as another structure: one that begins with this one. The verifier can't follow that, so it is read by probe. */
  cast(struct: StructRef): KernelPointer {
    return this.#machine.statement(this.cast, () => {
      const to = kernelStruct(this.#target, struct);
      return new KernelPointer(this.#machine, this.#target, untrusted(this.value), to);
    });
  }

  /** Whether this kernel's structure has such a field. */
  has(path: string): boolean {
    return this.#machine.statement(this.has, () => kernelTypes(this.#target).has(this.type, path));
  }

  /**
   * The fields, as places. Where the verifier knows the pointer's type nothing is emitted here, and each use is
   * one load. Elsewhere one call of `bpf_probe_read_kernel` copies the span from the first to the last of them
   * onto the stack. Of a pointer that is kept, fields more than 64 bytes behind those before them are read by a call of their
   * own. What can't be read reads as zeros.
   *
   * A bit field is a number of its bits, which can be read and not written.
   *
   * Throws if a field doesn't exist (and names the nearest), or if the copy finds no room on the stack.
   */
  fields<F extends Record<string, FieldPath>>(paths: F): { readonly [K in keyof F]: Place } {
    return this.#machine.statement(this.fields, () => {
      const members = Object.entries(paths).map(([name, path]) => {
        const member = this.#member(path);
        const { offset, pointsTo } = member;
        const bits = bitsOf(member);
        return { name, offset, layout: layoutOfPart(member), bits, ...(pointsTo && { pointsTo }) };
      });
      return this.#read(members) as { [K in keyof F]: Place };
    });
  }

  /**
   * Arguments of a system call, 64 bits each, by their numbers from 0 to 5: of the `pt_regs` that the raw tracepoints `sys_enter` and
   * `sys_exit` have as their first argument, and so have the kernel's functions for system calls (`__x64_sys_openat`). They are read as
   * `fields` reads, and need no types. On arm64 the argument 0 is gone at `sys_exit`; a process of 32 bits has its arguments elsewhere.
   *
   * Throws if this is no `pt_regs`, or there is no argument of that number.
   */
  systemCallArguments<A extends Record<string, number>>(wanted: A): { readonly [K in keyof A]: Place } {
    return this.#machine.statement(this.systemCallArguments, () => {
      if (this.struct !== 'pt_regs')
        throw new TypeError(`the arguments of a system call are in a pt_regs, and this is a ${this.struct}`);
      const { systemCallArguments } = this.#target.architecture;
      const parts = Object.entries(wanted).map(([name, n]) => {
        const offset = systemCallArguments[n];
        if (offset === undefined)
          throw new RangeError(
            `a system call has no argument ${n}: they are 0 to ${systemCallArguments.length - 1}`,
          );
        return { name, offset, layout: layoutOf(u64) };
      });
      return this.#read(parts) as { [K in keyof A]: Place };
    });
  }

  /** Places for parts, by their names. */
  #read(parts: readonly Part[]): Record<string, Place> {
    if (this.value.trusted)
      return Object.fromEntries(
        parts.map((part) => [part.name, this.#place(part, this.value, part.offset, 'kernel')]),
      );
    const far = this.value.isKept ? FAR : Number.POSITIVE_INFINITY;
    const copied = new Map(spans(parts, far).flatMap((span) => this.#probe(span)));
    return Object.fromEntries(parts.map(({ name }) => [name, copied.get(name) as Place]));
  }

  /**
   * The structure that a field points to, which the kernel's types know: `task.follow('real_parent')`. The pointer is read as
   * `fields` reads it, into a temporary; what it points to is read by probe, since the verifier follows few pointers by
   * itself. If the pointer is null, its fields read as zeros.
   *
   * Throws as `fields` does, and if the field is no pointer to a structure. Throws AmbiguousStructError if the types only declare that
   * structure (`struct x;`), and several have its name: then read the pointer by `fields`, and choose by `b.kernel`.
   */
  follow(path: FieldPath): KernelPointer {
    return this.#machine.statement(this.follow, () => {
      const { kind, pointsTo } = this.#member(path);
      if (pointsTo === undefined)
        throw new TypeError(
          `${this.struct}.${path} ${kind === 'pointer' ? 'points to nothing that has fields' : `is no pointer (its kind: ${kind})`}`,
        );
      const struct = kernelStruct(this.#target, pointsTo.type, pointsTo.name);
      const { pointer } = this.fields({ pointer: path });
      return new KernelPointer(this.#machine, this.#target, pointer.get(), struct);
    });
  }

  #member(path: FieldPath): Member {
    return field(this.#target, this.type, path);
  }

  #place({ name, layout, bits, pointsTo }: Part, base: Base, offset: number, kind?: 'kernel'): Place {
    const of = `${this.struct}.${name}`;
    if (pointsTo === undefined) return new Place(this.#machine, base, offset, layout, of, kind, { bits });
    return new PointerPlace(this.#machine, base, { offset, layout, kind, pointsTo }, of);
  }

  /** Copies a span onto the stack, and gives the places of its parts there, by their names. */
  #probe(parts: readonly Part[]): [string, Place][] {
    const machine = this.#machine;
    const start = Math.min(...parts.map(({ offset }) => offset));
    const size = Math.max(...parts.map(endOf)) - start;
    const name = `copy of ${this.struct}`;
    const isFarApart = spans(parts, FAR).length > 1;
    const remedy = isFarApart ? { remedy: 'keep() the pointer: then fields far apart are copied apart' } : {};
    const slot = machine.slot({ name, content: `${name} of ${size} bytes`, ...remedy }, size, start % 8);
    const copy = slot.offset;
    const source = this.value.read();
    machine.emit(
      ...(source === r3 ? [] : [insn.mov(r3, source)]),
      ...(start === 0 ? [] : [insn.add(r3, start)]),
    );
    machine.emit(insn.mov(r1, r10), insn.add(r1, copy), insn.mov(r2, size), insn.call(probeReadKernel));
    machine.loseTemporaries('bpf_probe_read_kernel');
    machine.stack.write(slot, 0, size);
    return parts.map((part) => [part.name, this.#place(part, slot, copy + part.offset - start)]);
  }
}

/** A pointer to what a place points to, by the place's own type. @throws {TypeError} if the types do not tell it. */
export function pointerOf(machine: Machine, target: Target, place: Place): KernelPointer {
  if (!(place instanceof PointerPlace))
    throw new TypeError(
      `${place.name} is not known to point to a structure: name it, as b.kernel('sock', address)`,
    );
  const { name, type } = place.pointsTo;
  return pointerTo(machine, target, kernelStruct(target, type, name), place);
}

/** A pointer to `struct`. The verifier knows an argument's own type only: as another structure it is read by probe. */
export function pointerTo(
  machine: Machine,
  target: Target,
  struct: KernelStruct,
  address: Value | Place,
): KernelPointer {
  const value = address instanceof Place ? address.get() : address;
  const isOther =
    address instanceof PointerPlace &&
    address.trusted &&
    kernelStruct(target, address.pointsTo.type).type !== struct.type;
  return new KernelPointer(machine, target, isOther ? untrusted(value) : value, struct);
}

/** A part of a structure that is wanted. */
interface Part {
  readonly name: string;
  readonly offset: number;
  readonly layout: Layout;
  readonly bits?: BitField;
  readonly pointsTo?: PointedStruct;
}

/** The bits of a bit field in the number that its bytes are. */
function bitsOf({ bitOffset, bitSize }: Member): BitField | undefined {
  return bitSize === undefined ? undefined : { shift: bitOffset ?? 0, count: bitSize };
}

/** The same address as a number: the verifier does not know what it points to. */
export function untrusted({ machine, register, holder }: Value): Value {
  return new Value(machine, register, holder);
}

/** Bytes between fields from which on a further call costs less than they do, on the stack above all. */
const FAR = 64;

function endOf({ offset, layout }: Part): number {
  return offset + layout.size;
}

/** The parts by where they lie, in groups with more than `far` bytes between them. */
function spans(parts: readonly Part[], far: number): readonly (readonly Part[])[] {
  const groups: Part[][] = [];
  let end = Number.NEGATIVE_INFINITY;
  for (const part of [...parts].sort((a, b) => a.offset - b.offset)) {
    const group = groups.at(-1);
    if (group === undefined || part.offset - end > far) groups.push([part]);
    else group.push(part);
    end = Math.max(end, endOf(part));
  }
  return groups;
}

/** What is known of a part of the kernel's memory. */
export interface ScalarOrArray {
  readonly size: number;
  readonly signed: boolean;
  /** Whether it is no number, whatever its size. */
  readonly array?: boolean;
  /** Whether it lies in network byte order: a `__be16`, `__be32` or `__be64`. */
  readonly bigEndian?: boolean;
}

/** Its layout: a number where it can be one, else bytes. */
export function layoutOfPart({ size, signed, array, bigEndian = false }: ScalarOrArray): Layout {
  if (array) return { kind: 'bytes', size, align: 1 };
  if (size === 1 || size === 2 || size === 4 || size === 8)
    return { kind: 'int', size, align: size, signed, bigEndian, as: size === 8 ? 'bigint' : 'number' };
  return { kind: 'bytes', size, align: 1 };
}
