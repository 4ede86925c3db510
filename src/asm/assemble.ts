/**
 * Assembles a list of instructions and labels to bytes. It appends subprograms, resolves labels to distances,
 * and refuses what the verifier would refuse for its structure alone, with the user's source line. Maps stay
 * named: the loader fills in their file descriptors.
 */
import { AssembleError } from './assemble-error.ts';
import { leadsToFunction } from './cfg/graph.ts';
import { checkStructure } from './cfg/structural-check.ts';
import { encodeAll, slotsOf } from './encode.ts';
import { withSourcePosition } from './error-position.ts';
import type { Instruction, Item } from './instruction.ts';
import { distanceField, formOf } from './isa.ts';
import type { MapSpec } from './map.ts';
import { type AssembledInstruction, type ResolvedProgram, resolve } from './resolve.ts';

export { AssembleError, ReachError } from './assemble-error.ts';
export type { AssembledInstruction } from './resolve.ts';

/** An assembled program. The loader only fills in the file descriptors of its maps. */
export interface Assembled {
  /** The bytes that `BPF_PROG_LOAD` takes. */
  readonly bytes: Uint8Array;
  /** The instructions with their slots and resolved distances. */
  readonly instructions: readonly AssembledInstruction[];
  /** The instructions whose immediate is the file descriptor of a map; it is zero here. */
  readonly references: readonly MapReference[];
  /**
   * Whether the kernel accepts the program only with the BTF of its functions: programs with callbacks (Linux
   * 5.13) or arguments on the stack (7.2).
   */
  readonly needsTypes: boolean;
}

/** An instruction that refers to a map. */
export interface MapReference {
  readonly slot: number;
  readonly map: MapSpec;
  /** The slots of the entries, if the map is a jump table. */
  readonly targets?: readonly number[];
}

/** The maximum number of slots (`BPF_COMPLEXITY_LIMIT_INSNS`; before Linux 5.2 it was 4096). */
export const MAX_SLOTS = 1_000_000;

/**
 * Assembles a program, and the subprograms that it calls behind it. A jump counts slots from the next
 * instruction; an `lddw` takes two slots.
 *
 * A message ends with your source line if the instruction has a position.
 *
 * @throws {ReachError} if a label is out of reach of its jump.
 * @throws {RangeError} if a number does not fit in its field, or the program has more than 1,000,000 slots.
 * @throws {AssembleError} if a label is undefined or defined twice; a jump leaves the program or its
 * function, or enters the middle of an `lddw`; an instruction is unreachable or writes r10; a function does
 * not end in an exit or a jump; an access at r10 is outside the stack; or subprograms are recursive, or nest
 * deeper than 8 frames.
 *
 * @example
 * import { assemble, exit, jeq, label, mov, r0, r1 } from 'tsbpf/asm';
 *
 * const { bytes } = assemble([mov(r0, 0), jeq(r1, 0, 'end'), mov(r0, 1), label('end'), exit()]);
 * bytes.length; // 32
 */
export function assemble(items: readonly Item[]): Assembled {
  const laid = resolve(items);
  const { placed, slots, graph } = laid;
  if (placed.length === 0) throw new AssembleError('a program needs at least one instruction');
  if (slots > MAX_SLOTS) {
    const first = placed.find(({ slot, instruction }) => slot + slotsOf(instruction) > MAX_SLOTS);
    const error = new RangeError(`the program has ${slots} slots; the kernel accepts at most ${MAX_SLOTS}`);
    throw withSourcePosition(error, first?.instruction.position);
  }
  const at = (index: number): AssembledInstruction => placed[index] as AssembledInstruction;
  const places = {
    slotOf: (index: number) => at(index).slot,
    labelsOf: (index: number) => at(index).labels,
  };
  checkStructure(graph, places, (message, index) => {
    throw new AssembleError(message, at(index).slot, at(index).instruction.position);
  });
  return {
    bytes: encodeAll(graph.code.instructions),
    instructions: placed,
    references: referencesOf(laid),
    needsTypes: graph.code.forms.some((form) => form !== undefined && NEED_TYPES.includes(form.name)),
  };
}

const NEED_TYPES: readonly string[] = ['loadFunction', 'loadArgument'];

/** Returns the first instructions of the program and of its subprograms, in order. */
export function functionStarts({ instructions }: Pick<Assembled, 'instructions'>): AssembledInstruction[] {
  const starts = new Set([0]);
  for (const { slot, instruction } of instructions)
    if (leadsToFunction(formOf(instruction))) starts.add(slot + 1 + instruction.imm);
  return instructions.filter(({ slot }) => starts.has(slot));
}

function referencesOf({ placed, tables }: ResolvedProgram): MapReference[] {
  const references: MapReference[] = [];
  for (const [index, { slot, instruction }] of placed.entries()) {
    const { reference } = instruction;
    if (reference === undefined || !('map' in reference)) continue;
    const targets = tables.get(index);
    references.push({ slot, map: reference.map, ...(targets && { targets }) });
  }
  return references;
}

/**
 * Returns the slot that an instruction at `slot` jumps to, calls or loads the address of; undefined for
 * others.
 */
export function destinationOf(slot: number, instruction: Instruction): number | undefined {
  const form = formOf(instruction);
  const field = form && distanceField(form);
  return field && slot + 1 + instruction[field];
}
