/**
 * Object files that a compiler made for BPF: the sections with programs in them, and what their relocations name.
 *
 * Source: man 5 elf; Documentation/bpf/llvm_reloc.rst for the types of relocations.
 */
import { decode } from './decode.ts';
import { slotsOf } from './encode.ts';
import type { Instruction } from './instruction.ts';
import { CALL } from './opcodes.ts';

/** A file that is no object file for BPF, or a damaged one. */
export class ElfError extends Error {
  override readonly name = 'ElfError';
}

/** A section with instructions. */
export interface ProgramSection {
  readonly name: string;
  readonly instructions: readonly ObjectInstruction[];
}

/** An instruction of an object file. */
export interface ObjectInstruction {
  readonly slot: number;
  readonly instruction: Instruction;
  /** The functions that begin here. */
  readonly functions: readonly string[];
  /** What a linker or loader is to fill in: the map, variable or function whose address goes here. */
  readonly symbol?: string;
}

const MACHINE_BPF = 247;
const [TYPE_PROGRAM, TYPE_SYMBOLS, TYPE_RELOCATIONS] = [1, 2, 9];
const FLAG_EXECUTABLE = 4n;
const SYMBOL_FUNCTION = 2;
const SYMBOL_SECTION = 3;

interface Section {
  readonly name: string;
  readonly type: number;
  readonly flags: bigint;
  readonly bytes: Uint8Array;
  readonly link: number;
  readonly info: number;
}

interface Symbol {
  readonly name: string;
  readonly kind: number;
  readonly section: number;
  readonly value: number;
}

/** Whether a file begins as object files do. */
export function isElf(bytes: Uint8Array): boolean {
  return bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;
}

/** The sections of an object file that hold programs. Throws ElfError, and DecodeError where a section isn't made of instructions. */
export function programSections(bytes: Uint8Array): ProgramSection[] {
  const sections = readSections(bytes);
  const table = sections.find(({ type }) => type === TYPE_SYMBOLS);
  const symbols = table === undefined ? [] : readSymbols(table, sections);
  return sections.flatMap((section, index) => {
    if (section.type !== TYPE_PROGRAM || (section.flags & FLAG_EXECUTABLE) === 0n) return [];
    if (section.bytes.length === 0) return [];
    const relocations = sections.find(({ type, info }) => type === TYPE_RELOCATIONS && info === index);
    return [readProgram(section, index, symbols, relocations)];
  });
}

function readSections(bytes: Uint8Array): Section[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (!isElf(bytes) || bytes.length < 64) throw new ElfError('this is no ELF file');
  if (bytes[4] !== 2 || bytes[5] !== 1) throw new ElfError('only 64-bit little-endian object files are read');
  const machine = view.getUint16(18, true);
  if (machine !== MACHINE_BPF)
    throw new ElfError(`this object file is for machine ${machine}, not for BPF (${MACHINE_BPF})`);
  const start = Number(view.getBigUint64(40, true));
  const size = view.getUint16(58, true);
  const count = view.getUint16(60, true);
  if (size < 64 || start + size * count > bytes.length)
    throw new ElfError(`the section headers (${count} from byte ${start}) are not in the file`);
  const headers = Array.from({ length: count }, (_, index) => {
    const at = start + size * index;
    const type = view.getUint32(at + 4, true);
    const [offset, length] = [view.getBigUint64(at + 24, true), view.getBigUint64(at + 32, true)];
    // SHT_NOBITS, as .bss, takes no room in the file.
    if (type !== 8 && offset + length > BigInt(bytes.length))
      throw new ElfError(`section ${index} ends past the end of the file`);
    return {
      name: view.getUint32(at, true),
      type,
      flags: view.getBigUint64(at + 8, true),
      bytes: type === 8 ? new Uint8Array() : bytes.subarray(Number(offset), Number(offset + length)),
      link: view.getUint32(at + 40, true),
      info: view.getUint32(at + 44, true),
    };
  });
  const names = headers[view.getUint16(62, true)]?.bytes ?? new Uint8Array();
  return headers.map((header) => ({ ...header, name: stringAt(names, header.name) }));
}

function readSymbols(table: Section, sections: readonly Section[]): Symbol[] {
  const names = sections[table.link]?.bytes ?? new Uint8Array();
  return recordsOf(table, 24).map((record) => {
    const section = record.getUint16(6, true);
    const kind = record.getUint8(4) & 15;
    const name = stringAt(names, record.getUint32(0, true));
    return {
      name: kind === SYMBOL_SECTION && name === '' ? (sections[section]?.name ?? '') : name,
      kind,
      section,
      value: Number(record.getBigUint64(8, true)),
    };
  });
}

function readProgram(
  section: Section,
  index: number,
  symbols: readonly Symbol[],
  relocations: Section | undefined,
): ProgramSection {
  const own = symbols.filter((symbol) => symbol.section === index && symbol.kind === SYMBOL_FUNCTION);
  const named = new Map<number, Symbol>();
  for (const record of relocations === undefined ? [] : recordsOf(relocations, 16)) {
    const symbol = symbols[Number(record.getBigUint64(8, true) >> 32n)];
    if (symbol) named.set(Number(record.getBigUint64(0, true)) / 8, symbol);
  }
  let slot = 0;
  const instructions = decode(section.bytes).map((instruction) => {
    const functions = own.filter(({ value }) => value === slot * 8).map(({ name }) => name);
    const symbol = named.get(slot);
    const here = { slot, instruction, functions };
    slot += slotsOf(instruction);
    return symbol === undefined ? here : { ...here, symbol: nameIn(symbol, instruction, symbols) };
  });
  return { name: section.name, instructions };
}

/** What is meant by a symbol: of a whole section, the function or the byte in it that the instruction counts to. */
function nameIn(symbol: Symbol, { opcode, imm }: Instruction, symbols: readonly Symbol[]): string {
  if (symbol.kind !== SYMBOL_SECTION) return symbol.name;
  const at = opcode === CALL ? (imm + 1) * 8 : imm;
  const inside = symbols.find(
    ({ kind, section, value }) => kind === SYMBOL_FUNCTION && section === symbol.section && value === at,
  );
  return inside?.name ?? (at === 0 ? symbol.name : `${symbol.name}+${at}`);
}

function recordsOf({ bytes }: Section, size: number): DataView[] {
  return Array.from(
    { length: Math.floor(bytes.length / size) },
    (_, index) => new DataView(bytes.buffer, bytes.byteOffset + index * size, size),
  );
}

function stringAt(bytes: Uint8Array, at: number): string {
  const end = bytes.indexOf(0, at);
  return Buffer.from(bytes.subarray(at, end < 0 ? undefined : end)).toString('utf8');
}
