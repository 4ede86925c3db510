/** The lines of a dump, in bpftool's form. Names and source lines in them are made printable and cut here. */
import { MAX_NAME_LENGTH, printable, truncate } from '../../asm/printable.ts';
import type { SourceLine } from '../../loader/loaded.ts';
import { hex } from '../text.ts';

/** `  12: (07) r1 += 5`, a note in angle brackets where there is one, and the bytes on a line of their own where they are given. */
export function instructionLine(slot: number, text: string, bytes?: Uint8Array, note?: string): string {
  const line = `${String(slot).padStart(4)}: ${printable(text)}${note === undefined ? '' : ` <${shown(note)}>`}\n`;
  if (bytes === undefined) return line;
  return `${line}       ${hex(bytes)}\n`;
}

const LABEL = /^[A-Za-z_.$][\w.$]*$/;

/**
 * `name:`, the label of a function. A name that is not a valid label becomes a comment: `asm` could read it
 * as an instruction.
 */
export function functionLine(name: string): string {
  return LABEL.test(name) ? `${name}:\n` : `; ${shown(name)}:\n`;
}

/** `int name(void * ctx):`, the heading that bpftool gives a function with types. */
export function headingLine(signature: string): string {
  return `${shown(signature, 2048)}:\n`;
}

/** A source line, as it stands above its instructions. */
export function sourceLine({ text, file, line, column }: SourceLine): string {
  return `; ${shown(text, MAX_NAME_LENGTH, '\t')} [file:${shown(file, 4096)} line_num:${line} line_col:${column}]\n`;
}

function shown(text: string, most = MAX_NAME_LENGTH, keep = ''): string {
  return printable(truncate(text, most), keep);
}
