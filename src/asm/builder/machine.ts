/**
 * The state of the machine at the point that has been built so far: who holds which register, which bytes
 * of the stack have been written, and the instructions up to here.
 *
 * It knows the rules of the calling convention (RFC 9669, section 2: r0 to r5 are lost at a call, r6 to r9
 * survive it, r10 is the frame) and nothing of the language built on it.
 */
import { ProgramError } from '../error.ts';
import { withSourcePosition } from '../error-position.ts';
import type { Instruction, Item, Register } from '../instruction.ts';
import { generatedLabel } from '../labels.ts';
import { capture, type Position, withLine } from '../position.ts';
import { r0, r1, r2, r3, r4, r5, r6, r7, r8, r9 } from '../registers.ts';
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
 * What has been emitted. An arm stands in it as a list of its own, so that no level of branches copies the
 * levels within it.
 */
export type Sequence = (Item | Sequence)[];

type Callable = (...args: never[]) => unknown;

/**
 * The machine while one program or subprogram is built. What is asked of it after `close`, or while another
 * is built, throws.
 */
export class Machine {
  items: Sequence = [];
  #stack = new Stack();
  /** Why nothing that was made here can be used now. */
  #away: string | undefined;
  #holders: (Holder | undefined)[] = new Array(10).fill(undefined);
  /**
   * How often each register was assigned to, for other readings of its content. No two states have the same
   * number by chance.
   */
  #versions: number[] = new Array(10).fill(0);
  #lastVersion = 0;
  /** What a call or statement has taken last from each register. */
  readonly #lost: (Holder | undefined)[] = [];
  #scope: Scope = { outer: undefined, depth: 0 };
  #deepest = 0;
  /** The number of labels of raw instructions so far. */
  #passed = 0;
  #scratch = new Set<number>();
  #position: Position | undefined;
  #ended: Position | undefined | false = false;
  #labels = 0;

  /** What was handed out of the frame, and what was written there. */
  get stack(): Stack {
    this.#requireHere();
    return this.#stack;
  }

  /** Runs `body`, which builds something else, and in which nothing that was made here can be used: `why`. */
  away<T>(why: string, body: () => T): T {
    this.#away = why;
    try {
      return body();
    } finally {
      this.#away = undefined;
    }
  }

  /** From now on nothing that was made here can be used. */
  close(why: string): void {
    this.#away = why;
  }

  /** Allocates a stack slot: `size` bytes at an address that is `skew` bytes past a multiple of 8. */
  slot(use: SlotUse, size: number, skew = 0): StackSlot {
    return this.stack.allocate(size, 8, skew, { ...use, position: this.#position });
  }

  #requireHere(): void {
    if (this.#away !== undefined) throw withSourcePosition(new ProgramError(this.#away));
  }

  /** The author's line that is being built. */
  get position(): Position | undefined {
    return this.#position;
  }

  /**
   * Runs one statement of the user's: what it emits, or throws, carries the line that `callee` was called
   * from. Throws if the block has ended, unless the statement may begin with a label.
   */
  statement<T>(callee: Callable, body: () => T, mayBeLabel = false): T {
    this.#requireHere();
    if (this.#position) return body();
    return this.at(capture(callee), () => {
      if (!mayBeLabel) this.requireReached();
      return body();
    });
  }

  /** Runs what belongs to a line that is known: what it emits, or throws, carries that line. */
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

  /** From here on code is the user's own, or another statement's. */
  leaveStatement(): void {
    this.#position = undefined;
    this.#scratch.clear();
  }

  /** Throws if only a label makes reached what follows. */
  requireReached(): void {
    if (this.#ended !== false)
      throw new ProgramError(`unreachable: ${withLine('the block ended', this.#ended)}`);
  }

  /** Appends to the list. Throws for an instruction that nothing reaches. */
  emit(...items: Item[]): void {
    this.#requireHere();
    for (const item of items) {
      if ('label' in item) this.#ended = false;
      else this.requireReached();
      this.items.push('label' in item || item.position ? item : { ...item, position: this.#position });
    }
  }

  /** Emits an instruction after which the next one isn't reached. */
  end(instruction: Instruction): void {
    this.emit(instruction);
    this.#ended = this.#position;
  }

  /** Whether only a label makes reached what follows. */
  get ended(): boolean {
    return this.#ended !== false;
  }

  /** A label that the user cannot write. */
  freshLabel(hint: string): string {
    this.#labels += 1;
    return generatedLabel(`${hint}_${this.#labels}`);
  }

  // --- registers ---------------------------------------------------------------------------------

  /** Makes `holder` the holder of a register instead of the one before. */
  hold(register: Register, holder: Holder): void {
    holder.scope ??= this.#scope;
    this.#holders[register.register] = holder;
  }

  /** What holds the register of that number. */
  holderOf(number: number): Holder | undefined {
    return this.#holders[number];
  }

  /** What a call or statement has taken last from the register of that number. */
  lostFrom(number: number): Holder | undefined {
    return this.#lost[number];
  }

  /** Notes that raw instructions read a register. */
  readRaw(number: number): void {
    const holder = this.#holders[number];
    if (holder) holder.usedRawAt = this.#passed;
  }

  /** Raw instructions have set a register: it is theirs, and what held it is lost. */
  setRaw(number: number, by: string): void {
    const holder = this.#holders[number];
    if (holder && !isRaw(holder)) holder.lost = { by, position: this.#position };
    this.hold({ register: number }, { name: 'raw instructions', position: this.#position, raw: true });
  }

  /** Whether nothing else has got the register since, and no call has taken it. Counts as a use. */
  isHeldBy(register: Register, holder: Holder): boolean {
    this.#requireHere();
    if (this.#holders[register.register] !== holder || holder.broken) return false;
    holder.usedAt = this.#passed;
    return true;
  }

  /** Makes the result of an operation the holder of its operand's register. */
  replace(register: Register, operand: Holder, result: Holder, by: string): void {
    operand.lost = { by, position: this.#position, changed: true };
    this.hold(register, result);
  }

  /** Which assignment the content of a register is from. */
  versionOf({ register }: Register): number {
    return this.#versions[register] as number;
  }

  /**
   * Whether the content of a register is still from that assignment. Counts as a use of another reading of
   * it.
   */
  hasVersion({ register }: Register, version: number): boolean {
    const holder = this.#holders[register];
    if (this.#versions[register] !== version || holder?.stale?.has(version)) return false;
    if (holder) {
      holder.readAt ??= new Map();
      holder.readAt.set(version, this.#passed);
    }
    return true;
  }

  /** The holder of a register has assigned another number to it. */
  touch({ register }: Register): void {
    this.#versions[register] = ++this.#lastVersion;
  }

  /** Frees the register of a holder that nothing can read any more. */
  release({ register }: Register, holder: Holder): void {
    if (this.#holders[register] === holder) this.#holders[register] = undefined;
  }

  /** Runs a part of a statement, and frees the scratch registers that it took. */
  part(body: () => void): void {
    const before = new Set(this.#scratch);
    body();
    this.#scratch = before;
  }

  /** A free register for the rest of the statement. Lowest first, so that code is predictable. */
  scratch(): Register {
    const found = this.#free(TEMPORARY);
    if (!found)
      throw this.#exhausted('temporary', TEMPORARY, 'keep() what is needed later, or read it later');
    this.#scratch.add(found.register.register);
    return found.register;
  }

  /** A register that lives until the next call. */
  temporary(holder: Holder): Register {
    return this.#holdFree(holder, TEMPORARY, 'temporary', 'keep() what is needed later, or read it later');
  }

  /** One of r6 to r9, until the end of the block. */
  kept(holder: Holder): Register {
    return this.#holdFree(holder, KEPT, 'kept', 'store one on the stack instead');
  }

  /** r0 to r5 are lost: something was called. */
  loseTemporaries(by: string): void {
    for (const { register } of TEMPORARY) this.#lose(register, by);
    this.#scratch.clear();
  }

  #holdFree(holder: Holder, registers: readonly Register[], kind: string, advice: string): Register {
    const found = this.#free(registers);
    if (!found) throw this.#exhausted(kind, registers, advice);
    // Raw instructions must not take the value for their own.
    holder.displaced = found.displaced;
    this.hold(found.register, holder);
    return found.register;
  }

  /** The lowest free register; if there is none, the lowest that raw instructions have set, which lose it. */
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
    return new RangeError(`no ${kind} register is free; ${advice}. Held: ${holders.join(', ')}`);
  }

  // --- branches ----------------------------------------------------------------------------------

  /** The state, for `restore` and `join`: a copy. */
  save(): State {
    return {
      holders: [...this.#holders],
      versions: [...this.#versions],
      stack: this.#stack.copy(),
      ended: this.#ended,
      scope: this.#scope,
    };
  }

  /** Returns to a state that was saved. */
  restore(state: State): void {
    this.#holders = [...state.holders];
    this.#versions = [...state.versions];
    this.#stack = state.stack.copy();
    this.#ended = state.ended;
    this.#scope = state.scope;
  }

  /** How many blocks there have been within each other. */
  get deepest(): number {
    return this.#deepest;
  }

  /** Begins a block. `restore` and `join` end it. */
  enter(): void {
    this.#deepest = Math.max(this.#deepest, this.#scope.depth + 1);
    this.#scope = { outer: this.#scope, depth: this.#scope.depth + 1 };
  }

  /**
   * Joins paths that began at `before`: what one of them has lost is lost, what all of them have written is
   * written, and what a path made for itself is gone, except raw values. A path that has ended does not
   * count.
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
   * Arrives at a label in the state of the paths that lead to it. The values of blocks that are over here are
   * gone.
   */
  arrive(joined: Facts): void {
    this.#holders = joined.holders.map((holder) =>
      holder !== undefined && (isRaw(holder) || isWithin(this.#scope, holder.scope as Scope))
        ? holder
        : undefined,
    );
    this.#versions = joined.versions.map((version) => version ?? ++this.#lastVersion);
    this.#stack = this.#stack.copy();
    this.#stack.keepWrittenIn(joined.stack, true);
  }

  /** Passes a label of raw instructions, and returns its number. */
  pass(): number {
    this.#passed += 1;
    return this.#passed;
  }
}
