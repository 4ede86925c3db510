/** Decodes instructions from bytes: a dump, an object file, or the output of `encode`. */

import { SLOT } from './encode.ts';
import { TsbpfError } from './error.ts';
import type { Instruction } from './instruction.ts';
import { formOf, formsOf } from './isa.ts';
import { LDDW } from './opcodes.ts';

/** Bytes that are not valid instructions. */
export class DecodeError extends TsbpfError {
  override readonly name = 'DecodeError';
  override readonly code = 'ERR_DECODE';
  /** The slot where decoding stopped; undefined if the bytes as a whole are invalid. */
  readonly slot: number | undefined;

  constructor(message: string, slot?: number) {
    super(slot === undefined ? message : `slot ${slot}: ${message}`);
    this.slot = slot;
  }
}

/**
 * Decodes bytes to instructions; the two slots of an `lddw` become one instruction. Does not check the limits
 * of operands, such as the width of a shift.
 *
 * @throws {DecodeError} for an unknown opcode, a register that does not exist, a nonzero field that the
 * instruction does not use, or an `lddw` without its second slot. The message names the slot and the bytes.
 *
 * @example
 * import { decode, instructionText } from 'tsbpf/asm';
 *
 * const bytes = Uint8Array.of(0xb7, 0, 0, 0, 7, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0);
 * decode(bytes).map(instructionText); // ['r0 = 7', 'exit']
 */
export function decode(bytes: Uint8Array): Instruction[] {
  return Array.from(instructionsIn(bytes), ({ instruction }) => instruction);
}

/** An instruction and its first slot. */
export interface Slotted {
  readonly slot: number;
  readonly instruction: Instruction;
}

/**
 * Decodes one instruction at a time, so that large inputs take little memory. Throws a DecodeError at the
 * first invalid one.
 */
export function* instructionsIn(bytes: Uint8Array): Generator<Slotted> {
  for (const each of slotsIn(bytes)) {
    if (formOf(each.instruction) === undefined) throw unknown(bytes, each.slot * SLOT, each.instruction);
    yield each;
  }
}

/** Checks that `decode` accepts the bytes, without keeping the instructions. Throws DecodeError. */
export function checkInstructions(bytes: Uint8Array): void {
  for (const _ of instructionsIn(bytes));
}

/** Reads the fields of each instruction, including unknown opcodes. Throws DecodeError for a missing slot. */
export function* slotsIn(bytes: Uint8Array): Generator<Slotted> {
  if (bytes.length % SLOT !== 0)
    throw new DecodeError(`${bytes.length} bytes are not a whole number of ${SLOT}-byte slots`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < bytes.length; ) {
    const instruction = read(view, at);
    yield { slot: at / SLOT, instruction };
    at += instruction.high === undefined ? SLOT : 2 * SLOT;
  }
}

function read(view: DataView, at: number): Instruction {
  const registers = view.getUint8(at + 1);
  const first = {
    opcode: view.getUint8(at),
    dst: registers & 0x0f,
    src: registers >> 4,
    off: view.getInt16(at + 2, true),
    imm: view.getInt32(at + 4, true),
  };
  if (first.opcode !== LDDW) return first;
  const second = at + SLOT;
  if (second >= view.byteLength) throw new DecodeError('the second slot of an lddw is missing', at / SLOT);
  if (view.getUint32(second, true) !== 0)
    throw new DecodeError(`the second slot of an lddw holds ${dump(view, second)}`, second / SLOT);
  return { ...first, high: view.getInt32(second + 4, true) };
}

function unknown(bytes: Uint8Array, at: number, { opcode, dst, src }: Instruction): DecodeError {
  const text = dump(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), at);
  const slot = at / SLOT;
  if (formsOf(opcode).length === 0)
    return new DecodeError(`unknown opcode ${text.slice(0, 2)} in ${text}`, slot);
  if (dst > 10 || src > 10)
    return new DecodeError(`r${Math.max(dst, src)} is not a register, in ${text}`, slot);
  return new DecodeError(`opcode ${text.slice(0, 2)} does not allow these fields: ${text}`, slot);
}

function dump(view: DataView, at: number): string {
  return Array.from({ length: SLOT }, (_, i) =>
    view
      .getUint8(at + i)
      .toString(16)
      .padStart(2, '0'),
  ).join(' ');
}
