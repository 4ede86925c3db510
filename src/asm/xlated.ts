/**
 * Prints the instructions of a loaded program as bpftool does. The verifier has rewritten them: helpers are
 * addresses, maps are ids, and the kernel's own instructions use registers past r10.
 *
 * Source: tools/bpf/bpftool/xlated_dumper.c, kernel/bpf/syscall.c (`bpf_insn_prepare_dump`).
 */
import { slotsIn } from './decode.ts';
import { disassemble } from './disassemble.ts';
import { helperName } from './helper-names.ts';
import type { Instruction } from './instruction.ts';
import { CALL, LDDW } from './opcodes.ts';

/** The names of the addresses in a program. */
export interface Symbols {
  /**
   * The base address of calls of helpers and kernel functions (`__bpf_call_base`); 0 if the kernel hides it.
   */
  readonly base: bigint;
  /** Returns the name at an address. */
  readonly nameAt: (address: bigint) => string | undefined;
  /** The addresses of the program's own functions in order; empty if the program is interpreted. */
  readonly functions: readonly bigint[];
}

/** An instruction of a dump. */
export interface DumpedInstruction {
  readonly slot: number;
  readonly text: string;
  /** The id of the map whose address, or the address of whose value, the instruction loads. */
  readonly map?: number;
}

const PSEUDO_CALL = 1;
const PSEUDO_FUNC = 4;

/**
 * Returns the texts of a loaded program. Throws DecodeError if the bytes end in the middle of an instruction.
 */
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
  // The second slot now holds the number of the function.
  if (opcode === LDDW && src === PSEUDO_FUNC) return disassemble({ ...instruction, high: 0 });
  return withKernelRegisters(instruction);
}

/**
 * A call of a subprogram keeps its distance in the offset, and has the number of the function in the
 * immediate.
 */
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

/** The verifier's scratch registers are past r10. They are printed with stand-ins that are then renamed. */
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
  // Only registers, not the sizes and widths that also have numbers.
  return stood.replace(/\b([rw])(\d+)\b/g, (whole, letter: string, number: string) => {
    const name = names.get(Number(number));
    return name === undefined ? whole : `${letter}${name}`;
  });
}

/** Stand-ins that the text does not use itself, as it uses r0 in a compare-and-exchange. */
function standIns(dst: number, src: number): readonly [number, number] {
  const free = [9, 8, 7].filter((register) => register !== dst && register !== src);
  const standIn = (register: number, other: number): number =>
    register > 10 ? (free[other] as number) : register;
  return [standIn(dst, 0), src === dst ? standIn(src, 0) : standIn(src, 1)];
}
