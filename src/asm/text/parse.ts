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
import { isJumpTable } from '../jump-table.ts';
import type { MapSpec } from '../map.ts';
import { describeNearest } from '../nearest.ts';
import { positionAt } from '../position.ts';
import { Misread, readInstruction } from './instruction.ts';
import { readMap } from './map-line.ts';

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
/** What a listing has above a program. */
const PROGRAM = /^program\s+[\w.]+:\s/;
/** The bytes of an instruction on a line of their own, below its text. */
const BYTES = /^\s+[0-9a-f]{2}(?: [0-9a-f]{2}){7}(?: [0-9a-f]{2}(?: [0-9a-f]{2}){7})?\s*$/;
/** The heading that bpftool gives a function with types. */
const HEADING = /^\S.*\)\s*:\s*$/;
/** For people: the label that a jump goes to. */
const NOTE = /\s*<[^<>]*>\s*$/;

/**
 * Reads a program, for `assemble`. `file` names the text in errors and in the positions of instructions; those are only kept where it is an
 * absolute path. `maps` are known by their names.
 *
 * Throws a TextError for the first line that makes no sense, with what was expected, and for a jump table whose labels aren't there; what
 * a jump to such a label or one that goes too far comes to, `assemble` says.
 */
export function parseProgram(text: string, file = 'text', maps: readonly MapSpec[] = []): Parsed {
  const known = new Map(maps.map((map) => [map.name, map]));
  const items: Item[] = [];
  const labels = new Map<string, number>();
  /** The line of the heading, once there was one. */
  let program = 0;
  /** What can't be said before all labels are known. */
  const last: (() => void)[] = [];
  text.split(/\r?\n/).forEach((whole, index) => {
    const refuse = (message: string, at: number): never => {
      throw new TextError(file, index + 1, at + 1, message);
    };
    const line = withoutComment(whole);
    const name = LABEL.exec(line)?.[1];
    if (PROGRAM.test(line)) {
      if (program > 0)
        refuse(`a second program begins here, the first at line ${program}: a text holds one`, 0);
      program = index + 1;
    } else if (MAP.test(line)) {
      const { map, at, labelsAt } = readMap(line, (given) => known.get(given), refuse);
      if (known.has(map.name)) refuse(`map '${map.name}' is there already`, at);
      known.set(map.name, map);
      if (isJumpTable(map))
        last.push(() => {
          for (const [entry, each] of map.labels.entries())
            if (!labels.has(each))
              refuse(
                `label '${each}' is nowhere defined${describeNearest(each, labels.keys())}`,
                labelsAt[entry] ?? at,
              );
        });
    } else if (name !== undefined) {
      if (labels.has(name))
        refuse(`label '${name}' is there already, at line ${labels.get(name)}`, line.indexOf(name));
      labels.set(name, index + 1);
      items.push(label(name));
    } else if (!HEADING.test(line) && !BYTES.test(line)) {
      const item = readLine(line, (given) => known.get(given), refuse);
      if (item === undefined) return;
      const column = line.search(/\S/) + 1;
      const position = file.startsWith('/') ? positionAt(file, index + 1, column) : undefined;
      items.push(position === undefined || isLabel(item) ? item : { ...item, position });
    }
  });
  for (const check of last) check();
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
