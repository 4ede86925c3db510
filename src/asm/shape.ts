/**
 * What the kernel refuses for a program's shape alone, whatever its instructions compute: it says so by slot, we by line.
 *
 * Source: kernel/bpf/verifier.c, `check_subprogs` and `check_cfg`.
 */
import { type Call, callFault, MOST_FRAMES } from './calls.ts';
import type { Instruction } from './instruction.ts';
import type { Form } from './isa.ts';

/** An instruction and where it may lead. */
export interface Step {
  readonly slot: number;
  readonly instruction: Instruction;
  /** Undefined for an instruction that the table doesn't know. */
  readonly form: Form | undefined;
  /** The slot that it jumps to, calls or takes the address of. */
  readonly to: number | undefined;
  /** The labels that stand here: where a subprogram begins, the first is its name. */
  readonly labels: readonly string[];
}

type Refuse = (message: string, step: Step) => never;

/** Calls `refuse`, which throws, at the first step that makes the program one that the kernel wouldn't take. */
export function checkShape(steps: readonly Step[], slots: number, refuse: Refuse): void {
  /** Where the step of each slot is among the steps; -1 for the middle of an lddw. */
  const bySlot = new Int32Array(slots).fill(-1);
  steps.forEach(({ slot }, index) => {
    bySlot[slot] = index;
  });
  for (const step of steps) {
    checkDestination(step, bySlot, refuse);
    checkStack(step, refuse);
  }
  checkSubprograms(steps, slots, refuse);
  if (!steps.some(({ form }) => form?.name === 'gotox')) checkReached(steps, bySlot, refuse);
}

function checkDestination(step: Step, bySlot: Int32Array, refuse: Refuse): void {
  const { to } = step;
  if (to === undefined || (bySlot[to] ?? -1) >= 0) return;
  if (to < 0 || to >= bySlot.length)
    refuse(`${nameOf(step)} goes to slot ${to}, outside the program's ${bySlot.length}`, step);
  refuse(`${nameOf(step)} goes to slot ${to}, the middle of an lddw`, step);
}

/** `MAX_BPF_STACK`: the bytes below r10. */
const STACK_BYTES = 512;
const FRAME_POINTER = 10;

function checkStack(step: Step, refuse: Refuse): void {
  const { form, instruction } = step;
  if (form?.size === undefined) return;
  const base = form.dst === 'base' ? instruction.dst : form.src === 'base' ? instruction.src : undefined;
  const { off } = instruction;
  if (base === FRAME_POINTER && (off < -STACK_BYTES || off + form.size > 0))
    refuse(
      `${nameOf(step)} of ${form.size} bytes at r10 ${off < 0 ? off : `+${off}`} is not within the ${STACK_BYTES} bytes of stack below r10`,
      step,
    );
}

/** A subprogram starts where something calls it or takes its address; all that follows is its own, up to the next. */
function checkSubprograms(steps: readonly Step[], slots: number, refuse: Refuse): void {
  const starts = new Uint8Array(slots);
  for (const step of steps) if (step.to !== undefined && isCall(step)) starts[step.to] = 1;
  /** The subprogram of each slot, the program itself being 0. */
  const numbers = new Int32Array(slots);
  for (let slot = 1; slot < slots; slot++)
    numbers[slot] = (numbers[slot - 1] as number) + (starts[slot] as number);
  steps.forEach((step, index) => {
    const next = steps[index + 1];
    const number = numbers[step.slot];
    const last = next === undefined || numbers[next.slot] !== number;
    if (last && step.form !== undefined && step.form.flow !== 'exit' && step.form.flow !== 'jump')
      refuse(
        `${nameOf(step)} is the last of ${number === 0 ? 'the program' : 'a subprogram'}, which runs on past its end`,
        step,
      );
    if (step.to !== undefined && !isCall(step) && numbers[step.to] !== number)
      refuse(`${nameOf(step)} goes to slot ${step.to}, in another subprogram`, step);
  });
  checkCalls(steps, numbers, refuse);
}

function checkCalls(steps: readonly Step[], numbers: Int32Array, refuse: Refuse): void {
  const calls: Call<number, Step>[] = [];
  for (const step of steps)
    if (step.to !== undefined && step.form?.flow === 'call')
      calls.push({ from: numbers[step.slot] as number, to: numbers[step.to] as number, by: step });
  if (calls.length === 0) return;
  const fault = callFault(0, calls);
  if (fault === undefined) return;
  const names = fault.chain.map((number) => {
    const start = steps.find(({ slot }) => numbers[slot] === number);
    return number === 0 ? 'the program' : (start?.labels[0] ?? `slot ${start?.slot}`);
  });
  const chain = names.join(' -> ');
  if (fault.kind === 'recursion') refuse(`a subprogram calls itself: ${chain}`, fault.by);
  refuse(`${chain}: ${names.length} frames, and the kernel has ${MOST_FRAMES} for a program`, fault.by);
}

function checkReached(steps: readonly Step[], bySlot: Int32Array, refuse: Refuse): void {
  const reached = new Uint8Array(steps.length);
  const waiting = [0];
  for (let index = waiting.pop(); index !== undefined; index = waiting.pop())
    for (let step = steps[index]; step !== undefined && reached[index] === 0; step = steps[++index]) {
      reached[index] = 1;
      if (step.to !== undefined) waiting.push(bySlot[step.to] as number);
      if (step.form?.flow === 'jump' || step.form?.flow === 'exit') break;
    }
  const unreached = steps[reached.indexOf(0)];
  if (unreached) refuse(`nothing reaches ${nameOf(unreached)}`, unreached);
}

function isCall({ form }: Step): boolean {
  return leadsToSubprogram(form);
}

/** Whether instructions of that form call a subprogram or take its address: where they lead, one begins. */
export function leadsToSubprogram(form: Form | undefined): boolean {
  return form?.name === 'callSubprogram' || form?.name === 'loadFunction';
}

function nameOf({ form, instruction }: Step): string {
  return form?.name ?? `opcode 0x${instruction.opcode.toString(16)}`;
}
