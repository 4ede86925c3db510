/** Lists whose jumps, calls and tables name labels: the input of the steps before assembly. */
import { type Instruction, type Item, isLabel } from '../instruction.ts';
import { type Form, formOf } from '../isa.ts';
import { isJumpTable } from '../jump-table.ts';
import type { ResolvedCode } from './graph.ts';

/** The instructions of a list, and for each label the number of the instruction behind it. */
export interface LabeledCode {
  readonly instructions: readonly Instruction[];
  readonly forms: readonly (Form | undefined)[];
  readonly labels: ReadonlyMap<string, number>;
}

const NONE: readonly string[] = [];

/** Separates the instructions of a list from its labels. */
export function separateLabels(items: readonly Item[]): LabeledCode {
  const instructions: Instruction[] = [];
  const labels = new Map<string, number>();
  for (const item of items)
    if (isLabel(item)) labels.set(item.label, instructions.length);
    else instructions.push(item);
  return { instructions, forms: instructions.map(formOf), labels };
}

/** The label that an instruction names; undefined if there is none. */
export function labelNamed({ reference }: Instruction): string | undefined {
  return reference?.kind === 'label' ? reference.label : undefined;
}

/** The labels of the jump table that an instruction loads; for the same table always the same array. */
export function labelsLoaded({ reference }: Instruction): readonly string[] {
  return reference?.kind === 'mapValue' && isJumpTable(reference.map) ? reference.map.labels : NONE;
}

/** The labels of the jump tables that a list loads, once for each table. */
export function tablesLoaded(instructions: Iterable<Item>): Set<readonly string[]> {
  const tables = new Set<readonly string[]>();
  for (const item of instructions) {
    const labels = isLabel(item) ? NONE : labelsLoaded(item);
    if (labels.length > 0) tables.add(labels);
  }
  return tables;
}

/**
 * Resolves labels to numbers of instructions. A label that is undefined, or behind the last instruction,
 * becomes -1.
 */
export function resolveLabels({ instructions, forms, labels }: LabeledCode): ResolvedCode {
  const targets = new Int32Array(instructions.length).fill(-1);
  const tables = new Map<number, readonly number[]>();
  const known = new Map<readonly string[], readonly number[]>();
  const find = (label: string): number => {
    const to = labels.get(label) ?? -1;
    return to < instructions.length ? to : -1;
  };
  for (let index = 0; index < instructions.length; index++) {
    const instruction = instructions[index] as Instruction;
    if (instruction.reference === undefined) continue;
    const label = labelNamed(instruction);
    if (label !== undefined) targets[index] = find(label);
    const loaded = labelsLoaded(instruction);
    if (loaded.length === 0) continue;
    const entries = known.get(loaded) ?? loaded.map(find).filter((to) => to >= 0);
    known.set(loaded, entries);
    tables.set(index, entries);
  }
  return { instructions, forms, targets, tables };
}
