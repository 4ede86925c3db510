/**
 * Reads BTF lazily: a scan notes the positions of types, and look-ups decode single types. A kernel's BTF has
 * 5 to 7 MB; decoding all of it takes a hundred times as long as the few types that a tool needs.
 */
import {
  type BtfSource,
  decodeType,
  HEAD_WORDS,
  type KindSizes,
  kindNumber,
  kindOf,
  partsOf,
  readKindSizes,
} from './format.ts';
import { TypeIndex } from './type-index.ts';
import { BtfError, type BtfKind, type BtfType } from './types.ts';

const MAGIC = 0xeb9f;
const MAGIC_SWAPPED = 0x9feb;
/** magic, version, flags, hdr_len, type_off, type_len, str_off, str_len; later versions append fields. */
const HEADER_SIZE = 24;
/** The header with layout_off and layout_len. */
const HEADER_WITH_LAYOUT = 32;

/**
 * The types and strings of one BTF blob. Shares memory with its bytes, which must not change.
 *
 * A blob may extend another one, as those of modules extend the kernel's: its ids and string offsets continue
 * those of the base, and refer to both.
 */
export class BtfReader implements BtfSource {
  readonly words: Uint32Array;
  readonly kindSizes: KindSizes;
  readonly #base: BtfReader | undefined;
  /** The number of types and the size of the strings in the base. */
  readonly #idsBefore: number;
  readonly #stringsBefore: number;
  readonly #strings: Buffer;
  /** The strings as an array whose `indexOf` is V8's, which starts faster than a buffer's. */
  readonly #stringArray: Uint8Array;
  /** The positions of this blob's types, numbered from 1: number 1 has the id after `#idsBefore`. */
  readonly #index: TypeIndex;
  /** Caches: tools look up many members of the same few structs. */
  readonly #types = new Map<number, BtfType>();
  readonly #ids = new Map<string, readonly number[]>();
  readonly #offsets = new Map<string, readonly number[]>();
  readonly #mentions = new Map<string, readonly number[]>();

  /** Throws BtfError if the bytes are not BTF, or are truncated. `base` is the blob that this one extends. */
  constructor(bytes: Uint8Array, base?: BtfReader) {
    const { types, strings, layout } = sections(bytes, base !== undefined);
    const words = wordsOf(types);
    const kindSizes = readKindSizes(layout);
    this.#base = base;
    this.#idsBefore = base?.count ?? 0;
    this.#stringsBefore = base?.stringBytes ?? 0;
    this.#strings = strings;
    this.#stringArray = new Uint8Array(strings.buffer, strings.byteOffset, strings.length);
    this.words = words;
    this.kindSizes = kindSizes;
    this.#index = new TypeIndex(words, kindSizes);
  }

  /**
   * The number of types in this blob and its base. Ids go from 1 to this number; 0 is void. Scans all types.
   */
  get count(): number {
    return this.#idsBefore + this.#index.count;
  }

  /** Checks the types of this blob. Throws BtfError for the first malformed one. */
  checkAll(): void {
    this.#index.checkAll(this.stringBytes);
  }

  /** The size of the strings in bytes, including those of the base. */
  get stringBytes(): number {
    return this.#stringsBefore + this.#strings.length;
  }

  /** The string at an offset, or its first `most` bytes. */
  string(offset: number, most = Number.POSITIVE_INFINITY): string {
    if (this.#base !== undefined && offset < this.#stringsBefore) return this.#base.string(offset, most);
    const start = offset - this.#stringsBefore;
    const end = this.#stringArray.indexOf(0, start);
    if (end < 0) throw new BtfError(`no string at offset ${offset} of the BTF string section`);
    return this.#strings.toString('utf8', start, Math.min(end, start + most));
  }

  /** Decodes a type. Throws BtfError if there is none with the id. */
  type(id: number): BtfType {
    if (this.#base !== undefined && id <= this.#idsBefore) return this.#base.type(id);
    let type = this.#types.get(id);
    if (type === undefined) {
      type = id === 0 ? { kind: 'void' } : decodeType(this, this.#start(id));
      this.#types.set(id, type);
    }
    return type;
  }

  /**
   * The id of the first type with a kind and a name, or undefined. Types of this blob come before those of
   * the base.
   */
  find(kind: BtfKind, name: string): number | undefined {
    return this.findAll([kind], name)[0];
  }

  /**
   * The ids of all types with one of the kinds and a name, ascending. Searches the base only if this blob has
   * none. Caches the result.
   */
  findAll(kinds: readonly BtfKind[], name: string): readonly number[] {
    const key = `${kinds.join(' ')} ${name}`;
    let ids = this.#ids.get(key);
    if (ids === undefined) {
      ids = this.#searchAll(kinds.map(kindNumber), name);
      if (ids.length === 0 && this.#base !== undefined) ids = this.#base.findAll(kinds, name);
      this.#ids.set(key, ids);
    }
    return ids;
  }

  /** The ids of all types of these kinds, ascending. */
  ids(...kinds: readonly BtfKind[]): number[] {
    const wanted = kinds.map(kindNumber);
    const ids = this.#base?.ids(...kinds) ?? [];
    this.#index.forEach((number, start) => {
      if (wanted.includes(this.#kindAt(start))) ids.push(this.#idsBefore + number);
    });
    return ids;
  }

  /** The ids of the enums with a value of that name. */
  enumsWith(name: string): number[] {
    const ids = this.#base?.enumsWith(name) ?? [];
    const offsets = this.#offsetsOf(name);
    if (offsets.length === 0) return ids;
    this.#index.forEach((number, start) => {
      if (ENUMS.includes(this.#kindAt(start)) && this.#hasPart(start, offsets))
        ids.push(this.#idsBefore + number);
    });
    return ids;
  }

  /** The name of a type, or an empty string, without decoding the rest. */
  nameOf(id: number): string {
    if (this.#base !== undefined && id <= this.#idsBefore) return this.#base.nameOf(id);
    return this.string(this.words[this.#start(id)] as number);
  }

  /**
   * Whether a part of the type at `start` has its name at one of these offsets; for kinds whose parts begin
   * with a name.
   */
  #hasPart(start: number, offsets: readonly number[]): boolean {
    const info = this.words[start + 1] as number;
    const step = this.kindSizes.each[kindOf(info)] as number;
    const first = start + HEAD_WORDS;
    const end = first + partsOf(info) * step;
    for (let at = first; at < end; at += step) if (offsets.includes(this.words[at] as number)) return true;
    return false;
  }

  /** The ids of this blob's types with one of the kinds and a name, ascending. */
  #searchAll(kinds: readonly number[], name: string): number[] {
    const ids: number[] = [];
    for (const at of this.#mentionsOf(name)) {
      if (!kinds.includes(this.#kindAt(at))) continue;
      const number = this.#index.numberAt(at);
      if (number !== undefined) ids.push(this.#idsBefore + number);
    }
    return ids.sort((a, b) => a - b);
  }

  /**
   * The words of the type section that are an offset of a name: among them the first words of all types with
   * that name; most are something else.
   */
  #mentionsOf(name: string): readonly number[] {
    let mentions = this.#mentions.get(name);
    if (mentions === undefined) {
      mentions = this.#offsetsOf(name).flatMap((offset) => allIndexes(this.words, offset));
      this.#mentions.set(name, mentions);
    }
    return mentions;
  }

  #start(id: number): number {
    const start = this.#index.start(id - this.#idsBefore);
    if (start === undefined)
      throw new BtfError(`no type with the id ${id} in this BTF, which has ${this.count}`);
    return start;
  }

  #kindAt(start: number): number {
    return kindOf(this.words[start + 1] as number);
  }

  /**
   * The offsets of a name in the string section: of a whole string or, if there is none, of the ends of
   * longer strings. (Some writers keep each string once and whole, as for kernels; others share the ends of
   * strings.)
   */
  #offsetsOf(name: string): readonly number[] {
    let offsets = this.#offsets.get(name);
    if (offsets === undefined) {
      offsets = name === '' || name.includes('\0') ? [] : this.#stringsNamed(name);
      if (this.#base !== undefined) offsets = [...this.#base.#offsetsOf(name), ...offsets];
      this.#offsets.set(name, offsets);
    }
    return offsets;
  }

  #stringsNamed(name: string): readonly number[] {
    const before = this.#stringsBefore;
    const whole = this.#strings.indexOf(`\0${name}\0`);
    if (whole >= 0) return [before + whole + 1];
    const ending = `${name}\0`;
    const offsets = [];
    for (let at = this.#strings.indexOf(ending); at >= 0; at = this.#strings.indexOf(ending, at + 1))
      offsets.push(before + at);
    return offsets;
  }
}

function allIndexes(words: Uint32Array, value: number): number[] {
  const indexes: number[] = [];
  for (let at = words.indexOf(value); at >= 0; at = words.indexOf(value, at + 1)) indexes.push(at);
  return indexes;
}

/** The numbers of the kinds with named values. */
const ENUMS = [kindNumber('enum'), kindNumber('enum64')];

interface Sections {
  readonly types: Uint8Array;
  readonly strings: Buffer;
  /** Empty if the header has no such section. */
  readonly layout: Uint8Array;
}

/** Splits the blob by its header (`struct btf_header`), whose offsets count from the header's end. */
function sections(bytes: Uint8Array, hasBase: boolean): Sections {
  if (bytes.length < HEADER_SIZE)
    throw new BtfError(`${bytes.length} bytes are too few for BTF: its header has ${HEADER_SIZE}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = view.getUint16(0, true);
  if (magic === MAGIC_SWAPPED) throw new BtfError('big-endian BTF is not supported');
  if (magic !== MAGIC) throw new BtfError(`not BTF: it begins with 0x${magic.toString(16)}, not 0xeb9f`);
  const version = view.getUint8(2);
  if (version !== 1) throw new BtfError(`BTF version ${version}: only version 1 is supported`);
  const header = view.getUint32(4, true);
  if (header < HEADER_SIZE || header > bytes.length)
    throw new BtfError(`BTF header of ${header} bytes in a blob of ${bytes.length}`);
  const cut = (what: string, at: number): Uint8Array => {
    const start = header + view.getUint32(at, true);
    const length = view.getUint32(at + 4, true);
    if (start + length > bytes.length)
      throw new BtfError(
        `the BTF ${what} section (${start} to ${start + length}) ends past the blob's ${bytes.length} bytes`,
      );
    return bytes.subarray(start, start + length);
  };
  const types = cut('type', 8);
  const strings = cut('string', 16);
  if (types.length % 4 !== 0)
    throw new BtfError(`the BTF type section has ${types.length} bytes, which is not a multiple of 4`);
  // A blob with a base needs no string of its own, and no empty string.
  const begins = hasBase || strings[0] === 0;
  const ends = (hasBase && strings.length === 0) || strings.at(-1) === 0;
  if (!begins || !ends) throw new BtfError('the BTF string section must begin and end with a NUL');
  const layout = header >= HEADER_WITH_LAYOUT ? cut('layout', 24) : new Uint8Array();
  return { types, strings: Buffer.from(strings.buffer, strings.byteOffset, strings.length), layout };
}

/**
 * The section as 32-bit words, copied only if it is not aligned. Words have the byte order of this machine,
 * which on all supported architectures is little-endian, as in the BTF.
 */
function wordsOf(types: Uint8Array): Uint32Array {
  const aligned = types.byteOffset % 4 === 0 ? types : types.slice();
  return new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.length / 4);
}
