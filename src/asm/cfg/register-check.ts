/**
 * Finds reads of registers that are not set, which the kernel refuses.
 *
 * The verifier follows each path on its own and skips paths that conditions rule out. Here, a register must
 * be set on every path of the graph.
 *
 * Source: kernel/bpf/verifier.c, `check_reg_arg`, `clear_caller_saved_regs`, `check_return_code`.
 */
import type { Instruction } from '../instruction.ts';
import type { Form } from '../isa.ts';
import { ARGUMENTS, registersIn, registersLost, registersRead, registersSet } from './effects.ts';
import { type Graph, leadsToFunction } from './graph.ts';
import { instructionName } from './structural-check.ts';

/** Throws an error about the instruction at `index`. */
type Refuse = (message: string, index: number) => never;

const ALL = 0x7ff;
const RESULT = 1;
const CONTEXT = 1 << 1;
const FRAME_POINTER = 1 << 10;

/** Calls `refuse` for the first instruction that reads a register which is unset on some path to it. */
export function checkRegisters(graph: Graph, refuse: Refuse): void {
  const { instructions, forms } = graph.code;
  // If edges are unknown, a block may run after any other.
  if (!graph.complete) return;
  const before = registersBefore(graph);
  for (let block = 0; block < graph.size; block++) {
    let set = before[block] as number;
    for (let index = graph.first(block); index <= graph.last(block); index++) {
      const form = forms[index];
      if (form === undefined) continue;
      const instruction = instructions[index] as Instruction;
      const unset = registersNeeded(graph, block, instruction, form) & ~set;
      if (unset !== 0) refuse(message(graph, block, index, registersIn(unset)[0] as number), index);
      set = after(set, instruction, form);
    }
  }
}

/** A subprogram may return nothing: only the end of the program reads r0. */
function registersNeeded(graph: Graph, block: number, instruction: Instruction, form: Form): number {
  if (form.flow === 'exit' && graph.functionOf[block] !== 0) return 0;
  return registersRead(instruction, form);
}

function after(set: number, instruction: Instruction, form: Form): number {
  return (set | registersSet(instruction, form)) & ~registersLost(form);
}

/** The registers that are set on every path to each block; all registers for an unreachable block. */
function registersBefore(graph: Graph): Int32Array {
  const { blockOf, functionOf, entries, code } = graph;
  const { instructions, forms, targets } = code;
  const before = new Int32Array(graph.size).fill(ALL);
  const seen = new Uint8Array(graph.size);
  /** For each function, whether r0 is set at all its exits; and the blocks after its calls. */
  const returns = new Uint8Array(entries.length).fill(1);
  const resumes = new Map<number, Set<number>>();
  const waiting: number[] = [];
  /** The registers set at all visited computed jumps with the same successors. */
  const computed = new Map<Iterable<number>, number>();

  const flow = (block: number, set: number): void => {
    const joined = (before[block] as number) & set;
    if (seen[block] === 1 && joined === before[block]) return;
    seen[block] = 1;
    before[block] = joined;
    waiting.push(block);
  };
  // The kernel itself refuses a callee that reads r0 before setting it.
  const enter = (index: number, set: number): void =>
    flow(blockOf[targets[index] as number] as number, (set & (ARGUMENTS | RESULT)) | FRAME_POINTER);
  const through = (block: number): number => {
    let set = before[block] as number;
    for (let index = graph.first(block); index <= graph.last(block); index++) {
      const form = forms[index];
      if (form === undefined) continue;
      if (form.name === 'loadFunction' && (targets[index] as number) >= 0) enter(index, ALL);
      if (form.flow === 'call' && (targets[index] as number) >= 0) enter(index, set);
      set = after(set, instructions[index] as Instruction, form);
    }
    return set;
  };

  flow(0, CONTEXT | FRAME_POINTER);
  for (let block = waiting.pop(); block !== undefined; block = waiting.pop()) {
    let set = through(block);
    const last = graph.last(block);
    const form = forms[last];
    const own = functionOf[block] as number;
    if (form?.flow === 'exit' && (set & RESULT) === 0 && returns[own] === 1) {
      returns[own] = 0;
      for (const next of resumes.get(own) ?? []) flow(next, (before[next] as number) & ~RESULT);
    }
    if (form?.flow === 'call' && leadsToFunction(form) && (targets[last] as number) >= 0) {
      const callee = functionOf[blockOf[targets[last] as number] as number] as number;
      if (returns[callee] === 0) set &= ~RESULT;
      for (const next of graph.successors(block)) {
        const blocks = resumes.get(callee);
        if (blocks) blocks.add(next);
        else resumes.set(callee, new Set([next]));
      }
    }
    const successors = graph.successors(block);
    // Computed jumps share many successors, which are visited again only if the jump clears a register.
    if (form?.name === 'gotox') {
      const joined = (computed.get(successors) ?? ALL) & set;
      if (joined === computed.get(successors)) continue;
      computed.set(successors, joined);
    }
    for (const next of successors) flow(next, set);
  }
  return before;
}

function message(graph: Graph, block: number, index: number, register: number): string {
  const { instructions, forms } = graph.code;
  const reader = `${instructionName(instructions[index] as Instruction, forms[index])} reads r${register}`;
  const own = graph.functionOf[block];
  const bit = 1 << register;
  let [isSet, isLost] = [false, false];
  for (let each = 0; each < graph.size; each++) {
    if (graph.functionOf[each] !== own) continue;
    for (let at = graph.first(each); at <= graph.last(each); at++) {
      const form = forms[at];
      if (form === undefined) continue;
      if (registersSet(instructions[at] as Instruction, form) & bit) isSet = true;
      if (registersLost(form) & bit) isLost = true;
    }
  }
  if (isLost) return `${reader}, which is not set on every path to it: a call leaves r1 to r5 unreadable`;
  if (isSet) return `${reader}, which is not set on every path to it`;
  return `${reader}, which ${own !== 0 && bit & ARGUMENTS ? 'not every caller sets' : 'no instruction sets'}`;
}
