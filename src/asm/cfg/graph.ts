/**
 * The control-flow graph of a list of instructions: basic blocks, the edges between them, and their
 * functions.
 *
 * A block ends before a target, and after every instruction that may jump, call or exit. A function begins at
 * the target of a call or of an instruction that loads its address, and ends before the next function.
 *
 * Source: kernel/bpf/verifier.c, `check_subprogs` and `check_cfg`.
 */
import type { Instruction } from '../instruction.ts';
import type { Form } from '../isa.ts';

/** A list of instructions with known targets. Instructions are numbered from 0. */
export interface ResolvedCode {
  readonly instructions: readonly Instruction[];
  /** Undefined for an instruction that is not in the table. */
  readonly forms: readonly (Form | undefined)[];
  /**
   * For each instruction, the instruction that it jumps to, calls or loads the address of; -1 if there is
   * none.
   */
  readonly targets: Int32Array;
  /**
   * For each instruction that loads a jump table, the instructions of the table's entries; one array for each
   * table.
   */
  readonly tables: ReadonlyMap<number, readonly number[]>;
}

/** Whether instructions of a form call a subprogram or load its address: their target begins a function. */
export function leadsToFunction(form: Form | undefined): boolean {
  return form?.name === 'callSubprogram' || form?.name === 'loadFunction';
}

/** Whether the next instruction may run after an instruction of a form. */
export function fallsThrough(form: Form | undefined): boolean {
  return form?.flow !== 'jump' && form?.flow !== 'exit';
}

const NONE: ReadonlySet<number> = new Set();

/** The blocks of a list, numbered in order. */
export class Graph {
  readonly code: ResolvedCode;
  /** The number of blocks. */
  readonly size: number;
  /** The block of each instruction. */
  readonly blockOf: Int32Array;
  /** The function of each block; the program itself is function 0. */
  readonly functionOf: Int32Array;
  /** The first block of each function. */
  readonly entries: readonly number[];
  /** The instructions that call a function of the list or load its address. */
  readonly calls: readonly number[];
  /**
   * Whether every edge is known. A computed jump through a table that the list does not load may lead
   * anywhere.
   */
  readonly complete: boolean;
  /** The first instruction of each block, and at the end the number of instructions. */
  readonly #starts: Int32Array;
  /** For each function, the possible targets of its computed jumps. */
  readonly #computed = new Map<number, Set<number>>();

  constructor(code: ResolvedCode) {
    const { forms, targets, tables } = code;
    const count = forms.length;
    const begins = new Uint8Array(count + 1);
    const enters = new Uint8Array(count + 1);
    const calls: number[] = [];
    const computed: number[] = [];
    if (count > 0) begins[0] = 1;
    for (let index = 0; index < count; index++) {
      const form = forms[index];
      if (form === undefined) continue;
      const to = targets[index] as number;
      if (to >= 0) {
        begins[to] = 1;
        if (leadsToFunction(form)) {
          enters[to] = 1;
          calls.push(index);
        }
      }
      if (form.flow === 'next') continue;
      begins[index + 1] = 1;
      if (form.name === 'gotox') computed.push(index);
    }
    for (const entries of new Set(tables.values())) for (const to of entries) begins[to] = 1;
    let size = 0;
    for (let index = 0; index < count; index++) size += begins[index] as number;
    const starts = new Int32Array(size + 1);
    const blockOf = new Int32Array(count);
    const functionOf = new Int32Array(size);
    const entries: number[] = [];
    let block = -1;
    for (let index = 0; index < count; index++) {
      if (begins[index] === 1) {
        block += 1;
        if (index === 0 || enters[index] === 1) entries.push(block);
        starts[block] = index;
        functionOf[block] = entries.length - 1;
      }
      blockOf[index] = block;
    }
    starts[size] = count;
    this.code = code;
    this.size = size;
    this.blockOf = blockOf;
    this.functionOf = functionOf;
    this.entries = entries;
    this.calls = calls;
    this.#starts = starts;
    this.complete = this.#resolveComputed(computed);
  }

  /**
   * A computed jump may lead to the entries of all tables that its function loads. Returns false if a
   * function loads none.
   */
  #resolveComputed(jumps: readonly number[]): boolean {
    for (const index of jumps) this.#computed.set(this.#functionAt(index), new Set());
    const loaded = new Map([...this.#computed.keys()].map((each) => [each, new Set<readonly number[]>()]));
    if (jumps.length > 0)
      for (const [index, entries] of this.code.tables) loaded.get(this.#functionAt(index))?.add(entries);
    for (const [each, tables] of loaded)
      for (const entries of tables)
        for (const to of entries) this.#computed.get(each)?.add(this.blockOf[to] as number);
    for (const blocks of this.#computed.values()) if (blocks.size === 0) return false;
    return true;
  }

  #functionAt(index: number): number {
    return this.functionOf[this.blockOf[index] as number] as number;
  }

  /** The first instruction of a block. */
  first(block: number): number {
    return this.#starts[block] as number;
  }

  /** The last instruction of a block. */
  last(block: number): number {
    return (this.#starts[block + 1] as number) - 1;
  }

  /**
   * The blocks of the same function that may run next. The successor of a call is the block after it. All
   * computed jumps of a function share one set.
   */
  successors(block: number): Iterable<number> {
    const { forms, targets } = this.code;
    const last = this.last(block);
    const form = forms[last];
    const to = targets[last] as number;
    if (form?.name === 'gotox') return this.#computed.get(this.functionOf[block] as number) ?? NONE;
    const next: number[] = [];
    if (fallsThrough(form) && block + 1 < this.size) next.push(block + 1);
    if (to >= 0 && !leadsToFunction(form)) next.push(this.blockOf[to] as number);
    return next;
  }

  /**
   * Marks the reachable blocks with 1: from the start, along edges, and into functions that are called or
   * whose address is loaded.
   */
  reached(): Uint8Array {
    const { blockOf, calls, code } = this;
    const entered = new Map<number, number[]>();
    for (const by of calls) {
      const block = blockOf[by] as number;
      const into = blockOf[code.targets[by] as number] as number;
      const others = entered.get(block);
      if (others) others.push(into);
      else entered.set(block, [into]);
    }
    const reached = new Uint8Array(this.size);
    const waiting: number[] = [];
    const reach = (block: number): void => {
      if (reached[block] === 1) return;
      reached[block] = 1;
      waiting.push(block);
    };
    const followed = new Set<Iterable<number>>();
    if (this.size > 0) reach(0);
    for (let block = waiting.pop(); block !== undefined; block = waiting.pop()) {
      const successors = this.successors(block);
      if (!followed.has(successors)) for (const next of successors) reach(next);
      if (successors instanceof Set) followed.add(successors);
      for (const next of entered.get(block) ?? []) reach(next);
    }
    return reached;
  }
}
