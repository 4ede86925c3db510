/**
 * Classic BPF: the programs of seccomp filters and socket filters (`struct sock_filter`). They have an
 * accumulator, an index register and 16 words of scratch memory, and they jump forward only.
 *
 * Source: include/uapi/linux/bpf_common.h, include/uapi/linux/filter.h, Documentation/networking/filter.rst;
 * for the checks net/core/filter.c (`bpf_check_classic`).
 */
import { AssembleError, ReachError } from './assemble-error.ts';
import type { Label } from './instruction.ts';
import { once } from './once.ts';

/**
 * The parts of a classic opcode by their names in linux/filter.h. An opcode is the sum of a class, and a size
 * and a mode, or an operation and a source.
 *
 * @example
 * import { BPF_STMT, Classic } from 'tsbpf/asm';
 *
 * const { BPF_LD, BPF_W, BPF_ABS } = Classic;
 * BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4); // loads the word at offset 4
 */
export const Classic = {
  ...{ BPF_LD: 0x00, BPF_LDX: 0x01, BPF_ST: 0x02, BPF_STX: 0x03 },
  ...{ BPF_ALU: 0x04, BPF_JMP: 0x05, BPF_RET: 0x06, BPF_MISC: 0x07 },
  ...{ BPF_W: 0x00, BPF_H: 0x08, BPF_B: 0x10 },
  ...{ BPF_IMM: 0x00, BPF_ABS: 0x20, BPF_IND: 0x40, BPF_MEM: 0x60, BPF_LEN: 0x80, BPF_MSH: 0xa0 },
  ...{ BPF_ADD: 0x00, BPF_SUB: 0x10, BPF_MUL: 0x20, BPF_DIV: 0x30, BPF_OR: 0x40, BPF_AND: 0x50 },
  ...{ BPF_LSH: 0x60, BPF_RSH: 0x70, BPF_NEG: 0x80, BPF_MOD: 0x90, BPF_XOR: 0xa0 },
  ...{ BPF_JA: 0x00, BPF_JEQ: 0x10, BPF_JGT: 0x20, BPF_JGE: 0x30, BPF_JSET: 0x40 },
  ...{ BPF_K: 0x00, BPF_X: 0x08, BPF_A: 0x10 },
  ...{ BPF_TAX: 0x00, BPF_TXA: 0x80 },
} as const;

/**
 * A classic instruction (`struct sock_filter`), with labels instead of distances. `BPF_STMT` and `BPF_JUMP`
 * make it.
 *
 * @example
 * import { BPF_STMT, Classic, type ClassicInstruction } from 'tsbpf/asm';
 *
 * const { BPF_RET, BPF_K } = Classic;
 * const accept: ClassicInstruction = BPF_STMT(BPF_RET | BPF_K, 0xffff_ffff);
 */
export interface ClassicInstruction {
  /** The opcode, 16 bits. */
  readonly code: number;
  /** The operand, an unsigned number of 32 bits. */
  readonly k: number;
  /** The label to jump to if the condition is true, or always (`BPF_JA`). Default: the next instruction. */
  readonly jt?: string | undefined;
  /** The label to jump to if the condition is false. Default: the next instruction. */
  readonly jf?: string | undefined;
}

/**
 * Makes a classic instruction that does not jump: `BPF_STMT` of linux/filter.h.
 *
 * @example
 * import { BPF_STMT, Classic } from 'tsbpf/asm';
 *
 * const { BPF_RET, BPF_K } = Classic;
 * BPF_STMT(BPF_RET | BPF_K, 0); // drops the packet
 */
export function BPF_STMT(code: number, k: number): ClassicInstruction {
  return { code, k };
}

/**
 * Makes a classic jump to labels: `BPF_JUMP` of linux/filter.h, which has distances. Without a label the next
 * instruction follows. `BPF_JA` jumps to `jt` and ignores `k`.
 *
 * @example
 * import { BPF_JUMP, Classic } from 'tsbpf/asm';
 *
 * const { BPF_JMP, BPF_JEQ, BPF_K } = Classic;
 * BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 321, 'bpf'); // if the accumulator is 321
 */
export function BPF_JUMP(code: number, k: number, jt?: string, jf?: string): ClassicInstruction {
  return { code, k, jt, jf };
}

/**
 * Assembles a classic program: labels to distances, instructions to bytes, 8 for each, in the byte order of
 * x64 and arm64. It checks what the kernel checks, so that the kernel's EINVAL has a reason.
 *
 * Throws AssembleError for an invalid opcode or operand, an unknown, repeated or earlier label, code that
 * does not end with `BPF_RET`, and more than 4096 instructions. Throws ReachError if a condition jumps over
 * more than 255 instructions.
 *
 * @example
 * import { assembleClassic, BPF_JUMP, BPF_STMT, Classic, label } from 'tsbpf/asm';
 *
 * const { BPF_LD, BPF_H, BPF_ABS, BPF_JMP, BPF_JEQ, BPF_K, BPF_RET } = Classic;
 * const onlyArp = assembleClassic([
 *   BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12), // the Ethernet type
 *   BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x806, undefined, 'drop'),
 *   BPF_STMT(BPF_RET | BPF_K, 0xffff_ffff),
 *   label('drop'),
 *   BPF_STMT(BPF_RET | BPF_K, 0),
 * ]);
 * onlyArp.length; // 32
 */
export function assembleClassic(items: readonly (ClassicInstruction | Label)[]): Uint8Array {
  const instructions: ClassicInstruction[] = [];
  const labels = new Map<string, number>();
  for (const item of items) {
    if (!('label' in item)) instructions.push(item);
    else if (labels.has(item.label)) throw new AssembleError(`label '${item.label}' is defined twice`);
    else labels.set(item.label, instructions.length);
  }
  if (instructions.length === 0) throw new AssembleError('the program is empty');
  if (instructions.length > MOST)
    throw new AssembleError(`the program has ${instructions.length} instructions; the limit is ${MOST}`);
  const bytes = new Uint8Array(new ArrayBuffer(instructions.length * SIZE));
  const view = new DataView(bytes.buffer);
  for (const [slot, instruction] of instructions.entries()) {
    check(instruction, slot, slot === instructions.length - 1);
    const [jt, jf] = [instruction.jt, instruction.jf].map((to) =>
      distance(labels, slot, to, instructions.length),
    );
    const isJa = instruction.code === (BPF_JMP | BPF_JA);
    view.setUint16(slot * SIZE, instruction.code, true);
    view.setUint8(slot * SIZE + 2, isJa ? 0 : near(jt as number, slot));
    view.setUint8(slot * SIZE + 3, isJa ? 0 : near(jf as number, slot));
    view.setUint32(slot * SIZE + 4, isJa ? (jt as number) : instruction.k, true);
  }
  return bytes;
}

/** `sizeof(struct sock_filter)`. */
const SIZE = 8;
/** `BPF_MAXINSNS`, include/uapi/linux/bpf_common.h. */
const MOST = 4096;
/** The longest distance of a condition, which has 8 bits. */
const FARTHEST = 255;
/** `BPF_MEMWORDS`, include/uapi/linux/filter.h. */
const MEMORY_WORDS = 16;

const { BPF_LD, BPF_LDX, BPF_ST, BPF_STX, BPF_ALU, BPF_JMP, BPF_RET, BPF_MISC } = Classic;
const { BPF_W, BPF_H, BPF_B, BPF_IMM, BPF_ABS, BPF_IND, BPF_MEM, BPF_LEN, BPF_MSH } = Classic;
const { BPF_DIV, BPF_MOD, BPF_LSH, BPF_RSH, BPF_NEG, BPF_K, BPF_X, BPF_A } = Classic;
const { BPF_JA, BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET, BPF_TAX, BPF_TXA } = Classic;

const BINARY = ['ADD', 'SUB', 'MUL', 'DIV', 'OR', 'AND', 'LSH', 'RSH', 'MOD', 'XOR'] as const;

/** The opcodes that the kernel accepts (net/core/filter.c, `chk_code_allowed`). */
const acceptedCodes = once(
  () =>
    new Set<number>([
      ...[BPF_W, BPF_H, BPF_B].flatMap((size) => [BPF_LD | size | BPF_ABS, BPF_LD | size | BPF_IND]),
      ...[BPF_LD | BPF_W | BPF_LEN, BPF_LD | BPF_IMM, BPF_LD | BPF_MEM],
      ...[BPF_LDX | BPF_W | BPF_LEN, BPF_LDX | BPF_B | BPF_MSH, BPF_LDX | BPF_IMM, BPF_LDX | BPF_MEM],
      ...[BPF_ST, BPF_STX, BPF_MISC | BPF_TAX, BPF_MISC | BPF_TXA, BPF_RET | BPF_K, BPF_RET | BPF_A],
      ...BINARY.flatMap((name) => [BPF_K, BPF_X].map((source) => BPF_ALU | Classic[`BPF_${name}`] | source)),
      ...[BPF_ALU | BPF_NEG, BPF_JMP | BPF_JA],
      ...[BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET].flatMap((op) => [BPF_JMP | op | BPF_K, BPF_JMP | op | BPF_X]),
    ]),
);
const USES_MEMORY: readonly number[] = [BPF_LD | BPF_MEM, BPF_LDX | BPF_MEM, BPF_ST, BPF_STX];
const DIVIDES: readonly number[] = [BPF_ALU | BPF_DIV | BPF_K, BPF_ALU | BPF_MOD | BPF_K];
const SHIFTS: readonly number[] = [BPF_ALU | BPF_LSH | BPF_K, BPF_ALU | BPF_RSH | BPF_K];

/** The lowest bits of an opcode. */
const CLASS = 0x07;

function check({ code, k, jt, jf }: ClassicInstruction, slot: number, isLast: boolean): void {
  const fail = (reason: string) => new AssembleError(reason, slot);
  if (!acceptedCodes().has(code)) throw fail(`0x${code.toString(16)} is no opcode of classic BPF`);
  if (!Number.isInteger(k) || k < 0 || k > 0xffff_ffff)
    throw fail(`the operand ${k} does not fit 32 unsigned bits`);
  if (USES_MEMORY.includes(code) && k >= MEMORY_WORDS)
    throw fail(`scratch memory has words 0 to ${MEMORY_WORDS - 1}, not ${k}`);
  if (DIVIDES.includes(code) && k === 0) throw fail('division by zero');
  if (SHIFTS.includes(code) && k > 31) throw fail(`a shift by ${k} leaves nothing of 32 bits`);
  const isJump = (code & CLASS) === BPF_JMP;
  if (!isJump && (jt !== undefined || jf !== undefined)) throw fail('only jumps have labels');
  if (code === (BPF_JMP | BPF_JA) && (jt === undefined || jf !== undefined))
    throw fail('BPF_JA has exactly one label, jt');
  if (isLast && (code & CLASS) !== BPF_RET) throw fail('the last instruction must be BPF_RET');
}

/** The number of instructions between a jump and its label. */
function distance(labels: ReadonlyMap<string, number>, slot: number, to: string | undefined, end: number) {
  if (to === undefined) return 0;
  const target = labels.get(to);
  if (target === undefined) throw new AssembleError(`undefined label '${to}'`, slot);
  if (target <= slot)
    throw new AssembleError(`label '${to}' is behind: classic BPF jumps forward only`, slot);
  if (target === end) throw new AssembleError(`label '${to}' is past the last instruction`, slot);
  return target - slot - 1;
}

function near(distance: number, slot: number): number {
  if (distance <= FARTHEST) return distance;
  throw new ReachError(
    `a condition cannot jump over ${distance} instructions; the limit is ${FARTHEST}`,
    slot,
  );
}
