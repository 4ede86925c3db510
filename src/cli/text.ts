/**
 * Texts of others, made fit for a terminal.
 */

/** Without what moves the cursor, breaks the line or turns it round: a process may name itself anything. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?');
}

/** Bytes as people read them: `b7 00`. */
export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
}

/** A value as JSON, and not too much of it. */
export function excerpt(value: unknown): string {
  const json = printable(JSON.stringify(value));
  return json.length > 40 ? `${json.slice(0, 39)}…` : json;
}
