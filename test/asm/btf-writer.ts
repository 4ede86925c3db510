/**
 * Writes small BTF blobs for tests, word by word as include/uapi/linux/btf.h defines them. It does not use
 * the reader's tables, whose errors it must reveal.
 */

/**
 * A member of a struct or union, with its offset in bits. With a size it is a bit field, which needs `flag`
 * on the struct.
 */
export interface MemberOf {
  readonly name?: string;
  readonly type: number;
  readonly bits: number;
  readonly size?: number;
}

export interface BlobOptions {
  /** The header's size in bytes; bytes after the known 24 are filled with ones. */
  readonly header?: number;
  readonly magic?: number;
  readonly version?: number;
  /** The string section, instead of the one built from the names. */
  readonly strings?: Uint8Array;
  /** A layout section after the strings, 4 bytes for each kind. The header (32 bytes) names its position. */
  readonly layout?: Uint8Array;
}

/**
 * Types are numbered in the order of their addition, from 1 or after those of `base`. Each method returns the
 * id.
 */
export class BtfWriter {
  readonly #words: number[] = [];
  readonly #offsets = new Map<string, number>([['', 0]]);
  #strings = '\0';
  #length = 1;
  #count = 0;

  constructor(base?: BtfWriter) {
    if (base === undefined) return;
    for (const [text, offset] of base.#offsets) this.#offsets.set(text, offset);
    this.#strings = '';
    this.#length = base.#length;
    this.#count = base.#count;
  }

  /** The offset of a string; equal strings are stored once. */
  string(text: string): number {
    let offset = this.#offsets.get(text);
    if (offset === undefined) {
      offset = this.#length;
      this.#offsets.set(text, offset);
      this.#strings += `${text}\0`;
      this.#length += Buffer.byteLength(text) + 1;
    }
    return offset;
  }

  /** Stores a name as the end of an earlier string. */
  endOf(longer: string, name: string): void {
    this.#offsets.set(name, this.string(longer) + longer.length - name.length);
  }

  /** Any type: `info` is vlen, kind << 24, and the flag in bit 31. */
  raw(name: string, info: number, sizeOrType: number, words: readonly number[] = []): number {
    this.#words.push(this.string(name), info, sizeOrType);
    for (const word of words) this.#words.push(word);
    this.#count++;
    return this.#count;
  }

  int(name: string, size: number, encoding = 0, bits = size * 8, bitOffset = 0): number {
    return this.raw(name, 1 << 24, size, [(encoding << 24) | (bitOffset << 16) | bits]);
  }

  pointer(type: number): number {
    return this.raw('', 2 << 24, type);
  }

  array(element: number, length: number, index = element): number {
    return this.raw('', 3 << 24, 0, [element, index, length]);
  }

  struct(name: string, size: number, members: readonly MemberOf[], flag = false): number {
    return this.#composite(4, name, size, members, flag);
  }

  union(name: string, size: number, members: readonly MemberOf[], flag = false): number {
    return this.#composite(5, name, size, members, flag);
  }

  enum(name: string, size: number, values: Record<string, number>, signed = false): number {
    const parts = Object.entries(values).flatMap(([value, number]) => [this.string(value), number]);
    return this.raw(name, this.#info(6, parts.length / 2, signed), size, parts);
  }

  enum64(name: string, values: Record<string, bigint>, signed = false): number {
    const parts = Object.entries(values).flatMap(([value, number]) => [
      this.string(value),
      Number(number & 0xffff_ffffn),
      Number((number >> 32n) & 0xffff_ffffn),
    ]);
    return this.raw(name, this.#info(19, parts.length / 3, signed), 8, parts);
  }

  typedef(name: string, type: number): number {
    return this.raw(name, 8 << 24, type);
  }

  const(type: number): number {
    return this.raw('', 10 << 24, type);
  }

  volatile(type: number): number {
    return this.raw('', 9 << 24, type);
  }

  typeTag(name: string, type: number): number {
    return this.raw(name, 18 << 24, type);
  }

  prototype(returns: number, parameters: Record<string, number>): number {
    const parts = Object.entries(parameters).flatMap(([name, type]) => [this.string(name), type]);
    return this.raw('', this.#info(13, parts.length / 2, false), returns, parts);
  }

  func(name: string, type: number): number {
    return this.raw(name, 12 << 24, type);
  }

  blob(options: BlobOptions = {}): Uint8Array {
    const { magic = 0xeb9f, version = 1, strings, layout = new Uint8Array() } = options;
    const { header = options.layout === undefined ? 24 : 32 } = options;
    const text = strings ?? Buffer.from(this.#strings);
    const types = this.#words.length * 4;
    const bytes = new Uint8Array(header + types + text.length + layout.length).fill(0xff, 24, header);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, magic, true);
    view.setUint8(2, version);
    for (const [i, value] of [header, 0, types, types, text.length].entries())
      view.setUint32(4 + 4 * i, value, true);
    for (const [i, value] of this.#words.entries()) view.setUint32(header + 4 * i, value, true);
    bytes.set(text, header + types);
    if (options.layout === undefined) return bytes;
    view.setUint32(24, types + text.length, true);
    view.setUint32(28, layout.length, true);
    bytes.set(layout, header + types + text.length);
    return bytes;
  }

  #composite(kind: number, name: string, size: number, members: readonly MemberOf[], flag: boolean): number {
    const parts = members.flatMap((member) => [
      this.string(member.name ?? ''),
      member.type,
      ((member.size ?? 0) << 24) | member.bits,
    ]);
    return this.raw(name, this.#info(kind, members.length, flag), size, parts);
  }

  #info(kind: number, parts: number, flag: boolean): number {
    return (flag ? 0x8000_0000 : 0) + kind * 0x100_0000 + parts;
  }
}
