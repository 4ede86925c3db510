/** The criteria of the filter, and their limits. filter.ts compiles them into the programs. */
import { TsbpfError } from '../../asm/error.ts';
import type { Criterion, Network } from '../networks.ts';

/** The criteria for connects. A connect has to match all of them. */
export interface Filter {
  /** Process ids (thread group ids) in the initial PID namespace. */
  readonly pid?: Criterion<Range>;
  /** Real user ids in the initial user namespace. */
  readonly uid?: Criterion<Range>;
  /**
   * Complete names of the connecting threads, at most 15 bytes each; lone surrogates for bytes that are not
   * UTF-8, as `chars` decodes them.
   */
  readonly comm?: Criterion<string>;
  /** Directories of cgroups (version 2). A cgroup matches together with its descendants. */
  readonly cgroup?: Criterion<string>;
  /** Remote ports. */
  readonly port?: Criterion<Range>;
  /** Networks of the remote address. The longest matching prefix wins. */
  readonly to?: Criterion<Network>;
  /** Networks of the local address. The longest matching prefix wins. */
  readonly from?: Criterion<Network>;
  /** Inode numbers of network namespaces. */
  readonly netns?: Criterion<Range>;
}

/** The most ranges, names or cgroups in one criterion: each becomes instructions. */
export const MAX_COMPARED = 64;
/** The most networks in one criterion: each becomes an entry of a map. */
export const MAX_NETWORKS = 1024;
/** TASK_COMM_LEN without the terminating zero, include/linux/sched.h. */
export const MAX_COMM_BYTES = 15;

/** Whole numbers from the first to the last, both included. */
export type Range = readonly [first: number, last: number];

/** The same numbers as ascending ranges that neither overlap nor touch. */
export function merged(ranges: readonly Range[]): Range[] {
  const result: Range[] = [];
  for (const [first, last] of [...ranges].sort(([a], [b]) => a - b)) {
    const before = result.at(-1);
    if (before && first <= before[1] + 1) result.splice(-1, 1, [before[0], Math.max(before[1], last)]);
    else result.push([first, last]);
  }
  return result;
}

/** The numbers in `ranges` that are not in `excluded`, as `merged` ranges. */
export function without(ranges: readonly Range[], excluded: readonly Range[]): Range[] {
  let left = merged(ranges);
  for (const [first, last] of excluded)
    left = left.flatMap(([from, to]): Range[] => {
      if (last < from || first > to) return [[from, to]];
      const parts: Range[] = [
        [from, Math.min(to, first - 1)],
        [Math.max(from, last + 1), to],
      ];
      return parts.filter(([a, b]) => a <= b);
    });
  return left;
}

/** The filter has a criterion that the record of the tracepoint does not contain. */
export class FilterUnavailableError extends TsbpfError {
  override readonly name = 'FilterUnavailableError';
  override readonly code = 'ERR_FILTER_UNAVAILABLE';

  constructor(field: string) {
    super(
      `the record of the tracepoint does not contain ${field}; use another probe type or remove the filter`,
    );
  }
}
