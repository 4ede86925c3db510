/**
 * Resolves labels to distances: appends subprograms, gives every instruction its slot, and finds every
 * target.
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

/** An instruction of an assembled program. */
export interface AssembledInstruction {
  /** The slot, counted from the start of the program; an `lddw` takes two. */
  readonly slot: number;
  /** The instruction with its distance. The loader fills in the file descriptor of a map. */
  readonly instruction: Instruction;
  /** The labels at the instruction. */
  readonly labels: readonly string[];
  /** The label that the instruction jumps to, calls or loads the address of. */
  readonly target?: string;
}

/** A program and the subprograms that it calls, with slots and distances. */
export interface ResolvedProgram {
  readonly placed: readonly AssembledInstruction[];
  /** The number of slots. */
  readonly slots: number;
  readonly graph: Graph;
  /** For each instruction that loads a jump table, the slots of the table's entries. */
  readonly tables: ReadonlyMap<number, readonly number[]>;
}

/**
 * Resolves a list. Throws an AssembleError for an undefined label or a missing target, and a ReachError for a
 * label out of reach.
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
      const to = indexOfLabel(list, reference.label, index);
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

/** A list with slots. Labels map to the index of the instruction behind them. */
interface List {
  readonly placed: AssembledInstruction[];
  readonly labels: ReadonlyMap<string, number>;
  /** The number of slots. */
  readonly slots: number;
  /**
   * For each slot the index of its instruction, -1 for the middle of an lddw; made for the first numeric
   * distance in a list.
   */
  atSlot?: Int32Array;
}

/** The labels of most instructions. */
const NO_LABELS: readonly string[] = [];

/** Gives every instruction its slot and every label its instruction. */
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

/** The jump tables of a list. Several instructions may load the same table. */
class Tables {
  readonly #list: List;
  /** The instructions of each table's entries, by the table's labels and their prefix. */
  readonly #entries = new Map<readonly string[], Map<string, readonly number[]>>();

  constructor(list: List) {
    this.#list = list;
  }

  /**
   * The instructions at the labels of a table that the instruction at `index` loads. `within` is the prefix
   * of the subprogram.
   */
  entriesOf(labels: readonly string[], within: string, index: number): readonly number[] {
    const known = this.#entries.get(labels) ?? new Map<string, readonly number[]>();
    this.#entries.set(labels, known);
    const entries =
      known.get(within) ?? labels.map((label) => indexOfLabel(this.#list, within + label, index));
    known.set(within, entries);
    return entries;
  }

  /** The slots of the entries of each loaded table. */
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

/** The index of the instruction behind a label that the instruction at `index` names. */
function indexOfLabel(list: List, label: string, index: number): number {
  const to = list.labels.get(label);
  const shown = shownLabel(label);
  if (to === undefined)
    throw assembleError(
      list,
      index,
      `undefined label ${quoted(shown)}${describeNearest(shown, [...list.labels.keys()].map(shownLabel))}`,
    );
  if (to === list.placed.length)
    throw assembleError(list, index, `label ${quoted(shown)} has no instruction after it`);
  return to;
}

/** The index of the instruction at a slot that the instruction at `index` targets. */
function atSlot(list: List, slot: number, index: number, form: Form): number {
  if (list.atSlot === undefined) {
    list.atSlot = new Int32Array(list.slots).fill(-1);
    for (const [each, placed] of list.placed.entries()) list.atSlot[placed.slot] = each;
  }
  const to = list.atSlot[slot];
  if (to === undefined)
    throw assembleError(
      list,
      index,
      `${form.name} targets slot ${slot}, outside the program (${list.slots} slots)`,
    );
  if (to < 0) throw assembleError(list, index, `${form.name} targets slot ${slot}, the middle of an lddw`);
  return to;
}

/** The instruction at `index` with its distance to the instruction at `to`. */
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
    throw assembleError(
      list,
      index,
      `an instruction with opcode 0x${rest.opcode.toString(16)} cannot have a label`,
    );
  const target = shownLabel(label);
  const distance = (list.placed[to] as AssembledInstruction).slot - slot - 1;
  const { min, max, range } = limitsOf(form[field] as NumberKind);
  if (distance < min || distance > max) {
    const advice =
      form.name === 'ja'
        ? '; use gotol (Linux 6.6)'
        : '; invert the condition and jump over a gotol (Linux 6.6)';
    const message = `${form.name}: label ${quoted(target)} is ${distance} slots away, which does not fit in ${range}${advice}`;
    throw new ReachError(message, slot, instruction.position);
  }
  return { slot, instruction: { ...rest, [field]: distance }, labels, target };
}

function assembleError({ placed }: List, index: number, reason: string): AssembleError {
  const { slot, instruction } = placed[index] as AssembledInstruction;
  return new AssembleError(reason, slot, instruction.position);
}
