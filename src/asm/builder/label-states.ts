/**
 * The state of the machine at raw labels. Forward jumps to a label are joined there; backward jumps are
 * checked against the state at the label.
 */
import { ProgramError } from '../error.ts';
import { type Position, withLine } from '../position.ts';
import type { Machine } from './machine.ts';
import { NONE, requireSame } from './reservation.ts';
import { Stack } from './stack.ts';
import { describeHolder, type Facts, type Holder, isRaw, joinFacts, type State } from './state.ts';

/** A label that has been emitted. Code after it relies on the state. */
interface Placed {
  readonly state: State;
  /** The number of the raw label, from 1. Uses of a value record the number of the last label before them. */
  readonly number: number;
}

/**
 * The registers that a called function may read: its arguments. r0 is in the list, too, because the kernel
 * checks reads of it.
 */
const PASSED = [0, 1, 2, 3, 4, 5];

export class LabelStates {
  /** The source lines of the labels. */
  readonly positions = new Map<string, Position | undefined>();
  readonly #machine: Machine;
  readonly #placed = new Map<string, Placed>();
  /** The joined facts of the forward jumps to each label that has not been emitted yet. */
  readonly #awaited = new Map<string, Facts>();

  #assumed = false;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** Whether the current state is assumed, because only later jumps lead to the last label. */
  get assumed(): boolean {
    return this.#assumed;
  }

  /**
   * Emits a label. The state after it is the join of all paths to it. If only later jumps can lead to it, the
   * state before it is assumed, and each of those jumps is checked against that state.
   *
   * Throws ProgramError for a duplicate label.
   */
  place(label: string): void {
    const machine = this.#machine;
    if (this.positions.has(label))
      throw new ProgramError(
        `duplicate label '${label}': ${withLine('the first is', this.positions.get(label))}`,
      );
    this.positions.set(label, machine.position);
    const awaited = this.#awaited.get(label);
    if (machine.ended) this.#assumed = awaited === undefined;
    if (awaited !== undefined)
      machine.setFacts(machine.ended ? awaited : joinFacts(machine.save(), awaited, label));
    machine.emit({ label });
    const number = machine.countRawLabel();
    this.#placed.set(label, { state: machine.save(), number });
  }

  /** Records a jump from the current state to a label. Checks the state if the jump is backward. */
  jumpFrom(label: string): void {
    const placed = this.#placed.get(label);
    if (placed !== undefined) this.#jumpBack(label, placed);
    else this.#await(label, this.#machine.save());
  }

  /** Records a call of the function at a label. The function can read its arguments, but no other value. */
  callFrom(label: string): void {
    const placed = this.#placed.get(label);
    if (placed === undefined) this.#await(label, this.#entry());
    else
      for (const holder of placed.state.holders)
        if (holder !== undefined && !isRaw(holder) && (holder.usedAt ?? -1) >= placed.number)
          throw new ProgramError(
            `the function at '${label}' uses ${describeHolder(holder)}, which is not available when the function is called: pass it in r1 to r5`,
          );
  }

  /** Throws ProgramError if a jump to the shared exit, which is no label of the user's, leaks a record. */
  finish(): void {
    for (const [label, { reserved }] of this.#awaited)
      if (!this.#placed.has(label)) this.#machine.requireReleasedAtEnd(`the jump to '${label}'`, reserved);
  }

  #await(label: string, facts: Facts): void {
    const others = this.#awaited.get(label);
    this.#awaited.set(label, others === undefined ? facts : joinFacts(others, facts, label));
  }

  /**
   * Invalidates casts of a value that was assigned to between a label and the jump back to it. Throws if code
   * after the label already uses such a cast.
   */
  #invalidateCasts(holder: Holder, version: number, label: string, number: number): void {
    if ((holder.readAt?.get(version) ?? -1) >= number)
      throw new ProgramError(
        `the jump back to '${label}' follows an assignment to ${describeHolder(holder)}, but code after that label uses an earlier cast of it: cast it again after the label`,
      );
    holder.stale ??= new Set();
    holder.stale.add(version);
  }

  #entry(): Facts {
    const { scope, holders, versions } = this.#machine.save();
    const argument: Holder = { name: 'an argument', position: this.#machine.position, raw: true, scope };
    return {
      holders: holders.map((holder, number) =>
        PASSED.includes(number) && holder !== undefined ? argument : undefined,
      ),
      versions: versions.map(() => undefined),
      stack: new Stack(),
      reserved: NONE,
    };
  }

  /**
   * Checks a jump back. Code after the label must not use a value that this path has lost: throws if it
   * already does, and marks the value so that later uses throw.
   */
  #jumpBack(label: string, { state, number }: Placed): void {
    const here = this.#machine.save();
    requireSame(here.reserved, state.reserved, `at the jump back to '${label}'`);
    for (const [register, holder] of state.holders.entries()) {
      const now = here.holders[register];
      if (holder === undefined || (isRaw(holder) && isRaw(now))) continue;
      if (holder === now) {
        const version = state.versions[register] as number;
        if (here.versions[register] !== version) this.#invalidateCasts(holder, version, label, number);
        continue;
      }
      if (Math.max(holder.usedAt ?? -1, holder.usedRawAt ?? -1) >= number)
        throw new ProgramError(
          `the jump back to '${label}' leads to code that uses ${describeHolder(holder)}, but r${register} no longer holds it`,
        );
      holder.broken = true;
      holder.lost = { by: `the jump back to '${label}'`, position: this.#machine.position };
    }
    const unwritten = state.stack.writtenOnlyHere(here.stack);
    if (unwritten)
      throw new ProgramError(
        `the jump back to '${label}' leads to code that expects byte ${unwritten.offset} of ${unwritten.memory.name} to be written, but this path has not written it`,
      );
  }
}
