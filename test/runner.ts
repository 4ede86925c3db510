/**
 * Runs test files, each in its own process, and judges them by the harness's reports and by failures that the
 * harness cannot report: a crash, a process that hangs or leaves other processes behind, a file without
 * tests.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Report, slowness } from './harness.ts';

/** The result of one test file. */
export interface FileResult {
  readonly file: string;
  readonly seconds: number;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: readonly { readonly name: string; readonly reason: string }[];
  /** Failures of the file as a whole. Each counts as one failure. */
  readonly problems: readonly string[];
  /** The output of the process, stdout and stderr. */
  readonly output: string;
}

/** Time limits of a file. */
export interface Limits {
  /** For the whole file, in seconds. */
  readonly seconds: number;
  /** For the exit after its last test, in seconds. */
  readonly grace: number;
}

/** The process groups of running test files. */
const running = new Set<number>();

/** Kills all running test files with their child processes. */
export function killAll(): void {
  for (const group of running) killGroup(group);
}

function killGroup(group: number): void {
  try {
    process.kill(-group, 'SIGKILL');
  } catch {
    // The group is already empty.
  }
}

/** The commands of the live processes in a group. Zombies, which only wait to be collected, do not count. */
function aliveIn(group: number): string[] {
  const alive: string[] = [];
  for (const pid of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const end = stat.lastIndexOf(')'); // a command may contain parentheses
      const [state, , pgrp] = stat.slice(end + 2).split(' ');
      if (Number(pgrp) === group && state !== 'Z' && state !== 'X') alive.push(stat.slice(0, end + 1));
    } catch {
      // The process has ended in the meantime.
    }
  }
  return alive;
}

/** The processes left in a group after its leader has exited. Ending children get a moment to exit. */
async function leftBehind(group: number): Promise<string[]> {
  let alive = aliveIn(group);
  for (let tries = 0; alive.length > 0 && tries < 10; tries++) {
    await sleep(50 * slowness);
    alive = aliveIn(group);
  }
  return alive;
}

/** Collects the harness's reports of one file. */
class Counts {
  passed = 0;
  failed = 0;
  ended = false;
  current = '';
  readonly skipped: { name: string; reason: string }[] = [];
  readonly problems: string[] = [];

  add(report: Report): void {
    switch (report.kind) {
      case 'started':
        this.current = report.name;
        return;
      case 'passed':
        this.passed++;
        this.current = '';
        return;
      case 'failed':
        this.failed++;
        this.current = '';
        return;
      case 'skipped':
        this.skipped.push({ name: report.name, reason: report.reason });
        return;
      case 'broken':
        this.problems.push(`${report.name}: ${report.reason.split('\n')[0]}`);
        return;
      case 'ended':
        this.ended = true;
    }
  }

  /**
   * Adds problems that the harness could not report, after the process has exited or continued with the next
   * file.
   */
  judge(code: number | null, signal: string | null): void {
    const during = this.current ? ` during "${this.current}"` : '';
    const hasReported = this.failed + this.problems.length > 0;
    if (signal) this.problems.push(`killed by ${signal}${during}`);
    else if (code !== 0 && (!hasReported || during))
      this.problems.push(`exited with status ${code}${during}`);
    else if (!this.ended && !hasReported)
      this.problems.push(this.#tests > 0 ? 'ended before its tests did' : 'ran no test');
  }

  get #tests(): number {
    return this.passed + this.failed + this.skipped.length;
  }
}

/** Runs one compiled test file in its own process group, which never outlives the call. */
export async function runFile(
  file: string,
  limits: Limits,
  environment: NodeJS.ProcessEnv = {},
): Promise<FileResult> {
  const [result] = await runProcess([file], [file], limits, undefined, environment);
  return result as FileResult;
}

/** The script that runs several test files in one process. */
const TOGETHER = fileURLToPath(new URL('./together.js', import.meta.url));

/**
 * Runs compiled test files one after the other in one process, since starting one takes seconds on an
 * emulated machine. If a file ends the process, the next files run in another one. Processes left behind are
 * reported for the last file.
 */
export async function runTogether(
  files: readonly string[],
  limits: Limits,
  onResult: (result: FileResult) => void,
): Promise<void> {
  for (let rest = files; rest.length > 0; ) {
    const results = await runProcess([TOGETHER, ...rest], rest, limits, onResult);
    rest = rest.slice(results.length);
  }
}

/** Runs a program that runs test files, and judges the files that it reached. */
async function runProcess(
  program: readonly string[],
  files: readonly string[],
  limits: Limits,
  onResult: (result: FileResult) => void = () => {},
  environment: NodeJS.ProcessEnv = {},
): Promise<FileResult[]> {
  const results: FileResult[] = [];
  let start = performance.now();
  let tally = new Counts();
  const child = spawn(process.execPath, ['--enable-source-maps', ...program], {
    detached: true, // a new process group, to kill its children with it
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...environment, TSBPF_TEST_REPORT: '3' },
  });
  const group = child.pid;
  if (group === undefined) throw new Error(`cannot start ${process.execPath}`);
  running.add(group);

  const output = collect(child);
  let timer: NodeJS.Timeout | undefined;
  let grace: NodeJS.Timeout | undefined;
  const limit = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const during = tally.current ? `, in "${tally.current}"` : '';
      tally.problems.push(`not done after ${limits.seconds} s${during}: killed`);
      killGroup(group);
    }, limits.seconds * 1000);
  };
  const finish = (): void => {
    const { passed, failed, skipped, problems } = tally;
    const seconds = (performance.now() - start) / 1000;
    const file = files[results.length] as string;
    const text = output.splice(0).join('');
    const result = { file, seconds, passed, failed, skipped, problems, output: text };
    results.push(result);
    onResult(result);
    start = performance.now();
    tally = new Counts();
  };

  limit();
  const reports = createInterface({ input: child.stdio[3] as Readable });
  reports.on('line', (line) => {
    const report: Report = JSON.parse(line);
    tally.add(report);
    if (report.kind === 'next') {
      tally.judge(0, null);
      finish();
      limit();
    }
    if (!tally.ended || grace || results.length + 1 < files.length) return;
    grace = setTimeout(() => {
      tally.problems.push(`still running ${limits.grace} s after its last test: killed`);
      killGroup(group);
    }, limits.grace * 1000);
  });

  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) => {
    child.once('exit', (...how) => resolve(how));
  });
  clearTimeout(timer);
  clearTimeout(grace);
  const left = await leftBehind(group);
  killGroup(group);
  running.delete(group);
  await closed(child);
  if (!tally.problems.some((problem) => problem.endsWith(': killed'))) tally.judge(code, signal);
  if (left.length > 0) tally.problems.push(`left processes behind: ${left.join(', ')}`);
  finish();
  return results;
}

function collect(child: ChildProcess): string[] {
  const output: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => output.push(text));
  }
  return output;
}

/**
 * Waits until the pipes of an exited process are read completely. Its group is dead, so the pipes are closed.
 */
async function closed(child: ChildProcess): Promise<void> {
  const streams = child.stdio.filter((stream) => stream && !stream.closed);
  const all = Promise.all(streams.map((stream) => new Promise((resolve) => stream?.once('close', resolve))));
  await Promise.race([all, sleep(2000, undefined, { ref: false })]);
}
