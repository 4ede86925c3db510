/**
 * Jump tables: the targets of `gotox` by number (Linux 6.19). A table belongs to the program that defines its
 * labels, and the loader creates it with that program.
 *
 * Source: kernel/bpf/bpf_insn_array.c, kernel/bpf/verifier.c (`check_indirect_jump`).
 */

import { add, gotox, ldx, loadMapValue, lsh } from './constructors.ts';
import { withSourcePosition } from './error-position.ts';
import type { Instruction, Register } from './instruction.ts';
import { struct, u32, u64 } from './layout.ts';
import { type MapSpec, MapType, spec } from './map.ts';

/**
 * `struct bpf_insn_array_value`: an instruction by its slot in the loaded program, its slot after the
 * verifier's rewrites, and its byte offset in the compiled code.
 */
const InstructionArrayValue = struct({ original: u32, translated: u32, compiled: u32, unused: u32 });

/** A jump table: see `jumpTable`. */
export interface JumpTableSpec extends MapSpec<typeof u32, typeof InstructionArrayValue> {
  readonly type: typeof MapType.instructionArray;
  /** The labels of the entries in order. */
  readonly labels: readonly string[];
}

export function isJumpTable(map: MapSpec): map is JumpTableSpec {
  return 'labels' in map;
}

/**
 * A jump table whose entries are the instructions at these labels (Linux 6.19). `jumpThrough` jumps to one of
 * them. A tool does not list the table among its maps: a reference from a program suffices.
 *
 * Throws RangeError for a table without labels.
 *
 * @example
 * ```ts
 * import { exit, jge, jumpTable, jumpThrough, label, ldx, mov, r0, r1, r2 } from 'tsbpf/asm';
 * import { u64 } from 'tsbpf';
 *
 * const table = jumpTable('table', ['zero', 'one']);
 * const program = [
 *   mov(r0, 0),
 *   ldx(u64, r1, r1, 8),
 *   jge(r1, 2, 'end'), // the verifier requires an index in range
 *   ...jumpThrough(table, r1, r2),
 *   label('zero'),
 *   exit(),
 *   label('one'),
 *   mov(r0, 1),
 *   label('end'),
 *   exit(),
 * ];
 * ```
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
 * Instructions that jump to the entry whose number is in `index`: five instructions (Linux 6.19). The program
 * must have compared `index` with the number of entries, or the verifier rejects it. Both registers are
 * overwritten.
 *
 * @example
 * ```ts
 * import { jumpTable, jumpThrough, r1, r2 } from 'tsbpf/asm';
 *
 * const jump = jumpThrough(jumpTable('table', ['zero', 'one']), r1, r2);
 * ```
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
