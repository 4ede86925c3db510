/**
 * The state of the machine at one point of a program. Control flow saves it at branches and joins it where
 * paths merge.
 */
import { describePosition, type Position } from '../position.ts';
import { type Reserved, requireSame } from './reservation.ts';
import type { Stack } from './stack.ts';

/** A block of the program and the blocks around it. */
export interface Scope {
  readonly outer: Scope | undefined;
  readonly depth: number;
}

/** The holder of a register. A value is alive as long as it holds its register. */
export interface Holder {
  readonly name: string;
  readonly position: Position | undefined;
  /** Whether raw instructions have set the register. */
  readonly raw?: boolean;
  /** The raw holder that this one displaced. */
  displaced?: Holder | undefined;
  /** The block that was open when it took the register. */
  scope?: Scope;
  /** How it lost the register. */
  lost?: {
    readonly by: string;
    readonly position: Position | undefined;
    /** Whether the register now holds the result of that operation. */
    readonly changed?: true;
  };
  /** Whether a backward jump leads to code that uses it, from a path on which it is lost. */
  broken?: boolean;
  /** The number of raw labels before its last use by a statement. */
  usedAt?: number;
  /** The number of raw labels before its last use by raw instructions. */
  usedRawAt?: number;
  /**
   * The number of raw labels before the last use of each cast, by the register version that the cast reads.
   */
  readAt?: Map<number, number>;
  /**
   * The versions that code after a label cannot read, because a backward jump leads there with another
   * version.
   */
  stale?: Set<number>;
}

/** Describes a holder for messages: its name, and the source line that made it. */
export function describeHolder({ name, position }: Holder): string {
  const line = describePosition(position);
  return line === undefined ? name : `${name} of ${line}`;
}

/** The facts that hold at a point on every path to it. */
export interface Facts {
  readonly holders: readonly (Holder | undefined)[];
  /**
   * The version of each register (the number of its last assignment); undefined if it depends on the path.
   */
  readonly versions: readonly (number | undefined)[];
  readonly stack: Stack;
  /** The reserved records of ring buffers. */
  readonly reserved: Reserved;
}

export interface State extends Facts {
  readonly versions: readonly number[];
  /** The statement that ended the block (an exit or a jump); statements after it are unreachable. */
  readonly ended: Position | undefined | false;
  readonly scope: Scope;
}

/**
 * The facts that hold on two paths to a label: common holders, raw values, and the bytes written on both.
 * @throws {ProgramError} if a record is reserved on one of them only.
 */
export function joinFacts(one: Facts, other: Facts, label: string): Facts {
  requireSame(one.reserved, other.reserved, `to the label '${label}'`);
  const stack = one.stack.copy();
  stack.keepWrittenIn(other.stack, false);
  const holders = one.holders.map((holder, register) => joinHolders(holder, other.holders[register]));
  const versions = one.versions.map((version, register) =>
    version === other.versions[register] ? version : undefined,
  );
  return { holders, versions, stack, reserved: one.reserved };
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
