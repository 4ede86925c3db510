/**
 * Labels to distances: subprograms are linked in, every instruction gets its slot, and every destination is
 * found.
 */

import { appendSubprograms } from './append-subprograms.ts';
import { AssembleError, ReachError } from './assemble-error.ts';
import { Graph, leadsToFunction, type ResolvedCode } from './cfg/graph.ts';
import { labelsLoaded } from './cfg/labeled.ts';
import { slotsOf } from './encode.ts';
import { type Instruction, type Item, isLabel } from './instruction.ts';
import { distanceField, type Form, formOf } from './isa.ts';
import { shownLabel } from './labels.ts';
import { describeNearest } from './nearest.ts';
import { limitsOf, type NumberKind } from './operands.ts';
import { quoted } from './printable.ts';

/** An instruction at its place. */
export interface AssembledInstruction {
  /** Counted from the program's start; an lddw takes two. */
  readonly slot: number;
  /** With its distance filled in. A loader fills in the map that it refers to. */
  readonly instruction: Instruction;
  /** The labels before it. */
  readonly labels: readonly string[];
  /** The label that the instruction jumps to, calls or loads. */
  readonly target?: string;
}

/** A program with its subprograms behind it. */
export interface ResolvedProgram {
  readonly placed: readonly AssembledInstruction[];
  /** The number of slots. */
  readonly slots: number;
  readonly graph: Graph;
  /** By instruction the slots that the entries of the jump table lead to which it loads. */
  readonly tables: ReadonlyMap<number, readonly number[]>;
}

/**
 * Throws an AssembleError for a label or destination that is not there, and a ReachError for a label that is
 * too far.
 */
export function resolve(items: readonly Item[]): ResolvedProgram {
  const list = layOut(appendSubprograms(items, refuse));
  const { placed, slots } = list;
  const forms: (Form | undefined)[] = [];
  const targets = new Int32Array(placed.length).fill(-1);
  const entries = new Map<number, readonly number[]>();
  const known = new Tables(list);
  for (let index = 0; index < placed.length; index++) {
    const { instruction, slot } = placed[index] as AssembledInstruction;
    const form = formOf(instruction);
    forms.push(form);
    const { reference } = instruction;
    if (reference === undefined) {
      if (form === undefined || (form.flow === 'next' && !leadsToFunction(form))) continue;
      const field = distanceField(form);
      if (field !== undefined) targets[index] = atSlot(list, slot + 1 + instruction[field], index, form);
    } else if (reference.kind === 'label') {
      const to = behind(list, reference.label, index);
      targets[index] = to;
      placed[index] = withDistance(list, index, form, to, reference.label);
    } else if (reference.kind === 'mapValue') {
      const loaded = labelsLoaded(instruction);
      if (loaded.length > 0) entries.set(index, known.entriesOf(loaded, reference.within ?? '', index));
    }
  }
  const code: ResolvedCode = {
    instructions: placed.map(({ instruction }) => instruction),
    forms,
    targets,
    tables: entries,
  };
  return { placed, slots, graph: new Graph(code), tables: known.slots(entries) };
}

function refuse(message: string, instruction?: Instruction): never {
  throw new AssembleError(message, undefined, instruction?.position);
}

/** A list that is laid out. Instructions and labels are known by the number of the instruction there. */
interface List {
  readonly placed: AssembledInstruction[];
  readonly labels: ReadonlyMap<string, number>;
  /** The number of slots. */
  readonly slots: number;
  /**
   * By slot the number of the instruction there, -1 for the middle of an lddw; made for the first distance in
   * a list.
   */
  atSlot?: Int32Array;
}

/** What most instructions have. */
const NO_LABELS: readonly string[] = [];

/** Gives every instruction its slot and every label its place. */
function layOut(items: readonly Item[]): List {
  const labels = new Map<string, number>();
  const placed: AssembledInstruction[] = [];
  let slot = 0;
  let here: string[] = [];
  for (const item of items) {
    if (isLabel(item)) {
      const before = labels.get(item.label);
      if (before !== undefined)
        throw new AssembleError(
          `label ${quoted(shownLabel(item.label))} is defined twice, at slots ${placed[before]?.slot ?? slot} and ${slot}`,
        );
      labels.set(item.label, placed.length);
      here.push(shownLabel(item.label));
    } else {
      placed.push({ slot, instruction: item, labels: here.length === 0 ? NO_LABELS : here });
      slot += slotsOf(item);
      if (here.length > 0) here = [];
    }
  }
  return { placed, labels, slots: slot };
}

/** The jump tables of a list: many instructions may load one of them. */
class Tables {
  readonly #list: List;
  /** By the labels of a table and what they begin with, the instructions there. */
  readonly #entries = new Map<readonly string[], Map<string, readonly number[]>>();

  constructor(list: List) {
    this.#list = list;
  }

  /** The instructions at those labels of the subprogram `within`, for an instruction that loads the table. */
  entriesOf(labels: readonly string[], within: string, index: number): readonly number[] {
    const known = this.#entries.get(labels) ?? new Map<string, readonly number[]>();
    this.#entries.set(labels, known);
    const entries = known.get(within) ?? labels.map((label) => behind(this.#list, within + label, index));
    known.set(within, entries);
    return entries;
  }

  /** The slots of entries. */
  slots(loaded: ReadonlyMap<number, readonly number[]>): Map<number, readonly number[]> {
    const slots = new Map<readonly number[], readonly number[]>();
    for (const entries of new Set(loaded.values()))
      slots.set(
        entries,
        entries.map((each) => (this.#list.placed[each] as AssembledInstruction).slot),
      );
    return new Map([...loaded].map(([index, entries]) => [index, slots.get(entries) as readonly number[]]));
  }
}

/** The instruction behind a label that the one at `index` names. */
function behind(list: List, label: string, index: number): number {
  const to = list.labels.get(label);
  const shown = shownLabel(label);
  if (to === undefined)
    throw fault(
      list,
      index,
      `label ${quoted(shown)} is nowhere defined${describeNearest(shown, [...list.labels.keys()].map(shownLabel))}`,
    );
  if (to === list.placed.length)
    throw fault(list, index, `label ${quoted(shown)} has no instruction after it`);
  return to;
}

/** The instruction at a slot that the one at `index` leads to. */
function atSlot(list: List, slot: number, index: number, form: Form): number {
  if (list.atSlot === undefined) {
    list.atSlot = new Int32Array(list.slots).fill(-1);
    for (const [each, placed] of list.placed.entries()) list.atSlot[placed.slot] = each;
  }
  const to = list.atSlot[slot];
  if (to === undefined)
    throw fault(list, index, `${form.name} leads to slot ${slot}, outside the program's ${list.slots}`);
  if (to < 0) throw fault(list, index, `${form.name} leads to slot ${slot}, the middle of an lddw`);
  return to;
}

/** The instruction at `index` with its distance to another. */
function withDistance(
  list: List,
  index: number,
  form: Form | undefined,
  to: number,
  label: string,
): AssembledInstruction {
  const { slot, instruction, labels } = list.placed[index] as AssembledInstruction;
  const { reference: _done, ...rest } = instruction;
  const field = form && distanceField(form);
  if (form === undefined || field === undefined)
    throw fault(list, index, `an instruction of opcode 0x${rest.opcode.toString(16)} takes no label`);
  const target = shownLabel(label);
  const distance = (list.placed[to] as AssembledInstruction).slot - slot - 1;
  const { min, max, range } = limitsOf(form[field] as NumberKind);
  if (distance < min || distance > max) {
    const advice =
      form.name === 'ja' ? '; gotol reaches further (Linux 6.6)' : '; jump round a ja or gotol instead';
    const message = `${form.name}: label ${quoted(target)} is ${distance} slots away, which does not fit in ${range}${advice}`;
    throw new ReachError(message, slot, instruction.position);
  }
  return { slot, instruction: { ...rest, [field]: distance }, labels, target };
}

function fault({ placed }: List, index: number, reason: string): AssembleError {
  const { slot, instruction } = placed[index] as AssembledInstruction;
  return new AssembleError(reason, slot, instruction.position);
}
