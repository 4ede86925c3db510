/**
 * Warnings about PIDs: which namespace numbers them, and whether a PID of `-p` can match.
 */
import type { Kernel } from '../../loader/kernel.ts';
import type { FilterOptions } from '../arguments.ts';

/** Warnings, a line each. */
export function processWarnings({ pid }: FilterOptions, kernel: Kernel): string[] {
  // /proc shows the processes of its own namespace there, by other numbers.
  if (kernel.hasOwn('pid')) return [ofTheHost(pid !== undefined)];
  // The first process can be seen unless /proc hides those of others (hidepid), or isn't there.
  if (processOf(1, kernel) === undefined) return [];
  return (pid?.only ?? []).flatMap(([first, last]) =>
    Array.from({ length: last - first + 1 }, (_, i) => warningOf(first + i, kernel) ?? []).flat(),
  );
}

function ofTheHost(filtered: boolean): string {
  return (
    `this is a PID namespace: the PIDs ${filtered ? 'shown and the PIDs of -p' : 'shown'} are the host's, ` +
    'and /proc has other numbers here; docker run --pid=host gives a container the PIDs of the host'
  );
}

function warningOf(pid: number, kernel: Kernel): string | undefined {
  const process = processOf(pid, kernel);
  if (process === undefined) return `-p ${pid}: no such process; only a process that starts later can match`;
  if (process !== pid) return `-p ${pid}: this is a thread of process ${process}; use -p ${process}`;
  return undefined;
}

/** The process that a thread belongs to; undefined if there is no such thread, or it can't be seen. */
function processOf(thread: number, { syscalls }: Kernel): number | undefined {
  const bytes = syscalls.readFile(`/proc/${thread}/status`);
  if (typeof bytes === 'number') return undefined;
  const process = /^Tgid:\s*(\d+)$/m.exec(Buffer.from(bytes).toString('latin1'))?.[1];
  return process === undefined ? undefined : Number(process);
}
