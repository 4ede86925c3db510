/**
 * Subprograms: what `subprogram()` returns, and the code that one program has of them.
 */
import type { TSchema } from '@sinclair/typebox';
import type { BodyResult } from '../body.ts';
import { ProgramError } from '../error.ts';
import type { SubprogramCode } from '../instruction.ts';
import type { Position } from '../position.ts';

/**
 * A function that programs call: `subprogram()` makes one, `b.call(it, ...)` calls it. `P` holds the schemas
 * of its parameters.
 *
 * It has no instructions of its own. Each program that calls it builds them once, for its own target.
 */
export interface Subprogram<P extends readonly TSchema[] = readonly TSchema[]> {
  /** A C identifier; listings and bpftool show it. */
  readonly name: string;
  readonly parameters: P;
  /** The integer schema of the result. */
  readonly returns: TSchema;
  /** Whether the caller passes the program's context in r1, before the parameters. */
  readonly context: boolean;
  /** The source line of the `subprogram()` call. */
  readonly position: Position;
  /** Emits the instructions with the builder of the calling program. Only the builder calls it. */
  body(b: never, ...parameters: never): BodyResult;
}

/** The code of the subprograms of one program. Each is built when the program first calls it. */
export class Subprograms {
  readonly #built = new Map<Subprogram, SubprogramCode>();
  /** The subprograms being built, each called by the one before it. */
  readonly #building: Subprogram[] = [];

  /**
   * Returns the code of a subprogram, which `build` makes if there is none yet. Throws ProgramError for
   * recursion.
   */
  codeOf(subprogram: Subprogram, build: () => SubprogramCode): SubprogramCode {
    const known = this.#built.get(subprogram);
    if (known) return known;
    const first = this.#building.indexOf(subprogram);
    if (first >= 0) {
      const cycle = [...this.#building.slice(first), subprogram].map(({ name }) => name).join(' -> ');
      throw new ProgramError(`recursive call: ${cycle}; the kernel forbids recursion, use a loop`);
    }
    this.#building.push(subprogram);
    try {
      const code = build();
      this.#built.set(subprogram, code);
      return code;
    } finally {
      this.#building.pop();
    }
  }
}
