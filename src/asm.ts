/**
 * Assembles, disassembles and parses single eBPF instructions, and reads programs from ELF object files.
 *
 * Nothing here needs a kernel or root.
 *
 * @module tsbpf/asm
 */
// biome-ignore-all assist/source/organizeImports: in the order in which a reader meets them

export * from './asm/registers.ts';
export * from './asm/constructors.ts';
export {
  type Instruction,
  type Item,
  isLabel,
  type Label,
  type Reference,
  type Register,
  type SubprogramCode,
} from './asm/instruction.ts';
export {
  type Assembled,
  AssembleError,
  assemble,
  type MapReference,
  type AssembledInstruction,
  ReachError,
} from './asm/assemble.ts';
export { encode } from './asm/encode.ts';
export { DecodeError, decode } from './asm/decode.ts';
export { disassemble, instructionText } from './asm/disassemble.ts';
export { type Parsed, parseProgram, TextError } from './asm/text/parse.ts';
export { ElfError, type ObjectInstruction, type ProgramSection, programSections } from './asm/elf.ts';
export { type LineTable, type Locate, type Location, locate, type Position } from './asm/position.ts';
export {
  assembleClassic,
  BPF_JUMP,
  BPF_STMT,
  Classic,
  type ClassicInstruction,
} from './asm/classic.ts';
export { type JumpTableSpec, jumpTable, jumpThrough } from './asm/jump-table.ts';
