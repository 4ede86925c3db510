/**
 * Errors that Node throws because of its options or the limits of the process: each becomes one line with a
 * remedy.
 */

/** The places that a user or a service can set Node's options in. */
const ITS_OPTIONS = "on Node's command line or in NODE_OPTIONS";

/**
 * A line for an error that Node's options or the limits of the process explain; undefined for every other
 * error.
 */
export function environmentFault(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { message, code, resource } = error as NodeJS.ErrnoException & { readonly resource?: string };
  if (error instanceof EvalError)
    return `${message}: tsbpf compiles a decoder for its data; remove --disallow-code-generation-from-strings ${ITS_OPTIONS}`;
  if (code === 'ERR_ACCESS_DENIED')
    return `Node's permission model denies access${resource ? ` to ${resource}` : ''}; remove --permission ${ITS_OPTIONS}`;
  if (code === 'ENOMEM' || code === 'ERR_MEMORY_ALLOCATION_FAILED' || isFailedAllocation(error))
    return `out of memory (${message}): raise the limit of address space (ulimit -v unlimited), or the memory limit of the container`;
  return undefined;
}

/** V8 has no code for these. */
function isFailedAllocation(error: Error): boolean {
  return error instanceof RangeError && /allocation failed|could not allocate/i.test(error.message);
}
