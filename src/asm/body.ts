/**
 * Bodies: functions of the user that emit instructions while a program is built.
 */

/**
 * The result of a body: anything except a promise. It is ignored. Unlike `void`, this result type makes an
 * async body a type error.
 */
export type BodyResult =
  // biome-ignore lint/suspicious/noConfusingVoidType: bodies without a `return` have the result type void.
  void | undefined | null | boolean | number | bigint | string | (object & { readonly then?: never });

/** Throws TypeError if the result of a body is a promise. */
export function requireSynchronous(result: unknown): void {
  if (typeof result !== 'object' || result === null || !('then' in result)) return;
  if (typeof result.then !== 'function') return;
  // The promise may reject later; without a handler, that would end the process.
  Promise.resolve(result).catch(() => {});
  throw new TypeError(
    'the body returned a promise, but it must finish while the program is built: make it a synchronous function',
  );
}
