/**
 * The processes that are measured (the command, and a bare node for comparison) and their usage from /proc.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { type Options, readArguments } from '../src/cli/arguments.ts';

// The cache of programs would make a figure depend on earlier runs. A measure of the cache names its own.
process.env.TCPCONNLAT_CACHE = '';

/** A process whose output this process reads. */
export type Child = ChildProcessByStdio<null, Readable, null>;

/** The path of a file in dist/. */
export function dist(name: string): string {
  return fileURLToPath(new URL(`../../dist/${name}`, import.meta.url));
}

/** Starts node with these arguments; its stderr is inherited. */
export function node(...args: readonly string[]): Child {
  return spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
}

/** Milliseconds that a node with these arguments takes from its start to its exit. */
export async function runTime(...args: readonly string[]): Promise<number> {
  const begin = performance.now();
  await once(node(...args), 'exit');
  return performance.now() - begin;
}

/** Starts the command. */
export function command(...args: readonly string[]): Child {
  return node(dist('tcpconnlat.cjs'), '--quiet', ...args);
}

const NEWLINE = 0x0a;

/** Counts the lines that a child prints from now on, by searches, so that the command has a fast reader. */
export function countLines({ stdout }: Child): { count: number } {
  const lines = { count: 0 };
  stdout.on('data', (bytes: Buffer) => {
    for (let at = bytes.indexOf(NEWLINE); at >= 0; at = bytes.indexOf(NEWLINE, at + 1)) lines.count++;
  });
  return lines;
}

/** Waits for the command's header, which it prints when everything is attached. */
export async function header(child: Child): Promise<void> {
  const [output] = await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
  if (!String(output).includes('PID')) throw new Error('tcpconnlat ended before it traced; it needs root');
}

/** Ends a process with SIGINT, as Ctrl-C does, and waits for its exit, unless it has exited. */
export async function stop(child: Child): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGINT');
  await ended;
}

/** The process ID. @throws {Error} if the process could not be started. */
export function pidOf({ pid }: { readonly pid?: number | undefined }): number {
  if (pid === undefined) throw new Error('node could not be started');
  return pid;
}

/** The options of a command line that traces. */
export function optionsFrom(args: readonly string[]): Options {
  const request = readArguments(args, '');
  if (request.action !== 'trace') throw new Error(`${args.join(' ')}: not a command line that traces`);
  return request.options;
}

/** The usage of a process since its start, over all threads. */
export interface Usage {
  /** CPU time in ms, from schedstat, which counts ns; the ticks of /proc/PID/stat are too coarse. */
  readonly cpuMs: number;
  /** Voluntary context switches: how often a thread waited and had to be woken. */
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
