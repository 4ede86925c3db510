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
  if (code === 'MODULE_NOT_FOUND' || sourcePosition(error) !== undefined) return cannotLoad(error);
  if (code === 'ENOMEM' || code === 'ERR_MEMORY_ALLOCATION_FAILED' || isFailedAllocation(error))
    return `out of memory (${message}): raise the limit of address space (ulimit -v unlimited), or the memory limit of the container`;
  return undefined;
}

/** The message for an error while code of this package is loaded: a file is missing or damaged. */
export function cannotLoad(error: Error): string {
  const position = sourcePosition(error);
  const reason = `${position === undefined ? '' : `${position}: `}${error.message.split('\n')[0]}`;
  return `cannot load its own code: ${reason}; install the package again (in a clone: npm ci)`;
}

/**
 * The file and line of a syntax error in code, which V8 puts on the first line of the stack. Errors of other
 * syntax, such as JSON, have none.
 */
function sourcePosition(error: Error): string | undefined {
  const [first = ''] = error instanceof SyntaxError ? (error.stack?.split('\n') ?? []) : [];
  return /^\/.*:\d+$/.test(first) ? first : undefined;
}

/** V8 has no error code for a failed allocation. */
function isFailedAllocation(error: Error): boolean {
  return error instanceof RangeError && /allocation failed|could not allocate/i.test(error.message);
}
