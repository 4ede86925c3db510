/**
 * Instructions to bytes, little endian (RFC 9669, section 3).
 */
import type { Instruction } from './instruction.ts';

/** The bytes of a slot. Every instruction takes one, `lddw` two. */
export const SLOT = 8;

/** BPF_LD | BPF_IMM | BPF_DW: the one opcode that takes two slots. */
export const LDDW = 0x18;

/** How many slots an instruction takes. */
export function slotsOf(instruction: Instruction): 1 | 2 {
  return instruction.high === undefined ? 1 : 2;
}

/**
 * The 8 bytes of an instruction, or the 16 of one with two slots. What a reference stands for is encoded as it is, zero
 * unless it was filled in. Throws a RangeError that names the field where a number doesn't fit its field, whoever made it.
 */
export function encode(instruction: Instruction): Uint8Array {
  const bytes = new Uint8Array(SLOT * slotsOf(instruction));
  write(new DataView(bytes.buffer), 0, instruction);
  return bytes;
}

/** The bytes of instructions one after the other. Throws as `encode` does. */
export function encodeAll(instructions: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(instructions.reduce((slots, each) => slots + slotsOf(each), 0) * SLOT);
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const instruction of instructions) {
    write(view, at, instruction);
    at += SLOT * slotsOf(instruction);
  }
  return bytes;
}

function write(view: DataView, at: number, { opcode, dst, src, off, imm, high }: Instruction): void {
  if ((opcode === LDDW) !== (high !== undefined))
    throw new RangeError(`opcode ${hex(opcode)}: only lddw (0x18) has a second slot, and it must have one`);
  view.setUint8(at, within('opcode', opcode, 0, 0xff));
  view.setUint8(
    at + 1,
    (within('source register', src, 0, 10) << 4) | within('destination register', dst, 0, 10),
  );
  view.setInt16(at + 2, within('offset', off, -0x8000, 0x7fff), true);
  view.setInt32(at + 4, within('immediate', imm, -0x8000_0000, 0x7fff_ffff), true);
  if (high !== undefined)
    view.setInt32(at + SLOT + 4, within('second immediate', high, -0x8000_0000, 0x7fff_ffff), true);

  function within(field: string, value: number, least: number, most: number): number {
    if (!Number.isInteger(value) || value < least || value > most)
      throw new RangeError(
        `opcode ${hex(opcode)}: ${field} ${String(value)} is not between ${least} and ${most}`,
      );
    return value;
  }
}

function hex(opcode: number): string {
  return `0x${opcode.toString(16).padStart(2, '0')}`;
}
