/** Whether two types are the same: for type tests, which tsc checks and nothing runs. */
export type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** Compiles only if the type argument is `true`. */
export function holds<_Condition extends true>(): void {}
