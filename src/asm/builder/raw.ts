/**
 * Instructions from the floor below among statements.
 */
import { type Instruction, type Item, isLabel } from '../instruction.ts';
import { JMP, JMP32 } from '../isa/form.ts';
import { CALL, EXIT, GOTOX } from '../opcodes.ts';
import type { Machine } from './machine.ts';

/** Emits them as they are; a call among them takes the temporaries. @throws {TypeError} for a jump by a distance. */
export function emitRaw(machine: Machine, items: readonly Item[]): void {
  for (const item of items) {
    if (!isLabel(item) && isNumericJump(item))
      throw new TypeError(
        'a raw jump among statements must be to a label: distances change when branches are laid out',
      );
    machine.emit(item);
    if (!isLabel(item) && item.opcode === CALL) machine.loseTemporaries('a raw call');
  }
}

function isNumericJump({ opcode, reference }: Instruction): boolean {
  const family = opcode & 0x07;
  // Calls and exit go nowhere in it, and gotox through a table of labels.
  const isJump = (family === JMP || family === JMP32) && ![CALL, EXIT, GOTOX].includes(opcode);
  return isJump && reference === undefined;
}
