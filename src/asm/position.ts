/**
 * Where in the author's source a statement stands.
 *
 * Capturing is cheap (a few stack frames, not yet turned into text) and done for every statement of the
 * builder; reading it is what costs, and is done for `-v` and for errors alone.
 */

/** A captured call site and what called it, innermost first, or a place that is known; `locate` reads it. */
export interface Position {
  readonly stack?: string;
  readonly location?: Location;
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

/** Reads a captured position: `locate`, or that with a bundle's line table or the texts of files. */
export type Locate = (position: Position | undefined) => Location | undefined;

type Callable = (...args: never[]) => unknown;

/** Frames that are captured: as many as lead out of helpers that call each other. */
const FRAMES = 8;
/** What an error may go through: Session.open and what is below it too. */
export const FRAMES_OF_ERROR = 40;

/** The place that `callee` was called from, and `frames` in all below it on the stack. */
export function capture(callee: Callable, frames = FRAMES): Position {
  const position: Position = {};
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = frames;
  Error.captureStackTrace(position, callee);
  Error.stackTraceLimit = limit;
  return position;
}

/** A known place as a position: a line of a text instead of a call. */
export function positionAt(file: string, line: number, column: number): Position {
  return new KnownPosition(file, line, column);
}

/** A position and its location in one object: a text has one for each instruction. */
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
 * Reads a captured position, through the bundle's line table if there is one; undefined where it is unknown. It is the tool's own
 * line: where helpers of a library made the statement, the one that called them.
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

const FRAME = /^\s*at (?:async |.*\()?((?:file:\/\/|\/)[^()]*):(\d+):(\d+)\)?\s*$/;

/** The frames as places in files, without those of Node itself. */
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
 * The path in a stack frame: modules have URLs, which escape some characters, and scripts have plain paths.
 */
function pathOf(url: string): string {
  if (!url.startsWith('file://')) return url;
  const path = url.slice('file://'.length);
  try {
    return decodeURIComponent(path);
  } catch {
    return path; // not a real URL: source maps may hold such names
  }
}

/** What this library's files begin with, as stack traces name them: its folders, or the file that it was bundled into. */
let ours: readonly string[] | undefined;

/** Whether a place is this library's. Where it was bundled with the tool, without a line table, nobody can tell, and all is. */
function isOurs({ file }: Location): boolean {
  ours ??= foldersAround(placesOf(capture(capture, 1))[0]?.file);
  return ours.some((beginning) => file.startsWith(beginning));
}

function foldersAround(file = ''): string[] {
  const folder = /^(.*\/)asm\/position\.[jt]s$/.exec(file)?.[1];
  return folder === undefined ? [file] : [`${folder}asm/`, `${folder}loader/`];
}

/** Whether a place is the tool's own: no library's, neither ours nor another's. */
function isTools(place: Location): boolean {
  return !place.file.includes('/node_modules/') && !isOurs(place);
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
export function describePosition(position: Position | undefined, find: Locate = locate): string {
  const place = find(position);
  return place ? `${place.file}:${place.line}` : 'an unknown line';
}
