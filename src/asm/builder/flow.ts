/**
 * Blocks of the user's within a statement: what each of them leaves of the machine's state, and their
 * instructions in a line.
 *
 * A statement calls its blocks itself, between the steps here, so that a level of nesting takes as little of
 * the JavaScript stack as it can.
 */

import { type BodyResult, requireSynchronous } from '../body.ts';
import * as insn from '../constructors.ts';
import { ProgramError } from '../error.ts';
import { fromUserCode, withSourcePosition } from '../error-position.ts';
import { type Position, withLine } from '../position.ts';
import { type Arm, layOut } from './branch.ts';
import { checkTest, type LoadedComparison, loadComparison } from './compare.ts';
import type { Machine, Sequence, State } from './machine.ts';
import type { Condition, Test } from './operand.ts';

/**
 * The error of a block, which stays as it is, unless blocks within each other have taken all of JavaScript's
 * stack.
 */
function failed(error: unknown, machine: Machine, { scope }: State, position: Position | undefined): unknown {
  const isOverflow = error instanceof RangeError && /^Maximum call stack size/.test(error.message);
  if (!isOverflow || scope.depth > 0) return fromUserCode(error);
  const message = `${machine.deepest} blocks within each other take all of JavaScript's stack: node --stack-size=4000 makes it four times as large`;
  return withSourcePosition(new RangeError(message, { cause: error }), position);
}

/**
 * The arms of a branch: each begins in the state before the branch, and their states are joined behind it.
 */
export class Arms {
  /** The statement's line. */
  readonly position: Position | undefined;
  readonly #machine: Machine;
  readonly #outer: Sequence;
  readonly #before: State;
  readonly #after: State[] = [];
  readonly #length: number;

  /**
   * Begins the first arm, and so ends the statement's own part. `length` is the number of items before that
   * part.
   */
  constructor(machine: Machine, length: number) {
    this.#length = length;
    this.position = machine.position;
    this.#machine = machine;
    this.#outer = machine.items;
    this.#before = machine.save();
    machine.leaveStatement();
    this.#begin();
  }

  #begin(): void {
    this.#machine.restore(this.#before);
    this.#machine.enter();
    this.#machine.items = [];
  }

  #built(result: BodyResult): Arm {
    this.#machine.at(this.position, () => requireSynchronous(result));
    const { items, ended } = this.#machine;
    this.#after.push(this.#machine.save());
    return { items, ended };
  }

  /** Ends an arm, whose body returned `result`, and begins the next one. Returns the arm. */
  next(result: BodyResult): Arm {
    const built = this.#built(result);
    this.#begin();
    return built;
  }

  /** Ends the last arm, whose body returned `result`, and joins the states. Returns the arm. */
  end(result: BodyResult): Arm {
    const built = this.#built(result);
    this.#machine.items = this.#outer;
    this.#machine.join(this.#before, this.#after);
    return built;
  }

  /** Undoes the statement, since an arm threw. Returns the error, to be thrown. */
  fail(error: unknown): unknown {
    this.#machine.items = this.#outer;
    this.#outer.length = this.#length;
    this.#machine.restore(this.#before);
    return failed(error, this.#machine, this.#before, this.position);
  }
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
  machine.withScratch(() => {
    const comparison = loadComparison(machine, test);
    const skip = next === 'yes' ? comparison.jumpUnless(no) : undefined;
    if (skip) machine.emit(skip);
    else {
      machine.emit(comparison.jumpIf(yes));
      if (next === 'yes') machine.emit(insn.ja(no));
    }
  });
}

/** A condition with two arms: the first runs if it holds, the other if it does not. */
export class Branch {
  readonly #machine: Machine;
  /**
   * What is left of a single comparison is its jump; of `and` and `or`, the jumps to these labels are there.
   */
  readonly #test: LoadedComparison | { readonly yes: string; readonly no: string };
  readonly #arms: Arms;
  #then: Arm | undefined;

  constructor(machine: Machine, { test }: Condition) {
    const { length } = machine.items;
    this.#machine = machine;
    checkTest(test);
    if (test.kind === 'compare') this.#test = loadComparison(machine, test);
    else {
      this.#test = { yes: machine.freshLabel('then'), no: machine.freshLabel('else') };
      emitTest(machine, test, { ...this.#test, next: 'yes' });
    }
    this.#arms = new Arms(machine, length);
  }

  /** The statement's line. */
  get position(): Position | undefined {
    return this.#arms.position;
  }

  /** Ends the first arm, whose body returned `result`, and begins the other one. */
  otherwise(result: BodyResult): void {
    this.#then = this.#arms.next(result);
  }

  /** Ends the second arm, whose body returned `result`. */
  end(result: BodyResult): void {
    const otherwise = this.#arms.end(result);
    const then = this.#then as Arm;
    const { items } = this.#machine;
    const { position } = this.#arms;
    const test = this.#test;
    if ('jumpIf' in test) {
      items.push(...layOut(this.#machine, { comparison: test, position }, then, otherwise));
      return;
    }
    const end = this.#machine.freshLabel('end');
    items.push(insn.label(test.yes), then.items);
    if (!then.ended) items.push({ ...insn.ja(end), position });
    items.push(insn.label(test.no), otherwise.items, insn.label(end));
  }

  fail(error: unknown): unknown {
    return this.#arms.fail(error);
  }
}

/** A block that `leave` jumps to the end of. */
export class LeavableBlock {
  readonly #machine: Machine;
  readonly #end: string;
  readonly #before: State;
  readonly #paths: State[] = [];
  readonly #length: number;
  readonly #position: Position | undefined;
  #over = false;

  constructor(machine: Machine) {
    this.#machine = machine;
    this.#position = machine.position;
    this.#end = machine.freshLabel('end');
    this.#before = machine.save();
    this.#length = machine.items.length;
    machine.leaveStatement();
    machine.enter();
  }

  readonly leave = (): void =>
    this.#machine.statement(this.leave, () => {
      if (this.#over)
        throw new ProgramError(`leave() of ${withLine('the block', this.#position)}, which has ended`);
      this.#paths.push(this.#machine.save());
      this.#machine.end(insn.ja(this.#end));
    });

  /** Ends the block, whose body returned `result`. */
  end(result: BodyResult): void {
    this.#machine.at(this.#position, () => requireSynchronous(result));
    this.#over = true;
    this.#machine.join(this.#before, [...this.#paths, this.#machine.save()]);
    this.#machine.items.push(insn.label(this.#end));
  }

  /** Undoes the block, since it threw. Returns the error, to be thrown. */
  fail(error: unknown): unknown {
    this.#over = true;
    this.#machine.items.length = this.#length;
    this.#machine.restore(this.#before);
    return failed(error, this.#machine, this.#before, this.#position);
  }
}
