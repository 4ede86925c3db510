/**
 * The state of the machine at the point that has been built so far: who holds which register, which bytes
 * of the stack have been written, and the instructions up to here.
 *
 * It knows the rules of the calling convention (RFC 9669, section 2: r0 to r5 are lost at a call, r6 to r9
 * survive it, r10 is the frame) and nothing of the language built on it.
 */
import { authors, blame } from '../blame.ts';
import { type Emission, requireSynchronous } from '../body.ts';
import type { Instruction, Item, Register } from '../instruction.ts';
import { capture, describePosition, type Position } from '../position.ts';
import { r0, r1, r2, r3, r4, r5, r6, r7, r8, r9 } from '../registers.ts';
import { type Slot, Stack } from './stack.ts';

const TEMPORARY = [r0, r1, r2, r3, r4, r5] as const;
const KEPT = [r6, r7, r8, r9] as const;

/** Who holds a register, and since when. A register is alive for whoever is its holder now. */
export interface Holder {
  readonly name: string;
  readonly position: Position | undefined;
  /** What took the register away, once something has. */
  lost?: {
    readonly by: string;
    readonly position: Position | undefined;
    /** Whether the register holds the result of that operation now. */
    readonly changed?: true;
  };
}

/** What branches save and merge. */
export interface State {
  readonly holders: readonly (Holder | undefined)[];
  readonly versions: readonly number[];
  readonly stack: Stack;
  /** The statement that left the block (an exit or a jump), after which nothing is reached. */
  readonly ended: Position | undefined | false;
}

type Callable = (...args: never[]) => unknown;

/** The machine while one program or subprogram is built. What is asked of it after `close`, or while another is built, throws. */
export class Machine {
  items: Item[] = [];
  #stack = new Stack();
  /** Why nothing that was made here can be used now. */
  #away: string | undefined;
  #holders: (Holder | undefined)[] = new Array(10).fill(undefined);
  /** How often each register was assigned to, for other readings of what it holds. No two states have the same number by chance. */
  #versions: number[] = new Array(10).fill(0);
  #lastVersion = 0;
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

  /** A new slot of the frame, `size` bytes at an address that is `skew` bytes past a multiple of 8. */
  slot(name: string, size: number, skew = 0): Slot {
    return this.stack.allocate(size, 8, skew, { name, position: this.#position });
  }

  #requireHere(): void {
    if (this.#away !== undefined) throw blame(new Error(this.#away));
  }

  /** The author's line that is being built. */
  get position(): Position | undefined {
    return this.#position;
  }

  /** Runs one statement of the author's: what it emits, or throws, carries the line that `callee` was called from. */
  statement<T>(callee: Callable, body: () => T): T {
    this.#requireHere();
    if (this.#position) return body();
    return this.at(capture(callee), body);
  }

  /** Runs what belongs to a line that is known: what it emits, or throws, carries that line. */
  at<T>(position: Position | undefined, body: () => T): T {
    this.#position = position;
    try {
      return body();
    } catch (error) {
      throw blame(error, position);
    } finally {
      this.#position = undefined;
      this.#scratch.clear();
    }
  }

  /** Runs a block of the author's that belongs to a statement; its own statements carry their own lines. */
  block(body: () => Emission): void {
    const position = this.#position;
    this.#position = undefined;
    this.#scratch.clear();
    try {
      requireSynchronous(authors(body));
    } finally {
      this.#position = position;
    }
  }

  /** Appends to the list. Throws for an instruction that nothing reaches. */
  emit(...items: Item[]): void {
    this.#requireHere();
    for (const item of items) {
      if ('label' in item) {
        this.#ended = false;
      } else if (this.#ended !== false) {
        throw new Error(`never reached: the block ended at ${describePosition(this.#ended)}`);
      }
      this.items.push('label' in item || item.position ? item : { ...item, position: this.#position });
    }
  }

  /** Emits an instruction after which the next one isn't reached. */
  end(instruction: Instruction): void {
    this.emit(instruction);
    this.#ended = this.#position;
  }

  /** Whether what follows isn't reached, but by a label. */
  get ended(): boolean {
    return this.#ended !== false;
  }

  /** Collects what `body` emits apart from the list. */
  collect(body: () => void): Item[] {
    const outer = this.items;
    this.items = [];
    try {
      body();
      return this.items;
    } finally {
      this.items = outer;
    }
  }

  /** A label that no author's can be. */
  freshLabel(hint: string): string {
    this.#labels += 1;
    return `${hint}_${this.#labels}`;
  }

  // --- registers ---------------------------------------------------------------------------------

  /** Makes `holder` the owner of a register, whoever held it before. */
  hold(register: Register, holder: Holder): void {
    this.#holders[register.register] = holder;
  }

  /** Whether nobody else has got the register since, and no call has taken it. */
  isHeldBy(register: Register, holder: Holder): boolean {
    this.#requireHere();
    return this.#holders[register.register] === holder;
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
    const register = this.#free(TEMPORARY);
    if (!register)
      throw this.#exhausted('temporary', TEMPORARY, 'keep() what is needed later, or read it later');
    this.#scratch.add(register.register);
    return register;
  }

  /** A register that lives until the next call. */
  temporary(holder: Holder): Register {
    const register = this.#free(TEMPORARY);
    if (!register)
      throw this.#exhausted('temporary', TEMPORARY, 'keep() what is needed later, or read it later');
    this.hold(register, holder);
    return register;
  }

  /** One of r6 to r9, until the end of the block. */
  kept(holder: Holder): Register {
    const register = this.#free(KEPT);
    if (!register) throw this.#exhausted('kept', KEPT, 'store one on the stack instead');
    this.hold(register, holder);
    return register;
  }

  /** r0 to r5 are lost: something was called. */
  loseTemporaries(by: string): void {
    for (const { register } of TEMPORARY) {
      const holder = this.#holders[register];
      if (holder) holder.lost = { by, position: this.#position };
      this.#holders[register] = undefined;
    }
    this.#scratch.clear();
  }

  #free(registers: readonly Register[]): Register | undefined {
    return registers.find(({ register }) => !this.#holders[register] && !this.#scratch.has(register));
  }

  #exhausted(kind: string, registers: readonly Register[], advice: string): Error {
    const holders = registers.map(({ register }) => {
      const holder = this.#holders[register];
      return holder
        ? `r${register}: ${holder.name} (${describePosition(holder.position)})`
        : `r${register}: this statement`;
    });
    return new RangeError(`no ${kind} register is free; ${advice}. Held: ${holders.join(', ')}`);
  }

  // --- branches ----------------------------------------------------------------------------------

  /** The state, for `restore` and `meet`: a copy. */
  save(): State {
    return {
      holders: [...this.#holders],
      versions: [...this.#versions],
      stack: this.#stack.copy(),
      ended: this.#ended,
    };
  }

  /** Goes on from a state that was saved. */
  restore(state: State): void {
    this.#holders = [...state.holders];
    this.#versions = [...state.versions];
    this.#stack = state.stack.copy();
    this.#ended = state.ended;
  }

  /**
   * Where ways that began at `before` meet: what one of them has lost is lost, what all of them have written is
   * written, and what a way made for itself is gone. A way that has ended has no say.
   */
  meet(before: State, ways: readonly State[]): void {
    const open = ways.filter(({ ended }) => ended === false);
    this.restore(before);
    if (open.length === 0) {
      this.#ended = ways[0]?.ended ?? false;
      return;
    }
    this.#holders = before.holders.map((holder, register) =>
      open.every((way) => way.holders[register] === holder) ? holder : undefined,
    );
    this.#versions = before.versions.map((_, register) => {
      const [first, ...others] = open.map((way) => way.versions[register] as number);
      return others.every((other) => other === first) ? (first as number) : ++this.#lastVersion;
    });
    for (const way of open) this.#stack.keepWrittenIn(way.stack, way === open[0]);
  }
}
