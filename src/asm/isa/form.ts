/**
 * The shape of a row of the instruction table, and the parts that opcodes are made of.
 */
import type { Kind } from '../operands.ts';

/** What a field of a form holds: a number where it is fixed, else the kind of operand that goes there. */
export type Field = number | Kind;

/** The fields of an instruction that can hold an operand. */
export const FIELDS = ['dst', 'src', 'off', 'imm', 'high'] as const;
export type FieldName = (typeof FIELDS)[number];

/**
 * What executing a form reads: a register that is one of its operands or has a name, as many of r1 to r5 as
 * the callee has parameters, memory, or the packet of a socket filter.
 */
export type Read = 'dst' | 'src' | 'r0' | 'r6' | 'arguments' | 'memory' | 'packet' | 'stack arguments';

/**
 * A register that executing a form changes: one of its operands, or one by name. r1 to r5 by name are lost:
 * reading them afterwards is an error until another instruction sets them.
 */
export type Written = 'dst' | 'src' | 'r0' | 'r1' | 'r2' | 'r3' | 'r4' | 'r5';

/** What executing a form changes besides registers. */
export type Affected = 'memory' | 'stack arguments' | 'control flow';

/** What executing does to the flow of control. */
export type Flow =
  /** Goes on with the next instruction. */
  | 'next'
  /** Jumps, always or never falling through. */
  | 'jump'
  /** Jumps or goes on. */
  | 'branch'
  /** Calls a subprogram of the same program, and goes on after it. */
  | 'call'
  /** Ends the program or subprogram. */
  | 'exit';

/** One form of an instruction. */
export interface Form {
  /** The constructor that makes it. Forms of one name differ by operands, by `size` or by a fixed field. */
  readonly name: string;
  readonly opcode: number;
  readonly dst: Field;
  readonly src: Field;
  readonly off: Field;
  readonly imm: Field;
  /** The immediate of the second slot; present only where there is one. */
  readonly high?: Field;
  /** Bytes moved or bits swapped, where that tells forms of one name apart. */
  readonly size?: number;
  readonly reads: readonly Read[];
  readonly writes: readonly Written[];
  readonly affects: readonly Affected[];
  readonly flow: Flow;
  /** The opcode of the same comparison that jumps exactly if this one does not. */
  readonly inverse?: number;
  /** The first kernel release that takes it from bpf(2); undefined where none does. */
  readonly since: string | undefined;
  /**
   * Where a form is met that no kernel takes: what compilers write, or what the kernel puts into loaded programs itself
   * and shows in a dump.
   */
  readonly onlyIn?: 'compilers' | 'dumps';
  /**
   * The kernel's text. `{dst}` `{src}` are register numbers, `{off}` is signed and always has its sign, `{imm}`,
   * `{high}` and `{module}` (the offset) are signed, `{uimm}` is imm as unsigned hexadecimal, `{imm64}` both immediates as
   * one, `{imm.hi}` and `{imm.lo}` the halves of imm, `{target}` a label or `pc` and the distance with its sign, `{distance}` the
   * same without `pc`, `{helper}` a name and a number, `{map}` a name or `id:` and a number.
   */
  readonly text: string;
}

/** What a text has where an operand goes. */
export const PLACEHOLDER = /\{([a-z0-9.]+)\}/g;

type Row = Pick<Form, 'name' | 'opcode' | 'text'> &
  (Pick<Form, 'since'> | Required<Pick<Form, 'onlyIn'>>) &
  Partial<Form>;

/**
 * A row with its defaults: fields are zero, nothing is read or written, and the next instruction follows. All
 * forms have the same properties in one order, which makes them quicker to read.
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

// The classes and modes of an opcode, by the kernel's names for them.
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

/** `BPF_REG_PARAMS`: no register of a program's own, but the base of the arguments past the fifth. */
export const STACK_ARGUMENTS = 11;

/** The size bits of a load's or store's opcode, and the kernel's names for its types. */
export const SIZES = [
  { size: 1, bits: 0x10, type: 'u8', signed: 's8', imm: 'byte' },
  { size: 2, bits: 0x08, type: 'u16', signed: 's16', imm: 'half' },
  { size: 4, bits: 0x00, type: 'u32', signed: 's32', imm: 'word' },
  { size: 8, bits: 0x18, type: 'u64', signed: 's64', imm: 'signed' },
] as const;

/** 64-bit arithmetic and its 32-bit half: class, registers' letter, suffix of the name. */
export const HALVES = [
  { bits: 64, alu: ALU64, jmp: JMP, r: 'r', suffix: '' },
  { bits: 32, alu: ALU, jmp: JMP32, r: 'w', suffix: '32' },
] as const;

/** What a call leaves: a result in r0, nothing to be read in r1 to r5. */
export const CALLER_SAVED = ['r0', 'r1', 'r2', 'r3', 'r4', 'r5'] as const;
