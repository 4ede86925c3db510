/**
 * The state of the machine at the current point of the build: which value holds each register, which stack
 * bytes have been written, and the instructions so far.
 *
 * It knows the calling convention (RFC 9669, section 2: a call clobbers r0 to r5 and preserves r6 to r9; r10
 * is the frame pointer) and nothing about the statements of the builder.
 */
import { ProgramError } from '../error.ts';
import { withSourcePosition } from '../error-position.ts';
import type { Instruction, Item, Register } from '../instruction.ts';
import { generatedLabel } from '../labels.ts';
import { capture, type Position, withLine } from '../position.ts';
import { r0, r1, r2, r3, r4, r5, r6, r7, r8, r9 } from '../registers.ts';
import { joinReserved, NONE, type Reservation, type Reserved, requireReleased } from './reservation.ts';
import { type SlotUse, Stack, type StackSlot } from './stack.ts';
import {
  describeHolder,
  type Facts,
  type Holder,
  isRaw,
  isWithin,
  joinHolders,
  type Scope,
  type State,
} from './state.ts';

export type { Holder, State } from './state.ts';

const TEMPORARY = [r0, r1, r2, r3, r4, r5] as const;
const KEPT = [r6, r7, r8, r9] as const;

/**
 * The emitted instructions and labels. Each arm of a branch is a nested list, so that no level of nesting
 * copies the levels inside it.
 */
export type Sequence = (Item | Sequence)[];

type Callable = (...args: never[]) => unknown;

/**
 * The machine of one program or subprogram. After `close`, and while a subprogram that it calls is being
 * built, using it throws ProgramError.
 */
export class Machine {
  items: Sequence = [];
  #stack = new Stack();
  /** Why values of this machine cannot be used now; undefined if they can. */
  #unusable: string | undefined;
  #holders: (Holder | undefined)[] = new Array(10).fill(undefined);
  /**
   * The version of each register's content: an assignment to a kept value changes it, which invalidates
   * earlier casts of that value. Version numbers are never reused, so equal numbers mean the same assignment.
   */
  #versions: number[] = new Array(10).fill(0);
  #lastVersion = 0;
  /** The last holder that each register lost to a call or statement. */
  readonly #lost: (Holder | undefined)[] = [];
  #scope: Scope = { outer: undefined, depth: 0 };
  #deepest = 0;
  /** The number of raw labels so far. */
  #rawLabels = 0;
  #scratch = new Set<number>();
  #reserved: Reserved = NONE;
  #position: Position | undefined;
  #ended: Position | undefined | false = false;
  #labels = 0;

  /** The stack frame: its slots, and the bytes that have been written. */
  get stack(): Stack {
    this.#requireUsable();
    return this.#stack;
  }

  /**
   * Runs `body`, which builds another function. Until it returns, using a value of this machine throws a
   * ProgramError with the message `why`.
   */
  suspend<T>(why: string, body: () => T): T {
    this.#unusable = why;
    try {
      return body();
    } finally {
      this.#unusable = undefined;
    }
  }

  /** From now on, using a value of this machine throws a ProgramError with the message `why`. */
  close(why: string): void {
    this.#unusable = why;
  }

  /** Allocates a stack slot: `size` bytes at an address that is `skew` bytes past a multiple of 8. */
  slot(use: SlotUse, size: number, skew = 0): StackSlot {
    return this.stack.allocate(size, 8, skew, { ...use, position: this.#position });
  }

  #requireUsable(): void {
    if (this.#unusable !== undefined) throw withSourcePosition(new ProgramError(this.#unusable));
  }

  /** The user's line that is being built. */
  get position(): Position | undefined {
    return this.#position;
  }

  /**
   * Runs one statement of the user. Its instructions and errors get the source line that called `callee`.
   * Throws ProgramError if the block has ended, unless the statement may begin with a label.
   */
  statement<T>(callee: Callable, body: () => T, mayBeLabel = false): T {
    this.#requireUsable();
    if (this.#position) return body();
    return this.at(capture(callee), () => {
      if (!mayBeLabel) this.requireReached();
      return body();
    });
  }

  /** Runs `body` for a known source line: its instructions and errors get that line. */
  at<T>(position: Position | undefined, body: () => T): T {
    this.#position = position;
    try {
      return body();
    } catch (error) {
      throw withSourcePosition(error, position);
    } finally {
      this.leaveStatement();
    }
  }

  /** Ends the current statement: clears its source line and frees its scratch registers. */
  leaveStatement(): void {
    this.#position = undefined;
    this.#scratch.clear();
  }

  /** Throws ProgramError if the block has ended: only a label makes the next instruction reachable. */
  requireReached(): void {
    if (this.#ended !== false)
      throw new ProgramError(`unreachable: ${withLine('the block ended', this.#ended)}`);
  }

  /** Appends instructions and labels. Throws ProgramError for an unreachable instruction. */
  emit(...items: Item[]): void {
    this.#requireUsable();
    for (const item of items) {
      if ('label' in item) this.#ended = false;
      else this.requireReached();
      this.items.push('label' in item || item.position ? item : { ...item, position: this.#position });
    }
  }

  /** Emits an exit or jump, which ends the block: execution does not continue after it. */
  end(instruction: Instruction): void {
    this.emit(instruction);
    this.#ended = this.#position;
  }

  /** Whether the block has ended: only a label makes the next instruction reachable. */
  get ended(): boolean {
    return this.#ended !== false;
  }

  /** Returns a new generated label. The user cannot write one, because `%` is reserved. */
  freshLabel(hint: string): string {
    this.#labels += 1;
    return generatedLabel(`${hint}_${this.#labels}`);
  }

  // --- registers ---------------------------------------------------------------------------------

  /** Replaces the holder of a register. */
  hold(register: Register, holder: Holder): void {
    holder.scope ??= this.#scope;
    this.#holders[register.register] = holder;
  }

  /** The holder of register `number`. */
  holderOf(number: number): Holder | undefined {
    return this.#holders[number];
  }

  /** The last holder that register `number` lost to a call or statement. */
  lostFrom(number: number): Holder | undefined {
    return this.#lost[number];
  }

  /** Records that raw instructions read a register. */
  readRaw(number: number): void {
    const holder = this.#holders[number];
    if (holder) holder.usedRawAt = this.#rawLabels;
  }

  /** Makes raw instructions the holder of a register that they set. Its previous holder is lost. */
  setRaw(number: number, by: string): void {
    const holder = this.#holders[number];
    if (holder && !isRaw(holder)) holder.lost = { by, position: this.#position };
    this.hold({ register: number }, { name: 'raw instructions', position: this.#position, raw: true });
  }

  /** Whether `holder` still holds the register: no call or other value took it. Counts as a use. */
  isHeldBy(register: Register, holder: Holder): boolean {
    this.#requireUsable();
    if (this.#holders[register.register] !== holder || holder.broken) return false;
    holder.usedAt = this.#rawLabels;
    return true;
  }

  /** Gives the operand's register to the result of an operation. */
  replace(register: Register, operand: Holder, result: Holder, by: string): void {
    operand.lost = { by, position: this.#position, changed: true };
    this.hold(register, result);
  }

  /** The version of a register's content; each assignment changes it. */
  versionOf({ register }: Register): number {
    return this.#versions[register] as number;
  }

  /**
   * Whether a register's content still has this version. Counts as a use of a cast that reads the version.
   */
  hasVersion({ register }: Register, version: number): boolean {
    const holder = this.#holders[register];
    if (this.#versions[register] !== version || holder?.stale?.has(version)) return false;
    if (holder) {
      holder.readAt ??= new Map();
      holder.readAt.set(version, this.#rawLabels);
    }
    return true;
  }

  /** Records an assignment to the value that holds the register. */
  bumpVersion({ register }: Register): void {
    this.#versions[register] = ++this.#lastVersion;
  }

  /** Frees the register of a holder that nothing can read anymore. */
  release({ register }: Register, holder: Holder): void {
    if (this.#holders[register] === holder) this.#holders[register] = undefined;
  }

  /** Runs a part of a statement, then frees the scratch registers that it took. */
  withScratch(body: () => void): void {
    const before = new Set(this.#scratch);
    body();
    this.#scratch = before;
  }

  /**
   * Takes the lowest free register of r0 to r5 for the rest of the statement. Throws RangeError if there is
   * none.
   */
  scratch(): Register {
    const found = this.#free(TEMPORARY);
    if (!found)
      throw this.#exhausted(
        'temporary',
        TEMPORARY,
        'keep() values that are needed later, or read them later',
      );
    this.#scratch.add(found.register.register);
    return found.register;
  }

  /** Takes the lowest free register of r0 to r5, until the next call. Throws RangeError if all are in use. */
  temporary(holder: Holder): Register {
    return this.#holdFree(
      holder,
      TEMPORARY,
      'temporary',
      'keep() values that are needed later, or read them later',
    );
  }

  /** Takes the lowest free register of r6 to r9, until the block ends. Throws RangeError if all are used. */
  kept(holder: Holder): Register {
    return this.#holdFree(holder, KEPT, 'kept', 'store a value on the stack instead');
  }

  /** Clears r0 to r5, which a call clobbers. `by` names the call in messages. */
  loseTemporaries(by: string): void {
    for (const { register } of TEMPORARY) this.#lose(register, by);
    this.#scratch.clear();
  }

  #holdFree(holder: Holder, registers: readonly Register[], kind: string, advice: string): Register {
    const found = this.#free(registers);
    if (!found) throw this.#exhausted(kind, registers, advice);
    // Raw instructions must not mistake the value for the one that they set.
    holder.displaced = found.displaced;
    this.hold(found.register, holder);
    return found.register;
  }

  /** Finds the lowest free register. If all are in use, takes the lowest that raw instructions have set. */
  #free(
    registers: readonly Register[],
  ): { readonly register: Register; readonly displaced?: Holder } | undefined {
    const isUnused = ({ register }: Register) => !this.#scratch.has(register);
    const register = registers.find((each) => !this.#holders[each.register] && isUnused(each));
    if (register) return { register };
    const raw = registers.find((each) => isRaw(this.#holders[each.register]) && isUnused(each));
    if (!raw) return undefined;
    const displaced = this.#holders[raw.register];
    this.#lose(raw.register, 'a statement');
    return { register: raw, displaced };
  }

  #lose(number: number, by: string): void {
    const holder = this.#holders[number];
    if (!holder) return;
    holder.lost = { by, position: this.#position };
    this.#lost[number] = holder;
    this.#holders[number] = undefined;
  }

  #exhausted(kind: string, registers: readonly Register[], advice: string): Error {
    const holders = registers.map(({ register }) => {
      const holder = this.#holders[register];
      return `r${register}: ${holder ? describeHolder(holder) : 'this statement'}`;
    });
    return new RangeError(`no ${kind} register is free; ${advice}. In use: ${holders.join(', ')}`);
  }

  // --- records of ring buffers -------------------------------------------------------------------

  /** The records that are reserved now. */
  get reserved(): Reserved {
    return this.#reserved;
  }

  /** Begins a record: its bytes are unwritten, and it must be released. */
  reserve(record: Reservation): void {
    this.#reserved = new Set([...this.#reserved, record]);
    this.stack.track(record);
  }

  /** Ends a record; `by` is the past participle of the action. */
  releaseRecord(record: Reservation, by: string): void {
    record.released = { by, position: this.#position };
    this.#reserved = new Set([...this.#reserved].filter((each) => each !== record));
  }

  /** Throws ProgramError if a record is reserved that is not in `outer`: `what` would leak it. */
  requireReleased(what: string, outer?: Reserved): void {
    requireReleased(this.#reserved, what, outer);
  }

  /** Throws ProgramError, at the line that reserved it, if a record is reserved: the program has ended. */
  requireReleasedAtEnd(what: string, reserved = this.#reserved): void {
    for (const record of reserved) this.at(record.position, () => requireReleased(reserved, what));
  }

  // --- branches ----------------------------------------------------------------------------------

  /** Returns a copy of the state, for `restore` and `join`. */
  save(): State {
    return {
      holders: [...this.#holders],
      versions: [...this.#versions],
      stack: this.#stack.copy(),
      reserved: this.#reserved,
      ended: this.#ended,
      scope: this.#scope,
    };
  }

  /** Returns to a saved state. */
  restore(state: State): void {
    this.#holders = [...state.holders];
    this.#versions = [...state.versions];
    this.#stack = state.stack.copy();
    this.#reserved = state.reserved;
    this.#ended = state.ended;
    this.#scope = state.scope;
  }

  /** The deepest nesting of blocks so far. */
  get deepest(): number {
    return this.#deepest;
  }

  /** Begins a block; `restore` and `join` end it. */
  enter(): void {
    this.#deepest = Math.max(this.#deepest, this.#scope.depth + 1);
    this.#scope = { outer: this.#scope, depth: this.#scope.depth + 1 };
  }

  /**
   * Joins paths that began at `before`. A value survives if no path lost it, and a byte counts as written if
   * every path wrote it. Values that a path made are gone, except registers that raw instructions set on
   * every path. Paths that have ended do not count.
   *
   * Throws ProgramError if a record of a ring buffer is not reserved or released on all paths alike.
   */
  join(before: State, paths: readonly State[]): void {
    const open = paths.filter(({ ended }) => ended === false);
    this.restore(before);
    const [first] = open;
    if (first === undefined) {
      this.#ended = paths[0]?.ended ?? false;
      return;
    }
    this.#ended = false;
    this.#reserved = joinReserved(
      before.reserved,
      open.map(({ reserved }) => reserved),
    );
    for (const register of this.#holders.keys()) {
      const joined = open.map(({ holders }) => holders[register]).reduce(joinHolders);
      this.#holders[register] = joined === before.holders[register] || isRaw(joined) ? joined : undefined;
    }
    this.#versions = before.versions.map((_, register) => {
      const version = first.versions[register] as number;
      return open.every(({ versions }) => versions[register] === version) ? version : ++this.#lastVersion;
    });
    for (const path of open) this.#stack.keepWrittenIn(path.stack, path === first);
  }

  /**
   * Sets the state at a label to the joined facts of the paths that lead to it. Values of blocks that have
   * ended are gone.
   */
  setFacts(joined: Facts): void {
    this.#holders = joined.holders.map((holder) =>
      holder !== undefined && (isRaw(holder) || isWithin(this.#scope, holder.scope as Scope))
        ? holder
        : undefined,
    );
    this.#versions = joined.versions.map((version) => version ?? ++this.#lastVersion);
    this.#stack = this.#stack.copy();
    this.#stack.keepWrittenIn(joined.stack, true);
    this.#reserved = joined.reserved;
  }

  /** Counts a raw label and returns its number, from 1. */
  countRawLabel(): number {
    this.#rawLabels += 1;
    return this.#rawLabels;
  }
}
