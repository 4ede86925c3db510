/**
 * Converts foreign text for each kind of output (table cells, JSON, messages), and bytes to text.
 */
import { printable, truncate, UNPRINTABLE } from '../asm/printable.ts';

/**
 * Text for a cell of a table: unprintable characters become `?`, one for one, so that columns stay in line.
 */
export function cell(text: string): string {
  return truncate(text.replace(UNPRINTABLE, '?'), MAX_CELL_LENGTH);
}

/** The longest cell in characters. A DNS name has at most 253. */
const MAX_CELL_LENGTH = 512;

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
  return printable(truncate(message, MAX_MESSAGE_LENGTH));
}

/** The longest message in characters: twice the longest path (`PATH_MAX`). */
const MAX_MESSAGE_LENGTH = 8192;

/**
 * The lines that report an unexpected error: its message, which may quote foreign text, and its stack frames.
 */
export function unexpectedErrorLines(error: unknown): string[] {
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

/** The longest excerpt in characters. */
const MAX_EXCERPT_LENGTH = 40;

/** A value as JSON, truncated to 40 characters. Unprintable characters become `?`. */
export function excerpt(value: unknown): string {
  const json = typeof value === 'number' ? String(value) : (JSON.stringify(outerLevels(value)) ?? 'null');
  return truncate(cell(json), MAX_EXCERPT_LENGTH);
}

/**
 * Removes the levels of nesting that no excerpt reaches, because `JSON.stringify` overflows the stack on
 * thousands of them.
 */
function outerLevels(value: unknown, levels = MAX_EXCERPT_LENGTH): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (levels === 0) return null;
  if (Array.isArray(value)) return value.map((each) => outerLevels(each, levels - 1));
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [name, outerLevels(each, levels - 1)]),
  );
}

/** Node's message for a failed system call, without the name of the call and the path. */
export function systemReason(error: unknown): string {
  return (error as Error).message.replace(/, \w+( '.*)?$/s, '');
}
