/**
 * The last steps of building: turn the emitted items into the final instruction list of a program or
 * subprogram.
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
  /** The instructions that all exits without a value share, and their label. */
  readonly end: readonly Instruction[];
  readonly exit: string;
  /** The source lines of the raw labels. */
  readonly labels: ReadonlyMap<string, Position | undefined>;
  /**
   * Whether there are raw instructions. Only they can cause unreachable code or a read of a register that is
   * not set.
   */
  readonly hasRaw: boolean;
  readonly isProgram: boolean;
}

/**
 * Returns the final list: optimizes jumps, removes dead code, extends jumps past 16 bits, and gives generated
 * labels plain names.
 *
 * Throws AssembleError for an undefined label, for unreachable raw instructions and, in a program, for a read
 * of a register that is not set on every path.
 */
export function finishList({ items, end, exit, labels, hasRaw, isProgram }: Built): readonly Item[] {
  const all = [...flat(items), { label: exit }, ...end];
  // Raw instructions may jump to the shared exit by its plain name, unless they define that label themselves.
  const name = nameOfGenerated(exit) as string;
  const list = labels.has(name) ? all : all.map((item) => renamed(item, exit, name));
  const labeled = separateLabels(list);
  requireLabels(labeled);
  if (hasRaw) requireReached(labeled, labels, end);
  const finished = nameLabels(extendFarJumps(optimizeJumps(list, labeled)));
  if (isProgram && (hasRaw || hasSubprograms(finished))) requireSet(finished);
  return finished;
}

/** Flattens a sequence. Iterative, because deeply nested branches would overflow the stack. */
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

/**
 * Throws AssembleError for an unreachable label or raw instruction. An unreachable statement has already
 * thrown when it was built.
 */
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
        `label '${label}' is unreachable: nothing jumps to it, and the code before it ends in an exit or jump`,
        undefined,
        lines.get(label),
      );
    // A branch emits a jump over its second arm even if that jump is unreachable after its first arm.
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
