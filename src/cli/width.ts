/**
 * The width of text on a terminal. Wide characters (CJK, most emoji) take two columns, combining marks none.
 */
import { eastAsianWidth } from 'get-east-asian-width';

/** Text that takes a column for each character: the common case. */
const ASCII = /^[\x20-\x7e]*$/;

/** Marks above, below or around the character before them, and the vowels and finals of Korean syllables. */
const COMBINING = /^[\p{Mn}\p{Me}\u1160-\u11ff\ud7b0-\ud7ff]$/u;

/** The number of columns of a printable text. */
export function columnsOf(text: string): number {
  if (ASCII.test(text)) return text.length;
  let columns = 0;
  for (const character of text) columns += widthOf(character);
  return columns;
}

function widthOf(character: string): number {
  return COMBINING.test(character) ? 0 : eastAsianWidth(character.codePointAt(0) as number);
}

/** Appends spaces to a printable text until it takes `columns`. */
export function padded(text: string, columns: number): string {
  return text + ' '.repeat(Math.max(columns - columnsOf(text), 0));
}

/** The parts of the text that fit in `columns`, from the first part on. */
export function fitting(parts: Iterable<string>, columns: number): string {
  let text = '';
  let free = columns;
  for (const part of parts) {
    free -= columnsOf(part);
    if (free < 0) break;
    text += part;
  }
  return text;
}
