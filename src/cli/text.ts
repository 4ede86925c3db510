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

/** The longest excerpt, in characters. */
const EXCERPT = 40;

/** A value as JSON, cut to 40 characters. */
export function excerpt(value: unknown): string {
  const json = printable(typeof value === 'number' ? String(value) : JSON.stringify(outerLevels(value)));
  return json.length > EXCERPT ? `${json.slice(0, EXCERPT - 1)}…` : json;
}

/** The value without the levels that no excerpt reaches: each takes a character. `JSON.stringify` overflows the stack on thousands. */
function outerLevels(value: unknown, levels = EXCERPT): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (levels === 0) return null;
  if (Array.isArray(value)) return value.map((each) => outerLevels(each, levels - 1));
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [name, outerLevels(each, levels - 1)]),
  );
}

/** What Node says of a failed system call, without the name of the call and its path. */
export function systemReason(error: unknown): string {
  return (error as Error).message.replace(/, \w+( '.*)?$/s, '');
}
