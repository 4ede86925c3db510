/**
 * Parses programs as text: the kernel's own text, with labels, map names and comments. It also reads the
 * dumps of bpftool, the verifier's log, and the listings of `tcpconnlat -v`.
 *
 *     map attempts: hash, key 8 bytes, value 16 bytes, 1024 entries
 *
 *     again:                                  ; a label, and a comment
 *       r1 = map[attempts]
 *       call bpf_map_lookup_elem
 *       if r0 == 0x0 goto again
 *       12: (95) exit
 *
 * Source: kernel/bpf/disasm.c, through the instruction table.
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

/**
 * The text is not a valid program. The message begins with the position, as `FILE:LINE:COLUMN: `.
 *
 * @example
 * import { parseProgram, TextError } from 'tsbpf/asm';
 *
 * try {
 *   parseProgram('r0 = 0\nexut\n');
 * } catch (error) {
 *   if (error instanceof TextError) console.log(error.line, error.column); // 2 1
 * }
 */
export class TextError extends TsbpfError {
  override readonly name = 'TextError';
  override readonly code = 'ERR_TEXT_SYNTAX';
  readonly file: string;
  /** The line and the column, from 1. */
  readonly line: number;
  readonly column: number;

  constructor(file: string, line: number, column: number, message: string) {
    super(`${file}:${line}:${column}: ${message}`);
    this.file = file;
    this.line = line;
    this.column = column;
  }
}

/** A parsed program, for `assemble`. */
export interface Parsed {
  readonly items: Item[];
  /** The maps passed to `parseProgram`, and the maps that the text declares. */
  readonly maps: readonly MapSpec[];
}

/** The prefix of an instruction in a dump: its slot, its bytes, its opcode. */
const PREFIX = /^\s*(?:(\d+):(?:\s+((?:[0-9a-f]{2}(?:\s|$)){8}))?)?\s*(?:\(([0-9a-f]{2})\)\s*)?/;
const LABEL = /^\s*([A-Za-z_.$][\w.$]*):\s*$/;
const MAP = /^\s*map\s/;
/** The heading of a program in a listing. */
const PROGRAM = /^program\s+[\w.]+:\s/;
/** The bytes of an instruction on a separate line, below its text. */
const BYTES = /^\s+[0-9a-f]{2}(?: [0-9a-f]{2}){7}(?: [0-9a-f]{2}(?: [0-9a-f]{2}){7})?\s*$/;
/** The heading of a function with types in bpftool's dumps. */
const HEADING = /^\S.*\)\s*:\s*$/;
/** The maximum number of maps in a text. The kernel allows 64 for a program (`MAX_USED_MAPS`). */
const MAX_MAPS = 1024;

/**
 * Parses the text of a program. `file` names the text in errors and, if it is an absolute path, in the
 * positions of instructions. `maps` are known by their names; the text may declare others.
 *
 * `assemble` reports undefined labels and jumps out of reach.
 *
 * @throws {TextError} for the first invalid line, with what the grammar expects there; for more slots than
 * the kernel accepts; and for a jump table with an undefined label.
 *
 * @example
 * import { assemble, parseProgram } from 'tsbpf/asm';
 *
 * const { items } = parseProgram(`
 *   r0 = 0
 *   if r1 == 0x0 goto end
 *   r0 = 1
 * end:
 *   exit
 * `);
 * assemble(items).bytes.length; // 32
 */
export function parseProgram(text: string, file = 'text', maps: readonly MapSpec[] = []): Parsed {
  const known = new Map(maps.map((map) => [map.name, map]));
  const items: Item[] = [];
  const labels = new Map<string, number>();
  let slots = 0;
  /** The line of the heading; 0 before it. */
  let program = 0;
  /** The checks that need all labels. */
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
      if (program > 0) refuse(`a text has only one program; the first one begins at line ${program}`, 0);
      program = here;
    } else if (MAP.test(line)) {
      const { map, at, labelsAt } = readMap(line, (given) => known.get(given), refuse);
      if (known.has(map.name)) refuse(`map '${map.name}' is already declared`, at);
      if (known.size >= MAX_MAPS) refuse(`a text has at most ${MAX_MAPS} maps`, at);
      known.set(map.name, map);
      if (isJumpTable(map))
        last.push(() => {
          for (const [entry, each] of map.labels.entries())
            if (!labels.has(each))
              refuse(
                `undefined label ${quoted(each)}${describeNearest(each, labels.keys())}`,
                labelsAt[entry] ?? at,
              );
        });
    } else if (name !== undefined) {
      const at = line.indexOf(name);
      if (name.length > MAX_NAME_LENGTH)
        refuse(`label ${quoted(name)} has more than ${MAX_NAME_LENGTH} characters`, at);
      if (labels.has(name))
        refuse(`label ${quoted(name)} is already defined at line ${labels.get(name)}`, at);
      if (labels.size >= MAX_SLOTS) refuse(`a text has at most ${MAX_SLOTS} labels`, at);
      labels.set(name, here);
      items.push(label(name));
    } else if (!HEADING.test(line) && !BYTES.test(line)) {
      const item = readLine(line, (given) => known.get(given), refuse);
      if (item === undefined) continue;
      const start = line.search(/\S/);
      slots += slotsOf(item);
      if (slots > MAX_SLOTS)
        refuse(`the program has more than ${MAX_SLOTS} slots; the kernel accepts no more`, start);
      const position = file.startsWith('/') ? positionAt(file, here, start + 1) : undefined;
      // A copy with spread syntax takes several times the memory.
      items.push(position === undefined ? item : Object.assign(item, { position }));
    }
  }
  for (const check of last) check();
  return { items, maps: [...known.values()] };
}

/** The lines of a text, without newlines. The grammar treats a carriage return as a blank. */
function* linesOf(text: string): Generator<string> {
  for (let start = 0; start <= text.length; ) {
    const newline = text.indexOf('\n', start);
    const end = newline < 0 ? text.length : newline;
    yield text.slice(start, end);
    start = end + 1;
  }
}

/** Removes a comment: the rest after `;` or `//`, or a line that begins with `#`. */
function withoutComment(line: string): string {
  if (/^\s*#/.test(line)) return '';
  const [semicolon, slashes] = [line.indexOf(';'), line.indexOf('//')];
  if (semicolon < 0 && slashes < 0) return line;
  const end = semicolon < 0 || slashes < 0 ? Math.max(semicolon, slashes) : Math.min(semicolon, slashes);
  return line.slice(0, end).trimEnd();
}

/** Removes the label of a jump in angle brackets at the end of a line, which listings print for readers. */
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
