/**
 * Branches and blocks: save the machine's state before the user's functions, join it after them, and lay out
 * their instructions.
 *
 * The statement calls the user's functions itself, between the steps here, so that each level of nesting uses
 * as little of the JavaScript stack as possible.
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
 * Returns the error to throw when a block throws: the same error, unless nested blocks overflowed the
 * JavaScript stack.
 */
function blockError(
  error: unknown,
  machine: Machine,
  { scope }: State,
  position: Position | undefined,
): unknown {
  // No regular expression here: V8 needs stack to compile one (since Node 24), and there is none left.
  const isOverflow = error instanceof RangeError && error.message.startsWith('Maximum call stack size');
  if (!isOverflow || scope.depth > 0) return fromUserCode(error);
  const message = `${machine.deepest} nested blocks overflow the JavaScript stack: run node with --stack-size=4000 (four times the default)`;
  return withSourcePosition(new RangeError(message, { cause: error }), position);
}

/**
 * The arms of a branch. Each begins in the state before the branch; their final states are joined after it.
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
   * Begins the first arm, after the statement's own instructions. `length` is the number of items before
   * those instructions.
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

  /** Ends an arm whose body returned `result`, and begins the next arm. Returns the ended arm. */
  next(result: BodyResult): Arm {
    const built = this.#built(result);
    this.#begin();
    return built;
  }

  /** Ends the last arm, whose body returned `result`, and joins the states. Returns the ended arm. */
  end(result: BodyResult): Arm {
    const built = this.#built(result);
    this.#machine.items = this.#outer;
    this.#machine.at(this.position, () => this.#machine.join(this.#before, this.#after));
    return built;
  }

  /** Undoes the statement because an arm threw. Returns the error to throw. */
  fail(error: unknown): unknown {
    this.#machine.items = this.#outer;
    this.#outer.length = this.#length;
    this.#machine.restore(this.#before);
    return blockError(error, this.#machine, this.#before, this.position);
  }
}

/** The labels that a test jumps to if it is true or false, and which of them directly follows the test. */
interface Outcomes {
  readonly yes: string;
  readonly no: string;
  readonly next: 'yes' | 'no';
}

/** Emits the jumps of a test. `and` and `or` skip their second part if the first decides the result. */
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

/** A condition with two arms: the first runs if the condition is true, the second if it is false. */
export class Branch {
  readonly #machine: Machine;
  /**
   * A single comparison, whose jump is emitted at the end; or the labels of the two arms, for `and`, `or` and
   * `not`, whose jumps have been emitted.
   */
  readonly #test: LoadedComparison | { readonly yes: string; readonly no: string };
  readonly #arms: Arms;

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

  /** Runs the bodies of the arms. Undoes the statement if one of them throws. */
  run(then: () => BodyResult, otherwise: (() => BodyResult) | undefined): void {
    try {
      const first = this.#arms.next(then());
      const second = this.#arms.end(otherwise?.());
      this.#layOut(first, second);
    } catch (error) {
      throw this.#arms.fail(error);
    }
  }

  #layOut(then: Arm, otherwise: Arm): void {
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
}

/** A block with a `leave` function, which jumps to its end. */
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
        throw new ProgramError(
          `leave() was called after the end of ${withLine('the block', this.#position)}`,
        );
      this.#machine.requireReleased('leave()', this.#before.reserved);
      this.#paths.push(this.#machine.save());
      this.#machine.end(insn.ja(this.#end));
    });

  /** Runs the body of the block. Undoes the block if it throws. */
  run(body: (leave: () => void) => BodyResult): void {
    try {
      this.#close(body(this.leave));
    } catch (error) {
      throw this.#fail(error);
    }
  }

  /** Ends the block, whose body returned `result`. */
  #close(result: BodyResult): void {
    this.#machine.at(this.#position, () => requireSynchronous(result));
    this.#over = true;
    const paths = [...this.#paths, this.#machine.save()];
    this.#machine.at(this.#position, () => this.#machine.join(this.#before, paths));
    this.#machine.items.push(insn.label(this.#end));
  }

  /** Undoes the block because its body threw. Returns the error to throw. */
  #fail(error: unknown): unknown {
    this.#over = true;
    this.#machine.items.length = this.#length;
    this.#machine.restore(this.#before);
    return blockError(error, this.#machine, this.#before, this.#position);
  }
}
