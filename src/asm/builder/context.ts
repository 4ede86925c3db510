/**
 * The contexts of programs, as far as builders go: where in them is what.
 */
import type { ScalarOrArray } from './kernel-pointer.ts';

/** What a program of some type is given. */
export interface Context {
  /** Offset in the context of the nth argument, or undefined where there is no such argument. */
  readonly argument: (n: number) => number | undefined;
  /** Offset in the context of what the function returned, where the program runs at a return. */
  readonly returned?: number;
  /** A field of the context by its name, where it is a record; throws where the record has none. Arrays are only copied. */
  readonly field?: (name: string) => ScalarOrArray & { readonly offset: number };
  /** What the program returns where it doesn't say; 0 if not given. */
  readonly result?: number;
  /** Whether the verifier knows the arguments' types by BTF. */
  readonly trusted: boolean;
  /** What the arguments belong to, for messages. */
  readonly name: string;
}
