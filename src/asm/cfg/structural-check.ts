/**
 * The structural check: what the kernel refuses without following a single path. The kernel names only the
 * slot; this check names the user's source line.
 *
 * Source: kernel/bpf/verifier.c, `check_subprogs` and `check_cfg`.
 */
import type { Instruction } from '../instruction.ts';
import type { Form } from '../isa.ts';
import { type Call, callFault, MAX_FRAMES } from './call-graph.ts';
import { registersSet } from './effects.ts';
import { fallsThrough, type Graph, leadsToFunction } from './graph.ts';

/** The position of instructions, for messages. */
export interface Places {
  slotOf(index: number): number;
  /** The labels at an instruction. The first label of a subprogram is its name. */
  labelsOf(index: number): readonly string[];
}

/** Throws an error about the instruction at `index`. */
type Refuse = (message: string, index: number) => never;

/** Calls `refuse` for the first instruction that violates the structure of a program. */
export function checkStructure(graph: Graph, places: Places, refuse: Refuse): void {
  checkFramePointer(graph, refuse);
  checkFunctions(graph, places, refuse);
  if (graph.calls.length > 0) checkCalls(graph, places, refuse);
  if (graph.complete) checkReached(graph, refuse);
}

/** The size of the stack below r10, in bytes (`MAX_BPF_STACK`). */
const STACK_BYTES = 512;
const FRAME_POINTER = 10;

/** r10 is never written, and accesses at r10 are on the stack. */
function checkFramePointer({ code: { instructions, forms } }: Graph, refuse: Refuse): void {
  for (let index = 0; index < instructions.length; index++) {
    const instruction = instructions[index] as Instruction;
    const { dst, src, off } = instruction;
    const form = forms[index];
    if ((dst !== FRAME_POINTER && src !== FRAME_POINTER) || form === undefined) continue;
    if (registersSet(instruction, form) >> FRAME_POINTER)
      refuse(`${form.name} writes r10, the frame pointer`, index);
    if (form.size === undefined) continue;
    const base = form.dst === 'base' ? dst : form.src === 'base' ? src : undefined;
    if (base === FRAME_POINTER && (off < -STACK_BYTES || off + form.size > 0))
      refuse(
        `${form.name} of ${form.size} bytes at r10 ${off < 0 ? off : `+${off}`} is outside the stack, the ${STACK_BYTES} bytes below r10`,
        index,
      );
  }
}

/** Each function ends in an exit or a jump, and no jump leaves it. */
function checkFunctions(graph: Graph, places: Places, refuse: Refuse): void {
  const { instructions, forms, targets } = graph.code;
  const { blockOf, functionOf } = graph;
  for (let block = 0; block < graph.size; block++) {
    const index = graph.last(block);
    const own = functionOf[block];
    const form = forms[index];
    const isLast = block + 1 === graph.size || functionOf[block + 1] !== own;
    if (isLast && form !== undefined && fallsThrough(form))
      refuse(
        `${own === 0 ? 'the program' : 'a subprogram'} ends with ${form.name}; its last instruction must be an exit or a jump`,
        index,
      );
    const to = targets[index] as number;
    if (to >= 0 && !leadsToFunction(form) && functionOf[blockOf[to] as number] !== own)
      refuse(
        `${instructionName(instructions[index] as Instruction, form)} jumps to slot ${places.slotOf(to)}, in another subprogram`,
        index,
      );
  }
}

function checkCalls(graph: Graph, places: Places, refuse: Refuse): void {
  const { forms, targets } = graph.code;
  const { blockOf, functionOf, entries } = graph;
  const functionAt = (index: number): number => functionOf[blockOf[index] as number] as number;
  const calls: Call<number, number>[] = [];
  for (const by of graph.calls)
    if (forms[by]?.flow === 'call')
      calls.push({ from: functionAt(by), to: functionAt(targets[by] as number), by });
  const fault = callFault(0, calls);
  if (fault === undefined) return;
  const names = fault.chain.map((each) => {
    const start = graph.first(entries[each] as number);
    return each === 0 ? 'the program' : (places.labelsOf(start)[0] ?? `slot ${places.slotOf(start)}`);
  });
  const chain = names.join(' -> ');
  if (fault.kind === 'recursion') refuse(`recursive call: ${chain}`, fault.by);
  refuse(
    `too many nested calls: ${chain} has ${names.length} frames; the kernel allows ${MAX_FRAMES}`,
    fault.by,
  );
}

function checkReached(graph: Graph, refuse: Refuse): void {
  const unreached = graph.reached().indexOf(0);
  if (unreached < 0) return;
  const index = graph.first(unreached);
  refuse(
    `unreachable instruction ${instructionName(graph.code.instructions[index] as Instruction, graph.code.forms[index])}`,
    index,
  );
}

/** The name of an instruction in messages. */
export function instructionName({ opcode }: Instruction, form: Form | undefined): string {
  return form?.name ?? `opcode 0x${opcode.toString(16)}`;
}
