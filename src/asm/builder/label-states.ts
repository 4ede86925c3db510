/**
 * Labels of raw instructions: what the machine's state is where jumps lead to them, from before and from
 * behind.
 */
import { ProgramError } from '../error.ts';
import { type Position, withLine } from '../position.ts';
import type { Machine } from './machine.ts';
import { Stack } from './stack.ts';
import { describeHolder, type Facts, type Holder, isRaw, joinFacts, type State } from './state.ts';

/** A label that stands somewhere, and the state there, which code after it relies on. */
interface Placed {
  readonly state: State;
  /** The number of labels up to this one. */
  readonly number: number;
}

/** What a call leaves the callee of the caller's registers. r0 it leaves to the kernel to refuse. */
const HANDED_OVER = [0, 1, 2, 3, 4, 5];

export class LabelStates {
  /** The lines of the labels. */
  readonly positions = new Map<string, Position | undefined>();
  readonly #machine: Machine;
  readonly #placed = new Map<string, Placed>();
  /** What the jumps to a label that is yet to come have in common. */
  readonly #awaited = new Map<string, Facts>();

  #assumed = false;

  constructor(machine: Machine) {
    this.#machine = machine;
  }

  /** Whether the state is one that the jumps to come are held to. */
  get assumed(): boolean {
    return this.#assumed;
  }

  /**
   * Places a label: the state behind it is the join of all paths to it. If only later jumps can lead to it,
   * the state at the end before it is assumed, and each of those jumps is checked against that.
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
    if (awaited !== undefined) machine.setFacts(machine.ended ? awaited : joinFacts(machine.save(), awaited));
    machine.emit({ label });
    const number = machine.countRawLabel();
    this.#placed.set(label, { state: machine.save(), number });
  }

  /** A jump to a label, from the state here. */
  jumpFrom(label: string): void {
    const placed = this.#placed.get(label);
    if (placed !== undefined) this.#jumpBack(label, placed);
    else this.#await(label, this.#machine.save());
  }

  /** A call of the function at a label: it has the arguments, and nothing else of what is here. */
  callFrom(label: string): void {
    const placed = this.#placed.get(label);
    if (placed === undefined) this.#await(label, this.#entry());
    else
      for (const holder of placed.state.holders)
        if (holder !== undefined && !isRaw(holder) && (holder.usedAt ?? -1) >= placed.number)
          throw new ProgramError(
            `the function at '${label}' uses ${describeHolder(holder)}, which it does not have when it is called`,
          );
  }

  #await(label: string, facts: Facts): void {
    const others = this.#awaited.get(label);
    this.#awaited.set(label, others === undefined ? facts : joinFacts(others, facts));
  }

  /** Code behind the label must not use other readings of a value, which has been assigned to since. */
  #assignedTo(holder: Holder, version: number, label: string, number: number): void {
    if ((holder.readAt?.get(version) ?? -1) >= number)
      throw new ProgramError(
        `the jump back to '${label}' follows an assignment to ${describeHolder(holder)}, and code behind that label uses another reading of it from before: read it again there`,
      );
    holder.stale ??= new Set();
    holder.stale.add(version);
  }

  #entry(): Facts {
    const { scope, holders, versions } = this.#machine.save();
    const argument: Holder = { name: 'an argument', position: this.#machine.position, raw: true, scope };
    return {
      holders: holders.map((holder, number) =>
        HANDED_OVER.includes(number) && holder !== undefined ? argument : undefined,
      ),
      versions: versions.map(() => undefined),
      stack: new Stack(),
    };
  }

  /** Code behind the label must not use what is lost here: neither code so far, nor code from now on. */
  #jumpBack(label: string, { state, number }: Placed): void {
    const here = this.#machine.save();
    for (const [register, holder] of state.holders.entries()) {
      const now = here.holders[register];
      if (holder === undefined || (isRaw(holder) && isRaw(now))) continue;
      if (holder === now) {
        const version = state.versions[register] as number;
        if (here.versions[register] !== version) this.#assignedTo(holder, version, label, number);
        continue;
      }
      if (Math.max(holder.usedAt ?? -1, holder.usedRawAt ?? -1) >= number)
        throw new ProgramError(
          `the jump back to '${label}' lacks ${describeHolder(holder)}, which is used behind that label: r${register} does not hold it any more`,
        );
      holder.broken = true;
      holder.lost = { by: `the jump back to '${label}'`, position: this.#machine.position };
    }
    const unwritten = state.stack.writtenOnlyHere(here.stack);
    if (unwritten)
      throw new ProgramError(
        `the jump back to '${label}' leads to code that has byte ${unwritten.offset} of ${unwritten.memory.name} written, and here it is not`,
      );
  }
}
