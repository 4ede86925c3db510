/**
 * Jump optimization: a jump to a jump gets the final target (jump threading); unreachable instructions,
 * jumps to the next instruction, and unused labels are removed (dead-code elimination).
 */
import { type Instruction, type Item, isLabel } from '../instruction.ts';
import { GOTOL, JA } from '../opcodes.ts';
import { Graph } from './graph.ts';
import { type LabeledCode, labelNamed, resolveLabels, separateLabels, tablesLoaded } from './labeled.ts';

/**
 * Returns an equivalent list with at most as many instructions, in the same order and with the same
 * positions. `labeled` is the same list.
 */
export function optimizeJumps(items: readonly Item[], labeled: LabeledCode = separateLabels(items)): Item[] {
  const list = threadJumps(labeled);
  const graph = new Graph(resolveLabels(list));
  const reached = graph.complete ? graph.reached() : new Uint8Array(graph.size).fill(1);
  const kept = list.instructions.map((_, index) => reached[graph.blockOf[index] as number] === 1);
  dropJumpsToNext(list, kept);
  return assembleItems(items, list, kept);
}

/** Whether an instruction is an unconditional jump, `ja` or `gotol`. */
export function isUnconditionalJump({ opcode }: Instruction): boolean {
  return opcode === JA || opcode === GOTOL;
}

function threadJumps({ instructions, forms, labels }: LabeledCode): LabeledCode {
  // A conditional jump does not reach as far as gotol.
  const near = new JumpThreads(instructions, labels, (opcode) => opcode === JA);
  const far = new JumpThreads(instructions, labels, (opcode) => opcode === JA || opcode === GOTOL);
  const threaded = instructions.map((instruction, index) => {
    const name = labelNamed(instruction);
    const flow = forms[index]?.flow;
    if (name === undefined || (flow !== 'jump' && flow !== 'branch')) return instruction;
    const end = (isUnconditionalJump(instruction) ? far : near).end(name);
    return end === name ? instruction : { ...instruction, reference: { kind: 'label', label: end } as const };
  });
  return { instructions: threaded, forms, labels };
}

/** The final targets of labels at unconditional jumps. */
class JumpThreads {
  readonly #instructions: readonly Instruction[];
  readonly #labels: ReadonlyMap<string, number>;
  readonly #follows: (opcode: number) => boolean;
  readonly #ends = new Map<string, string>();

  constructor(
    instructions: readonly Instruction[],
    labels: ReadonlyMap<string, number>,
    follows: (opcode: number) => boolean,
  ) {
    this.#instructions = instructions;
    this.#labels = labels;
    this.#follows = follows;
  }

  /** The last label in the chain of jumps from `name`; in a cycle, one of its labels. */
  end(name: string): string {
    const passed = new Set<string>();
    let last = name;
    for (
      let next: string | undefined = name;
      next !== undefined && !passed.has(next);
      next = this.#onward(last)
    ) {
      passed.add(next);
      last = this.#ends.get(next) ?? next;
    }
    for (const each of passed) this.#ends.set(each, last);
    return last;
  }

  #onward(name: string): string | undefined {
    const next = this.#instructions[this.#labels.get(name) ?? -1];
    return next !== undefined && this.#follows(next.opcode) ? labelNamed(next) : undefined;
  }
}

/**
 * Backward, because a jump may become one to the next instruction only after the jumps behind it are removed.
 */
function dropJumpsToNext({ instructions, labels }: LabeledCode, kept: boolean[]): void {
  /** For each instruction, the first kept instruction from there. */
  const next = new Int32Array(instructions.length + 1).fill(instructions.length);
  for (let index = instructions.length - 1; index >= 0; index--) {
    const instruction = instructions[index] as Instruction;
    const name = isUnconditionalJump(instruction) ? labelNamed(instruction) : undefined;
    const to = name === undefined ? undefined : labels.get(name);
    if (kept[index] && to !== undefined && to > index && next[to] === next[index + 1]) kept[index] = false;
    next[index] = kept[index] ? index : (next[index + 1] as number);
  }
}

/** The kept instructions, and the labels that they name. */
function assembleItems(
  items: readonly Item[],
  { instructions }: LabeledCode,
  kept: readonly boolean[],
): Item[] {
  const named = new Set<string>();
  for (const [index, instruction] of instructions.entries()) {
    if (!kept[index]) continue;
    const name = labelNamed(instruction);
    if (name !== undefined) named.add(name);
  }
  for (const labels of tablesLoaded(instructions.filter((_, index) => kept[index])))
    for (const each of labels) named.add(each);
  const made: Item[] = [];
  let index = 0;
  for (const item of items) {
    if (isLabel(item)) {
      if (named.has(item.label)) made.push(item);
    } else {
      if (kept[index]) made.push(instructions[index] as Instruction);
      index += 1;
    }
  }
  return made;
}
