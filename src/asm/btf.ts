/** The types of a kernel from its BTF: sizes, members and enum values by name. */
import { enumValue } from './btf/enum.ts';
import { findMember, hasMember, type Member } from './btf/member.ts';
import { findPrototype, type Prototype, prototypeOf } from './btf/prototype.ts';
import { BtfReader } from './btf/reader.ts';
import { sizeOf } from './btf/size.ts';
import { type StructRef, structId } from './btf/struct.ts';
import type { BtfKind, BtfType } from './btf/types.ts';

export { AmbiguousStructError, type StructCandidate } from './btf/ambiguous-struct.ts';
export type { Member } from './btf/member.ts';
export { NoSuchFieldError } from './btf/no-such-field.ts';
export type { Parameter, Prototype } from './btf/prototype.ts';
export type { StructChoice, StructRef } from './btf/struct.ts';
export { BtfError, type BtfMember } from './btf/types.ts';
export type { PointedStruct } from './btf/value.ts';

/**
 * The types of a kernel (`/sys/kernel/btf/vmlinux`), or of one of its modules, read from BTF (Linux 5.2).
 * `new Kernel().btf` of `tsbpf` has the types of the running kernel.
 *
 * @example
 * import { Kernel } from 'tsbpf';
 *
 * const { btf } = new Kernel();
 * if (btf?.has('sock', 'sk_err')) {
 *   const { offset, size } = btf.member('sock', 'sk_err'); // in bytes
 *   console.log(offset, size, btf.sizeOf('sock'), btf.enumValue('TCP_ESTABLISHED'));
 * }
 */
export class Btf {
  readonly #reader: BtfReader;

  private constructor(reader: BtfReader) {
    this.#reader = reader;
  }

  /**
   * Parses BTF. Scans the positions of all types, and decodes a type on first use. Keeps `bytes`, which must
   * not change afterwards.
   *
   * `base` is for the types of a module (`/sys/kernel/btf/nf_tables`), which extend those of the kernel:
   * their ids begin after the kernel's last one, and names are looked up in the module first.
   *
   * @throws {BtfError} if the bytes are not little-endian BTF, or a type is malformed. A reference to a
   * missing type throws when it is followed.
   *
   * @example
   * import { readFileSync } from 'node:fs';
   * import { Btf } from 'tsbpf/btf';
   *
   * const kernel = Btf.parse(readFileSync('/sys/kernel/btf/vmlinux'));
   * kernel.sizeOf('task_struct');
   */
  static parse(bytes: Uint8Array, base?: Btf): Btf {
    const btf = Btf.lazy(bytes, base);
    btf.#reader.checkAll();
    return btf;
  }

  /**
   * Parses BTF as `parse` does, but scans types only as far as look-ups need them. Use it for trusted BTF,
   * such as that of the running kernel: tcpconnlat scans the first third.
   *
   * @throws {BtfError} if the header is not a BTF header. A malformed type throws from the look-up that
   * reaches it.
   */
  static lazy(bytes: Uint8Array, base?: Btf): Btf {
    return new Btf(new BtfReader(bytes, base === undefined ? undefined : base.#reader));
  }

  /** The number of types. Ids go from 1 to this number. */
  get count(): number {
    return this.#reader.count;
  }

  /**
   * Returns the id of the first type with a kind and a name, or undefined. Searches without decoding types,
   * and caches the result.
   */
  find(kind: BtfKind, name: string): number | undefined {
    return this.#reader.find(kind, name);
  }

  /**
   * Returns a type by its id; id 0 is void.
   *
   * @throws {BtfError} if there is no type with the id.
   */
  type(id: number): BtfType {
    return this.#reader.type(id);
  }

  /**
   * Returns the string at `offset` bytes into the string section, as line records refer to it, or at most its
   * first `most` bytes.
   *
   * @throws {BtfError} if there is no string at the offset.
   */
  string(offset: number, most?: number): string {
    return this.#reader.string(offset, most);
  }

  /**
   * Finds a member of a struct, a union, or a typedef of one: `member('sock', '__sk_common.skc_daddr')`.
   *
   * A path descends into structs and unions (anonymous ones are not named, as in C) and arrays
   * (`in6_u.u6_addr32[1]`), but not through pointers. Of several paths it takes the first that exists, which
   * covers renames between kernels.
   *
   * @throws {NoSuchFieldError} if the kernel has no such struct or member; the message lists similar names.
   * @throws {AmbiguousStructError} if the name has several definitions.
   * @throws {TypeError} for text that is not a path.
   *
   * @example
   * import { Kernel } from 'tsbpf';
   * new Kernel().btf?.member('task_struct', ['__state', 'state']).offset; // `state` before Linux 5.14
   */
  member(struct: StructRef, path: string | readonly string[]): Member {
    return findMember(this.#reader, struct, typeof path === 'string' ? [path] : path);
  }

  /**
   * Whether the kernel has a struct and, with a path or several, at least one such member.
   *
   * @throws {AmbiguousStructError} if the name has several definitions.
   */
  has(struct: StructRef, path?: string | readonly string[]): boolean {
    return hasMember(this.#reader, struct, typeof path === 'string' ? [path] : path);
  }

  /**
   * Returns the parameters and the result of a function. The arguments of a tracepoint are those of the
   * typedef `btf_trace_NAME`, after a first one that is internal to the kernel.
   *
   * @throws {NoSuchFieldError} if there is no such function; the message lists similar names.
   *
   * @example
   * import { Kernel } from 'tsbpf';
   * new Kernel().btf?.prototype('tcp_v4_connect').parameters.map(({ name }) => name); // sk, uaddr, addr_len
   */
  prototype(name: string): Prototype {
    return findPrototype(this.#reader, name);
  }

  /**
   * Returns the prototype of a function, a function pointer or a typedef of one, by its id.
   *
   * @throws {BtfError} if the type is not a function.
   */
  prototypeOf(id: number): Prototype {
    return prototypeOf(this.#reader, id);
  }

  /**
   * Returns the BTF id of a struct, a union or a typedef of one. The id of a forward declaration gives that
   * of the definition.
   *
   * @throws {NoSuchFieldError} if there is no such struct.
   * @throws {AmbiguousStructError} if the name has several definitions.
   */
  structId(struct: StructRef): number {
    return structId(this.#reader, struct);
  }

  /** Returns the size of a struct, a union or a typedef of one, in bytes. Throws as `structId` does. */
  sizeOf(struct: StructRef): number {
    return sizeOf(this.#reader, structId(this.#reader, struct));
  }

  /**
   * Returns the value of an enumerator by its name, in any enum or in the enum `enumName`. It is a bigint if
   * the enum has 64 bits.
   *
   * @throws {NoSuchFieldError} if there is none.
   */
  enumValue(name: string, enumName?: string): number | bigint {
    return enumValue(this.#reader, name, enumName);
  }
}
