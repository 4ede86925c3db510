/** Parses the text of one instruction by the grammar of the instruction table. */

import { type InstructionArgument, make } from '../constructors/make.ts';
import { TsbpfError } from '../error.ts';
import { messageWithoutPosition } from '../error-position.ts';
import { helperId, helperName, helperNames } from '../helper-names.ts';
import type { Instruction, Reference } from '../instruction.ts';
import { distanceField, type FieldName, type Form } from '../isa.ts';
import type { MapSpec } from '../map.ts';
import { listNearest, nearest } from '../nearest.ts';
import { checkNumber, type Kind } from '../operands.ts';
import { brief, quoted } from '../printable.ts';
import { grammar, type Node } from './grammar.ts';

/** A text is not an instruction. The message names the mistake; `at` is its column, from 0. */
export class OperandSyntaxError extends TsbpfError {
  override readonly name = 'OperandSyntaxError';
  override readonly code = 'ERR_OPERAND_SYNTAX';
  readonly at: number;

  constructor(message: string, at: number) {
    super(message);
    this.at = at;
  }
}

/** An operand in the line. */
interface Captured {
  readonly operand: string;
  readonly text: string;
  readonly at: number;
}

interface Match {
  readonly form: Form;
  readonly captured: readonly Captured[];
}

/**
 * Parses the instruction from `start` to the end of a line. `opcode` is the opcode in parentheses before it,
 * if there is one; `maps` finds a map by its name. Throws InstructionTextError.
 */
export function readInstruction(
  line: string,
  start: number,
  opcode: number | undefined,
  maps: (name: string) => MapSpec | undefined,
): Instruction {
  const matches = matchLine(line, start, () => {});
  if (matches.length === 0) throw instructionTextError(line, start);
  const fitting = matches.filter(({ form }) => opcode === undefined || form.opcode === opcode);
  const match = fitting.find(({ form }) => form.name === 'lddw') ?? fitting[0];
  if (match === undefined)
    throw new OperandSyntaxError(
      `opcode (${opcode?.toString(16).padStart(2, '0')}) does not match the text`,
      start,
    );
  return build(match, maps);
}

/**
 * Finds every path through the grammar that ends with the line. `fail` gets what the other paths expected,
 * and where.
 */
function matchLine(line: string, start: number, fail: (at: number, expected: string) => void): Match[] {
  const matches: Match[] = [];
  const walk = (node: Node, at: number, captured: readonly Captured[]): void => {
    const begin = skipBlanks(line, at);
    if (begin === line.length) for (const form of node.ends) matches.push({ form, captured });
    else if (node.ends.length > 0) fail(begin, 'the end of the line');
    for (const { piece, node: next } of node.edges.values()) {
      const ruledOut = piece.first !== undefined && piece.first !== line[begin];
      piece.pattern.lastIndex = begin;
      const found = ruledOut ? null : piece.pattern.exec(line);
      if (found === null) fail(begin, piece.name);
      else if (piece.operand === undefined) walk(next, piece.pattern.lastIndex, captured);
      else {
        const text = found[1] as string;
        const here: Captured = { operand: piece.operand, text, at: begin };
        const end = piece.pattern.lastIndex;
        const before = captured.find(({ operand }) => operand === piece.operand);
        if (before !== undefined && before.text !== text)
          fail(begin, `${line[begin]}${before.text}, the same register again`);
        else walk(next, end, before ? captured : [...captured, here]);
      }
    }
  };
  walk(grammar(), start, []);
  return matches;
}

/** The error for a line without a match: what could follow at the furthest point that some form reached. */
function instructionTextError(line: string, start: number): OperandSyntaxError {
  let furthest = -1;
  let expected = new Set<string>();
  matchLine(line, start, (at, name) => {
    if (at > furthest) {
      furthest = at;
      expected = new Set();
    }
    if (at === furthest) expected.add(name);
  });
  return new OperandSyntaxError(describeExpected(line, furthest, start, expected), furthest);
}

const BLANKS = /\s*/y;

function skipBlanks(line: string, at: number): number {
  BLANKS.lastIndex = at;
  BLANKS.test(line);
  return BLANKS.lastIndex;
}

/** A word, or a character outside of words. */
const WORD = /\w+|./suy;

/** A message does not list more alternatives than this. */
const MAX_EXPECTED = 12;

function describeExpected(line: string, at: number, start: number, expected: ReadonlySet<string>): string {
  WORD.lastIndex = at;
  const found = at >= line.length ? 'the end of the line' : quoted(WORD.exec(line)?.[0] ?? '');
  const names = [...expected];
  const wanted =
    at === skipBlanks(line, start) || names.length > MAX_EXPECTED
      ? 'an instruction'
      : names.length === 1
        ? names[0]
        : `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`;
  return `expected ${wanted}, found ${found}`;
}

function build({ form, captured }: Match, maps: (name: string) => MapSpec | undefined): Instruction {
  const operands: Partial<Record<FieldName, InstructionArgument>> = {};
  let map: MapSpec | undefined;
  for (const each of captured) {
    const values = each.operand === 'map' ? readMap(each, maps) : readOperand(form, each, operands);
    if ('map' in values) map = values.map;
    else Object.assign(operands, values);
    checkOperands(form, values, each);
  }
  const reference: Reference | undefined =
    map === undefined
      ? undefined
      : form.high === 0
        ? { kind: 'map', map }
        : { kind: 'mapValue', map, offset: operands.high as number };
  if (map) operands.imm = 0;
  try {
    return make(form, operands, reference);
  } catch (error) {
    throw new OperandSyntaxError(messageWithoutPosition(error as Error), captured[0]?.at ?? 0);
  }
}

type Values = Partial<Record<FieldName, InstructionArgument>> | { readonly map: MapSpec };

function readMap({ text, at }: Captured, maps: (name: string) => MapSpec | undefined): Values {
  if (text.startsWith('id:')) return { imm: Number(text.slice(3)) };
  const map = maps(text);
  if (map === undefined)
    throw new OperandSyntaxError(
      `unknown map ${quoted(text)}: declare it first with 'map ${brief(text)}: hash, key 4 bytes, ...'`,
      at,
    );
  return { map };
}

function readOperand(
  form: Form,
  { operand, text, at }: Captured,
  before: Partial<Record<FieldName, InstructionArgument>>,
): Values {
  switch (operand) {
    case 'dst':
    case 'src':
      return { [operand]: { register: Number(text) } };
    case 'off':
    case 'module':
      return { off: Number(text.replace(/\s/g, '')) };
    case 'uimm':
      // The kernel prints the 32 bits without a sign.
      return { imm: /0x/.test(text) ? wrap(numberOf(text, at)) : numberOf(text, at) };
    case 'imm64': {
      const bits = BigInt(text);
      if (bits >= 2n ** 64n) throw new OperandSyntaxError(`${brief(text)} does not fit in 64 bits`, at);
      return { imm: Number(BigInt.asIntN(32, bits)), high: Number(BigInt.asIntN(32, bits >> 32n)) };
    }
    case 'imm.hi':
      return { imm: ((spaceOf(text, at) << 16) | (before.imm === undefined ? 0 : Number(before.imm))) >>> 0 };
    case 'imm.lo':
      return { imm: (Number(before.imm) | spaceOf(text, at)) >>> 0 };
    case 'target':
    case 'distance':
      return { [distanceField(form) as FieldName]: targetOf(text) };
    case 'helper':
      return { imm: helperOf(text, at) };
    default:
      return { [operand]: numberOf(text, at) };
  }
}

function numberOf(text: string, at: number): number {
  const negative = text.startsWith('-');
  const number = Number(text.replace(/^[-+]/, ''));
  if (!Number.isSafeInteger(number))
    throw new OperandSyntaxError(`${brief(text)} does not fit in 32 bits`, at);
  return negative ? -number : number;
}

/** Interprets a hexadecimal number as 32 bits, with any sign. */
function wrap(number: number): number {
  return number > 0x7fff_ffff && number <= 0xffff_ffff ? number | 0 : number;
}

function spaceOf(text: string, at: number): number {
  const space = Number(text);
  if (space > 0xffff)
    throw new OperandSyntaxError(`address space ${brief(text)} is not between 0 and 65535`, at);
  return space;
}

function targetOf(text: string): string | number {
  return /^(?:pc)?[-+]\d/.test(text) ? Number(text.replace('pc', '')) : text;
}

/**
 * Helper numbers are at most this. In a dump of a loaded program, a larger number is the address of a helper,
 * relative to a kernel function.
 */
const MAX_HELPER_NUMBER = 0xffff;

function helperOf(text: string, at: number): number {
  const [name = '', behind] = text.split('#');
  if (name === 'unknown' && behind !== undefined && helperName(Number(behind)) === undefined)
    return Number(behind);
  const id = helperId(name.replace(/^bpf_/, ''));
  const given = behind === undefined ? undefined : Number(behind);
  const isAddress = given !== undefined && (given < 0 || given > MAX_HELPER_NUMBER);
  const known = given === undefined || isAddress ? undefined : helperName(given);
  if (given !== undefined && !isAddress && given !== id)
    throw new OperandSyntaxError(
      `helper ${brief(behind ?? '')} is ${known === undefined ? 'unknown' : `bpf_${known}`}, not ${brief(name)}`,
      at,
    );
  if (id !== undefined && name.startsWith('bpf_')) return id;
  const near = nearest(name.replace(/^bpf_/, ''), helperNames()).map((other) => `bpf_${other}`);
  const fault = isAddress
    ? `${brief(name)} is a kernel function that replaces a helper: use the helper's name`
    : `unknown helper ${brief(name)}`;
  throw new OperandSyntaxError(`${fault}${listNearest(near)}`, at);
}

/** Checks the numbers of an operand, so that an error has the operand's column. */
function checkOperands(form: Form, values: Values, { at }: Captured): void {
  for (const [field, value] of Object.entries(values)) {
    const kind = form[field as FieldName];
    if (typeof value !== 'number' || typeof kind !== 'string' || kind === 'register' || kind === 'base')
      continue;
    try {
      checkNumber(form.name, kind as Exclude<Kind, 'register' | 'base'>, value);
    } catch (error) {
      throw new OperandSyntaxError(messageWithoutPosition(error as Error), at);
    }
  }
}
