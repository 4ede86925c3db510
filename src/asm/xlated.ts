/**
 * A loaded program's instructions as bpftool prints them. The verifier has rewritten them: helpers have become addresses, maps
 * ids, and there are instructions of the kernel's own among them, which use registers that programs don't have.
 *
 * Source: tools/bpf/bpftool/xlated_dumper.c, kernel/bpf/syscall.c (`bpf_insn_prepare_dump`).
 */
import { slotsIn } from './decode.ts';
import { disassemble } from './disassemble.ts';
import { helperName } from './helper-names.ts';
import type { Instruction } from './instruction.ts';
import { CALL, LDDW } from './opcodes.ts';

/** What names the addresses in a program. */
export interface Symbols {
  /** The address that calls of helpers and kernel functions count from (`__bpf_call_base`); 0 where the kernel hides it. */
  readonly base: bigint;
  /** The name at an address. */
  readonly nameAt: (address: bigint) => string | undefined;
  /** Addresses of the program's own functions, in their order; none where it is interpreted. */
  readonly functions: readonly bigint[];
}

/** An instruction at its place. */
export interface DumpedInstruction {
  readonly slot: number;
  readonly text: string;
  /** The id of the map that it loads, or whose value. */
  readonly map?: number;
}

const PSEUDO_CALL = 1;
const PSEUDO_FUNC = 4;

/** The texts of a loaded program. Throws DecodeError where the bytes end in the middle of an instruction. */
export function dumpInstructions(bytes: Uint8Array, symbols: Symbols): DumpedInstruction[] {
  return Array.from(slotsIn(bytes), ({ slot, instruction }) => {
    const { opcode, src, imm } = instruction;
    const text = xlatedText(instruction, symbols);
    return opcode === LDDW && (src === 1 || src === 2) ? { slot, text, map: imm } : { slot, text };
  });
}

function xlatedText(instruction: Instruction, symbols: Symbols): string {
  const { opcode, src } = instruction;
  if (opcode === CALL && src === PSEUDO_CALL) return `(85) call pc${ownFunction(instruction, symbols)}`;
  if (opcode === CALL) return `(85) call ${calledName(instruction, symbols)}#${instruction.imm}`;
  // The second slot holds the number of the function by now.
  if (opcode === LDDW && src === PSEUDO_FUNC) return disassemble({ ...instruction, high: 0 });
  return withKernelRegisters(instruction);
}

/** The jump that a call was is in its offset, which function it calls in its immediate. */
function ownFunction({ off, imm }: Instruction, { base, nameAt, functions }: Symbols): string {
  const distance = off < 0 ? String(off) : `+${off}`;
  if (functions.length === 0) return distance;
  const address = functions[imm] ?? base + BigInt(imm);
  return `${distance}#${nameAt(address) ?? `0x${address.toString(16)}`}`;
}

function calledName({ src, imm }: Instruction, { base, nameAt }: Symbols): string {
  const helper = src === 0 ? helperName(imm) : undefined;
  if (helper !== undefined) return `bpf_${helper}`;
  const address = BigInt.asUintN(64, base + BigInt(imm));
  return nameAt(address) ?? `0x${address.toString(16)}`;
}

/** The verifier's scratch registers are past r10: they are printed by way of registers that there are. */
function withKernelRegisters(instruction: Instruction): string {
  const text = disassemble(instruction);
  const { dst, src } = instruction;
  if (!text.startsWith('BUG_') || (dst <= 10 && src <= 10)) return text;
  const [standInDst, standInSrc] = standIns(dst, src);
  const stood = disassemble({ ...instruction, dst: standInDst, src: standInSrc });
  const names = new Map([
    [standInDst, dst],
    [standInSrc, src],
  ]);
  // The registers only, not the sizes and widths that have numbers too.
  return stood.replace(/\b([rw])(\d+)\b/g, (whole, letter: string, number: string) => {
    const name = names.get(Number(number));
    return name === undefined ? whole : `${letter}${name}`;
  });
}

/** Registers to print by, which no text has of itself, as r0 in a compare and exchange. */
function standIns(dst: number, src: number): readonly [number, number] {
  const free = [9, 8, 7].filter((register) => register !== dst && register !== src);
  const standIn = (register: number, other: number): number =>
    register > 10 ? (free[other] as number) : register;
  return [standIn(dst, 0), src === dst ? standIn(src, 0) : standIn(src, 1)];
}
