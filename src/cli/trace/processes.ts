/**
 * Warnings about PIDs: which PID namespace they belong to, and whether a PID of `-p` can match.
 */
import type { Kernel } from '../../loader/kernel.ts';
import type { FilterOptions } from '../arguments.ts';

/** The warnings, one line each. */
export function processWarnings({ pid }: FilterOptions, kernel: Kernel): string[] {
  // There /proc has other PIDs: those of its own namespace.
  if (kernel.hasOwn('pid')) return [namespaceWarning(pid !== undefined)];
  if (!pid?.only) return [];
  // Process 1 is visible unless /proc hides the processes of other users (hidepid) or is not mounted.
  if (processOf(1, kernel) === undefined) return [];
  return pid.only.flatMap(([first, last]) =>
    Array.from({ length: last - first + 1 }, (_, i) => warningOf(first + i, kernel) ?? []).flat(),
  );
}

function namespaceWarning(filtered: boolean): string {
  return (
    `this is a PID namespace, but ${filtered ? 'the output and -p use' : 'the output uses'} the PIDs of the host; ` +
    'docker run --pid=host gives a container the PIDs of the host'
  );
}

function warningOf(pid: number, kernel: Kernel): string | undefined {
  const process = processOf(pid, kernel);
  if (process === undefined) return `-p ${pid}: no such process; only a process that starts later can match`;
  if (process !== pid) return `-p ${pid}: this is a thread of process ${process}; use -p ${process}`;
  return undefined;
}

/** The process that a thread belongs to; undefined if the thread does not exist or is not visible. */
function processOf(thread: number, { syscalls }: Kernel): number | undefined {
  const bytes = syscalls.readFile(`/proc/${thread}/status`);
  if (typeof bytes === 'number') return undefined;
  const process = /^Tgid:\s*(\d+)$/m.exec(Buffer.from(bytes).toString('latin1'))?.[1];
  return process === undefined ? undefined : Number(process);
}
