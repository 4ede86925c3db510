/**
 * Programs as text: the kernel's own text, with labels, map names and comments. What bpftool dumps, what the verifier logs and what
 * `tcpconnlat -v` lists is read as well.
 *
 *     map attempts: hash, key 8 bytes, value 16 bytes, 1024 entries
 *
 *     again:                                  ; a label, and a comment
 *       r1 = map[attempts]
 *       call bpf_map_lookup_elem
 *       if r0 == 0x0 goto again
 *       12: (95) exit
 *
 * Source: kernel/bpf/disasm.c, by way of the instruction table.
 */
import { label } from '../constructors.ts';
import { type Item, isLabel } from '../instruction.ts';
import { bytes } from '../layout.ts';
import { type MapSpec, MapType } from '../map.ts';
import { nearest } from '../nearest.ts';
import { positionAt } from '../position.ts';
import { Misread, readInstruction } from './instruction.ts';

/** A text that is no program. The message begins with the place, as `FILE:LINE:COLUMN: `. */
export class TextError extends Error {
  override readonly name = 'TextError';
  readonly file: string;
  /** Both count from 1. */
  readonly line: number;
  readonly column: number;

  constructor(file: string, line: number, column: number, message: string) {
    super(`${file}:${line}:${column}: ${message}`);
    this.file = file;
    this.line = line;
    this.column = column;
  }
}

/** A program as it was read. */
export interface Parsed {
  readonly items: Item[];
  /** Those that were given, and those that the text declares. */
  readonly maps: readonly MapSpec[];
}

/** What stands before an instruction in a dump: its slot, its bytes, its opcode. */
const PREFIX = /^\s*(?:(\d+):(?:\s+((?:[0-9a-f]{2}(?:\s|$)){8}))?)?\s*(?:\(([0-9a-f]{2})\)\s*)?/;
const LABEL = /^\s*([A-Za-z_.$][\w.$]*):\s*$/;
const MAP = /^\s*map\s/;
/** The heading that bpftool gives a function with types. */
const HEADING = /^\S.*\)\s*:\s*$/;
/** For people: the label that a jump goes to. */
const NOTE = /\s*<[^<>]*>\s*$/;

/**
 * Reads a program, for `assemble`. `file` names the text in errors and in the positions of instructions; those are only kept where it is an
 * absolute path. `maps` are known by their names.
 *
 * Throws a TextError for the first line that makes no sense, with what was expected; what a label that isn't there or a jump that goes
 * too far comes to, `assemble` says.
 */
export function parseProgram(text: string, file = 'text', maps: readonly MapSpec[] = []): Parsed {
  const known = new Map(maps.map((map) => [map.name, map]));
  const items: Item[] = [];
  const labels = new Map<string, number>();
  text.split(/\r?\n/).forEach((whole, index) => {
    const refuse = (message: string, at: number): never => {
      throw new TextError(file, index + 1, at + 1, message);
    };
    const line = withoutComment(whole);
    const name = LABEL.exec(line)?.[1];
    if (MAP.test(line)) {
      const map = readMap(line, refuse);
      if (known.has(map.name)) refuse(`map '${map.name}' is there already`, line.indexOf(map.name));
      known.set(map.name, map);
    } else if (name !== undefined) {
      if (labels.has(name))
        refuse(`label '${name}' is there already, at line ${labels.get(name)}`, line.indexOf(name));
      labels.set(name, index + 1);
      items.push(label(name));
    } else if (!HEADING.test(line)) {
      const item = readLine(line, (given) => known.get(given), refuse);
      if (item === undefined) return;
      const column = line.search(/\S/) + 1;
      const position = file.startsWith('/') ? positionAt(file, index + 1, column) : undefined;
      items.push(position === undefined || isLabel(item) ? item : { ...item, position });
    }
  });
  return { items, maps: [...known.values()] };
}

/** A line without what follows `;` or `//`, or begins with `#`. */
function withoutComment(line: string): string {
  if (/^\s*#/.test(line)) return '';
  return line.replace(/\s*(?:;|\/\/).*$/, '');
}

function readLine(
  line: string,
  maps: (name: string) => MapSpec | undefined,
  refuse: (message: string, at: number) => never,
): Item | undefined {
  const [prefix = '', , hex, opcode] = PREFIX.exec(line) ?? [];
  const end = line.replace(NOTE, '').trimEnd();
  // The second slot of an lddw has bytes and no text.
  if (end.length <= prefix.trimEnd().length && (hex !== undefined || end.trim() === '')) return undefined;
  try {
    return readInstruction(
      end,
      prefix.length,
      opcode === undefined ? undefined : Number.parseInt(opcode, 16),
      maps,
    );
  } catch (error) {
    if (error instanceof Misread) return refuse(error.message, error.at);
    throw error;
  }
}

const MAP_LINE =
  /^\s*map\s+([A-Za-z0-9_.]+)\s*:\s*(\w+)\s*,\s*key\s+(\d+)\s+bytes?\s*,\s*value\s+(\d+)\s+bytes?\s*,\s*(?:(\d+)\s+entr(?:y|ies)|one ring a CPU)$/;

function readMap(line: string, refuse: (message: string, at: number) => never): MapSpec {
  const found = MAP_LINE.exec(line.trimEnd());
  if (found === null)
    return refuse("expected 'map NAME: KIND, key N bytes, value N bytes, N entries'", line.search(/\S/));
  const [, name = '', kind = '', key, value, entries = '0'] = found;
  if (!Object.hasOwn(MapType, kind)) {
    const near = nearest(kind, Object.keys(MapType));
    const advice = near.length > 0 ? near : Object.keys(MapType);
    return refuse(`no kind of map is called '${kind}': ${advice.join(', ')}`, line.indexOf(kind));
  }
  if (name.length > 15) return refuse(`map name '${name}' has more than 15 characters`, line.indexOf(name));
  if (Number(entries) > 0xffff_ffff)
    return refuse(`${entries} entries are more than 2^32-1`, line.indexOf(entries));
  const size = (digits: string | undefined): number => {
    const number = Number(digits);
    return number >= 1 && number <= 0xffff
      ? number
      : refuse(`${digits} bytes are not 1 to 65535`, line.search(/\S/));
  };
  return {
    kind: 'map',
    name,
    type: MapType[kind as keyof typeof MapType],
    key: bytes(size(key)),
    value: bytes(size(value)),
    maxEntries: Number(entries),
    flags: 0,
  };
}
