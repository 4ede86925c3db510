/**
 * Reading BTF lazily: a scan that only notes where each type begins, and look-ups that decode what is asked
 * for. A kernel's BTF is 5 to 7 MB; decoding all of it would take a hundred times as long as the few types a
 * tool needs.
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
/** magic, version, flags, hdr_len, type_off, type_len, str_off, str_len; later writers append to it. */
const HEADER_SIZE = 24;
/** The header with layout_off and layout_len. */
const HEADER_WITH_LAYOUT = 32;

/**
 * The types and strings of one BTF blob. Shares the memory of the bytes it was made from, which must not
 * change.
 *
 * A blob may go on where another one ends, as those of modules do after the kernel's: its ids and the offsets of its strings then
 * count from the other's, and name things of both.
 */
export class BtfReader implements BtfSource {
  readonly words: Uint32Array;
  readonly kindSizes: KindSizes;
  readonly #base: BtfReader | undefined;
  /** The id of the last type before those of this blob, and the offset of its first string. */
  readonly #idsBefore: number;
  readonly #stringsBefore: number;
  readonly #strings: Buffer;
  /** The types of this blob, numbered from 1: number 1 has the id after `#idsBefore`. */
  readonly #index: TypeIndex;
  /** What was asked for once is likely asked for again: a tool takes many members of the same few structs. */
  readonly #types = new Map<number, BtfType>();
  readonly #ids = new Map<string, readonly number[]>();
  readonly #offsets = new Map<string, readonly number[]>();

  /** Throws BtfError where the bytes are no BTF, or cut short. `base` is the blob that this one goes on after. */
  constructor(bytes: Uint8Array, base?: BtfReader) {
    const { types, strings, layout } = sections(bytes, base !== undefined);
    const words = wordsOf(types);
    const kindSizes = readKindSizes(layout);
    this.#base = base;
    this.#idsBefore = base?.count ?? 0;
    this.#stringsBefore = base?.stringBytes ?? 0;
    this.#strings = strings;
    this.words = words;
    this.kindSizes = kindSizes;
    this.#index = new TypeIndex(words, kindSizes, this.stringBytes);
  }

  /** The number of types in this blob and its base. Ids go from 1 to this, and 0 is void. Scans all types. */
  get count(): number {
    return this.#idsBefore + this.#index.count;
  }

  /** Checks the types of this blob. Throws BtfError at the first damaged one. */
  checkAll(): void {
    this.#index.scanAll();
  }

  /** How long the strings are, those of the base included. */
  get stringBytes(): number {
    return this.#stringsBefore + this.#strings.length;
  }

  /** The string at an offset: all of it, or its first `most` bytes. */
  string(offset: number, most = Number.POSITIVE_INFINITY): string {
    if (this.#base !== undefined && offset < this.#stringsBefore) return this.#base.string(offset, most);
    const start = offset - this.#stringsBefore;
    const part = this.#strings.subarray(start, start + most);
    const end = part.indexOf(0);
    if (end < 0 && part.length < most)
      throw new BtfError(`no string at offset ${offset} of the BTF string section`);
    return part.toString('utf8', 0, end < 0 ? part.length : end);
  }

  /** Decodes one type. Throws BtfError if there is none with that id. */
  type(id: number): BtfType {
    if (this.#base !== undefined && id <= this.#idsBefore) return this.#base.type(id);
    let type = this.#types.get(id);
    if (type === undefined) {
      type = id === 0 ? { kind: 'void' } : decodeType(this, this.#start(id));
      this.#types.set(id, type);
    }
    return type;
  }

  /** The id of the first type of that kind and name, or undefined. This blob's own come before those of the base. */
  find(kind: BtfKind, name: string): number | undefined {
    return this.findAll([kind], name)[0];
  }

  /**
   * The ids of all types of these kinds and that name, ascending. If this blob has at least one, the base is not searched. Remembers
   * the answer.
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

  /** The ids of the enums that have a value of that name. */
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

  /** The name of a type, empty if it has none, without decoding the rest. */
  nameOf(id: number): string {
    if (this.#base !== undefined && id <= this.#idsBefore) return this.#base.nameOf(id);
    return this.string(this.words[this.#start(id)] as number);
  }

  /**
   * Whether one of the parts of the type at `start` has its name at one of these offsets; for kinds whose parts
   * begin with their name.
   */
  #hasPart(start: number, offsets: readonly number[]): boolean {
    const info = this.words[start + 1] as number;
    const step = this.kindSizes.each[kindOf(info)] as number;
    const first = start + HEAD_WORDS;
    const end = first + partsOf(info) * step;
    for (let at = first; at < end; at += step) if (offsets.includes(this.words[at] as number)) return true;
    return false;
  }

  /** The ids of this blob's types of these kinds and that name, ascending. */
  #searchAll(kinds: readonly number[], name: string): number[] {
    const ids: number[] = [];
    for (const offset of this.#offsetsOf(name))
      for (let at = this.words.indexOf(offset); at >= 0; at = this.words.indexOf(offset, at + 1)) {
        if (!kinds.includes(this.#kindAt(at))) continue; // Most words with that value are something else.
        const number = this.#index.numberAt(at);
        if (number !== undefined) ids.push(this.#idsBefore + number);
      }
    return ids.sort((a, b) => a - b);
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
   * Where the string section has that name: as a string of its own or, where there is none, as the end of
   * longer ones. (Writers either keep each string once and whole, as those of kernels do, or let a string be
   * the end of another.)
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

/** The numbers of the kinds that have values with names. */
const ENUMS = [kindNumber('enum'), kindNumber('enum64')];

interface Sections {
  readonly types: Uint8Array;
  readonly strings: Buffer;
  /** Empty where the header has no such section. */
  readonly layout: Uint8Array;
}

/** Cuts the blob by its header (`struct btf_header`), whose offsets count from its own end. */
function sections(bytes: Uint8Array, goesOn: boolean): Sections {
  if (bytes.length < HEADER_SIZE)
    throw new BtfError(`${bytes.length} bytes are no BTF: its header alone has ${HEADER_SIZE}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = view.getUint16(0, true);
  if (magic === MAGIC_SWAPPED)
    throw new BtfError('this BTF is of a big-endian machine; only little-endian is read');
  if (magic !== MAGIC) throw new BtfError(`no BTF: it begins with 0x${magic.toString(16)}, not 0xeb9f`);
  const version = view.getUint8(2);
  if (version !== 1) throw new BtfError(`BTF version ${version}: only version 1 is known`);
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
    throw new BtfError(`the BTF type section has ${types.length} bytes, no multiple of 4`);
  // A blob that goes on after another needs no string of its own, and no empty one.
  const begins = goesOn || strings[0] === 0;
  const ends = (goesOn && strings.length === 0) || strings.at(-1) === 0;
  if (!begins || !ends) throw new BtfError('the BTF string section has to begin and end with a NUL');
  const layout = header >= HEADER_WITH_LAYOUT ? cut('layout', 24) : new Uint8Array();
  return { types, strings: Buffer.from(strings.buffer, strings.byteOffset, strings.length), layout };
}

/**
 * The section as 32-bit words, copied only where it isn't aligned. They are in the byte order of this machine,
 * which on the architectures there are is that of the BTF: little-endian.
 */
function wordsOf(types: Uint8Array): Uint32Array {
  const aligned = types.byteOffset % 4 === 0 ? types : types.slice();
  return new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.length / 4);
}
