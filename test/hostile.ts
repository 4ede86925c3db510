/** Hostile text, and what of it may reach a terminal. */
import * as assert from 'uvu/assert';

/**
 * A character of every kind that a terminal acts on or nobody sees; without / and NUL, so that a file can be
 * called so.
 */
export const HOSTILE =
  'h\x1b]0;pwn\x07\x1b[31m\n; forged line\r\b\v\x7f\x85\x9b2J\xad\u061c\u200b\u200e\u202e\u2028\u2029\u2066\ufeff\ufff9\u{e0041}\u{f0000}';

/** What is left of it on a terminal. */
export const ESCAPED =
  'h\\x1b]0;pwn\\x07\\x1b[31m\\n; forged line\\r\\x08\\x0b\\x7f\\x85\\x9b2J\\xad\\u061c\\u200b\\u200e\\u202e\\u2028\\u2029\\u2066\\ufeff\\ufff9\\u{e0041}\\u{f0000}';

const UNSAFE = /[\p{C}\p{Zl}\p{Zp}]/gu;

/**
 * Fails for bytes that are no UTF-8, and for characters that a terminal acts on, except newlines and tabs.
 */
export function assertSafe(bytes: Uint8Array | string, what: string): void {
  const text = typeof bytes === 'string' ? bytes : new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  const found = [...text.matchAll(UNSAFE)].filter(([character]) => character !== '\n' && character !== '\t');
  assert.equal(
    found.map(([character]) => character.codePointAt(0)?.toString(16)),
    [],
    `${what}: ${JSON.stringify(text.slice(0, 500))}`,
  );
}
