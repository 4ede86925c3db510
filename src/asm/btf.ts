/**
 * The types of a kernel: sizes, members and enum values by name, read from its BTF.
 */
import { enumValue } from './btf/enum.ts';
import { findMember, hasMember, type Member } from './btf/member.ts';
import { findPrototype, type Prototype, prototypeOf } from './btf/prototype.ts';
import { BtfReader } from './btf/reader.ts';
import { sizeOf } from './btf/size.ts';
import { type StructRef, structId } from './btf/struct.ts';
import type { BtfKind, BtfType } from './btf/types.ts';

export type { Member } from './btf/member.ts';
export { NoSuchFieldError } from './btf/no-such-field.ts';
export type { Parameter, Prototype } from './btf/prototype.ts';
export {
  AmbiguousStructError,
  type StructCandidate,
  type StructChoice,
  type StructRef,
} from './btf/struct.ts';
export { BtfError, type BtfMember } from './btf/types.ts';
export type { PointedStruct } from './btf/value.ts';

/** One BTF blob: that of a kernel (`/sys/kernel/btf/vmlinux`), of one of its modules, or one made for a test. */
export class Btf {
  readonly #reader: BtfReader;

  private constructor(reader: BtfReader) {
    this.#reader = reader;
  }

  /**
   * Scans the blob for where its types begin, and decodes a type when it is asked for. Keeps the bytes, which
   * must not change afterwards.
   *
   * `base` is for the types of a module (`/sys/kernel/btf/nf_tables`), which continue those of the kernel:
   * their ids begin after the kernel's last one, and a name is looked up in the module first.
   *
   * @throws {BtfError} if the bytes are not BTF of a little-endian machine, or a type is damaged. A type that
   * refers to a missing type throws it when that reference is followed.
   */
  static parse(bytes: Uint8Array, base?: Btf): Btf {
    const btf = Btf.lazy(bytes, base);
    btf.#reader.checkAll();
    return btf;
  }

  /**
   * As `parse`, but scans the types only as far as look-ups need them. Use it for the BTF that the running
   * kernel offers, which needs no check: tcpconnlat needs the first third of it.
   *
   * @throws {BtfError} if the header is not one of BTF. A damaged type throws it from the look-up that reaches
   * it.
   */
  static lazy(bytes: Uint8Array, base?: Btf): Btf {
    return new Btf(new BtfReader(bytes, base === undefined ? undefined : base.#reader));
  }

  /** How many types there are. Their ids go from 1 to this. */
  get count(): number {
    return this.#reader.count;
  }

  /**
   * The id of the first type of that kind and name, or undefined. Searches names without decoding types, and
   * remembers the answer.
   */
  find(kind: BtfKind, name: string): number | undefined {
    return this.#reader.find(kind, name);
  }

  /** Decodes one type; the id 0 is void. Throws BtfError if there is none with that id. */
  type(id: number): BtfType {
    return this.#reader.type(id);
  }

  /**
   * The string that starts `offset` bytes into the string section, as line records name it, or its first
   * `most` bytes. Throws BtfError.
   */
  string(offset: number, most?: number): string {
    return this.#reader.string(offset, most);
  }

  /**
   * Where a member lies, counted from the start of the struct (or union, or typedef of one): `member('sock',
   * '__sk_common.skc_daddr')`. A path goes through structs and unions, anonymous ones unnamed as in C, and
   * into arrays (`in6_u.u6_addr32[1]`), not through pointers. Of several paths the first that exists is
   * taken, which covers renames between kernels.
   *
   * Throws NoSuchFieldError, with the nearest names, if the kernel has no such struct or member; AmbiguousStructError if the name has several
   * definitions; TypeError for text that is not a path.
   */
  member(struct: StructRef, path: string | readonly string[]): Member {
    return findMember(this.#reader, struct, typeof path === 'string' ? [path] : path);
  }

  /**
   * Whether there is such a struct and, with a path (or several), such a member (or one of them). Throws AmbiguousStructError if the name
   * has several definitions.
   */
  has(struct: StructRef, path?: string | readonly string[]): boolean {
    return hasMember(this.#reader, struct, typeof path === 'string' ? [path] : path);
  }

  /**
   * What a function is called with: its parameters in their order, and what it returns. A tracepoint's arguments are those of
   * the typedef `btf_trace_NAME`, behind a first one that is the kernel's own.
   *
   * Throws NoSuchFieldError, with the nearest names, where there is no such function.
   */
  prototype(name: string): Prototype {
    return findPrototype(this.#reader, name);
  }

  /** The prototype of the function, the function pointer or the typedef of one with that id. Throws BtfError if it is none. */
  prototypeOf(id: number): Prototype {
    return prototypeOf(this.#reader, id);
  }

  /**
   * The BTF id of a struct, a union or a typedef of one. The id of a forward declaration gives that of the definition.
   *
   * Throws NoSuchFieldError if there is none, and AmbiguousStructError if the name has several definitions.
   */
  structId(struct: StructRef): number {
    return structId(this.#reader, struct);
  }

  /** The size in bytes of a struct, a union or a typedef of one. Throws as `structId` does. */
  sizeOf(struct: StructRef): number {
    return sizeOf(this.#reader, structId(this.#reader, struct));
  }

  /**
   * An enum's value by its name, wherever it is or in the enum of that name: a bigint if the enum is one of
   * 64 bits.
   *
   * Throws NoSuchFieldError where there is none.
   */
  enumValue(name: string, enumName?: string): number | bigint {
    return enumValue(this.#reader, name, enumName);
  }
}
