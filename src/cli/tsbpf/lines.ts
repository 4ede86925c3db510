/** A line of a dump, in bpftool's form. */
import { hex } from '../text.ts';

/** `  12: (07) r1 += 5`, a note in angle brackets where there is one, and the bytes on a line of their own where they are given. */
export function instructionLine(slot: number, text: string, bytes?: Uint8Array, note?: string): string {
  const line = `${String(slot).padStart(4)}: ${text}${note === undefined ? '' : ` <${note}>`}\n`;
  if (bytes === undefined) return line;
  return `${line}       ${hex(bytes)}\n`;
}
