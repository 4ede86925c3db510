/**
 * The call graph. The kernel refuses recursion and deep chains of calls.
 *
 * Source: kernel/bpf/verifier.c, `check_max_stack_depth`.
 */

/**
 * The maximum number of frames in a chain of calls, including the program's (`MAX_CALL_FRAMES`,
 * include/linux/bpf_verifier.h).
 */
export const MAX_FRAMES = 8;

/** A call of the function `to` by `from`; `by` is the instruction, for the error. */
export interface Call<F, C> {
  readonly from: F;
  readonly to: F;
  readonly by: C;
}

/** A call that the kernel refuses: it is recursive, or one frame too deep. */
export interface CallFault<F, C> {
  readonly kind: 'recursion' | 'depth';
  readonly by: C;
  /** The functions of the chain: from the first function to the refused one, or around the cycle. */
  readonly chain: readonly F[];
}

/** Returns the first call below `first` that the kernel refuses; undefined if there is none. */
export function callFault<F, C>(first: F, calls: readonly Call<F, C>[]): CallFault<F, C> | undefined {
  const callsOf = new Map<F, Call<F, C>[]>();
  for (const call of calls) {
    const others = callsOf.get(call.from);
    if (others) others.push(call);
    else callsOf.set(call.from, [call]);
  }
  /** For functions without a fault, the frames of the function and of the longest chain of calls below it. */
  const heights = new Map<F, number>();
  const chain: F[] = [];
  const visit = (each: F): CallFault<F, C> | undefined => {
    chain.push(each);
    let height = 1;
    for (const { to, by } of callsOf.get(each) ?? []) {
      const again = chain.indexOf(to);
      if (again >= 0) return { kind: 'recursion', by, chain: [...chain.slice(again), to] };
      if (chain.length === MAX_FRAMES) return { kind: 'depth', by, chain: [...chain, to] };
      const fits = chain.length + (heights.get(to) ?? MAX_FRAMES) <= MAX_FRAMES;
      const fault = fits ? undefined : visit(to);
      if (fault) return fault;
      height = Math.max(height, 1 + (heights.get(to) as number));
    }
    heights.set(each, height);
    chain.pop();
    return undefined;
  };
  return visit(first);
}
