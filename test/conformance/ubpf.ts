/**
 * The dialect of the conformance suite (uBPF): `ldxw %r0, [%r1+4]`, `lock fetch add [%r10-8], %r1`, `jne %r0,
 * 15, failed`, `call local func1`. The label `exit` is the first exit. A 32-bit number may be written signed
 * or unsigned.
 */
import * as make from '../../src/asm/constructors.ts';
import type { Instruction, Item, Register } from '../../src/asm/instruction.ts';

/** A line that is not valid in the dialect. */
export class DialectError extends Error {
  override readonly name = 'DialectError';
}

/** Parses a program. Throws DialectError, and RangeError for operands that an instruction does not accept. */
export function readProgram(text: string): Item[] {
  const items: Item[] = [];
  let exits = 0;
  for (const [index, whole] of text.split('\n').entries()) {
    const line = whole.replace(/#.*/, '').trim();
    if (line === '') continue;
    try {
      if (line.endsWith(':')) {
        items.push(make.label(line.slice(0, -1)));
        continue;
      }
      if (line === 'exit' && exits++ === 0) items.push(make.label('exit'));
      items.push(readLine(line));
    } catch (error) {
      if (error instanceof Error) error.message = `line ${index + 1}, '${line}': ${error.message}`;
      throw error;
    }
  }
  return items;
}

const ARITHMETIC = 'add sub mul div sdiv or and lsh rsh mod smod xor mov arsh'.split(' ');
const BRANCHES = 'jeq jgt jge jset jne jsgt jsge jlt jle jslt jsle'.split(' ');
const WIDTHS = { b: { size: 1 }, h: { size: 2 }, w: { size: 4 }, dw: { size: 8 } } as const;

type Maker = (operands: readonly string[]) => Instruction;

/** Every mnemonic with its number of operands. */
const MNEMONICS = new Map<string, readonly [operands: number, maker: Maker]>([
  ...withHalfWidth(ARITHMETIC).map((name): [string, [number, Maker]] => [
    name,
    [2, ([dst = '', src = '']) => named<make.Arithmetic>(name)(register(dst), registerOrNumber(src))],
  ]),
  ...withHalfWidth(BRANCHES).map((name): [string, [number, Maker]] => [
    name,
    [
      3,
      ([dst = '', src = '', to = '']) =>
        named<make.Branch>(name)(register(dst), registerOrNumber(src), target(to)),
    ],
  ]),
  ...withHalfWidth(['neg']).map((name): [string, [number, Maker]] => [
    name,
    [1, ([dst = '']) => named<make.Unary>(name)(register(dst))],
  ]),
  ...[16, 32, 64].flatMap((bits) =>
    (
      [
        ['le', make.toLe],
        ['be', make.toBe],
        ['swap', make.bswap],
        ['bswap', make.bswap],
      ] as const
    ).map(([name, swap]): [string, [number, Maker]] => [
      `${name}${bits}`,
      [1, ([dst = '']) => swap(bits as 16, register(dst))],
    ]),
  ),
  ...(
    [
      ['movsx864', make.movsx, 1],
      ['movsx1664', make.movsx, 2],
      ['movsx3264', make.movsx, 4],
      ['movsx832', make.movsx32, 1],
      ['movsx1632', make.movsx32, 2],
    ] as const
  ).map(([name, move, size]): [string, [number, Maker]] => [
    name,
    [2, ([dst = '', src = '']) => move({ size }, register(dst), register(src))],
  ]),
  ...Object.entries(WIDTHS).flatMap(([letter, width]): [string, [number, Maker]][] => [
    [`ldx${letter}`, [2, ([dst = '', from = '']) => make.ldx(width, register(dst), ...place(from))]],
    [`ldxs${letter}`, [2, ([dst = '', from = '']) => make.ldsx(width, register(dst), ...place(from))]],
    [`stx${letter}`, [2, ([to = '', src = '']) => make.stx(width, ...place(to), register(src))]],
    [
      `st${letter}`,
      [2, ([to = '', imm = '']) => make.st(width, ...place(to), narrow(number(imm), width.size))],
    ],
  ]),
  ['lddw', [2, ([dst = '', imm = '']) => make.lddw(register(dst), BigInt(imm))]],
  ['ja', [1, ([to = '']) => make.ja(target(to))]],
  ['ja32', [1, ([to = '']) => make.gotol(target(to))]],
  ['callx', [1, ([dst = '']) => make.callx(register(dst))]],
  ['exit', [0, () => make.exit()]],
]);

function withHalfWidth(names: readonly string[]): string[] {
  return names.flatMap((name) => [name, `${name}32`]);
}

function named<T>(name: string): T {
  return (make as unknown as Record<string, T>)[name] as T;
}

function readLine(line: string): Instruction {
  const [mnemonic = '', ...rest] = line.split(/[\s,]+/);
  if (mnemonic === 'lock') return atomic(rest);
  if (mnemonic === 'call') return call(rest);
  const [count, maker] = MNEMONICS.get(mnemonic) ?? [];
  if (count === undefined || maker === undefined) throw new DialectError(`no instruction '${mnemonic}'`);
  if (rest.length !== count) throw new DialectError(`${mnemonic} has ${count} operands, not ${rest.length}`);
  return maker(rest);
}

/** `lock [fetch] add|or|and|xor|xchg|cmpxchg[32] [%r10-8], %r1` */
function atomic(words: readonly string[]): Instruction {
  const fetch = words[0] === 'fetch';
  const [name = '', to = '', src = '', ...more] = fetch ? words.slice(1) : words;
  const [, operation = '', half] = /^([a-z]+?)(32)?$/.exec(name) ?? [];
  const key =
    fetch && !/xchg/.test(operation) ? `fetch${operation[0]?.toUpperCase()}${operation.slice(1)}` : operation;
  const maker = (make.atomic as Record<string, make.Store>)[key];
  if (maker === undefined || more.length > 0)
    throw new DialectError(`no atomic operation '${words.join(' ')}'`);
  return maker({ size: half ? 4 : 8 }, ...place(to), register(src));
}

/** `call 5`, `call helper 5`, `call local label`, `call runtime 5`, `call %r2` */
function call(words: readonly string[]): Instruction {
  const [mode = '', to = ''] = words.length === 1 ? ['helper', ...words] : words;
  if (to.startsWith('%')) return make.callx(register(to));
  if (mode === 'local') return make.callSubprogram(target(to));
  if (mode === 'helper') return make.call(number(to));
  if (mode === 'runtime') return make.callKernelFunction(number(to));
  throw new DialectError(`no call '${mode}'`);
}

function register(text: string): Register {
  const found = /^%r(\d+)$/.exec(text);
  if (!found) throw new DialectError(`'${text}' is no register`);
  return { register: Number(found[1]) };
}

function registerOrNumber(text: string): Register | number {
  return text.startsWith('%') ? register(text) : number(text);
}

/** `[%r1+4]`: the base and the offset. */
function place(text: string): [Register, number] {
  const found = /^\[(%r\d+)([-+](?:0x[0-9a-fA-F]+|\d+))?\]$/.exec(text);
  if (!found) throw new DialectError(`'${text}' is no memory operand`);
  return [register(found[1] as string), found[2] === undefined ? 0 : number(found[2])];
}

function target(text: string): make.JumpTarget {
  return /^[-+]/.test(text) ? number(text) : text;
}

/** Parses a 32-bit number, signed or unsigned, and returns it as signed. */
function number(text: string): number {
  const found = /^([-+]?)(0x[0-9a-fA-F]+|\d+)$/.exec(text);
  if (!found) throw new DialectError(`'${text}' is no number`);
  const value = Number(found[2]) * (found[1] === '-' ? -1 : 1);
  if (value < -(2 ** 31) || value >= 2 ** 32) throw new DialectError(`${text} does not fit in 32 bits`);
  return value | 0;
}

/** Truncates an immediate to the stored bytes. */
function narrow(value: number, size: number): number {
  return size >= 4 ? value : value & (2 ** (8 * size) - 1);
}
