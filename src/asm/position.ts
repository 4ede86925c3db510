/**
 * Source positions: the line of the user's code that a statement comes from.
 *
 * Each statement of the builder captures a few stack frames, which is cheap because V8 does not format them
 * yet. Only `-v` and errors read them.
 */
import { countLeading } from './count-leading.ts';

/** A captured call stack, innermost frame first, or a known location. `locate` reads it. */
export interface Position {
  /** The frames as V8 formats them. */
  readonly stack?: string;
  readonly location?: Location;
}

/** A location in a source file. `line` and `column` count from 1. */
export interface Location {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** The source line itself, if a line table contains it. */
  readonly text?: string;
}

/**
 * The table that a bundle contains instead of a source map. It maps segments of the bundle (line and column
 * from 1, ascending) to sources; source -1 is code that belongs to no tool.
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
  /** The tables of further files of the bundle, by their names without the folder. */
  readonly parts?: Readonly<Record<string, LineTable>>;
}

/** Reads a captured position: `locate`, possibly with a bundle's line table or the text of source files. */
export type Locate = (position: Position | undefined) => Location | undefined;

type Callable = (...args: never[]) => unknown;

/** The captured frames of a statement: enough to leave functions of packages that emit statements. */
const FRAMES = 8;
/** The captured frames of an error, which may pass through Session.open and everything below it. */
export const FRAMES_OF_ERROR = 40;

/**
 * Captures the call of `callee`: the frame of its caller and those below it on the stack, up to `frames` in
 * total.
 */
export function capture(callee: Callable, frames = FRAMES): Position {
  const position: Position = {};
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = frames;
  Error.captureStackTrace(position, callee);
  Error.stackTraceLimit = limit;
  return position;
}

/** The position of a line in a text, instead of a call. */
export function positionAt(file: string, line: number, column: number): Position {
  return new KnownPosition(file, line, column);
}

/** A position and its location in one object, because a text needs one for each instruction. */
class KnownPosition implements Position, Location {
  readonly file: string;
  readonly line: number;
  readonly column: number;

  constructor(file: string, line: number, column: number) {
    this.file = file;
    this.line = line;
    this.column = column;
  }

  get location(): Location {
    return this;
  }
}

/**
 * Finds the source line of a captured position, through the bundle's line table if there is one. It is the
 * innermost frame of the tool's own code: if a package made the statement, the line that called the package.
 * Returns undefined if no frame names a file.
 *
 * @example
 * ```ts
 * import { rawTracepoint, target } from 'tsbpf';
 * import { isLabel, locate } from 'tsbpf/asm';
 *
 * const { instructions } = rawTracepoint('sys_enter', target('x64'), (b) => b.exit(1));
 * for (const item of instructions)
 *   if (!isLabel(item)) console.log(item.opcode, locate(item.position)?.line);
 * ```
 */
export function locate(position: Position | undefined, table?: LineTable): Location | undefined {
  if (position?.location) return { ...position.location };
  const places = placesOf(position);
  if (table === undefined) return places.find(isTools) ?? places.find((place) => !isOurs(place)) ?? places[0];
  for (const place of places) {
    const translated = translate(place, table);
    if (translated) return translated;
  }
  return undefined;
}

/**
 * A frame in a file, or in code without one: `[eval]:1:1` of `node -e`, `REPL1:1:1`. Frames of Node itself
 * are `node:`.
 */
const FRAME = /^\s*at (?:async |.*\()?((?:file:\/\/|\/)[^()]*|(?!node:)[^()\s]+):(\d+):(\d+)\)?\s*$/;

/** The frames as locations, without those of Node itself. */
function placesOf({ stack = '' }: Position = {}): Location[] {
  const places: Location[] = [];
  for (const text of stack.split('\n')) {
    const [, url, line, column] = FRAME.exec(text) ?? [];
    if (url === undefined) continue;
    places.push({ file: pathOf(url), line: Number(line), column: Number(column) });
  }
  return places;
}

/**
 * The path in a stack frame. ES modules have URLs, which escape some characters; scripts have plain paths.
 */
function pathOf(url: string): string {
  if (!url.startsWith('file://')) return url;
  const path = url.slice('file://'.length);
  try {
    return decodeURIComponent(path);
  } catch {
    return path; // not a real URL: source maps may contain such names
  }
}

/**
 * The prefixes of this library's files in stack traces: its folders, both parts of its bundle, or the file of
 * a tool that it was bundled into.
 */
let ours: readonly string[] | undefined;

/**
 * Whether a location is in this library. In a bundle of a tool and the library without a line table, every
 * location is.
 */
function isOurs({ file }: Location): boolean {
  ours ??= foldersAround(placesOf(capture(capture, 1))[0]?.file);
  return ours.some((beginning) => file.startsWith(beginning));
}

function foldersAround(file = ''): string[] {
  const folder = /^(.*\/)asm\/position\.[jt]s$/.exec(file)?.[1];
  if (folder !== undefined) return [`${folder}asm/`, `${folder}loader/`];
  return [file.replace(/(\/library\.)(js|late\.cjs)$/, '$1')];
}

/** Whether a location is in the tool's own code: not in this library, and not in a package. */
function isTools(place: Location): boolean {
  return !place.file.includes('/node_modules/') && !isOurs(place);
}

function translate(place: Location, whole: LineTable): Location | undefined {
  const table = whole.parts?.[place.file.slice(place.file.lastIndexOf('/') + 1)] ?? whole;
  const isUpTo = (index: number) => {
    const [line, column] = table.segments[index] ?? [0, 0];
    return line < place.line || (line === place.line && column <= place.column);
  };
  const segment = table.segments[countLeading(table.segments.length, isUpTo) - 1];
  if (!segment || segment[0] !== place.line) return undefined;
  const source = table.sources[segment[2]];
  if (!source) return undefined;
  return { file: source.file, line: segment[3], column: segment[4], text: source.lines[segment[3] - 1] };
}

/** `file:line` for messages; undefined if the line is unknown. */
export function describePosition(position: Position | undefined, find: Locate = locate): string | undefined {
  const place = find(position);
  return place && `${place.file}:${place.line}`;
}

/** `what (file:line)` for messages, or `what` alone if the line is unknown. */
export function withLineInParentheses(
  what: string,
  position: Position | undefined,
  find: Locate = locate,
): string {
  const line = describePosition(position, find);
  return line === undefined ? what : `${what} (${line})`;
}

/** `what at file:line` for messages, or `what` alone if the line is unknown. */
export function withLine(what: string, position: Position | undefined): string {
  const line = describePosition(position);
  return line === undefined ? what : `${what} at ${line}`;
}
