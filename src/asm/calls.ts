/**
 * Who calls whom: what the kernel refuses of functions that call each other, whatever they do.
 *
 * Source: kernel/bpf/verifier.c, `check_max_stack_depth`.
 */

/** `MAX_CALL_FRAMES`, include/linux/bpf_verifier.h: the frames of a program and of those that are called from within each other. */
export const MOST_FRAMES = 8;

/** A call of the function `to` by `from`; `by` is what a fault is told of. */
export interface Call<F, C> {
  readonly from: F;
  readonly to: F;
  readonly by: C;
}

/** A call that can't be: back to a function that is under way, or from the last frame there is. */
export interface CallFault<F, C> {
  readonly kind: 'recursion' | 'depth';
  readonly by: C;
  /** The functions that lead there and the one called: from the first function on, or in a circle. */
  readonly chain: readonly F[];
}

/** The first call below `first` that can't be; undefined where all can. */
export function callFault<F, C>(first: F, calls: readonly Call<F, C>[]): CallFault<F, C> | undefined {
  const callsOf = new Map<F, Call<F, C>[]>();
  for (const call of calls) {
    const others = callsOf.get(call.from);
    if (others) others.push(call);
    else callsOf.set(call.from, [call]);
  }
  /** The frames that a function takes with those below it, of functions without fault. */
  const heights = new Map<F, number>();
  const chain: F[] = [];
  const visit = (each: F): CallFault<F, C> | undefined => {
    chain.push(each);
    let height = 1;
    for (const { to, by } of callsOf.get(each) ?? []) {
      const again = chain.indexOf(to);
      if (again >= 0) return { kind: 'recursion', by, chain: [...chain.slice(again), to] };
      if (chain.length === MOST_FRAMES) return { kind: 'depth', by, chain: [...chain, to] };
      const fits = chain.length + (heights.get(to) ?? MOST_FRAMES) <= MOST_FRAMES;
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
