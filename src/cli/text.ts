/**
 * Foreign text for each kind of output: cells, JSON and messages. And bytes as text.
 */
import { printable, truncate, UNPRINTABLE } from '../asm/printable.ts';

/**
 * Text for a cell of a table: unprintable characters become `?`, one for one, so that columns stay in line.
 */
export function cell(text: string): string {
  return truncate(text.replace(UNPRINTABLE, '?'), LONGEST_CELL);
}

/** Characters of a cell: more than a name of the DNS has (253). */
const LONGEST_CELL = 512;

/**
 * A value as one line of JSON that is safe to print: unprintable characters are JSON escapes (`\u202e`), so
 * the line parses to the same value. `fields` selects properties, as the second argument of `JSON.stringify`
 * does.
 */
export function jsonText(value: unknown, fields?: readonly PropertyKey[]): string {
  const json = JSON.stringify(value, fields as string[] | undefined) ?? 'null';
  return json.replace(UNPRINTABLE, (character) =>
    Array.from({ length: character.length }, (_, unit) => escapedUnit(character.charCodeAt(unit))).join(''),
  );
}

function escapedUnit(unit: number): string {
  return `\\u${unit.toString(16).padStart(4, '0')}`;
}

/** An error message as one printable line. */
export function errorLine(message: string): string {
  return printable(truncate(message, LONGEST_MESSAGE));
}

/** Characters of a message: twice as many as the longest path has (`PATH_MAX`). */
const LONGEST_MESSAGE = 8192;

/**
 * The lines that report an unexpected error: its message, which may quote foreign text, and its stack frames.
 */
export function unexpected(error: unknown): string[] {
  if (!(error instanceof Error)) return [`this should not happen: ${errorLine(String(error))}`];
  const frames = (error.stack ?? '').split('\n').filter((line) => /^ {4}at /.test(line));
  return [`this should not happen: ${errorLine(`${error.name}: ${error.message}`)}`, ...frames];
}

/**
 * Commander's error message with the command's name. Commander quotes the argument on the first line, and
 * suggests similar names on a second one.
 */
export function argumentError(command: string, message: string): string {
  const text = message.endsWith('\n') ? message.slice(0, -1) : message;
  const suggestion = text.lastIndexOf('\n(Did you mean ');
  const lines = suggestion < 0 ? [text] : [text.slice(0, suggestion), text.slice(suggestion + 1)];
  return lines.map((line, i) => `${i === 0 ? `${command}: ` : ''}${errorLine(line)}\n`).join('');
}

/** Bytes as people read them: `b7 00`. */
export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(' ');
}

/** The longest excerpt, in characters. */
const EXCERPT = 40;

/** A value as JSON, cut to 40 characters. Unprintable characters become `?`. */
export function excerpt(value: unknown): string {
  const json = typeof value === 'number' ? String(value) : (JSON.stringify(outerLevels(value)) ?? 'null');
  return truncate(cell(json), EXCERPT);
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
