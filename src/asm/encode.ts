/** Encodes instructions as bytes, little-endian (RFC 9669, section 3). */
import { withSourcePosition } from './error-position.ts';
import type { Instruction } from './instruction.ts';
import { STACK_ARGUMENTS } from './isa/form.ts';
import { formOf } from './isa.ts';
import { LDDW } from './opcodes.ts';

/** The size of a slot in bytes. Every instruction takes one slot, `lddw` two. */
export const SLOT = 8;

/** Returns the number of slots that an instruction takes. */
export function slotsOf(instruction: Instruction): 1 | 2 {
  return instruction.high === undefined ? 1 : 2;
}

/**
 * Encodes an instruction as 8 bytes, or 16 if it takes two slots. The field of an unresolved reference is
 * zero.
 *
 * @throws {RangeError} if a number does not fit in its field; the message names the field.
 *
 * @example
 * import { add, encode, r1 } from 'tsbpf/asm';
 * encode(add(r1, 8)); // 07 01 00 00 08 00 00 00
 */
export function encode(instruction: Instruction): Uint8Array {
  const bytes = new Uint8Array(SLOT * slotsOf(instruction));
  write(new DataView(bytes.buffer), 0, instruction);
  return bytes;
}

/** Encodes a list of instructions as consecutive bytes. Throws as `encode` does. */
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

function write(view: DataView, at: number, instruction: Instruction): void {
  if (!fits(instruction)) check(instruction);
  const { opcode, dst, src, off, imm, high } = instruction;
  view.setUint8(at, opcode);
  view.setUint8(at + 1, (src << 4) | dst);
  view.setInt16(at + 2, off, true);
  view.setInt32(at + 4, imm, true);
  if (high !== undefined) view.setInt32(at + SLOT + 4, high, true);
}

/** Whether every number fits in its field. A quick check, which runs for every instruction. */
function fits({ opcode, dst, src, off, imm, high }: Instruction): boolean {
  return (
    (opcode & 0xff) === opcode &&
    (dst & 15) === dst &&
    dst <= 10 &&
    (src & 15) === src &&
    src <= 10 &&
    (off << 16) >> 16 === off &&
    (imm | 0) === imm &&
    (high === undefined ? opcode !== LDDW : opcode === LDDW && (high | 0) === high)
  );
}

/**
 * Throws for the first number that does not fit. Only arguments past the fifth have the base register r11.
 */
function check(instruction: Instruction): void {
  const { opcode, dst, src, off, imm, high, position } = instruction;
  if ((opcode === LDDW) !== (high !== undefined))
    throw withSourcePosition(
      new RangeError(`opcode ${hex(opcode)}: only lddw (0x18) has a second slot, and it must have one`),
      position,
    );
  const most = formOf(instruction) === undefined ? 10 : STACK_ARGUMENTS;
  const fields: readonly [string, number, number, number][] = [
    ['opcode', opcode, 0, 0xff],
    ['source register', src, 0, most],
    ['destination register', dst, 0, most],
    ['offset', off, -0x8000, 0x7fff],
    ['immediate', imm, -0x8000_0000, 0x7fff_ffff],
    ['second immediate', high ?? 0, -0x8000_0000, 0x7fff_ffff],
  ];
  for (const [field, value, least, greatest] of fields)
    if (!Number.isInteger(value) || value < least || value > greatest)
      throw withSourcePosition(
        new RangeError(
          `opcode ${hex(opcode)}: ${field} ${String(value)} is not between ${least} and ${greatest}`,
        ),
        position,
      );
}

function hex(opcode: number): string {
  return `0x${opcode.toString(16).padStart(2, '0')}`;
}
