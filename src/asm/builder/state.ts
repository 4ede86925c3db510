/**
 * The state of the machine at one point: control flow saves it at branches, and joins it behind them and at
 * labels.
 */
import { describePosition, type Position } from '../position.ts';
import type { Stack } from './stack.ts';

/** A block of the user's, from the outermost on. */
export interface Scope {
  readonly outer: Scope | undefined;
  readonly depth: number;
}

/** What holds a register, and since when. A value is alive as long as it is the holder of its register. */
export interface Holder {
  readonly name: string;
  readonly position: Position | undefined;
  /** Whether raw instructions have set the register. */
  readonly raw?: boolean;
  /** The raw value that had to leave the register to it. */
  displaced?: Holder | undefined;
  /** The block in which it took the register. */
  scope?: Scope;
  /** What took the register away, once something has. */
  lost?: {
    readonly by: string;
    readonly position: Position | undefined;
    /** Whether the register holds the result of that operation now. */
    readonly changed?: true;
  };
  /** Whether a jump back leads to code that has it from a path on which it is lost. */
  broken?: boolean;
  /**
   * How many labels of raw instructions had been passed at its last use, by a statement and by raw
   * instructions.
   */
  usedAt?: number;
  usedRawAt?: number;
  /** The same for other readings of the register, by the version that they read. */
  readAt?: Map<number, number>;
  /** The versions that code behind a label cannot read: a jump back leads there with another one. */
  stale?: Set<number>;
}

/** A holder in words: its name and, if a line made it, that line. */
export function describeHolder({ name, position }: Holder): string {
  return position === undefined ? name : `${name} of ${describePosition(position)}`;
}

/** What is known at a point, whichever path led there. */
export interface Facts {
  readonly holders: readonly (Holder | undefined)[];
  /** Which assignment the content of each register is from; undefined if that depends on the path. */
  readonly versions: readonly (number | undefined)[];
  readonly stack: Stack;
}

export interface State extends Facts {
  readonly versions: readonly number[];
  /** The statement that ended the block (an exit or a jump), after which nothing is reached. */
  readonly ended: Position | undefined | false;
  readonly scope: Scope;
}

/**
 * What two paths have in common: the same holders, raw values, and the bytes that both have written of memory
 * that both have.
 */
export function joinFacts(one: Facts, other: Facts): Facts {
  const stack = one.stack.copy();
  stack.keepWrittenIn(other.stack, false);
  const holders = one.holders.map((holder, register) => joinHolders(holder, other.holders[register]));
  const versions = one.versions.map((version, register) =>
    version === other.versions[register] ? version : undefined,
  );
  return { holders, versions, stack };
}

export function joinHolders(one: Holder | undefined, other: Holder | undefined): Holder | undefined {
  if (one === other) return one;
  return isRaw(one) && isRaw(other) ? one : undefined;
}

/** Whether raw instructions have set the register on every path. */
export function isRaw(holder: Holder | undefined): boolean {
  return holder?.raw === true && holder.broken !== true;
}

/** Whether `inner` is the block `outer`, or a block within it. */
export function isWithin(inner: Scope, outer: Scope): boolean {
  let scope = inner;
  while (scope.depth > outer.depth) scope = scope.outer as Scope;
  return scope === outer;
}
