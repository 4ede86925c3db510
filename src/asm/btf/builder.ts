/**
 * Types to bytes: the BTF of what we load ourselves, written type by type.
 *
 * Source: include/uapi/linux/btf.h; what the kernel accepts, kernel/bpf/btf.c.
 */
import { kindNumber } from './format.ts';
import type { BtfKind } from './types.ts';

const MAGIC = 0xeb9f;
const VERSION = 1;
/** The header that every kernel with BTF takes. */
const HEADER_SIZE = 24;

/** How an integer is shown (`BTF_INT_*`). */
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

/** Collects types and strings. A type is given by its id, 0 being void; the same type asked for again is the same id. */
export class BtfBuilder {
  readonly #words: number[] = [];
  readonly #ids = new Map<string, number>();
  readonly #offsets = new Map<string, number>([['', 0]]);
  readonly #strings: Buffer[] = [Buffer.of(0)];
  #stringBytes = 1;

  /** The offset of a text among the strings, where each is kept once. */
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

  /** `length` elements; `index` is the type of their numbers, which only has to be an integer. */
  array(element: number, length: number, index: number): number {
    return this.#type('array', '', 0, 0, [element, index, length]);
  }

  /** A struct or a union; anonymous if `name` is empty. */
  composite(kind: 'struct' | 'union', name: string, size: number, fields: readonly Field[]): number {
    const members = fields.flatMap(({ name, type, offset }) => [this.string(name), type, 8 * offset]);
    return this.#type(kind, name, size, fields.length, members);
  }

  typedef(name: string, type: number): number {
    return this.#type('typedef', name, type);
  }

  /**
   * A function by its name (a C identifier); static, since that is what all kernels take. Its parameters, if they are told, have names of
   * that sort, too.
   */
  func(name: string, returns: number, parameters: readonly BtfParam[] = []): number {
    const told = parameters.flatMap(({ name, type }) => [this.string(name), type]);
    return this.#type('func', name, this.#type('func_proto', '', returns, parameters.length, told));
  }

  /** All of it, as `BPF_BTF_LOAD` takes it. */
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

/** A name as C has them, as like as possible to any name. */
export function identifier(name: string): string {
  return name.replace(/[^A-Za-z0-9_]/g, '_').replace(/^(?=\d|$)/, '_');
}
