/**
 * Jump tables: places of a program by number, for `gotox` to go to (Linux 6.19). A table belongs to the program that has its labels, and is made
 * when that is loaded.
 *
 * Source: kernel/bpf/bpf_insn_array.c, kernel/bpf/verifier.c (`check_indirect_jump`).
 */

import { add, gotox, ldx, loadMapValue, lsh } from './constructors.ts';
import { withSourcePosition } from './error-position.ts';
import type { Instruction, Register } from './instruction.ts';
import { struct, u32, u64 } from './layout.ts';
import { type MapSpec, MapType, spec } from './map.ts';

/** `struct bpf_insn_array_value`: a place by its slot, in the program as it is loaded, as the verifier left it, and its byte once compiled. */
const InstructionArrayValue = struct({ original: u32, translated: u32, compiled: u32, unused: u32 });

/** An array of instructions, by the labels before them. */
export interface JumpTableSpec extends MapSpec<typeof u32, typeof InstructionArrayValue> {
  readonly type: typeof MapType.instructionArray;
  readonly labels: readonly string[];
}

export function isJumpTable(map: MapSpec): map is JumpTableSpec {
  return 'labels' in map;
}

/**
 * A table of the places where these labels stand. Programs that refer to it needn't list it among their maps. A program loads an entry's
 * address from `loadMapValue(register, table)` plus 8 bytes an entry, having made sure that there is such an entry, and goes there by
 * `gotox`: `jumpThrough` does it.
 */
export function jumpTable(name: string, labels: readonly string[]): JumpTableSpec {
  if (labels.length === 0) throw withSourcePosition(new RangeError(`jump table ${name} has no labels`));
  const type = MapType.instructionArray;
  return {
    ...spec(name, type, { key: u32, value: InstructionArrayValue, maxEntries: labels.length }),
    type,
    labels,
  };
}

/**
 * Jumps to the entry whose number is in `index`, which the program has compared with their count: the verifier refuses what may be past the
 * end. Both registers hold something else then.
 */
export function jumpThrough(table: JumpTableSpec, index: Register, scratch: Register): Instruction[] {
  return [
    lsh(index, 3),
    loadMapValue(scratch, table),
    add(scratch, index),
    ldx(u64, scratch, scratch, 0),
    gotox(scratch),
  ];
}
