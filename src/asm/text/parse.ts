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

import { MAX_SLOTS } from '../assemble.ts';
import { label } from '../constructors.ts';
import { slotsOf } from '../encode.ts';
import { TsbpfError } from '../error.ts';
import type { Instruction, Item } from '../instruction.ts';
import { isJumpTable } from '../jump-table.ts';
import type { MapSpec } from '../map.ts';
import { describeNearest } from '../nearest.ts';
import { positionAt } from '../position.ts';
import { MAX_NAME_LENGTH, quoted } from '../printable.ts';
import { OperandSyntaxError, readInstruction } from './instruction.ts';
import { readMap } from './map-line.ts';

/** A text that is no program. The message begins with the place, as `FILE:LINE:COLUMN: `. */
export class TextError extends TsbpfError {
  override readonly name = 'TextError';
  override readonly code = 'ERR_TEXT_SYNTAX';
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
/** The most maps in a text. The kernel allows 64 for a program (`MAX_USED_MAPS`). */
const MOST_MAPS = 1024;

/**
 * Reads a program, for `assemble`. `file` names the text in errors and, if it is an absolute path, in the
 * positions of instructions. `maps` are known by their names.
 *
 * Throws a TextError for the first invalid line, which says what the grammar expected; for more slots than
 * the kernel accepts, or as many labels; and for a jump table with an undefined label. `assemble` reports
 * undefined labels of jumps, and jumps out of reach.
 */
export function parseProgram(text: string, file = 'text', maps: readonly MapSpec[] = []): Parsed {
  const known = new Map(maps.map((map) => [map.name, map]));
  const items: Item[] = [];
  const labels = new Map<string, number>();
  let slots = 0;
  /** The line of the heading, once there was one. */
  let program = 0;
  /** Checks that need all labels. */
  const last: (() => void)[] = [];
  let number = 0;
  for (const whole of linesOf(text)) {
    const here = ++number;
    if (whole === '') continue;
    const refuse = (message: string, at: number): never => {
      throw new TextError(file, here, at + 1, message);
    };
    const line = withoutComment(whole);
    const name = LABEL.exec(line)?.[1];
    if (PROGRAM.test(line)) {
      if (program > 0)
        refuse(`a second program begins here, the first at line ${program}: a text holds one`, 0);
      program = here;
    } else if (MAP.test(line)) {
      const { map, at, labelsAt } = readMap(line, (given) => known.get(given), refuse);
      if (known.has(map.name)) refuse(`map '${map.name}' is there already`, at);
      if (known.size >= MOST_MAPS) refuse(`a text has at most ${MOST_MAPS} maps`, at);
      known.set(map.name, map);
      if (isJumpTable(map))
        last.push(() => {
          for (const [entry, each] of map.labels.entries())
            if (!labels.has(each))
              refuse(
                `label ${quoted(each)} is nowhere defined${describeNearest(each, labels.keys())}`,
                labelsAt[entry] ?? at,
              );
        });
    } else if (name !== undefined) {
      const at = line.indexOf(name);
      if (name.length > MAX_NAME_LENGTH)
        refuse(`label ${quoted(name)} has more than ${MAX_NAME_LENGTH} characters`, at);
      if (labels.has(name)) refuse(`label ${quoted(name)} is there already, at line ${labels.get(name)}`, at);
      if (labels.size >= MAX_SLOTS) refuse(`a text has at most ${MAX_SLOTS} labels`, at);
      labels.set(name, here);
      items.push(label(name));
    } else if (!HEADING.test(line) && !BYTES.test(line)) {
      const item = readLine(line, (given) => known.get(given), refuse);
      if (item === undefined) continue;
      const start = line.search(/\S/);
      slots += slotsOf(item);
      if (slots > MAX_SLOTS)
        refuse(`the program has more than the ${MAX_SLOTS} slots the kernel takes`, start);
      const position = file.startsWith('/') ? positionAt(file, here, start + 1) : undefined;
      // A copy by spread syntax would take several times the memory.
      items.push(position === undefined ? item : Object.assign(item, { position }));
    }
  }
  for (const check of last) check();
  return { items, maps: [...known.values()] };
}

/** The lines of a text one after the other, without the newlines. The grammar takes a carriage return for a blank. */
function* linesOf(text: string): Generator<string> {
  for (let start = 0; start <= text.length; ) {
    const newline = text.indexOf('\n', start);
    const end = newline < 0 ? text.length : newline;
    yield text.slice(start, end);
    start = end + 1;
  }
}

/** A line without what follows `;` or `//`, or begins with `#`. */
function withoutComment(line: string): string {
  if (/^\s*#/.test(line)) return '';
  const [semicolon, slashes] = [line.indexOf(';'), line.indexOf('//')];
  if (semicolon < 0 && slashes < 0) return line;
  const end = semicolon < 0 || slashes < 0 ? Math.max(semicolon, slashes) : Math.min(semicolon, slashes);
  return line.slice(0, end).trimEnd();
}

/** A line without the note at its end: the label that a jump leads to, in angle brackets, for people. */
function withoutNote(line: string): string {
  const end = line.trimEnd();
  const open = end.endsWith('>') ? end.lastIndexOf('<') : -1;
  const isNote = open >= 0 && end.indexOf('>', open) === end.length - 1;
  return isNote ? end.slice(0, open).trimEnd() : end;
}

function readLine(
  line: string,
  maps: (name: string) => MapSpec | undefined,
  refuse: (message: string, at: number) => never,
): Instruction | undefined {
  const [prefix = '', , hex, opcode] = PREFIX.exec(line) ?? [];
  const end = withoutNote(line);
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
    if (error instanceof OperandSyntaxError) return refuse(error.message, error.at);
    throw error;
  }
}
