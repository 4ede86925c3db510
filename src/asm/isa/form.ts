/** The type of a row of the instruction table, and the parts of opcodes. */
import type { Kind } from '../operands.ts';

/** A field of a form: a number if it is fixed, otherwise the kind of its operand. */
export type Field = number | Kind;

/** The fields of an instruction that can hold an operand. */
export const FIELDS = ['dst', 'src', 'off', 'imm', 'high'] as const;
/** The name of a field that can hold an operand. */
export type FieldName = (typeof FIELDS)[number];

/**
 * What a form reads: a register (an operand, or by name), the argument registers that the callee has
 * parameters for, memory, or the packet of a socket filter.
 */
export type Read = 'dst' | 'src' | 'r0' | 'r6' | 'arguments' | 'memory' | 'packet' | 'stack arguments';

/**
 * A register that a form writes: an operand, or a register by name. r1 to r5 by name become unreadable until
 * another instruction sets them.
 */
export type Written = 'dst' | 'src' | 'r0' | 'r1' | 'r2' | 'r3' | 'r4' | 'r5';

/** What a form changes besides registers. */
export type Affected = 'memory' | 'stack arguments' | 'control flow';

/** The effect of a form on control flow. */
export type Flow =
  /** Continues with the next instruction. */
  | 'next'
  /** Always jumps. */
  | 'jump'
  /** Jumps or continues. */
  | 'branch'
  /** Calls a subprogram of the same program, then continues. */
  | 'call'
  /** Ends the program or subprogram. */
  | 'exit';

/** One form of an instruction: a row of the instruction table. */
export interface Form {
  /** The constructor's name. Forms with the same name differ in operands, in `size` or in a fixed field. */
  readonly name: string;
  readonly opcode: number;
  readonly dst: Field;
  readonly src: Field;
  readonly off: Field;
  readonly imm: Field;
  /** The immediate of the second slot, if the form has one. */
  readonly high?: Field;
  /** The number of bytes moved or bits swapped, if forms of the same name differ in it. */
  readonly size?: number;
  readonly reads: readonly Read[];
  readonly writes: readonly Written[];
  readonly affects: readonly Affected[];
  readonly flow: Flow;
  /** The opcode of the inverse comparison. */
  readonly inverse?: number;
  /** The first kernel release that accepts the form; undefined if none does. */
  readonly since: string | undefined;
  /**
   * Who writes a form that no kernel accepts: compilers, or the kernel itself, which shows it in dumps of
   * loaded programs.
   */
  readonly onlyIn?: 'compilers' | 'dumps';
  /**
   * The kernel's text with placeholders. `{dst}` and `{src}` are register numbers, `{off}` is signed and
   * always has its sign, `{imm}`, `{high}` and `{module}` (the offset) are signed, `{uimm}` is the immediate
   * as an unsigned hexadecimal number, `{imm64}` combines both immediates, `{imm.hi}` and `{imm.lo}` are the
   * halves of the immediate, `{target}` is a label or `pc` and a signed distance, `{distance}` is the same
   * without `pc`, `{helper}` is a name and a number, and `{map}` is a name or `id:` and a number.
   */
  readonly text: string;
}

/** A placeholder for an operand in the text of a form. */
export const PLACEHOLDER = /\{([a-z0-9.]+)\}/g;

type Row = Pick<Form, 'name' | 'opcode' | 'text'> &
  (Pick<Form, 'since'> | Required<Pick<Form, 'onlyIn'>>) &
  Partial<Form>;

/**
 * Completes a row with its defaults: fields are zero, nothing is read or written, and the next instruction
 * follows. All forms have the same properties in the same order, which makes access faster.
 */
export function form(row: Row): Form {
  const { dst = 0, src = 0, off = 0, imm = 0, high, size, reads = [], writes = [] } = row;
  const { name, opcode, affects = [], flow = 'next', inverse, since, onlyIn, text } = row;
  return {
    name,
    opcode,
    dst,
    src,
    off,
    imm,
    high,
    size,
    reads,
    writes,
    affects: flow === 'next' ? affects : [...affects, 'control flow'],
    flow,
    inverse,
    since,
    onlyIn,
    text,
  };
}

// The classes and modes of opcodes, with the kernel's names.
export const LD = 0x00;
export const LDX = 0x01;
export const ST = 0x02;
export const STX = 0x03;
export const ALU = 0x04;
export const JMP = 0x05;
export const JMP32 = 0x06;
export const ALU64 = 0x07;
export const X = 0x08;
export const ABS = 0x20;
export const IND = 0x40;
export const MEM = 0x60;
export const MEMSX = 0x80;
export const ATOMIC = 0xc0;

/** `BPF_REG_PARAMS`: not a general register, but the base of the arguments past the fifth. */
export const STACK_ARGUMENTS = 11;

/** The size bits in the opcode of a load or store, and the kernel's names of the types. */
export const SIZES = [
  { size: 1, bits: 0x10, type: 'u8', signed: 's8', imm: 'byte' },
  { size: 2, bits: 0x08, type: 'u16', signed: 's16', imm: 'half' },
  { size: 4, bits: 0x00, type: 'u32', signed: 's32', imm: 'word' },
  { size: 8, bits: 0x18, type: 'u64', signed: 's64', imm: 'signed' },
] as const;

/** 64-bit and 32-bit arithmetic: class, letter of the registers, suffix of the name. */
export const HALVES = [
  { bits: 64, alu: ALU64, jmp: JMP, r: 'r', suffix: '' },
  { bits: 32, alu: ALU, jmp: JMP32, r: 'w', suffix: '32' },
] as const;

/** The registers that a call changes: r0 holds the result, r1 to r5 become unreadable. */
export const CALLER_SAVED = ['r0', 'r1', 'r2', 'r3', 'r4', 'r5'] as const;
