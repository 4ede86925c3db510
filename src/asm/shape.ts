/**
 * What the kernel refuses for a program's shape alone, whatever its instructions compute: it says so by slot, we by line.
 *
 * Source: kernel/bpf/verifier.c, `check_subprogs` and `check_cfg`.
 */
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
}

type Refuse = (message: string, step: Step) => never;

/** Calls `refuse`, which throws, at the first step that makes the program one that the kernel wouldn't take. */
export function checkShape(steps: readonly Step[], slots: number, refuse: Refuse): void {
  const bySlot = new Map(steps.map((step, index) => [step.slot, index]));
  for (const step of steps) checkDestination(step, bySlot, slots, refuse);
  checkSubprograms(steps, refuse);
  if (!steps.some(({ form }) => form?.name === 'gotox')) checkReached(steps, bySlot, refuse);
}

function checkDestination(
  step: Step,
  bySlot: ReadonlyMap<number, number>,
  slots: number,
  refuse: Refuse,
): void {
  const { to } = step;
  if (to === undefined || bySlot.has(to)) return;
  if (to < 0 || to >= slots)
    refuse(`${nameOf(step)} goes to slot ${to}, outside the program's ${slots}`, step);
  refuse(`${nameOf(step)} goes to slot ${to}, the middle of an lddw`, step);
}

/** A subprogram starts where something calls it or takes its address; all that follows is its own, up to the next. */
function checkSubprograms(steps: readonly Step[], refuse: Refuse): void {
  const starts = new Set(steps.filter(isCall).map(({ to }) => to));
  let number = 0;
  const numbers = new Map(steps.map(({ slot }) => [slot, starts.has(slot) && slot > 0 ? ++number : number]));
  steps.forEach((step, index) => {
    const next = steps[index + 1];
    const last = next === undefined || numbers.get(next.slot) !== numbers.get(step.slot);
    if (last && step.form !== undefined && step.form.flow !== 'exit' && step.form.flow !== 'jump')
      refuse(
        `${nameOf(step)} is the last of ${numbers.get(step.slot) === 0 ? 'the program' : 'a subprogram'}, which runs on past its end`,
        step,
      );
    if (step.to !== undefined && !isCall(step) && numbers.get(step.to) !== numbers.get(step.slot))
      refuse(`${nameOf(step)} goes to slot ${step.to}, in another subprogram`, step);
  });
}

function checkReached(steps: readonly Step[], bySlot: ReadonlyMap<number, number>, refuse: Refuse): void {
  const reached = new Set<number>();
  const waiting = [0];
  for (let index = waiting.pop(); index !== undefined; index = waiting.pop()) {
    const step = steps[index];
    if (step === undefined || reached.has(index)) continue;
    reached.add(index);
    const to = step.to === undefined ? undefined : bySlot.get(step.to);
    if (to !== undefined) waiting.push(to);
    if (step.form?.flow !== 'jump' && step.form?.flow !== 'exit') waiting.push(index + 1);
  }
  const unreached = steps.find((_, index) => !reached.has(index));
  if (unreached) refuse(`nothing reaches ${nameOf(unreached)}`, unreached);
}

function isCall({ form }: Step): boolean {
  return form?.name === 'callSubprogram' || form?.name === 'loadFunction';
}

function nameOf({ form, instruction }: Step): string {
  return form?.name ?? `opcode 0x${instruction.opcode.toString(16)}`;
}
