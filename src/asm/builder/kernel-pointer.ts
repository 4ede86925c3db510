/**
 * Pointers to kernel structures. Field names resolve through the kernel's BTF when the program is assembled.
 * The pointer decides how fields are read (plain loads or probe reads), so the same program text works for
 * every hook.
 */
import { type Member, NoSuchFieldError, type PointedStruct, type StructRef } from '../btf.ts';
import * as insn from '../constructors.ts';
import { probeReadKernel } from '../helpers.ts';
import { type Layout, layoutOf, s32, s64, u64 } from '../layout.ts';
import { r0, r1, r2, r3, r10 } from '../registers.ts';
import { field, kernelTypes, type Target } from '../target.ts';
import type { Machine } from './machine.ts';
import { type Base, type BitField, Place } from './place.ts';
import { PointerPlace } from './pointer-place.ts';
import { Value } from './value.ts';

/**
 * A field of a kernel structure by its path, or several paths for different kernels, of which the first
 * existing one counts.
 *
 * @example
 * ```ts
 * import type { FieldPath } from 'tsbpf';
 *
 * const state: FieldPath = ['__state', 'state']; // task_struct since Linux 5.14, and before
 * ```
 */
export type FieldPath = string | readonly string[];

/** A kernel structure: its name, and its BTF id or, if the target does not have the type, its name again. */
export interface KernelStruct {
  readonly name: string;
  readonly type: StructRef;
}

/**
 * The structure of that name or BTF id. A name that the target does not have stays a name: its first field
 * throws.
 * @throws {AmbiguousStructError} if the name has several definitions. @throws {NoSuchFieldError} if a choice
 * fits no definition.
 */
export function kernelStruct({ kernel }: Target, ref: StructRef, named?: string): KernelStruct {
  const name = named ?? (typeof ref === 'object' ? ref.name : String(ref));
  if (kernel === undefined) return { name, type: ref };
  if (typeof ref === 'string' && !kernel.has(ref)) return { name, type: ref };
  const type = kernel.structId(ref);
  const found = typeof ref === 'number' && named === undefined ? kernel.type(type) : undefined;
  return { name: found && 'name' in found && found.name !== '' ? found.name : name, type };
}

/**
 * The address of a kernel structure in a register, made by `b.kernel`. It is a value: temporary, unless you
 * keep it.
 *
 * If the verifier knows the pointer's type (fentry, fexit, tp_btf), fields are plain loads. Otherwise they
 * are copied to the stack by `bpf_probe_read_kernel`.
 *
 * @example
 * ```ts
 * import { Kernel, kprobe, lruHash, target, u16, u64 } from 'tsbpf';
 *
 * const ports = lruHash('ports', { key: u16, value: u64, maxEntries: 1_024 });
 *
 * const onClose = kprobe('tcp_close', target(process.arch, new Kernel().btf), (b) => {
 *   const socket = b.kernel('sock', b.arg(0));
 *   const { port } = socket.fields({ port: '__sk_common.skc_num' });
 *   b.count(ports, port);
 * });
 * ```
 */
export class KernelPointer {
  /** The address as a value. */
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

  /**
   * The same address as another structure, one that begins with this one (`tcp_sock` for `sock`). Emits
   * nothing. Fields are then probe reads, because the verifier does not know the new type.
   *
   * With `typed` it calls `bpf_rdonly_cast` (Linux 6.2), after which fields are plain loads. The result is a
   * temporary. At run time the call is one move. It also makes programs load faster that read pointers from
   * the arguments of `tp_btf` or from the current task: since Linux 6.2 the verifier takes more than 1 ms for
   * each such pointer, because it searches the names of all types, and it does not for the result of a cast.
   *
   * Throws AmbiguousStructError if the name has several definitions, and NoSuchFieldError for `typed` if the
   * kernel has no `bpf_rdonly_cast`.
   */
  cast(struct: StructRef, { typed = false }: Typed = {}): KernelPointer {
    return this.#machine.statement(this.cast, () => {
      const to = kernelStruct(this.#target, struct);
      return new KernelPointer(
        this.#machine,
        this.#target,
        typed ? this.#castTo(to) : untrusted(this.value),
        to,
      );
    });
  }

  /** Emits the call of `bpf_rdonly_cast`. Returns its result. */
  #castTo({ name, type }: KernelStruct): Value {
    const machine = this.#machine;
    const types = kernelTypes(this.#target);
    const id = types.find('func', RDONLY_CAST);
    if (id === undefined)
      throw new NoSuchFieldError(`this kernel has no ${RDONLY_CAST} (Linux 6.2)`, RDONLY_CAST, [], []);
    const source = this.value.read();
    if (source !== r1) machine.emit(insn.mov(r1, source));
    machine.emit(insn.mov(r2, types.structId(type)), insn.callKernelFunction(id));
    machine.loseTemporaries(RDONLY_CAST);
    const holder = { name: `the ${name}`, position: machine.position };
    machine.hold(r0, holder);
    return new Value(machine, r0, holder, { trusted: true });
  }

  /** Whether the kernel's structure has a field. Throws NoBtfError if the target has no kernel types. */
  has(path: string): boolean {
    return this.#machine.statement(this.has, () => kernelTypes(this.#target).has(this.type, path));
  }

  /**
   * Reads fields as places, by their paths. If the verifier knows the pointer's type, this emits nothing, and
   * each use of a field is one load. Otherwise one call of `bpf_probe_read_kernel` copies the span from the
   * first to the last field to the stack; of a kept pointer, fields more than 64 bytes apart are copied by
   * calls of their own. Unreadable memory reads as zeros. A bit field can be read, but not written.
   *
   * Throws NoSuchFieldError with similar names if a field does not exist, and RangeError if the
   * copy does not fit the stack.
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
   * Arguments of a system call, 64 bits each, by their numbers from 0 to 5: of the `pt_regs` that the raw
   * tracepoints `sys_enter` and `sys_exit` have as their first argument, and so have the kernel's functions
   * for system calls (`__x64_sys_openat`). They are read as `fields` reads, and need no types. On arm64 the
   * argument 0 is gone at `sys_exit`; a process of 32 bits has its arguments elsewhere.
   *
   * Throws if this is no `pt_regs`, or there is no argument of that number.
   */
  systemCallArguments<A extends Record<string, number>>(wanted: A): { readonly [K in keyof A]: Place } {
    return this.#machine.statement(this.systemCallArguments, () => {
      this.#requireRegisters('the arguments of a system call are');
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

  /**
   * The number of the system call, of the `pt_regs` that `systemCallArguments` describes, or of those that
   * `taskPtRegs` returns. It is read as `fields` reads, and needs no types. It is negative, or of no meaning,
   * if the task is in no system call.
   *
   * Throws if this is no `pt_regs`.
   */
  systemCallNumber(): Place {
    return this.#machine.statement(this.systemCallNumber, () => {
      this.#requireRegisters('the number of a system call is');
      const { offset, size } = this.#target.architecture.systemCallNumber;
      const { number } = this.#read([{ name: 'number', offset, layout: layoutOf(size === 8 ? s64 : s32) }]);
      return number as Place;
    });
  }

  #requireRegisters(what: string): void {
    if (this.struct !== 'pt_regs') throw new TypeError(`${what} in a pt_regs, and this is a ${this.struct}`);
  }

  /** The places of parts, by their names. */
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
   * The structure that a field points to, which the kernel's types know: `task.follow('real_parent')`. The
   * pointer is read as `fields` reads it, into a temporary; what it points to is read by probe, since the
   * verifier follows some pointers only after a check for null. If the pointer is null, its fields read as
   * zeros. With `typed`, plain loads read what it points to: the verifier must know this pointer, and rejects
   * the program if it wants a check for null, or the pointer refers to user or per-CPU memory.
   *
   * Throws as `fields` does, and if the field is no pointer to a structure. Throws AmbiguousStructError if
   * the types only declare that structure (`struct x;`), and several have its name: then read the pointer by
   * `fields`, and choose by `b.kernel`.
   */
  follow(path: FieldPath, { typed = false }: Typed = {}): KernelPointer {
    return this.#machine.statement(this.follow, () => {
      const { kind, pointsTo } = this.#member(path);
      if (pointsTo === undefined)
        throw new TypeError(
          `${this.struct}.${path} ${kind === 'pointer' ? 'points to nothing that has fields' : `is no pointer (its kind: ${kind})`}`,
        );
      const struct = kernelStruct(this.#target, pointsTo.type, pointsTo.name);
      const { pointer } = this.fields({ pointer: path });
      const value = pointer.get();
      const known = typed && this.value.trusted;
      return new KernelPointer(this.#machine, this.#target, known ? trusted(value) : value, struct);
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

  /** Copies a span to the stack. Returns the places of its parts there, by their names. */
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

/**
 * The pointer in a place, by the place's own type. @throws {TypeError} if the type of its target is unknown.
 */
export function pointerOf(machine: Machine, target: Target, place: Place): KernelPointer {
  if (!(place instanceof PointerPlace))
    throw new TypeError(
      `${place.name} is not known to point to a structure: name it, as b.kernel('sock', address)`,
    );
  const { name, type } = place.pointsTo;
  return pointerTo(machine, target, kernelStruct(target, type, name), place);
}

/**
 * A pointer to `struct`. The verifier knows an argument's own type only: as another structure it is read by
 * probe.
 */
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

/** A part of a structure to read. */
interface Part {
  readonly name: string;
  readonly offset: number;
  readonly layout: Layout;
  readonly bits?: BitField;
  readonly pointsTo?: PointedStruct;
}

/** The bits of a bit field in the number that contains them. */
function bitsOf({ bitOffset, bitSize }: Member): BitField | undefined {
  return bitSize === undefined ? undefined : { shift: bitOffset ?? 0, count: bitSize };
}

/** Options of `KernelPointer.cast` and `follow`. */
interface Typed {
  /** Whether plain loads read the fields of the result, without `bpf_probe_read_kernel`. Default: false. */
  readonly typed?: boolean;
}

/** The kernel function that gives an address another type. */
const RDONLY_CAST = 'bpf_rdonly_cast';

/** The same address as a pointer whose type the verifier knows. */
function trusted({ machine, register, holder }: Value): Value {
  return new Value(machine, register, holder, { trusted: true });
}

/** The same address as a number: the verifier does not know what it points to. */
export function untrusted({ machine, register, holder }: Value): Value {
  return new Value(machine, register, holder);
}

/** More bytes than this between two fields cost more, above all on the stack, than another call. */
const FAR = 64;

function endOf({ offset, layout }: Part): number {
  return offset + layout.size;
}

/** The parts in the order of their offsets, in groups with more than `far` bytes between them. */
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

/** The type of a part of kernel memory. */
export interface ScalarOrArray {
  readonly size: number;
  readonly signed: boolean;
  /** Whether it is an array, and so not a number. */
  readonly array?: boolean;
  /** Whether it is in network byte order: a `__be16`, `__be32` or `__be64`. */
  readonly bigEndian?: boolean;
}

/** The layout of a part: a number if possible, else bytes. */
export function layoutOfPart({ size, signed, array, bigEndian = false }: ScalarOrArray): Layout {
  if (array) return { kind: 'bytes', size, align: 1 };
  if (size === 1 || size === 2 || size === 4 || size === 8)
    return { kind: 'int', size, align: size, signed, bigEndian, as: size === 8 ? 'bigint' : 'number' };
  return { kind: 'bytes', size, align: 1 };
}
