/**
 * Errors that Node throws because of how or where it was started: each becomes one line with a remedy.
 */

/** Where the options of Node come from that forbid something. */
const ITS_OPTIONS = "on Node's command line or in NODE_OPTIONS";

/** A line for an error that the options or the limits of this process explain; undefined for every other error. */
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
