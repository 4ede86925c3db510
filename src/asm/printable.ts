/**
 * Foreign text, made safe for a terminal. Names, lines and words from files, other processes, the kernel and
 * the network may hold anything: escape sequences, characters that reorder or hide text, newlines that forge
 * a line.
 */

/**
 * Characters that do not print as themselves: controls (C0, DEL, C1), format characters (bidi, zero-width,
 * tags), line and paragraph separators, invisible characters, lone surrogates, and code points without a
 * character of their own.
 */
export const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

/** Text that is printable at first sight. */
const ASCII = /^[\x20-\x7e]*$/;

/** As C writes them. */
const SHORT: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/**
 * The text with its unprintable characters as escapes (`\x1b`, `\n`, `\u202e`), except the ones in `keep`.
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
 * The most characters that are read and shown of a name: the limit of the kernel's own symbols
 * (`KSYM_NAME_LEN`).
 */
export const MAX_NAME_LENGTH = 512;

/** The text, or its start and an ellipsis: at most `most` UTF-16 units. */
export function truncate(text: string, most: number): string {
  if (text.length <= most) return text;
  const end = most - 1;
  // Not between the halves of a surrogate pair.
  return `${text.slice(0, /[\ud800-\udbff]/.test(text[end - 1] ?? '') ? end - 1 : end)}…`;
}

/** The most characters of a word that a message repeats. */
const LONGEST_WORD = 64;

/** A word for a message: printable, and cut if it is long. */
export function brief(word: string): string {
  return printable(truncate(word, LONGEST_WORD));
}

/** A word for a message, in quotes. */
export function quoted(word: string): string {
  return `'${brief(word)}'`;
}
