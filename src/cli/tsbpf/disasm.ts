/** `tsbpf disasm`: disassembles raw bytes, hexadecimal, or the sections of an object file. */
import { destinationOf } from '../../asm/assemble.ts';
import { checkInstructions, DecodeError, instructionsIn } from '../../asm/decode.ts';
import { disassemble } from '../../asm/disassemble.ts';
import { type CodeSection, codeSections, ElfError, isElf } from '../../asm/elf.ts';
import { encode } from '../../asm/encode.ts';
import type { Instruction } from '../../asm/instruction.ts';
import { formOf } from '../../asm/isa.ts';
import { brief, printable, quoted } from '../../asm/printable.ts';
import type { Request } from './arguments.ts';
import { bytesOfHex } from './hexadecimal.ts';
import { pathOf, printAll, readWhole } from './io.ts';
import { functionLine, instructionLine } from './lines.ts';

export function disasm(request: Extract<Request, { action: 'disasm' }>): void {
  const bytes = readWhole(request.file);
  printAll(withPath(request.file, () => (isElf(bytes) ? ofObject(bytes, request) : ofBytes(bytes, request))));
}

/**
 * Runs `work`, which checks the whole file before anything is printed, and adds the path of the file to its
 * errors.
 */
function withPath<T>(file: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof DecodeError || error instanceof ElfError)
      error.message = `${pathOf(file)}: ${error.message}`;
    throw error;
  }
}

type Options = Pick<Extract<Request, { action: 'disasm' }>, 'section' | 'opcodes'>;

function ofBytes(bytes: Uint8Array, { section, opcodes }: Options): Iterable<string> {
  if (section !== undefined) throw new ElfError('--section needs an object file, and this file is not one');
  if (bytes.length === 0) throw new DecodeError('the file is empty');
  const fromHex = bytesOfHex(bytes);
  // A program is never text: its last instruction contains bytes that are not printable.
  if (fromHex === undefined && bytes.every(isText))
    throw new DecodeError('this is text, neither bytes nor hexadecimal; use tsbpf asm');
  const raw = fromHex ?? bytes;
  checkInstructions(raw);
  return textLines(raw, opcodes);
}

/** Whether a byte is printable ASCII or white space. */
function isText(byte: number): boolean {
  return (byte >= 0x20 && byte <= 0x7e) || (byte >= 0x09 && byte <= 0x0d) || byte === 0xa0;
}

function* textLines(bytes: Uint8Array, opcodes: boolean): Generator<string> {
  for (const { slot, instruction } of instructionsIn(bytes)) yield textLine(slot, instruction, opcodes);
}

/** The most sections that a message lists. */
const MAX_NAMES = 20;

function ofObject(bytes: Uint8Array, { section, opcodes }: Options): Iterable<string> {
  const sections = codeSections(bytes);
  // Also accept the printed form of a name with unprintable characters.
  const chosen = sections.filter(
    ({ name }) => section === undefined || name === section || printable(name) === section,
  );
  if (chosen.length === 0) {
    const names = sections.slice(0, MAX_NAMES).map(({ name }) => brief(name));
    if (sections.length > MAX_NAMES) names.push(`… ${sections.length} in total`);
    throw new ElfError(
      section === undefined
        ? 'no section contains a program'
        : `no section ${quoted(section)} with a program; sections with programs: ${names.join(', ') || 'none'}`,
    );
  }
  return sectionLines(chosen, opcodes);
}

function* sectionLines(sections: readonly CodeSection[], opcodes: boolean): Generator<string> {
  for (const [index, section] of sections.entries()) {
    yield `${index === 0 ? '' : '\n'}; section ${printable(section.name)}\n`;
    for (const { slot, instruction, symbol } of section.instructions()) {
      for (const name of section.functionsAt(slot)) yield functionLine(name);
      yield textLine(slot, instruction, opcodes, symbol ?? calledFunction(section, instruction, slot));
    }
  }
}

/** The name of the function that a call without a relocation refers to. */
function calledFunction(section: CodeSection, instruction: Instruction, slot: number): string | undefined {
  if (formOf(instruction)?.flow !== 'call') return undefined;
  const [name] = section.functionsAt(destinationOf(slot, instruction) ?? -1);
  return name;
}

function textLine(slot: number, instruction: Instruction, opcodes: boolean, note?: string): string {
  return instructionLine(slot, disassemble(instruction), opcodes ? encode(instruction) : undefined, note);
}
