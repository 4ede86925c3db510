/**
 * Reading BTF lazily: a scan that only notes where each type begins, and look-ups that decode what is asked
 * for. A kernel's BTF is 5 to 7 MB; decoding all of it would take a hundred times as long as the few types a
 * tool needs.
 */
import {
  type BtfSource,
  decodeType,
  type Extents,
  extentsOf,
  HEAD_WORDS,
  kindNumber,
  kindOf,
  NO_EXTENT,
  partsOf,
} from './format.ts';
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
  readonly extents: Extents;
  /** How many types there are, those of the base included; ids go from 1 to this, and 0 is void. */
  readonly count: number;
  readonly #base: BtfReader | undefined;
  /** The id of the last type before those of this blob, and the offset of its first string. */
  readonly #idsBefore: number;
  readonly #stringsBefore: number;
  readonly #strings: Buffer;
  /** Where a type begins and its name, by its number in this blob, from 1. */
  readonly #starts: Uint32Array;
  readonly #names: Uint32Array;
  /** What was asked for once is likely asked for again: a tool takes many members of the same few structs. */
  readonly #types = new Map<number, BtfType>();
  readonly #ids = new Map<string, number | undefined>();
  readonly #allIds = new Map<string, readonly number[]>();
  readonly #offsets = new Map<string, readonly number[]>();

  /** Throws BtfError where the bytes are no BTF, or cut short. `base` is the blob that this one goes on after. */
  constructor(bytes: Uint8Array, base?: BtfReader) {
    const { types, strings, layout } = sections(bytes, base !== undefined);
    const words = wordsOf(types);
    const extents = extentsOf(layout);
    this.#base = base;
    this.#idsBefore = base?.count ?? 0;
    this.#stringsBefore = base?.stringBytes ?? 0;
    this.#strings = strings;
    const { starts, names, count } = scan(words, extents, this.stringBytes);
    this.words = words;
    this.extents = extents;
    this.count = this.#idsBefore + count;
    this.#starts = starts;
    this.#names = names;
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
    const key = `${kind} ${name}`;
    if (!this.#ids.has(key))
      this.#ids.set(key, this.#search(kindNumber(kind), name) ?? this.#base?.find(kind, name));
    return this.#ids.get(key);
  }

  /**
   * The ids of all types of these kinds and that name, ascending. If this blob has at least one, the base is not searched. Remembers
   * the answer.
   */
  findAll(kinds: readonly BtfKind[], name: string): readonly number[] {
    const key = `${kinds.join(' ')} ${name}`;
    let ids = this.#allIds.get(key);
    if (ids === undefined) {
      ids = this.#searchAll(kinds.map(kindNumber), name);
      if (ids.length === 0 && this.#base !== undefined) ids = this.#base.findAll(kinds, name);
      this.#allIds.set(key, ids);
    }
    return ids;
  }

  /** The ids of all types of these kinds, ascending. */
  ids(...kinds: readonly BtfKind[]): number[] {
    const wanted = kinds.map(kindNumber);
    const ids = this.#base?.ids(...kinds) ?? [];
    for (let id = this.#idsBefore + 1; id <= this.count; id++)
      if (wanted.includes(this.#kind(id))) ids.push(id);
    return ids;
  }

  /** The ids of the enums that have a value of that name. */
  enumsWith(name: string): number[] {
    const ids = this.#base?.enumsWith(name) ?? [];
    const offsets = this.#offsetsOf(name);
    if (offsets.length === 0) return ids;
    for (let id = this.#idsBefore + 1; id <= this.count; id++)
      if (ENUMS.includes(this.#kind(id)) && this.#hasPart(id, offsets)) ids.push(id);
    return ids;
  }

  /** The name of a type, empty if it has none, without decoding the rest. */
  nameOf(id: number): string {
    if (this.#base !== undefined && id <= this.#idsBefore) return this.#base.nameOf(id);
    return this.string(this.words[this.#start(id)] as number);
  }

  /**
   * Whether one of a type's parts has its name at one of these offsets; for kinds whose parts begin with
   * their name.
   */
  #hasPart(id: number, offsets: readonly number[]): boolean {
    const start = this.#start(id);
    const info = this.words[start + 1] as number;
    const step = this.extents.each[kindOf(info)] as number;
    const first = start + HEAD_WORDS;
    const end = first + partsOf(info) * step;
    for (let at = first; at < end; at += step) if (offsets.includes(this.words[at] as number)) return true;
    return false;
  }

  #search(kind: number, name: string): number | undefined {
    const firsts = this.#offsetsOf(name).flatMap((offset) => this.#firstAt(offset, kind) ?? []);
    return firsts.length === 0 ? undefined : Math.min(...firsts);
  }

  /** The id of this blob's first type of that kind whose name is at that offset. */
  #firstAt(offset: number, kind: number): number | undefined {
    for (let at = this.#names.indexOf(offset, 1); at > 0; at = this.#names.indexOf(offset, at + 1))
      if (this.#kind(this.#idsBefore + at) === kind) return this.#idsBefore + at;
    return undefined;
  }

  #searchAll(kinds: readonly number[], name: string): number[] {
    const ids: number[] = [];
    for (const offset of this.#offsetsOf(name))
      for (let at = this.#names.indexOf(offset, 1); at > 0; at = this.#names.indexOf(offset, at + 1))
        if (kinds.includes(this.#kind(this.#idsBefore + at))) ids.push(this.#idsBefore + at);
    return ids.sort((a, b) => a - b);
  }

  #start(id: number): number {
    const start = id > this.#idsBefore && id <= this.count ? this.#starts[id - this.#idsBefore] : undefined;
    if (start === undefined)
      throw new BtfError(`no type with the id ${id} in this BTF, which has ${this.count}`);
    return start;
  }

  #kind(id: number): number {
    return kindOf(this.words[this.#start(id) + 1] as number);
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

/** Where each type begins and its name, by id. */
interface Index {
  readonly starts: Uint32Array;
  readonly names: Uint32Array;
  readonly count: number;
}

function scan(words: Uint32Array, { fixed, each }: Extents, stringBytes: number): Index {
  const most = Math.floor(words.length / HEAD_WORDS) + 1;
  const starts = new Uint32Array(most);
  const names = new Uint32Array(most);
  let id = 0;
  let at = 0;
  while (at + HEAD_WORDS <= words.length) {
    id++;
    at = note(words, at, id, starts, names, fixed, each, stringBytes);
  }
  if (at !== words.length) throw new BtfError(`BTF type ${id} reaches past the end of the type section`);
  return { starts, names: names.subarray(0, id + 1), count: id };
}

/**
 * Enters one type, returns where the next begins. This runs 150,000 times in a process that has just started,
 * so it is made for being compiled soon: V8 optimises a small function that is called often before the loop
 * around it, and faster the less is in it.
 */
function note(
  words: Uint32Array,
  at: number,
  id: number,
  starts: Uint32Array,
  names: Uint32Array,
  fixed: Uint8Array,
  each: Uint8Array,
  stringBytes: number,
): number {
  const info = words[at + 1] as number;
  const name = words[at] as number;
  const kind = kindOf(info);
  const extent = fixed[kind] as number;
  if (extent === NO_EXTENT || name >= stringBytes) throw unreadable(id, kind, name, extent);
  starts[id] = at;
  names[id] = name;
  return at + HEAD_WORDS + extent + partsOf(info) * (each[kind] as number);
}

function unreadable(id: number, kind: number, name: number, extent: number): BtfError {
  if (extent === NO_EXTENT) return new BtfError(`BTF type ${id}: unknown kind ${kind}`);
  return new BtfError(`BTF type ${id}: its name is at ${name}, past the string section`);
}
