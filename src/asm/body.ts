/**
 * Bodies: functions that emit instructions while a program is assembled.
 */

/**
 * The result of a body, which is ignored: anything but a promise. (A function of type `() => void` may be
 * async; one of this type may not.)
 */
export type BodyResult =
  // biome-ignore lint/suspicious/noConfusingVoidType: bodies without a `return` have the result type void.
  void | undefined | null | boolean | number | bigint | string | (object & { readonly then?: never });

/** Throws TypeError for the result of an async body. */
export function requireSynchronous(result: unknown): void {
  if (typeof result !== 'object' || result === null || !('then' in result)) return;
  if (typeof result.then !== 'function') return;
  // The promise may be rejected later, for what this error already says.
  Promise.resolve(result).catch(() => {});
  throw new TypeError(
    'the body returns a promise, and bodies cannot wait: they run while the program is assembled; make it a function that is not async',
  );
}
