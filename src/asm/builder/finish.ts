/**
 * The last steps of building: from what statements have emitted to the list of a program or subprogram.
 */

import { hasSubprograms } from '../append-subprograms.ts';
import { AssembleError } from '../assemble-error.ts';
import { extendFarJumps } from '../cfg/far-jumps.ts';
import { Graph } from '../cfg/graph.ts';
import { nameLabels } from '../cfg/label-names.ts';
import { type LabeledCode, labelNamed, labelsLoaded, resolveLabels, separateLabels } from '../cfg/labeled.ts';
import { isUnconditionalJump, optimizeJumps } from '../cfg/optimize-jumps.ts';
import { checkRegisters } from '../cfg/register-check.ts';
import { instructionName } from '../cfg/structural-check.ts';
import { type Instruction, type Item, isLabel } from '../instruction.ts';
import { isReserved, nameOfGenerated } from '../labels.ts';
import { describeNearest } from '../nearest.ts';
import type { Position } from '../position.ts';
import { quoted } from '../printable.ts';
import { resolve } from '../resolve.ts';
import type { Sequence } from './machine.ts';

interface Built {
  readonly items: Sequence;
  /** The end that all exits without a value share, and its label. */
  readonly end: readonly Instruction[];
  readonly exit: string;
  /** The labels of raw instructions, and their lines. */
  readonly labels: ReadonlyMap<string, Position | undefined>;
  /**
   * Whether there are raw instructions: only they can leave code unreached, or read a register that is not
   * set.
   */
  readonly hasRaw: boolean;
  readonly isProgram: boolean;
}

/**
 * The list: without what nothing reaches, with jumps that reach their labels, and with plain names for
 * generated labels.
 *
 * Throws an AssembleError for a label that is nowhere defined, for raw instructions that nothing reaches and,
 * in a program, for a read of a register that is not set on every path.
 */
export function finishList({ items, end, exit, labels, hasRaw, isProgram }: Built): readonly Item[] {
  const all = [...flat(items), { label: exit }, ...end];
  // Raw instructions may jump to the common end by its name, unless that is a label of their own.
  const name = nameOfGenerated(exit) as string;
  const list = labels.has(name) ? all : all.map((item) => renamed(item, exit, name));
  const labeled = separateLabels(list);
  requireLabels(labeled);
  if (hasRaw) requireReached(labeled, labels, end);
  const finished = nameLabels(extendFarJumps(optimizeJumps(list, labeled)));
  if (isProgram && (hasRaw || hasSubprograms(finished))) requireSet(finished);
  return finished;
}

/** Without recursion: there are as many levels as branches within each other. */
function flat(sequence: Sequence): Item[] {
  const made: Item[] = [];
  const open = [{ sequence, next: 0 }];
  for (let top = open.at(-1); top !== undefined; top = open.at(-1)) {
    const item = top.sequence[top.next];
    top.next += 1;
    if (item === undefined) open.pop();
    else if (Array.isArray(item)) open.push({ sequence: item, next: 0 });
    else made.push(item);
  }
  return made;
}

function renamed(item: Item, from: string, to: string): Item {
  if (isLabel(item)) return item.label === from ? { label: to } : item;
  return labelNamed(item) === from ? { ...item, reference: { kind: 'label', label: to } } : item;
}

function requireLabels({ instructions, labels }: LabeledCode): void {
  const checked = new Set<readonly string[]>();
  for (const instruction of instructions) {
    const named = labelNamed(instruction);
    const loaded = labelsLoaded(instruction);
    if (named === undefined && checked.has(loaded)) continue;
    checked.add(loaded);
    for (const label of named === undefined ? loaded : [named])
      if (!labels.has(label)) {
        const others = [...labels.keys()].filter((each) => !isReserved(each));
        const message = `undefined label ${quoted(label)}${describeNearest(label, others)}`;
        throw new AssembleError(message, undefined, instruction.position);
      }
  }
}

/** A statement behind the end of its block has thrown. A label may stand there, if a jump leads to it. */
function requireReached(
  labeled: LabeledCode,
  lines: ReadonlyMap<string, Position | undefined>,
  end: readonly Instruction[],
): void {
  const graph = new Graph(resolveLabels(labeled));
  if (!graph.complete) return;
  const { instructions, labels } = labeled;
  const reached = graph.reached();
  for (let block = reached.indexOf(0); block >= 0; block = reached.indexOf(0, block + 1)) {
    const index = graph.first(block);
    const instruction = instructions[index] as Instruction;
    if (end.includes(instruction)) continue;
    const label = [...labels].find(([each, at]) => at === index && lines.has(each))?.[0];
    if (label !== undefined)
      throw new AssembleError(
        `nothing jumps to label '${label}', and the code before it has ended`,
        undefined,
        lines.get(label),
      );
    // A branch jumps over its second arm, also if the first one ends in what nothing reaches.
    if (isUnconditionalJump(instruction)) continue;
    const form = graph.code.forms[index];
    throw new AssembleError(
      `unreachable instruction ${instructionName(instruction, form)}`,
      undefined,
      instruction.position,
    );
  }
}

function requireSet(list: readonly Item[]): void {
  const { graph } = resolve(list);
  checkRegisters(graph, (message, index) => {
    throw new AssembleError(message, undefined, graph.code.instructions[index]?.position);
  });
}
