/**
 * Lines of a screen: text with styles, without escape sequences until they are written.
 */
import { columnsOf, fitting, padded } from '../width.ts';

/** What a text is; `SGR` has how it looks. */
export type Style =
  | 'plain'
  | 'title'
  | 'header'
  | 'sorted'
  | 'selected'
  | 'alarm'
  | 'warning'
  | 'dim'
  | 'bar';

/** A text of one style. */
export interface Span {
  readonly text: string;
  readonly style: Style;
}

/** A line of the screen. */
export type Line = readonly Span[];

export const span = (text: string, style: Style = 'plain'): Span => ({ text, style });

/** The text of a line. */
export const plain = (line: Line): string => line.map(({ text }) => text).join('');

/** The text cut to a width, with an ellipsis in place of what is missing. */
export function cut(text: string, columns: number): string {
  if (columnsOf(text) <= columns) return text;
  return columns < 1 ? '' : `${fitting(text, columns - 1)}…`;
}

/** The text in exactly as many columns. */
export const left = (text: string, columns: number): string => padded(cut(text, columns), columns);
export const right = (text: string, columns: number): string => cut(text, columns).padStart(columns);

/** The line in exactly as many columns. The last style continues to the end. */
export function filled(line: Line, columns: number, style?: Style): Line {
  const spans: Span[] = [];
  let free = columns;
  for (const { text, style: own } of line) {
    if (free <= 0) break;
    const part = cut(text, free);
    spans.push({ text: part, style: style ?? own });
    free -= columnsOf(part);
  }
  if (free > 0) spans.push({ text: ' '.repeat(free), style: style ?? 'plain' });
  return spans;
}

/** A field of a line. A line that is too narrow omits the fields of the highest rank first. */
export interface Field extends Span {
  readonly rank: number;
}

/** The fields that fit, with two spaces between them. */
export function fields(all: readonly Field[], columns: number): Line {
  const kept = [...all];
  const width = () => kept.reduce((sum, { text }) => sum + columnsOf(text) + 2, -2);
  while (kept.length > 1 && width() > columns) {
    const most = Math.max(...kept.map(({ rank }) => rank));
    kept.splice(
      kept.findIndex(({ rank }) => rank === most),
      1,
    );
  }
  return kept.flatMap((field, i) => (i === 0 ? [field] : [span('  '), field]));
}

/** The attributes of each style (ECMA-48, SGR): with colors, and without. */
const SGR: { readonly [S in Style]: readonly [colored: string, uncolored: string] } = {
  plain: ['', ''],
  title: ['1', '1'],
  header: ['7', '7'],
  sorted: ['1;7', '1;7'],
  selected: ['1;97;44', '1;7'],
  alarm: ['31', '1'],
  warning: ['1;33', '1'],
  dim: ['2', '2'],
  bar: ['36', ''],
};

/** The line with escape sequences. */
export function painted(line: Line, colors: boolean): string {
  return line
    .map(({ text, style }) => {
      const attributes = SGR[style][colors ? 0 : 1];
      return attributes === '' ? text : `\x1b[${attributes}m${text}\x1b[0m`;
    })
    .join('');
}
