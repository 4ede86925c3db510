/**
 * A list of instructions and labels to bytes: a pure linker. It links subprograms, turns labels into
 * distances, and refuses with the user's line what the verifier would refuse for its structure alone. Maps
 * stay named: a loader fills in their fds.
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

/** A program, except for the fds of its maps. */
export interface Assembled {
  readonly bytes: Uint8Array;
  readonly instructions: readonly AssembledInstruction[];
  /** Where the fd of which map goes: the immediate of that slot, which is zero here. */
  readonly references: readonly MapReference[];
}

/** An instruction that refers to a map. */
export interface MapReference {
  readonly slot: number;
  readonly map: MapSpec;
  /** Of a jump table the slots that its entries lead to. */
  readonly targets?: readonly number[];
}

/** The most slots the kernel takes (`BPF_COMPLEXITY_LIMIT_INSNS`; before Linux 5.2 it was 4096). */
export const MAX_SLOTS = 1_000_000;

/**
 * Assembles a program, with the subprograms that it reaches behind it. A jump counts slots from the following
 * instruction; an lddw takes two.
 *
 * Throws a ReachError if a label is too far for its jump, a RangeError if a number does not fit its field; an
 * AssembleError for a label that is unknown or defined twice, a jump out of the program, into the middle of
 * an lddw or into another subprogram, an instruction that nothing reaches or that writes r10, an end that
 * runs on, memory at r10 outside the stack, and subprograms that call themselves or each other more than 8
 * frames deep. A message ends with the user's line, if the instruction has a position.
 */
export function assemble(items: readonly Item[]): Assembled {
  const laid = resolve(items);
  const { placed, slots, graph } = laid;
  if (placed.length === 0) throw new AssembleError('a program needs at least one instruction');
  if (slots > MAX_SLOTS) {
    const first = placed.find(({ slot, instruction }) => slot + slotsOf(instruction) > MAX_SLOTS);
    const error = new RangeError(`${slots} slots are more than the ${MAX_SLOTS} the kernel takes`);
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
  };
}

/** The first instructions of the program and of its subprograms, ascending. */
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

/** The slot that an instruction at `slot` jumps to, calls or loads the address of; undefined for others. */
export function destinationOf(slot: number, instruction: Instruction): number | undefined {
  const form = formOf(instruction);
  const field = form && distanceField(form);
  return field && slot + 1 + instruction[field];
}
