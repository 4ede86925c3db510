/**
 * The error for a name that a kernel's types don't have.
 */
import { TsbpfError } from '../error.ts';
import { listNearest } from '../nearest.ts';

/** A struct, a member or an enum's value that this kernel doesn't have. */
export class NoSuchFieldError extends TsbpfError {
  override readonly name = 'NoSuchFieldError';
  override readonly code = 'ERR_BTF_NO_FIELD';
  /** What it was looked for in. */
  readonly struct: string;
  /** The paths that the caller asked for; empty if the struct itself is missing. */
  readonly paths: readonly string[];
  /** Similar names that exist, the most similar first. */
  readonly nearest: readonly string[];

  constructor(message: string, struct: string, paths: readonly string[], nearest: readonly string[]) {
    super(`${message}${listNearest(nearest)}`);
    this.struct = struct;
    this.paths = paths;
    this.nearest = nearest;
  }
}
