/**
 * Where ways part and meet: what each of them leaves of the machine's state, and the instructions of all of them in a line.
 */
import type { Emission } from '../body.ts';
import * as insn from '../constructors.ts';
import { type Arm, layOut } from './branch.ts';
import { ask, checkTest } from './compare.ts';
import type { Machine, State } from './machine.ts';
import type { Condition, Test } from './operand.ts';

/** A way without statements of its own, or an author's block. */
type Way = (() => Emission) | undefined;

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

/** Emits `then` for when the condition is true, `otherwise` for when it is false. */
export function branch(machine: Machine, { test }: Condition, then: () => Emission, otherwise: Way): void {
  checkTest(test);
  if (test.kind === 'compare') {
    const question = ask(machine, test);
    const [first, second] = arms(machine, [then, otherwise]);
    machine.items.push(...layOut(machine, question, first, second));
    return;
  }
  const [yes, no, end] = [machine.freshLabel('then'), machine.freshLabel('else'), machine.freshLabel('end')];
  emitTest(machine, test, { yes, no, next: 'yes' });
  const [first, second] = arms(machine, [then, otherwise]);
  const over = first.ended ? [] : [{ ...insn.ja(end), position: machine.position }];
  machine.items.push(insn.label(yes), ...first.items, ...over);
  machine.items.push(insn.label(no), ...second.items, insn.label(end));
}

/** The labels that a test jumps to, and which of the two stands behind it. */
interface Outcomes {
  readonly yes: string;
  readonly no: string;
  readonly next: 'yes' | 'no';
}

/** Emits the jumps of a test; a join tests its second part only if the first leaves the result open. */
function emitTest(machine: Machine, test: Test, { yes, no, next }: Outcomes): void {
  if (test.kind === 'not') {
    emitTest(machine, test.of, { yes: no, no: yes, next: next === 'yes' ? 'no' : 'yes' });
    return;
  }
  if (test.kind !== 'compare') {
    const second = machine.freshLabel('second');
    const first = test.kind === 'and' ? { yes: second, no } : { yes, no: second };
    emitTest(machine, test.first, { ...first, next: test.kind === 'and' ? 'yes' : 'no' });
    machine.emit(insn.label(second));
    emitTest(machine, test.second, { yes, no, next });
    return;
  }
  machine.part(() => {
    const question = ask(machine, test);
    const skip = next === 'yes' ? question.jumpUnless(no) : undefined;
    if (skip) machine.emit(skip);
    else {
      machine.emit(question.jumpIf(yes));
      if (next === 'yes') machine.emit(insn.ja(no));
    }
  });
}

/** Emits a block; what it is given leads to its end. */
export function leavable(machine: Machine, body: (leave: () => void) => Emission): void {
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
