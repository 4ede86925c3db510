import { TsbpfError } from './error.ts';

/**
 * The target's kernel types have no such tracepoint.
 *
 * @example
 * ```ts
 * import { Kernel, NoSuchTracepointError, target, tpBtf } from 'tsbpf';
 *
 * try {
 *   tpBtf('no_such_tracepoint', target(process.arch, new Kernel().btf), (b) => b.exit());
 * } catch (error) {
 *   if (error instanceof NoSuchTracepointError) console.log(error.tracepoint);
 * }
 * ```
 */
export class NoSuchTracepointError extends TsbpfError {
  override readonly name = 'NoSuchTracepointError';
  override readonly code = 'ERR_BTF_NO_TRACEPOINT';
  /** The name of the tracepoint. */
  readonly tracepoint: string;

  constructor(tracepoint: string) {
    super(`this kernel's types have no tracepoint ${tracepoint} (no typedef btf_trace_${tracepoint})`);
    this.tracepoint = tracepoint;
  }
}
