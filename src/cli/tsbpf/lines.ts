/** The lines of a dump in bpftool's form. Names and source lines are escaped and truncated. */
import { hex, MAX_NAME_LENGTH, printable, truncate } from '../../asm/printable.ts';
import type { SourceLine } from '../../loader/loaded.ts';

/** An instruction: `  12: (07) r1 += 5 <note>`, and its bytes on a line of their own. */
export function instructionLine(slot: number, text: string, bytes?: Uint8Array, note?: string): string {
  const line = `${String(slot).padStart(4)}: ${printable(text)}${note === undefined ? '' : ` <${safe(note)}>`}\n`;
  if (bytes === undefined) return line;
  return `${line}       ${hex(bytes)}\n`;
}

const LABEL = /^[A-Za-z_.$][\w.$]*$/;

/**
 * The label of a function, `name:`. A name that is not a valid label becomes a comment, because `asm` might
 * read it as an instruction.
 */
export function functionLine(name: string): string {
  return LABEL.test(name) ? `${name}:\n` : `; ${safe(name)}:\n`;
}

/** The heading of a function with BTF: `int name(void * ctx):`. */
export function headingLine(signature: string): string {
  return `${safe(signature, 2048)}:\n`;
}

/** A source line, printed before its instructions. */
export function sourceLine({ text, file, line, column }: SourceLine): string {
  return `; ${safe(text, MAX_NAME_LENGTH, '\t')} [file:${safe(file, 4096)} line_num:${line} line_col:${column}]\n`;
}

function safe(text: string, most = MAX_NAME_LENGTH, keep = ''): string {
  return printable(truncate(text, most), keep);
}
