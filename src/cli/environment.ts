/**
 * Messages for errors that Node throws because of its options or the resource limits of the process: one line
 * with a remedy.
 */

const REMOVE_FROM = "on Node's command line or in NODE_OPTIONS";

/**
 * The message for an error that Node's options or resource limits explain; undefined for every other error.
 */
export function environmentMessage(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { message, code, resource } = error as NodeJS.ErrnoException & { readonly resource?: string };
  if (error instanceof EvalError)
    return `${message}: tsbpf compiles a decoder for its data; remove --disallow-code-generation-from-strings ${REMOVE_FROM}`;
  if (code === 'ERR_ACCESS_DENIED')
    return `Node's permission model denies access${resource ? ` to ${resource}` : ''}; remove --permission ${REMOVE_FROM}`;
  if (code === 'ENOMEM' || code === 'ERR_MEMORY_ALLOCATION_FAILED' || isFailedAllocation(error))
    return `out of memory (${message}): raise the limit of address space (ulimit -v unlimited), or the memory limit of the container`;
  return undefined;
}

/** V8 has no error code for a failed allocation. */
function isFailedAllocation(error: Error): boolean {
  return error instanceof RangeError && /allocation failed|could not allocate/i.test(error.message);
}
