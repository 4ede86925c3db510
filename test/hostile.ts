/** Hostile text and its escaped form. */
import * as assert from 'uvu/assert';

/**
 * One character of every kind that a terminal interprets or that is invisible. Without / and NUL, so that it
 * is a valid file name.
 */
export const HOSTILE =
  'h\x1b]0;pwn\x07\x1b[31m\n; forged line\r\b\v\x7f\x85\x9b2J\xad\u061c\u200b\u200e\u202e\u2028\u2029\u2066\ufeff\ufff9\u{e0041}\u{f0000}';

/** The same text as escaped for a terminal. */
export const ESCAPED =
  'h\\x1b]0;pwn\\x07\\x1b[31m\\n; forged line\\r\\x08\\x0b\\x7f\\x85\\x9b2J\\xad\\u061c\\u200b\\u200e\\u202e\\u2028\\u2029\\u2066\\ufeff\\ufff9\\u{e0041}\\u{f0000}';

const UNSAFE = /[\p{C}\p{Zl}\p{Zp}]/gu;

/** Asserts valid UTF-8 without characters that a terminal interprets, except newlines and tabs. */
export function assertSafe(bytes: Uint8Array | string, what: string): void {
  const text = typeof bytes === 'string' ? bytes : new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  const found = [...text.matchAll(UNSAFE)].filter(([character]) => character !== '\n' && character !== '\t');
  assert.equal(
    found.map(([character]) => character.codePointAt(0)?.toString(16)),
    [],
    `${what}: ${JSON.stringify(text.slice(0, 500))}`,
  );
}
