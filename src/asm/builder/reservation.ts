/**
 * Records of ring buffers that a program has reserved. The kernel requires that every path submits or
 * discards each record once, and it does not publish later records before.
 *
 * The machine state contains the reserved records at each point. They are the same on all paths that join.
 */
import { ProgramError } from '../error.ts';
import { type Position, withLine } from '../position.ts';
import type { TrackedMemory } from './stack.ts';

/** A record that `b.reserve` has reserved. Its bytes must be written before it is submitted. */
export class Reservation implements TrackedMemory {
  readonly name: string;
  readonly size: number;
  /** The statement that reserved it. */
  readonly position: Position | undefined;
  /** The number of its event type, if the map has several. */
  readonly type: number | undefined;
  /** The statement that released it last. */
  released: { readonly by: string; readonly position: Position | undefined } | undefined;

  constructor(name: string, size: number, position: Position | undefined, type?: number) {
    this.type = type;
    this.name = name;
    this.size = size;
    this.position = position;
  }

  /** The record and the line that reserved it, for messages. */
  get description(): string {
    return withLine(`the record of ${this.name} that was reserved`, this.position);
  }

  /** The error of using the record after its release, or on a path that has not reserved it. */
  gone(): ProgramError {
    const { released } = this;
    return new ProgramError(
      released === undefined
        ? `${this.description} is not available here: use it in the arm 'reserved'`
        : `${this.description} was ${withLine(released.by, released.position)}: it cannot be used after that`,
    );
  }
}

/** The reserved records at a point. */
export type Reserved = ReadonlySet<Reservation>;

export const NONE: Reserved = new Set();

/** @throws {ProgramError} if a record is reserved that is not in `outer`. `what` would leak it. */
export function requireReleased(reserved: Reserved, what: string, outer: Reserved = NONE): void {
  for (const record of reserved)
    if (!outer.has(record))
      throw new ProgramError(
        `${record.description} is neither submitted nor discarded before ${what}: call b.submit or b.discard on every path`,
      );
}

/**
 * The reserved records after paths join that began with `before`. @throws {ProgramError} if they are not the
 * same on all paths, or if a path has reserved a record without releasing it.
 */
export function joinReserved(before: Reserved, paths: readonly Reserved[]): Reserved {
  for (const path of paths) requireReleased(path, "the end of the arm 'reserved'", before);
  const [first, ...others] = paths;
  if (first !== undefined) for (const other of others) requireSame(first, other, 'after this branch');
  return first ?? before;
}

/** @throws {ProgramError} if the reserved records of two paths to a point differ. */
export function requireSame(one: Reserved, other: Reserved, where: string): void {
  if (one === other) return;
  for (const record of [...one, ...other]) {
    if (one.has(record) && other.has(record)) continue;
    const { released } = record;
    const done = released ? withLine(released.by, released.position) : 'not reserved';
    throw new ProgramError(
      `${record.description} is ${done} on one path and still reserved on another ${where}: submit or discard it on every path`,
    );
  }
}
