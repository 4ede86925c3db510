/**
 * Where in the author's source a statement stands.
 *
 * Capturing is cheap (one stack frame, not yet turned into text) and done for every statement of the
 * builder; reading it is what costs, and is done for `-v` and for errors alone.
 */

/** A captured call site; `locate` reads it. */
export interface Position {
  readonly stack?: string;
}

/** A call site in words. `line` and `column` count from 1. */
export interface Location {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** The source line itself, where a line table holds it. */
  readonly text?: string;
}

/**
 * What a bundle carries in the place of a source map: for places in the bundle (line and column from 1,
 * ascending), the place in a source, or the source -1 for code that is no tool's.
 */
export interface LineTable {
  readonly sources: readonly { readonly file: string; readonly lines: readonly string[] }[];
  readonly segments: readonly (readonly [
    line: number,
    column: number,
    source: number,
    sourceLine: number,
    sourceColumn: number,
  ])[];
}

type Callable = (...args: never[]) => unknown;

/** The place that `callee` was called from: the innermost frame below it on the stack. */
export function capture(callee: Callable): Position {
  const position: Position = {};
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 1;
  Error.captureStackTrace(position, callee);
  Error.stackTraceLimit = limit;
  return position;
}

/** A place that is known, as a position: a line of a text instead of a call. `file` is an absolute path. */
export function positionAt(file: string, line: number, column: number): Position {
  return { stack: `${file}:${line}:${column}` };
}

/** Reads a captured position, through the bundle's line table if there is one; undefined where it is unknown. */
export function locate(position: Position | undefined, table?: LineTable): Location | undefined {
  const frame = /\(?((?:file:\/\/|\/)[^()\n]*):(\d+):(\d+)\)?\s*$/.exec(position?.stack ?? '');
  if (!frame) return undefined;
  const [, url = '', line, column] = frame;
  const place = {
    file: decodeURI(url.replace(/^file:\/\//, '')),
    line: Number(line),
    column: Number(column),
  };
  return table ? translate(place, table) : place;
}

function translate(place: Location, table: LineTable): Location | undefined {
  let low = 0;
  let high = table.segments.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const [line, column] = table.segments[middle] ?? [0, 0];
    if (line < place.line || (line === place.line && column <= place.column)) low = middle + 1;
    else high = middle;
  }
  const segment = table.segments[low - 1];
  if (!segment || segment[0] !== place.line) return undefined;
  const source = table.sources[segment[2]];
  if (!source) return undefined;
  return { file: source.file, line: segment[3], column: segment[4], text: source.lines[segment[3] - 1] };
}

/** `file:line` for messages, or an apology. */
export function describePosition(position: Position | undefined): string {
  const place = locate(position);
  return place ? `${place.file}:${place.line}` : 'an unknown line';
}
