/**
 * Where ways part and meet: what each of them leaves of the machine's state, and the instructions of all of them in a line.
 */
import * as insn from '../constructors.ts';
import { type Arm, ask, layOut } from './branch.ts';
import type { Machine, State } from './machine.ts';
import type { Condition } from './operand.ts';

/** A way without statements of its own, or an author's block. */
type Way = (() => void) | undefined;

/** Builds ways that part here and meet again, each by itself: whoever asks lays them out. */
export function arms<const W extends readonly Way[]>(
  machine: Machine,
  ways: W,
): { readonly [I in keyof W]: Arm } {
  const before = machine.save();
  const after: State[] = [];
  const built = ways.map((body): Arm => {
    machine.restore(before);
    const items = body ? machine.collect(() => machine.block(body)) : [];
    after.push(machine.save());
    return { items, ended: machine.ended };
  });
  machine.meet(before, after);
  return built as { [I in keyof W]: Arm };
}

/** Emits `then` for where the condition holds, `otherwise` for where it doesn't. */
export function branch(machine: Machine, condition: Condition, then: () => void, otherwise: Way): void {
  const question = ask(machine, condition);
  const [first, second] = arms(machine, [then, otherwise]);
  machine.items.push(...layOut(machine, question, first, second));
}

/** Emits a block; what it is given leads to its end. */
export function leavable(machine: Machine, body: (leave: () => void) => void): void {
  const end = machine.freshLabel('end');
  const before = machine.save();
  const ways: State[] = [];
  const leave = () =>
    machine.statement(leave, () => {
      ways.push(machine.save());
      machine.end(insn.ja(end));
    });
  machine.block(() => body(leave));
  machine.meet(before, [...ways, machine.save()]);
  machine.items.push(insn.label(end));
}
