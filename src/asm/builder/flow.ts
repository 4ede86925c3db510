/**
 * Where ways part and meet: what each of them leaves of the machine's state, and the instructions of all of them in a line.
 */
import * as insn from '../constructors.ts';
import { type Arm, ask, layOut } from './branch.ts';
import type { Machine, State } from './machine.ts';
import type { Condition } from './operand.ts';

const NOTHING: Arm = { items: [], ended: false };

/** Emits `then` for where the condition holds, `otherwise` for where it doesn't. */
export function branch(
  machine: Machine,
  condition: Condition,
  then: () => void,
  otherwise?: () => void,
): void {
  const question = ask(machine, condition);
  const before = machine.save();
  const arm = (body: () => void): Arm & { after: State } => {
    machine.restore(before);
    const items = machine.collect(() => machine.block(body));
    return { items, ended: machine.ended, after: machine.save() };
  };
  const first = arm(then);
  const second = otherwise ? arm(otherwise) : { ...NOTHING, after: before };
  machine.meet(before, [first.after, second.after]);
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
