/**
 * Names of threads as text. A name is any bytes but NUL: it may be cut in the middle of a character, and it
 * may be empty.
 *
 * The programs' events have names without loss: a byte that is not UTF-8 is a lone surrogate (`chars`). The
 * text of such a byte is `\xNN`. So that each text is one name, a backslash before what looks like such an
 * escape is `\x5c`, and the first quote of a name that looks like a quoted blank is `\x27`.
 */
import { bytesText } from '../asm/layout/text.ts';
import { cell } from './text.ts';
import { fitting } from './width.ts';

const ESCAPED = /[\udc80-\udcff]|\\(?=x[\da-fA-F]{2})|^'(?=\s*'$)/gu;
const ESCAPE = /\\x([\da-fA-F]{2})/g;
/** The characters and escapes of a text. */
const PARTS = /\\x[\da-f]{2}|[\s\S]/gu;
const QUOTED_BLANK = /^'(\s*)'$/u;

/** The text of a name, as JSON has it. */
export function threadNameText(name: string): string {
  // The lower byte of a surrogate is the byte that it stands for.
  return name.replace(ESCAPED, (part) => `\\x${(part.charCodeAt(0) & 0xff).toString(16)}`);
}

/** A cell with the text of a name, at most `columns` wide. A name without visible characters is in quotes. */
export function threadNameCell(text: string, columns: number): string {
  const shown = cell(text);
  return fitting((shown.trim() === '' ? `'${shown}'` : shown).match(PARTS) ?? [], columns);
}

/** The bytes of a name, by its text or its whole cell. */
export function threadNameBytes(text: string): Uint8Array {
  const visible = QUOTED_BLANK.exec(text)?.[1] ?? text;
  const octets = Buffer.from(visible).toString('latin1');
  return Buffer.from(
    octets.replace(ESCAPE, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16))),
    'latin1',
  );
}

/** The name, by its text or its whole cell. */
export function threadName(text: string): string {
  return bytesText(threadNameBytes(text));
}
