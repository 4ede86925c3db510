/**
 * Mutants that no test can catch, because they behave as the source does or differ in speed alone. `before` and `after` are the lines that
 * the edit touches, as `npm run test:mutation` prints them: a mutant keeps its entry when its code moves.
 */
import type { Mutant } from './mutants.ts';

/** A mutant that behaves as the source does. */
export interface Equivalent extends Pick<Mutant, 'file' | 'before' | 'after'> {
  readonly reason: string;
}

export const EQUIVALENT: readonly Equivalent[] = [];

/** The entry of a mutant, if it is known to be equivalent. */
export function equivalentOf(mutant: Mutant): Equivalent | undefined {
  return EQUIVALENT.find(
    ({ file, before, after }) => file === mutant.file && before === mutant.before && after === mutant.after,
  );
}
