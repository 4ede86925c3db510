/**
 * The functions of an executable or a shared library, by their addresses.
 *
 * Source: man 5 elf.
 */
import { countLeading } from '../count-leading.ts';
import {
  EXECUTABLE,
  fileHeader,
  HEADER_BYTES,
  type Headers,
  type SectionHeader,
  SectionType,
  SYMBOL_BYTES,
  SymbolType,
  sectionHeader,
  stringAt,
  viewOf,
} from './format.ts';

/** Reads `length` bytes at an offset of a file, or fewer at its end. */
export type ReadAt = (offset: number, length: number) => Uint8Array;

/** A function, and the distance of an address from its start in bytes. */
export interface FunctionAt {
  readonly name: string;
  readonly offset: number;
}

/** The largest table of symbols or of their names that is read, in bytes. */
const LARGEST = 128 << 20;
/** How many functions before an address are searched for one that contains it: functions may nest. */
const NESTED = 16;

/** A part of the file that is loaded into memory. */
interface Segment {
  readonly offset: number;
  readonly size: number;
  readonly address: number;
}

/**
 * The functions of a file, sorted by address. Numbers are exact: addresses in files are far below 2^53, and
 * others are left out.
 */
export class FunctionTable {
  readonly #segments: readonly Segment[];
  readonly #starts: Float64Array;
  readonly #ends: Float64Array;
  /** The offset of each name in `#names`. */
  readonly #nameAt: Uint32Array;
  readonly #names: Uint8Array;

  /**
   * Reads the headers and the symbols of a file: those of `.symtab`, or `.dynsym` in a stripped file.
   * @throws {ElfError} if it is no 64-bit little-endian ELF file. Damaged tables are ignored.
   */
  constructor(read: ReadAt) {
    const header = fileHeader(read(0, HEADER_BYTES));
    this.#segments = segmentsOf(read, header.segments);
    const sections = sectionsOf(read, header.sections);
    const { symbols, names } = symbolsOf(read, sections);
    const { starts, ends, nameAt, ranks } = functionsIn(viewOf(symbols), names, sections);
    const rank = (index: number) => ranks[index] as number;
    const start = (index: number) => starts[index] as number;
    const order = Uint32Array.from(starts, (_, index) => index).sort(
      (a, b) => start(a) - start(b) || rank(a) - rank(b) || a - b,
    );
    this.#starts = Float64Array.from(order, start);
    this.#ends = Float64Array.from(order, (index) => ends[index] as number);
    this.#nameAt = Uint32Array.from(order, (index) => nameAt[index] as number);
    this.#names = names;
  }

  /** The number of functions. */
  get size(): number {
    return this.#starts.length;
  }

  /** The address, as the file's headers count, of the byte at an offset of the file. */
  addressOf(offset: number): number | undefined {
    const segment = this.#segments.find((each) => offset >= each.offset && offset < each.offset + each.size);
    return segment && offset - segment.offset + segment.address;
  }

  /** The function that contains an address, as `addressOf` returns it. */
  at(address: number): FunctionAt | undefined {
    const starts = this.#starts;
    const last = countLeading(starts.length, (index) => (starts[index] as number) <= address) - 1;
    for (let index = last; index >= 0 && index > last - NESTED; index--) {
      if ((this.#ends[index] as number) <= address) continue;
      const start = starts[index] as number;
      let first = index;
      while (starts[first - 1] === start && (this.#ends[first - 1] as number) > address) first--;
      return { name: stringAt(this.#names, this.#nameAt[first] as number), offset: address - start };
    }
    return undefined;
  }
}

/** Reads a table of headers. Empty if the file does not contain it. */
function headersOf(read: ReadAt, { start, size, count }: Headers, least: number): DataView[] {
  if (size < least || size * count > LARGEST) return [];
  const bytes = read(start, size * count);
  if (bytes.length < size * count) return [];
  return Array.from({ length: count }, (_, index) =>
    viewOf(bytes.subarray(size * index, size * (index + 1))),
  );
}

function segmentsOf(read: ReadAt, headers: Headers): Segment[] {
  const [SEGMENT_BYTES, LOAD] = [56, 1];
  return headersOf(read, headers, SEGMENT_BYTES)
    .filter((view) => view.getUint32(0, true) === LOAD)
    .map((view) => ({
      offset: Number(view.getBigUint64(8, true)),
      address: Number(view.getBigUint64(16, true)),
      size: Number(view.getBigUint64(32, true)),
    }));
}

function sectionsOf(read: ReadAt, headers: Headers): SectionHeader[] {
  return headersOf(read, headers, 64).map((view) => sectionHeader(view, 0));
}

/** The table of symbols and their names. */
function symbolsOf(
  read: ReadAt,
  sections: readonly SectionHeader[],
): { readonly symbols: Uint8Array; readonly names: Uint8Array } {
  const content = (section: SectionHeader | undefined) =>
    section === undefined || section.size > LARGEST
      ? new Uint8Array()
      : read(Number(section.offset), Number(section.size));
  for (const type of [SectionType.symbols, SectionType.dynamicSymbols]) {
    const table = sections.find((each) => each.type === type && each.size > 0);
    if (table) return { symbols: content(table), names: content(sections[table.link]) };
  }
  return { symbols: content(undefined), names: content(undefined) };
}

/** The functions of a table of symbols, in its order: a list for each property. */
interface Found {
  readonly starts: readonly number[];
  readonly ends: readonly number[];
  readonly nameAt: readonly number[];
  /** Of several names for one address, the one with the lowest rank counts: global names come first. */
  readonly ranks: readonly number[];
}

function functionsIn(view: DataView, names: Uint8Array, sections: readonly SectionHeader[]): Found {
  const starts: number[] = [];
  const ends: number[] = [];
  const namesAt: number[] = [];
  const ranks: number[] = [];
  const code = sections.map(({ flags, address, size }) =>
    (flags & EXECUTABLE) === 0n ? undefined : Number(address + size),
  );
  for (let at = 0; at + SYMBOL_BYTES <= view.byteLength; at += SYMBOL_BYTES) {
    const info = view.getUint8(at + 4);
    const type = info & 15;
    const isFunction = type === SymbolType.function || type === SymbolType.indirectFunction;
    if (!isFunction && type !== SymbolType.none) continue;
    // A label of assembler code has no type.
    const end = code[view.getUint16(at + 6, true)];
    const nameAt = view.getUint32(at, true);
    const first = names[nameAt] ?? 0;
    const start = numberAt(view, at + 8);
    if (end === undefined || first === 0 || !Number.isSafeInteger(start)) continue;
    // Such names mark data and code on arm64.
    if (!isFunction && first === DOLLAR) continue;
    // Assembler code may not declare its size: it ends with its section, or where another function starts.
    const size = numberAt(view, at + 16);
    const binding = info >> 4;
    starts.push(start);
    ends.push(size > 0 ? start + size : end);
    namesAt.push(nameAt);
    ranks.push((isFunction ? 0 : 4) + (binding === GLOBAL ? 0 : binding === LOCAL ? 2 : 1));
  }
  return { starts, ends, nameAt: namesAt, ranks };
}

const DOLLAR = 36;
/** `STB_*`. */
const [LOCAL, GLOBAL] = [0, 1];

/** A 64-bit number, rounded beyond 2^53. */
function numberAt(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
}
