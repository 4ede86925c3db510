/**
 * Reads ELF object files that compilers make for BPF: the sections with programs, and the names in their
 * relocations.
 *
 * Source: man 5 elf; Documentation/bpf/llvm_reloc.rst for the types of relocations.
 */

import { checkInstructions, instructionsIn } from './decode.ts';
import {
  ElfError,
  EXECUTABLE,
  fileHeader,
  SectionType,
  SYMBOL_BYTES,
  SymbolType,
  sectionHeader,
  stringAt,
  viewOf,
} from './elf/format.ts';
import { SLOT } from './encode.ts';
import type { Instruction } from './instruction.ts';
import { CALL } from './opcodes.ts';

export { ElfError, isElf } from './elf/format.ts';

/** A section with a program. */
export interface ProgramSection {
  readonly name: string;
  readonly instructions: readonly ObjectInstruction[];
}

/** An instruction of an object file. */
export interface ObjectInstruction {
  readonly slot: number;
  readonly instruction: Instruction;
  /** The functions that begin at this instruction. */
  readonly functions: readonly string[];
  /** The map, variable or function whose address a linker or loader fills in. */
  readonly symbol?: string;
}

const MACHINE_BPF = 247;
/** `Elf64_Rel`. */
const RELOCATION_BYTES = 16;

interface Section {
  readonly name: string;
  readonly type: number;
  readonly flags: bigint;
  readonly bytes: Uint8Array;
  readonly link: number;
  readonly info: number;
}

/**
 * Reads the sections with programs from an object file.
 *
 * @throws {ElfError} if the file is not a 64-bit little-endian BPF object file, or is damaged.
 * @throws {DecodeError} if a section has an invalid instruction.
 *
 * @example
 * import { readFileSync } from 'node:fs';
 * import { ElfError, instructionText, programSections } from 'tsbpf/asm';
 *
 * try {
 *   for (const { name, instructions } of programSections(readFileSync('/bin/true')))
 *     console.log(name, instructions.map(({ instruction }) => instructionText(instruction)));
 * } catch (error) {
 *   if (!(error instanceof ElfError)) throw error;
 *   console.log(error.message); // this object file is for machine 62, not for BPF (247)
 * }
 */
export function programSections(bytes: Uint8Array): ProgramSection[] {
  return codeSections(bytes).map(({ name, instructions, functionsAt }) => ({
    name,
    instructions: Array.from(instructions(), (each) => ({ ...each, functions: [...functionsAt(each.slot)] })),
  }));
}

/** A section with programs that decodes one instruction and reads one name at a time. */
export interface CodeSection {
  readonly name: string;
  readonly instructions: () => Iterable<Omit<ObjectInstruction, 'functions'>>;
  /** The names of the functions that begin at a slot. */
  readonly functionsAt: (slot: number) => Iterable<string>;
}

/**
 * Reads the sections with programs from a file of any size, with no more memory than the file itself. Names
 * are truncated to `MAX_NAME_LENGTH` characters. Throws ElfError (also for overlapping sections), and
 * DecodeError for an invalid instruction.
 */
export function codeSections(bytes: Uint8Array): CodeSection[] {
  const sections = readSections(bytes);
  const symbols = new SymbolTable(sections);
  const relocations = new Map<number, Section>();
  for (const section of sections)
    if (section.type === SectionType.relocations && !relocations.has(section.info))
      relocations.set(section.info, section);
  return sections.flatMap((section, index) => {
    if (!holdsProgram(section)) return [];
    checkInstructions(section.bytes);
    return [codeSection(section, index, symbols, relocations.get(index))];
  });
}

function holdsProgram({ type, flags, bytes }: Section): boolean {
  return type === SectionType.program && (flags & EXECUTABLE) !== 0n && bytes.length > 0;
}

function readSections(bytes: Uint8Array): Section[] {
  const { machine, sections, names: named } = fileHeader(bytes);
  if (machine !== MACHINE_BPF)
    throw new ElfError(`this object file is for machine ${machine}, not for BPF (${MACHINE_BPF})`);
  const { start, size, count } = sections;
  if (size < 64 || start + size * count > bytes.length)
    throw new ElfError(`the section headers (${count} from byte ${start}) are outside the file`);
  const view = viewOf(bytes);
  let total = 0;
  const headers = Array.from({ length: count }, (_, index) => {
    const { name, type, flags, offset, size: length, link, info } = sectionHeader(view, start + size * index);
    const isEmpty = type === SectionType.none || type === SectionType.noBits;
    if (!isEmpty && offset + length > BigInt(bytes.length))
      throw new ElfError(`section ${index} ends past the end of the file`);
    if (!isEmpty) total += Number(length);
    const content = isEmpty ? new Uint8Array() : bytes.subarray(Number(offset), Number(offset + length));
    return { name, type, flags, bytes: content, link, info };
  });
  if (total > bytes.length)
    throw new ElfError(`its sections overlap: they total ${total} bytes, the file has ${bytes.length}`);
  const names = headers[named]?.bytes ?? new Uint8Array();
  return headers.map((header) => ({ ...header, name: stringAt(names, header.name) }));
}

/** The symbols of a file, read from its bytes on demand. */
class SymbolTable {
  readonly #sections: readonly Section[];
  readonly #view: DataView;
  readonly #names: Uint8Array;
  /**
   * By section, the first function at each slot; and for each function, the next one at the same slot. Both
   * are numbers of symbols, from 1.
   */
  readonly #firstAt = new Map<number, Uint32Array>();
  readonly #next: Uint32Array;

  constructor(sections: readonly Section[]) {
    const table = sections.find(({ type }) => type === SectionType.symbols);
    this.#sections = sections;
    this.#view = viewOf(table?.bytes ?? new Uint8Array());
    this.#names = (table && sections[table.link]?.bytes) ?? new Uint8Array();
    for (const [index, section] of sections.entries())
      if (holdsProgram(section))
        this.#firstAt.set(index, new Uint32Array(Math.ceil(section.bytes.length / SLOT)));
    const count = Math.floor(this.#view.byteLength / SYMBOL_BYTES);
    this.#next = new Uint32Array(count + 1);
    // Backward, so that the functions of a slot are listed in order.
    for (let index = count - 1; index >= 0; index--) {
      if (this.#kind(index) !== SymbolType.function) continue;
      const first = this.#firstAt.get(this.#section(index));
      const slot = this.#value(index) / SLOT;
      if (first === undefined || !Number.isInteger(slot) || slot >= first.length) continue;
      this.#next[index + 1] = first[slot] as number;
      first[slot] = index + 1;
    }
  }

  /** The names of the functions that begin at a slot of a section. */
  *functionsAt(section: number, slot: number): Generator<string> {
    let number = this.#firstAt.get(section)?.[slot] ?? 0;
    for (; number > 0; number = this.#next[number] as number) yield this.#name(number - 1);
  }

  /**
   * The name that an instruction refers to by the number of a symbol; undefined if there is no such symbol.
   * The symbol of a section stands for the function, or otherwise the byte, at the instruction's offset into
   * the section.
   */
  nameIn(index: number, { opcode, imm }: Instruction): string | undefined {
    if (index >= this.#next.length - 1) return undefined;
    const name = this.#name(index);
    if (this.#kind(index) !== SymbolType.section) return name;
    const section = this.#section(index);
    const ofSection = name === '' ? (this.#sections[section]?.name ?? '') : name;
    const at = opcode === CALL ? (imm + 1) * SLOT : imm;
    const [inside] = this.functionsAt(section, at / SLOT);
    return inside ?? (at === 0 ? ofSection : `${ofSection}+${at}`);
  }

  #name(index: number): string {
    return stringAt(this.#names, this.#view.getUint32(index * SYMBOL_BYTES, true));
  }

  #kind(index: number): number {
    return this.#view.getUint8(index * SYMBOL_BYTES + 4) & 15;
  }

  #section(index: number): number {
    return this.#view.getUint16(index * SYMBOL_BYTES + 6, true);
  }

  #value(index: number): number {
    return Number(this.#view.getBigUint64(index * SYMBOL_BYTES + 8, true));
  }
}

function codeSection(
  section: Section,
  index: number,
  symbols: SymbolTable,
  relocations: Section | undefined,
): CodeSection {
  return {
    name: section.name,
    functionsAt: (slot) => symbols.functionsAt(index, slot),
    *instructions() {
      const named = symbolsBySlot(section, relocations);
      for (const { slot, instruction } of instructionsIn(section.bytes)) {
        const number = named[slot] as number;
        const symbol = number === 0 ? undefined : symbols.nameIn(number - 1, instruction);
        yield symbol === undefined ? { slot, instruction } : { slot, instruction, symbol };
      }
    },
  };
}

/** For each slot of a section, the number of the symbol in its relocation, from 1; 0 without a relocation. */
function symbolsBySlot(section: Section, relocations: Section | undefined): Uint32Array {
  const named = new Uint32Array(Math.ceil(section.bytes.length / SLOT));
  if (relocations === undefined) return named;
  const view = viewOf(relocations.bytes);
  for (let at = 0; at + RELOCATION_BYTES <= view.byteLength; at += RELOCATION_BYTES) {
    const slot = Number(view.getBigUint64(at, true)) / SLOT;
    if (Number.isInteger(slot) && slot < named.length) named[slot] = view.getUint32(at + 12, true) + 1;
  }
  return named;
}
