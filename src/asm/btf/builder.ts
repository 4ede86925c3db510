/**
 * Builds BTF for programs and maps that the loader loads.
 *
 * Source: include/uapi/linux/btf.h; kernel/bpf/btf.c for what the kernel accepts.
 */
import { kindNumber } from './format.ts';
import type { BtfKind } from './types.ts';

const MAGIC = 0xeb9f;
const VERSION = 1;
/** The header that every kernel with BTF accepts. */
const HEADER_SIZE = 24;

/** How tools print an integer (`BTF_INT_*`). */
export const IntEncoding = { unsigned: 0, signed: 1, char: 2 } as const;
export type IntEncoding = (typeof IntEncoding)[keyof typeof IntEncoding];

/** A field of a struct, `offset` bytes from its start. */
export interface Field {
  readonly name: string;
  readonly type: number;
  readonly offset: number;
}

/** A parameter of a function. */
export interface BtfParam {
  readonly name: string;
  readonly type: number;
}

/**
 * Collects types and strings. Each method returns the id of a type; adding the same type again returns the
 * same id. Id 0 is void.
 */
export class BtfBuilder {
  readonly #words: number[] = [];
  readonly #ids = new Map<string, number>();
  readonly #offsets = new Map<string, number>([['', 0]]);
  readonly #strings: Buffer[] = [Buffer.of(0)];
  #stringBytes = 1;

  /** Returns the offset of a string; each string is kept once. */
  string(text: string): number {
    const known = this.#offsets.get(text);
    if (known !== undefined) return known;
    const offset = this.#stringBytes;
    const bytes = Buffer.from(`${text}\0`);
    this.#offsets.set(text, offset);
    this.#strings.push(bytes);
    this.#stringBytes += bytes.length;
    return offset;
  }

  /** An integer of `size` bytes. */
  int(name: string, size: number, encoding: IntEncoding): number {
    return this.#type('int', name, size, 0, [(encoding << 24) | (size * 8)]);
  }

  /** An array of `length` elements. `index` is the type of the index: any integer type. */
  array(element: number, length: number, index: number): number {
    return this.#type('array', '', 0, 0, [element, index, length]);
  }

  /** A struct or a union; anonymous if `name` is empty. */
  composite(kind: 'struct' | 'union', name: string, size: number, fields: readonly Field[]): number {
    const members = fields.flatMap(({ name, type, offset }) => [this.string(name), type, 8 * offset]);
    return this.#type(kind, name, size, fields.length, members);
  }

  /** A typedef. */
  typedef(name: string, type: number): number {
    return this.#type('typedef', name, type);
  }

  /**
   * A function by its name, a C identifier. It is static, which all kernels accept. Names of parameters are C
   * identifiers, too.
   */
  func(name: string, returns: number, parameters: readonly BtfParam[] = []): number {
    const words = parameters.flatMap(({ name, type }) => [this.string(name), type]);
    return this.#type('func', name, this.#type('func_proto', '', returns, parameters.length, words));
  }

  /** Returns the BTF as `BPF_BTF_LOAD` takes it. */
  bytes(): Uint8Array {
    const types = this.#words.length * 4;
    const bytes = new Uint8Array(HEADER_SIZE + types + this.#stringBytes);
    const view = new DataView(bytes.buffer);
    view.setUint16(0, MAGIC, true);
    view.setUint8(2, VERSION);
    const header = [HEADER_SIZE, 0, types, types, this.#stringBytes];
    for (const [index, word] of header.entries()) view.setUint32(4 + 4 * index, word, true);
    for (const [index, word] of this.#words.entries()) view.setUint32(HEADER_SIZE + 4 * index, word, true);
    bytes.set(Buffer.concat(this.#strings), HEADER_SIZE + types);
    return bytes;
  }

  #type(kind: BtfKind, name: string, sizeOrType: number, parts = 0, words: readonly number[] = []): number {
    const type = [this.string(name), (kindNumber(kind) << 24) | parts, sizeOrType, ...words];
    const key = type.join();
    const known = this.#ids.get(key);
    if (known !== undefined) return known;
    this.#words.push(...type);
    this.#ids.set(key, this.#ids.size + 1);
    return this.#ids.size;
  }
}

/** Turns a name into a C identifier that resembles it. */
export function identifier(name: string): string {
  return name.replace(/[^A-Za-z0-9_]/g, '_').replace(/^(?=\d|$)/, '_');
}
