/** The base class of the library's errors. */

/**
 * The base class of every error class in tsbpf. `code` identifies the kind of error and stays the same from
 * release to release; messages may change. `docs/errors.md` lists the codes. A wrong argument throws
 * JavaScript's own `TypeError` or `RangeError` instead.
 *
 * @example
 * ```ts
 * import { Kernel, TsbpfError } from 'tsbpf';
 *
 * try {
 *   new Kernel().btf?.member('sock', 'no_such_member');
 * } catch (error) {
 *   if (error instanceof TsbpfError) console.log(error.code, error.message);
 * }
 * ```
 */
export abstract class TsbpfError extends Error {
  /** `ERR_` and the kind of error: `ERR_BTF_NO_FIELD`. */
  abstract readonly code: string;
}

/**
 * A program's statements contradict each other: a value is used after it expired, memory is read before it
 * was written, a statement follows the end of its block. The message names your line.
 *
 * @example
 * ```ts
 * import { ProgramError, rawTracepoint, target, u64 } from 'tsbpf';
 *
 * try {
 *   rawTracepoint('sys_enter', target('x64'), (b) => {
 *     b.exit(b.stack(u64).get()); // the slot was never written
 *   });
 * } catch (error) {
 *   if (error instanceof ProgramError) console.log(error.message);
 * }
 * ```
 */
export class ProgramError extends TsbpfError {
  override readonly name = 'ProgramError';
  override readonly code = 'ERR_PROGRAM';
}
