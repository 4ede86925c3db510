/**
 * A list of instructions and labels to bytes: a pure linker. Subprograms come in (`link`), labels become distances, maps stay named for
 * whoever loads the program, and what the verifier would refuse for its shape alone is refused here, by the author's line.
 */
import { blame } from './blame.ts';
import { encodeAll, slotsOf } from './encode.ts';
import { type Instruction, type Item, isLabel } from './instruction.ts';
import { distanceField, type Form, formOf } from './isa.ts';
import { isJumpTable, type JumpTableSpec } from './jump-table.ts';
import { linkSubprograms } from './link.ts';
import type { MapSpec } from './map.ts';
import { describeNearest } from './nearest.ts';
import { limitsOf, type NumberKind } from './operands.ts';
import type { Position } from './position.ts';
import { quoted } from './printable.ts';
import { checkShape, leadsToSubprogram, type Step } from './shape.ts';

/** An instruction at its place. */
export interface Placed {
  /** Counted from the program's start; an lddw takes two. */
  readonly slot: number;
  /** With its distance filled in; a map it refers to is still to be filled in by a loader. */
  readonly instruction: Instruction;
  /** The labels that stand here. */
  readonly labels: readonly string[];
  /** The label that the instruction jumps to, calls or loads. */
  readonly target?: string;
}

/** A program, but for the fds of its maps. */
export interface Assembled {
  readonly bytes: Uint8Array;
  readonly instructions: readonly Placed[];
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

/** A list that makes no program. */
export class AssembleError extends Error {
  override readonly name = 'AssembleError';
  /** What is wrong, without the place. */
  readonly reason: string;
  /** The instruction that is wrong; undefined where the list as a whole is. */
  readonly slot: number | undefined;
  /** The author's line, where the instruction knows it. */
  readonly position: Position | undefined;

  /** The message ends with the line of `position` or, without one, that which has the list assembled. */
  constructor(reason: string, slot?: number, position?: Position) {
    super(at(reason, slot));
    this.reason = reason;
    this.slot = slot;
    this.position = position;
    blame(this, position);
  }
}

/** A label that is too far for its jump. */
export class ReachError extends RangeError {
  override readonly name = 'ReachError';
  /** What is wrong, without the place. */
  readonly reason: string;
  readonly slot: number;
  /** The author's line, where the instruction knows it. */
  readonly position: Position | undefined;

  constructor(reason: string, slot: number, position?: Position) {
    super(at(reason, slot));
    this.reason = reason;
    this.slot = slot;
    this.position = position;
    blame(this, position);
  }
}

/** The most slots the kernel takes (`BPF_COMPLEXITY_LIMIT_INSNS`; before Linux 5.2 it was 4096). */
export const MOST_SLOTS = 1_000_000;

/**
 * Assembles a program, and the subprograms that it reaches behind it. A jump counts slots from the following instruction, an lddw being two.
 *
 * Throws a ReachError where a label is too far for its jump, a RangeError where a number doesn't fit its field; an AssembleError for a label
 * that is unknown or there twice, a jump out of the program, into the middle of an lddw or into another subprogram, an instruction that
 * nothing reaches, an end that runs on, memory at r10 that is not of the stack, subprograms that call themselves or each other more than
 * 8 frames deep. Messages have the author's line: of the instruction, where it
 * has a position.
 */
export function assemble(items: readonly Item[]): Assembled {
  const { laid, labels, slots } = layOut(linkSubprograms(items, refuse));
  if (laid.length === 0) throw new AssembleError('a program needs at least one instruction');
  if (slots > MOST_SLOTS) {
    const first = laid.find(({ slot, instruction }) => slot + slotsOf(instruction) > MOST_SLOTS);
    const error = new RangeError(`${slots} slots are more than the ${MOST_SLOTS} the kernel takes`);
    throw blame(error, first?.instruction.position);
  }
  const instructions: Placed[] = [];
  const steps: Step[] = [];
  for (const each of laid) {
    const { placed, step } = link(each, labels, slots);
    instructions.push(placed);
    steps.push(step);
  }
  checkShape(steps, slots, (message, step) => {
    throw new AssembleError(message, step.slot, step.instruction.position);
  });
  return {
    bytes: encodeAll(instructions.map(({ instruction }) => instruction)),
    instructions,
    references: referencesOf(instructions, labels, slots),
  };
}

/** The first instructions of the program and of its subprograms, ascending. */
export function functionStarts({ instructions }: Pick<Assembled, 'instructions'>): Placed[] {
  const starts = new Set([0]);
  for (const { slot, instruction } of instructions)
    if (leadsToSubprogram(formOf(instruction))) starts.add(slot + 1 + instruction.imm);
  return instructions.filter(({ slot }) => starts.has(slot));
}

function refuse(message: string, instruction?: Instruction): never {
  throw new AssembleError(message, undefined, instruction?.position);
}

function referencesOf(
  instructions: readonly Placed[],
  labels: ReadonlyMap<string, number>,
  slots: number,
): MapReference[] {
  const references: MapReference[] = [];
  /** The slots of each jump table, by the prefix of its labels: many instructions may load one table. */
  const known = new Map<JumpTableSpec, Map<string, readonly number[]>>();
  const targetsOf = (table: JumpTableSpec, within: string, placed: Placed): readonly number[] => {
    const ofTable = known.get(table) ?? new Map<string, readonly number[]>();
    const targets =
      ofTable.get(within) ?? table.labels.map((label) => slotOf(within + label, placed, labels, slots));
    known.set(table, ofTable.set(within, targets));
    return targets;
  };
  for (const placed of instructions) {
    const { slot, instruction } = placed;
    const { reference } = instruction;
    if (reference === undefined || !('map' in reference)) continue;
    const { map } = reference;
    const within = (reference.kind === 'mapValue' && reference.within) || '';
    references.push({ slot, map, ...(isJumpTable(map) && { targets: targetsOf(map, within, placed) }) });
  }
  return references;
}

/** Where a label stands that an instruction leads to. */
function slotOf(label: string, placed: Placed, labels: ReadonlyMap<string, number>, slots: number): number {
  const to = labels.get(label);
  if (to === undefined) throw unknownLabel(label, placed, labels);
  if (to === slots)
    throw new AssembleError(
      `label ${quoted(label)} has no instruction after it`,
      placed.slot,
      placed.instruction.position,
    );
  return to;
}

/** What most instructions have. */
const NO_LABELS: readonly string[] = [];

/** Gives every instruction its slot and every label its place. */
function layOut(items: readonly Item[]): { laid: Placed[]; labels: Map<string, number>; slots: number } {
  const labels = new Map<string, number>();
  const laid: Placed[] = [];
  let slot = 0;
  let here: string[] = [];
  for (const item of items) {
    if (isLabel(item)) {
      if (labels.has(item.label))
        throw new AssembleError(
          `label ${quoted(item.label)} is defined twice, at slots ${labels.get(item.label)} and ${slot}`,
        );
      labels.set(item.label, slot);
      here.push(item.label);
    } else {
      laid.push({ slot, instruction: item, labels: here.length === 0 ? NO_LABELS : here });
      slot += slotsOf(item);
      if (here.length > 0) here = [];
    }
  }
  return { laid, labels, slots: slot };
}

/** An instruction with its distance filled in, and where that leads. */
interface Linked {
  readonly placed: Placed;
  readonly step: Step;
}

function link(placed: Placed, labels: ReadonlyMap<string, number>, slots: number): Linked {
  const { slot, instruction, labels: here } = placed;
  const form = formOf(instruction);
  if (instruction.reference?.kind === 'label')
    return linkLabel(placed, instruction.reference.label, form, labels, slots);
  return {
    placed,
    step: { slot, instruction, form, to: destinationOf(slot, instruction), labels: here },
  };
}

function linkLabel(
  placed: Placed,
  label: string,
  form: Form | undefined,
  labels: ReadonlyMap<string, number>,
  slots: number,
): Linked {
  const { slot } = placed;
  const { reference: _done, ...rest } = placed.instruction;
  const field = form && distanceField(form);
  if (form === undefined || field === undefined)
    throw new AssembleError(
      `an instruction of opcode 0x${rest.opcode.toString(16)} takes no label`,
      slot,
      rest.position,
    );
  const to = slotOf(label, placed, labels, slots);
  const distance = to - slot - 1;
  checkReach(form, field, distance, placed, label);
  const instruction = { ...rest, [field]: distance };
  return {
    placed: { slot, instruction, labels: placed.labels, target: label },
    step: { slot, instruction, form, to, labels: placed.labels },
  };
}

/** The slot that an instruction at `slot` jumps to, calls or loads the address of; undefined for others. */
export function destinationOf(slot: number, instruction: Instruction): number | undefined {
  const form = formOf(instruction);
  const field = form && distanceField(form);
  return field && slot + 1 + instruction[field];
}

function checkReach(
  form: Form,
  field: 'off' | 'imm',
  distance: number,
  { slot, instruction }: Placed,
  label: string,
): void {
  const { least, most, room } = limitsOf(form[field] as NumberKind);
  if (distance >= least && distance <= most) return;
  const advice =
    form.name === 'ja' ? '; gotol reaches further (Linux 6.6)' : '; jump round a ja or gotol instead';
  const message = `${form.name}: label ${quoted(label)} is ${distance} slots away, which does not fit in ${room}${advice}`;
  throw new ReachError(message, slot, instruction.position);
}

function unknownLabel(
  label: string,
  { slot, instruction }: Placed,
  labels: ReadonlyMap<string, number>,
): AssembleError {
  return new AssembleError(
    `label ${quoted(label)} is nowhere defined${describeNearest(label, labels.keys())}`,
    slot,
    instruction.position,
  );
}

function at(message: string, slot: number | undefined): string {
  return slot === undefined ? message : `slot ${slot}: ${message}`;
}
