/** Warnings about filters by unit, pod and namespace that match no process. */
import { printable } from '../../asm/printable.ts';
import { parseProcCgroup } from '../../loader/cgroup-paths.ts';
import type { Kernel } from '../../loader/kernel.ts';
import { utf8 } from '../../loader/text.ts';
import { CALLER_FILTERS, type CallerFilter, hasFact, selectsCallers } from '../caller-filter.ts';
import { type Caller, placeOf } from '../record/caller.ts';
import { nameLookup } from '../record/names.ts';

/** The warnings, one line each; none if the processes of the host are not visible. */
export function callerWarnings(filter: CallerFilter, kernel: Kernel, names = nameLookup()): string[] {
  if (!selectsCallers(filter) || kernel.hasOwn('pid')) return [];
  const callers = runningCallers(kernel).map((place): Caller => ({ ...place, ...names(place).names }));
  if (callers.length === 0) return [];
  return CALLER_FILTERS.flatMap((name) =>
    (filter[name]?.only ?? [])
      .filter((pattern) => !callers.some((caller) => hasFact(name, pattern, caller)))
      .map(
        (pattern) => `--${name} ${printable(pattern)}: no process matches now; only a later one can match`,
      ),
  );
}

/** The units and containers of all processes, each once. */
function runningCallers({ syscalls }: Kernel): Caller[] {
  const folders = syscalls.folders('/proc');
  const texts = new Set<string>();
  for (const pid of typeof folders === 'number' ? [] : folders) {
    const bytes = /^\d+$/.test(pid) ? syscalls.readFile(`/proc/${pid}/cgroup`) : -1;
    if (typeof bytes !== 'number') texts.add(utf8(bytes));
  }
  return [...texts].map((text) => {
    const { v2, v1 } = parseProcCgroup(text);
    return placeOf(v2 === undefined ? v1 : [v2, ...v1]);
  });
}
