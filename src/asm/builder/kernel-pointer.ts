/**
 * A pointer to a structure of the kernel. Its fields are named, and found in the kernel's own types when
 * the program is assembled; how they are read is a property of the pointer, not of the program's text.
 */
import * as insn from '../constructors.ts';
import { probeReadKernel } from '../helpers.ts';
import type { Layout } from '../layout.ts';
import { r1, r2, r3, r10 } from '../registers.ts';
import { field, kernelTypes, type Target } from '../target.ts';
import type { Machine } from './machine.ts';
import { Place } from './place.ts';
import { Value } from './value.ts';

/** A field by its path (`__sk_common.skc_daddr`), or several where kernels differ: the first there is counts. */
export type FieldPath = string | readonly string[];

/** The address of a structure of the kernel, in a register: `b.kernel('sock', b.arg(0))`. It lives as long as its value does. */
export class KernelPointer {
  readonly value: Value;
  readonly struct: string;
  readonly #machine: Machine;
  readonly #target: Target;

  constructor(machine: Machine, target: Target, value: Value, struct: string) {
    this.#machine = machine;
    this.#target = target;
    this.value = value;
    this.struct = struct;
  }

  /** The same address as another structure: one that begins with this one. The verifier can't follow that, so it is read by probe. */
  cast(struct: string): KernelPointer {
    const { machine, register, holder } = this.value;
    return new KernelPointer(this.#machine, this.#target, new Value(machine, register, holder), struct);
  }

  /** Whether this kernel's structure has such a field. */
  has(path: string): boolean {
    return this.#machine.statement(this.has, () => kernelTypes(this.#target).has(this.struct, path));
  }

  /**
   * The fields, as places. Where the verifier knows the pointer's type nothing is emitted here, and each use is
   * one load. Elsewhere one call of `bpf_probe_read_kernel` copies the span from the first to the last of them
   * onto the stack; fields far from each other are better read apart. What can't be read reads as zeros.
   *
   * Throws if a field doesn't exist (and names the nearest), or if it is a bit field.
   */
  fields<F extends Record<string, FieldPath>>(paths: F): { readonly [K in keyof F]: Place } {
    return this.#machine.statement(this.fields, () => {
      const members = Object.entries(paths).map(([name, path]) => {
        const member = field(this.#target, this.struct, path);
        if (member.bitSize !== undefined)
          throw new TypeError(`${this.struct}.${path} is a bit field; read the bytes around it`);
        return { name, offset: member.offset, layout: layoutOfPart(member) };
      });
      const place = this.value.trusted
        ? (offset: number, layout: Layout, name: string) =>
            new Place(this.#machine, this.value, offset, layout, name, 'kernel')
        : this.#probe(members);
      return Object.fromEntries(
        members.map(({ name, offset, layout }) => [name, place(offset, layout, `${this.struct}.${name}`)]),
      ) as { [K in keyof F]: Place };
    });
  }

  #probe(members: readonly { readonly offset: number; readonly layout: Layout }[]) {
    const machine = this.#machine;
    const start = Math.min(...members.map(({ offset }) => offset));
    const size = Math.max(...members.map(({ offset, layout }) => offset + layout.size)) - start;
    const copy = machine.stack.allocate(size, 8, start % 8, `a copy of ${this.struct}`);
    const source = this.value.read();
    machine.emit(
      ...(source === r3 ? [] : [insn.mov(r3, source)]),
      ...(start === 0 ? [] : [insn.add(r3, start)]),
    );
    machine.emit(insn.mov(r1, r10), insn.add(r1, copy), insn.mov(r2, size), insn.call(probeReadKernel));
    machine.loseTemporaries('bpf_probe_read_kernel');
    machine.stack.write(copy, size);
    return (offset: number, layout: Layout, name: string) =>
      new Place(machine, 'stack', copy + offset - start, layout, name);
  }
}

/** What is known of a part of the kernel's memory. */
export interface ScalarOrArray {
  readonly size: number;
  readonly signed: boolean;
  /** Whether it is no number, whatever its size. */
  readonly array?: boolean;
}

/** Its layout: a number where it can be one, else bytes. */
export function layoutOfPart({ size, signed, array }: ScalarOrArray): Layout {
  if (array) return { kind: 'bytes', size, align: 1 };
  if (size === 1 || size === 2 || size === 4 || size === 8)
    return { kind: 'int', size, align: size, signed, bigEndian: false, as: size === 8 ? 'bigint' : 'number' };
  return { kind: 'bytes', size, align: 1 };
}
