/**
 * Subprograms: the type that `subprogram()` returns, and the code of the subprograms of one program.
 */
import type { TSchema } from '@sinclair/typebox';
import type { BodyResult } from '../body.ts';
import { ProgramError } from '../error.ts';
import type { SubprogramCode } from '../instruction.ts';
import type { Position } from '../position.ts';

/**
 * A BPF function. `subprogram()` defines it and `b.call(it, ...)` calls it. `P` contains the schemas of its
 * parameters.
 *
 * Each program that calls it builds its instructions once, for the target of that program.
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
  /** The subprograms that are being built: the current chain of calls, outermost first. */
  readonly #building: Subprogram[] = [];

  /**
   * Returns the code of a subprogram. Calls `build` when the program first calls the subprogram. Throws
   * ProgramError for recursion.
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
