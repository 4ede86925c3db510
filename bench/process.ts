/**
 * Processes to be measured: the command, and a bare node to stand beside it; and what /proc tells about them.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

/** A process whose output is read here. */
export type Child = ChildProcessByStdio<null, Readable, null>;

/** A file of dist/, as `npm run build` leaves it. */
export function dist(name: string): string {
  return fileURLToPath(new URL(`../../dist/${name}`, import.meta.url));
}

/** Starts node with these arguments. What it says on stderr is shown. */
export function node(...args: readonly string[]): Child {
  return spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
}

/** Starts the command. */
export function command(...args: readonly string[]): Child {
  return node(dist('tcpconnlat.cjs'), '--quiet', ...args);
}

/** Waits for the command's header: from now on it traces. */
export async function header(child: Child): Promise<void> {
  const [output] = await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
  if (!String(output).includes('PID')) throw new Error('tcpconnlat ended before it traced; it needs root');
}

/** Ends a process as Ctrl-C does, and waits for its end. */
export async function stop(child: Child): Promise<void> {
  const ended = once(child, 'exit');
  child.kill('SIGINT');
  await ended;
}

/** What a process has used so far, all its threads together. */
export interface Usage {
  /** CPU time in ms, to the ns (schedstat): a tick of /proc/PID/stat would be too coarse. */
  readonly cpuMs: number;
  /** How often a thread gave its CPU up to wait for something, and so will have to be woken. */
  readonly waits: number;
}

export function usage(pid: number): Usage {
  let cpuMs = 0;
  let waits = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const file = (name: string) => readFileSync(`/proc/${pid}/task/${task}/${name}`, 'latin1');
    cpuMs += Number(file('schedstat').split(' ')[0]) / 1e6;
    waits += Number(/^voluntary_ctxt_switches:\s*(\d+)/m.exec(file('status'))?.[1]);
  }
  return { cpuMs, waits };
}

/** Resident memory, MB. */
export function residentMb(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  return (Number(/^VmRSS:\s*(\d+) kB/m.exec(status)?.[1]) * 1024) / 1e6;
}
