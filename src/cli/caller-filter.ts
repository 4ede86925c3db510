/**
 * The filters by unit, pod and namespace. The kernel programs do not know these: they are applied to the
 * facts of `--who`, in a run and in a replay.
 */
import type { Criterion } from '../programs/networks.ts';
import type { Caller } from './record/caller.ts';

/** The criteria, and the facts that each of them is compared with. */
export const CALLER_CRITERIA = {
  unit: ({ unit, user_unit }) => [unit, user_unit],
  pod: ({ pod, pod_name }) => [pod, pod_name],
  namespace: ({ pod_namespace }) => [pod_namespace],
} as const satisfies Readonly<Record<string, (caller: Caller) => readonly (string | undefined)[]>>;

type Name = keyof typeof CALLER_CRITERIA;

/** Patterns of names: `*` stands for any text, and `?` for one character. */
export type CallerFilter = { readonly [K in Name]?: Criterion<string> };

/** The names of the criteria. */
export const CALLER_FILTERS = Object.keys(CALLER_CRITERIA) as Name[];

/** Whether a filter has a criterion for callers. */
export function selectsCallers(filter: CallerFilter): boolean {
  return CALLER_FILTERS.some((name) => filter[name] !== undefined);
}

/** Whether a run reads facts about callers: to show them, or for a filter. */
export function readsCallers({
  who,
  filter,
}: {
  readonly who: boolean;
  readonly filter: CallerFilter;
}): boolean {
  return who || selectsCallers(filter);
}

/** Whether the filter selects a caller. A fact that is not known matches only what is not excluded. */
export function isSelectedCaller(filter: CallerFilter, caller: Caller): boolean {
  return CALLER_FILTERS.every((name) => {
    const { only, not = [] } = filter[name] ?? {};
    const isOne = (patterns: readonly string[]) => patterns.some((pattern) => hasFact(name, pattern, caller));
    return (only === undefined || isOne(only)) && !isOne(not);
  });
}

/** Whether a caller has a fact that matches a pattern of a criterion. */
export function hasFact(name: Name, pattern: string, caller: Caller): boolean {
  return CALLER_CRITERIA[name](caller).some((fact) => fact !== undefined && matchesPattern(pattern, fact));
}

/**
 * Whether a text matches a pattern: each `*` is first as short as possible, and then the last one grows. That
 * takes at most as many steps as the product of the lengths.
 */
function matchesPattern(pattern: string, text: string): boolean {
  let at = 0;
  let star = -1;
  let starText = 0;
  for (let i = 0; i < text.length; ) {
    if (pattern[at] === '*') {
      star = at++;
      starText = i;
    } else if (at < pattern.length && (pattern[at] === '?' || pattern[at] === text[i])) {
      at += 1;
      i += 1;
    } else if (star >= 0) {
      at = star + 1;
      starText += 1;
      i = starText;
    } else return false;
  }
  while (pattern[at] === '*') at += 1;
  return at === pattern.length;
}
