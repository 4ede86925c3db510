/**
 * Makes foreign text safe for a terminal. Names, lines and words from files, other processes, the kernel and
 * the network may contain escape sequences, characters that reorder or hide text, and newlines that forge a
 * line.
 */

/**
 * Characters that do not print as themselves: controls (C0, DEL, C1), format characters (bidi, zero-width,
 * tags), line and paragraph separators, invisible characters, lone surrogates, and unassigned code points.
 */
export const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

/** Text that needs no escape: the common case. */
const ASCII = /^[\x20-\x7e]*$/;

/** Escapes as in C. */
const SHORT: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/**
 * Returns the text with its unprintable characters as escapes (`\x1b`, `\n`, `\u202e`), except the characters
 * in `keep`.
 */
export function printable(text: string, keep = ''): string {
  if (ASCII.test(text)) return text;
  return text.replace(UNPRINTABLE, (character) =>
    keep.includes(character) ? character : escaped(character),
  );
}

function escaped(character: string): string {
  const code = character.codePointAt(0) as number;
  const hex = code.toString(16);
  if (code > 0xffff) return `\\u{${hex}}`;
  return SHORT[character] ?? (code > 0xff ? `\\u${hex.padStart(4, '0')}` : `\\x${hex.padStart(2, '0')}`);
}

/**
 * The maximum number of characters of a name that are read and shown: the limit of the kernel's own symbols
 * (`KSYM_NAME_LEN`).
 */
export const MAX_NAME_LENGTH = 512;

/** Returns the text, or its start and an ellipsis: at most `limit` UTF-16 units. */
export function truncate(text: string, limit: number): string {
  if (text.length <= limit) return text;
  const end = limit - 1;
  // Do not split a surrogate pair.
  return `${text.slice(0, /[\ud800-\udbff]/.test(text[end - 1] ?? '') ? end - 1 : end)}…`;
}

/** The maximum number of characters of a word in a message. */
const MAX_WORD_LENGTH = 64;

/** A word for a message: printable, and truncated if it is long. */
export function brief(word: string): string {
  return printable(truncate(word, MAX_WORD_LENGTH));
}

/** A word for a message, in quotes. */
export function quoted(word: string): string {
  return `'${brief(word)}'`;
}

/** Bytes as hexadecimal numbers: `b7 00`. */
export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
}
