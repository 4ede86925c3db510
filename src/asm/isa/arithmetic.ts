/** The rows for arithmetic (RFC 9669, sections 4.1 and 4.2). */

import { once } from '../once.ts';
import type { Kind } from '../operands.ts';
import { ALU, ALU64, type Form, form, HALVES, SIZES, X } from './form.ts';

interface Arithmetic {
  readonly name: string;
  readonly op: number;
  readonly sign: string;
  /** The kinds of the 64-bit and of the 32-bit immediate. */
  readonly imm: readonly [Kind, Kind];
  readonly off?: number;
  readonly since?: string;
  readonly since32?: string;
  /** Whether the result is independent of the previous value of `dst`. */
  readonly replaces?: boolean;
}

const ARITHMETIC: readonly Arithmetic[] = [
  { name: 'add', op: 0x00, sign: '+=', imm: ['signed', 'word'] },
  { name: 'sub', op: 0x10, sign: '-=', imm: ['signed', 'word'] },
  { name: 'mul', op: 0x20, sign: '*=', imm: ['signed', 'word'] },
  { name: 'div', op: 0x30, sign: '/=', imm: ['divisor', 'wordDivisor'] },
  { name: 'or', op: 0x40, sign: '|=', imm: ['signed', 'word'] },
  { name: 'and', op: 0x50, sign: '&=', imm: ['signed', 'word'] },
  { name: 'lsh', op: 0x60, sign: '<<=', imm: ['shift64', 'shift32'] },
  { name: 'rsh', op: 0x70, sign: '>>=', imm: ['shift64', 'shift32'] },
  { name: 'mod', op: 0x90, sign: '%=', imm: ['divisor', 'wordDivisor'] },
  { name: 'xor', op: 0xa0, sign: '^=', imm: ['signed', 'word'] },
  { name: 'mov', op: 0xb0, sign: '=', imm: ['signed', 'word'], replaces: true },
  { name: 'arsh', op: 0xc0, sign: 's>>=', imm: ['shift64', 'shift32'], since32: '5.0' },
  { name: 'sdiv', op: 0x30, sign: 's/=', imm: ['divisor', 'divisor'], off: 1, since: '6.6' },
  { name: 'smod', op: 0x90, sign: 's%=', imm: ['divisor', 'divisor'], off: 1, since: '6.6' },
];

function arithmetic(row: Arithmetic): Form[] {
  const { name, op, sign, imm, off = 0, since = '3.18', since32 = since, replaces = false } = row;
  const before = replaces ? [] : (['dst'] as const);
  return HALVES.flatMap(({ bits, alu, r, suffix }) => {
    const common = {
      name: name + suffix,
      dst: 'register',
      off,
      writes: ['dst'],
      since: bits === 64 ? since : since32,
    } as const;
    return [
      form({
        ...common,
        opcode: alu | op,
        imm: imm[bits === 64 ? 0 : 1],
        reads: before,
        text: `${r}{dst} ${sign} {imm}`,
      }),
      form({
        ...common,
        opcode: alu | op | X,
        src: 'register',
        reads: [...before, 'src'],
        text: `${r}{dst} ${sign} ${r}{src}`,
      }),
    ];
  });
}

const negations = () =>
  HALVES.map(({ alu, r, suffix }) =>
    form({
      name: `neg${suffix}`,
      opcode: alu | 0x80,
      dst: 'register',
      reads: ['dst'],
      writes: ['dst'],
      since: '3.18',
      text: `${r}{dst} = -${r}{dst}`,
    }),
  );

/** Sign-extending moves of the low `size` bytes; the offset holds the number of bits. */
const signExtensions = () =>
  HALVES.flatMap(({ bits, alu, r, suffix }) =>
    SIZES.filter(({ size }) => size * 8 < bits).map(({ size, signed }) =>
      form({
        name: `movsx${suffix}`,
        opcode: alu | 0xb0 | X,
        dst: 'register',
        src: 'register',
        off: size * 8,
        size,
        reads: ['src'],
        writes: ['dst'],
        since: '6.6',
        text: `${r}{dst} = (${signed})${r}{src}`,
      }),
    ),
  );

const byteSwaps = () =>
  [
    { name: 'toLe', opcode: ALU | 0xd0, word: 'le', since: '3.18' },
    { name: 'toBe', opcode: ALU | 0xd0 | X, word: 'be', since: '3.18' },
    { name: 'bswap', opcode: ALU64 | 0xd0, word: 'bswap', since: '6.6' },
  ].flatMap(({ word, ...row }) =>
    [16, 32, 64].map((size) =>
      form({
        ...row,
        dst: 'register',
        imm: size,
        size,
        reads: ['dst'],
        writes: ['dst'],
        text: `r{dst} = ${word}${size} r{dst}`,
      }),
    ),
  );

const addressSpaceCast = () =>
  form({
    name: 'addrSpaceCast',
    opcode: ALU64 | 0xb0 | X,
    dst: 'register',
    src: 'register',
    off: 1,
    imm: 'spaces',
    reads: ['src'],
    writes: ['dst'],
    since: '6.9',
    text: 'r{dst} = addr_space_cast(r{src}, {imm.hi}, {imm.lo})',
  });

/** Only in loaded programs: `dst` becomes the address that `src` has on the current CPU. */
const perCpuAddress = () =>
  form({
    name: 'perCpuAddress',
    opcode: ALU64 | 0xb0 | X,
    dst: 'register',
    src: 'register',
    off: -1,
    reads: ['src'],
    writes: ['dst'],
    onlyIn: 'dumps',
    text: 'r{dst} = &(void __percpu *)(r{src})',
  });

/** The forms of arithmetic, moves and byte swaps. */
export const arithmeticForms = once((): readonly Form[] => [
  ...ARITHMETIC.flatMap(arithmetic),
  ...negations(),
  ...signExtensions(),
  ...byteSwaps(),
  addressSpaceCast(),
  perCpuAddress(),
]);
