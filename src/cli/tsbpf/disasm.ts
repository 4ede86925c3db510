/** `tsbpf disasm`: bytes to text, as raw bytes, as hexadecimal, or in the sections of an object file. */
import { destinationOf } from '../../asm/assemble.ts';
import { DecodeError, decode } from '../../asm/decode.ts';
import { disassemble } from '../../asm/disassemble.ts';
import { ElfError, isElf, type ObjectInstruction, programSections } from '../../asm/elf.ts';
import { encode, slotsOf } from '../../asm/encode.ts';
import type { Instruction } from '../../asm/instruction.ts';
import { formOf } from '../../asm/isa.ts';
import type { Request } from './arguments.ts';
import { pathOf, readWhole } from './file.ts';
import { instructionLine } from './lines.ts';

export function disasm(request: Extract<Request, { action: 'disasm' }>): void {
  const bytes = readWhole(request.file);
  try {
    process.stdout.write(isElf(bytes) ? ofObject(bytes, request) : ofBytes(bytes, request));
  } catch (error) {
    if (error instanceof Error) error.message = `${pathOf(request.file)}: ${error.message}`;
    throw error;
  }
}

function ofBytes(bytes: Uint8Array, { section, opcodes }: { section?: string; opcodes: boolean }): string {
  if (section !== undefined) throw new ElfError('only an object file has sections');
  const text = Buffer.from(bytes).toString('latin1');
  const hex = text.replace(/0x|[\s,:]/g, '');
  const raw = /^[0-9a-fA-F]+$/.test(hex) && hex.length % 2 === 0 ? Buffer.from(hex, 'hex') : bytes;
  if (bytes.length === 0) throw new DecodeError('the file is empty: there is no instruction in it');
  // No program is: each ends with a byte that isn't, and most have zeros.
  if (raw === bytes && /^[\x20-\x7e\s]*$/.test(text))
    throw new DecodeError('this is text, and neither bytes nor hexadecimal: tsbpf asm reads it');
  let slot = 0;
  return decode(raw)
    .map((instruction) => {
      const line = textLine(slot, instruction, opcodes);
      slot += slotsOf(instruction);
      return line;
    })
    .join('');
}

function ofObject(bytes: Uint8Array, { section, opcodes }: { section?: string; opcodes: boolean }): string {
  const sections = programSections(bytes);
  const chosen = sections.filter(({ name }) => section === undefined || name === section);
  if (chosen.length === 0) {
    const names = sections.map(({ name }) => name).join(', ');
    throw new ElfError(
      section === undefined
        ? 'no section of it holds programs'
        : `no section '${section}' with a program; there are: ${names || 'none'}`,
    );
  }
  return chosen
    .map(
      ({ name, instructions }) =>
        `; section ${name}\n${instructions.map((each) => objectLine(each, instructions, opcodes)).join('')}`,
    )
    .join('\n');
}

function objectLine(
  { slot, instruction, functions, symbol }: ObjectInstruction,
  all: readonly ObjectInstruction[],
  opcodes: boolean,
): string {
  const target = symbol ?? functionAt(instruction, slot, all);
  return [
    ...functions.map((name) => `${name}:\n`),
    textLine(slot, instruction, opcodes, target === undefined ? undefined : target),
  ].join('');
}

/** The function that a call without a relocation goes to. */
function functionAt(
  instruction: Instruction,
  slot: number,
  all: readonly ObjectInstruction[],
): string | undefined {
  if (formOf(instruction)?.flow !== 'call') return undefined;
  const to = destinationOf(slot, instruction);
  return all.find((other) => other.slot === to)?.functions[0];
}

function textLine(slot: number, instruction: Instruction, opcodes: boolean, note?: string): string {
  return instructionLine(slot, disassemble(instruction), opcodes ? encode(instruction) : undefined, note);
}
