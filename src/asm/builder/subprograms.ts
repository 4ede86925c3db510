/**
 * The subprograms of one program while it is built.
 */
import { ProgramError } from '../error.ts';
import type { Subprogram } from '../instruction.ts';

/** Builds each of them when it is first called: what isn't called isn't there. */
export class Subprograms {
  readonly #built = new Map<{ readonly name: string }, Subprogram>();
  /** Those that are being built, each called from the one before it. */
  readonly #open: { readonly name: string }[] = [];

  /** What `build` made of `source`. Throws where that has called itself. */
  of(source: { readonly name: string }, build: () => Subprogram): Subprogram {
    const known = this.#built.get(source);
    if (known) return known;
    const again = this.#open.indexOf(source);
    if (again >= 0) {
      const circle = [...this.#open.slice(again), source].map(({ name }) => name).join(' -> ');
      throw new ProgramError(
        `a subprogram calls itself: ${circle}; the kernel takes no recursion, a loop has to do what it does`,
      );
    }
    this.#open.push(source);
    try {
      const built = build();
      this.#built.set(source, built);
      return built;
    } finally {
      this.#open.pop();
    }
  }
}
