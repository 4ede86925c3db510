/**
 * The types of a kernel: sizes, members and enum values by name, read from its BTF.
 */
import { enumValue } from './btf/enum.ts';
import { findMember, hasMember, type Member, structId } from './btf/member.ts';
import { findPrototype, type Prototype } from './btf/prototype.ts';
import { BtfReader } from './btf/reader.ts';
import { sizeOf } from './btf/size.ts';
import { BtfError, type BtfKind, type BtfType } from './btf/types.ts';

export { type Member, NoSuchField } from './btf/member.ts';
export type { Parameter, Prototype } from './btf/prototype.ts';
export { BtfError, type BtfMember } from './btf/types.ts';

/** One BTF blob: that of a kernel (`/sys/kernel/btf/vmlinux`), of one of its modules, or one made for a test. */
export class Btf {
  readonly #reader: BtfReader;

  private constructor(reader: BtfReader) {
    this.#reader = reader;
  }

  /**
   * Scans the blob for where its types begin; everything else is decoded when it is asked for. Keeps the
   * bytes, which must not change afterwards.
   *
   * The types of a module (`/sys/kernel/btf/nf_tables`) go on after those of the kernel, which are their `base`: ids count on, and
   * names are looked up in the module first.
   *
   * Throws BtfError where they are no BTF of a little-endian machine. Types that refer to types which aren't
   * there throw it when they are followed.
   */
  static parse(bytes: Uint8Array, base?: Btf): Btf {
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

  /** The string that starts `offset` bytes into the string section, as line records name it. Throws BtfError. */
  string(offset: number): string {
    return this.#reader.string(offset);
  }

  /**
   * Where a member lies, counted from the start of the struct (or union, or typedef of one): `member('sock',
   * '__sk_common.skc_daddr')`. A path goes through structs and unions, anonymous ones unnamed as in C, and
   * into arrays (`in6_u.u6_addr32[1]`), not through pointers. Of several paths the first that exists is
   * taken, which covers renames between kernels.
   *
   * Throws NoSuchField, with the nearest names, where there is no such struct or member; TypeError for what
   * is no path.
   */
  member(struct: string, path: string | readonly string[]): Member {
    return findMember(this.#reader, struct, typeof path === 'string' ? [path] : path);
  }

  /** Whether there is such a struct and, with a path (or several), such a member (or one of them). */
  has(struct: string, path?: string | readonly string[]): boolean {
    return hasMember(this.#reader, struct, typeof path === 'string' ? [path] : path);
  }

  /**
   * How many slots of 8 bytes the arguments of a function take, given its id: one each, and two for a structure of more than 8 bytes.
   * Throws BtfError where there is no function with that id.
   */
  argumentSlots(id: number): number {
    const func = this.#reader.type(id);
    const prototype = func.kind === 'func' ? this.#reader.type(func.type) : func;
    if (prototype.kind !== 'func_proto') throw new BtfError(`BTF type ${id} is no function`);
    const slots = prototype.parameters.map(({ type }) => Math.ceil(sizeOf(this.#reader, type) / 8));
    return slots.reduce((sum, each) => sum + each, 0);
  }

  /**
   * What a function is called with: its parameters in their order, and what it returns. A tracepoint's arguments are those of
   * the typedef `btf_trace_NAME`, behind a first one that is the kernel's own.
   *
   * Throws NoSuchField, with the nearest names, where there is no such function.
   */
  prototype(name: string): Prototype {
    return findPrototype(this.#reader, name);
  }

  /** The size in bytes of a struct, a union or a typedef of one. Throws NoSuchField where there is none. */
  sizeOf(struct: string): number {
    return sizeOf(this.#reader, structId(this.#reader, struct));
  }

  /**
   * An enum's value by its name, wherever it is or in the enum of that name: a bigint if the enum is one of
   * 64 bits.
   *
   * Throws NoSuchField where there is none.
   */
  enumValue(name: string, enumName?: string): number | bigint {
    return enumValue(this.#reader, name, enumName);
  }
}
