/** The error for a name that a kernel's types do not have. */
import { TsbpfError } from '../error.ts';
import { listNearest } from '../nearest.ts';

/**
 * The kernel's types have no such struct, member, function or enum value. The message lists similar names.
 *
 * @example
 * import { Kernel } from 'tsbpf';
 * import { NoSuchFieldError } from 'tsbpf/btf';
 *
 * try {
 *   new Kernel().btf?.member('sock', 'sk_error');
 * } catch (error) {
 *   if (error instanceof NoSuchFieldError) console.log(error.nearest); // ['sk_err', ...]
 * }
 */
export class NoSuchFieldError extends TsbpfError {
  override readonly name = 'NoSuchFieldError';
  override readonly code = 'ERR_BTF_NO_FIELD';
  /** The struct, enum or function that was searched. */
  readonly struct: string;
  /** The paths that were searched; empty if the struct itself is missing. */
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
