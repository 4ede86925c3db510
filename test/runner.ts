/**
 * Runs test files, each in a process of its own, and judges them: by what the harness reports, and by what it can't
 * report (a crash, a process that hangs or leaves others behind, a file without tests).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Report, slowness } from './harness.ts';

/** What became of one test file. */
export interface FileResult {
  readonly file: string;
  readonly seconds: number;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: readonly { readonly name: string; readonly reason: string }[];
  /** What is wrong with the file as a whole. Each is a failure of its own. */
  readonly problems: readonly string[];
  /** All that the process printed, on either stream. */
  readonly output: string;
}

/** How long a file may take. */
export interface Limits {
  /** For the whole file, in seconds. */
  readonly seconds: number;
  /** To exit after its last test, in seconds. */
  readonly grace: number;
}

/** The process groups of the test files now running. */
const running = new Set<number>();

/** Kills every test file still running, with all its children. */
export function killAll(): void {
  for (const group of running) killGroup(group);
}

function killGroup(group: number): void {
  try {
    process.kill(-group, 'SIGKILL');
  } catch {
    // Nobody is left in it, which is what we want.
  }
}

/** The commands still alive in a process group. A zombie isn't: it only waits to be collected. */
function aliveIn(group: number): string[] {
  const alive: string[] = [];
  for (const pid of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const end = stat.lastIndexOf(')'); // the command may hold anything, even a parenthesis
      const [state, , pgrp] = stat.slice(end + 2).split(' ');
      if (Number(pgrp) === group && state !== 'Z' && state !== 'X') alive.push(stat.slice(0, end + 1));
    } catch {
      // Gone in the meantime.
    }
  }
  return alive;
}

/** What a group still holds after its leader has exited; children that are just ending get a moment for it. */
async function leftBehind(group: number): Promise<string[]> {
  let alive = aliveIn(group);
  for (let tries = 0; alive.length > 0 && tries < 10; tries++) {
    await sleep(50 * slowness);
    alive = aliveIn(group);
  }
  return alive;
}

/** Collects the harness's reports and says what they amount to. */
class Tally {
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

  /** Notes what there is to say of a process that has exited, or gone on to the next file, beyond what it reported itself. */
  judge(code: number | null, signal: string | null): void {
    const during = this.current ? ` during "${this.current}"` : '';
    const told = this.failed + this.problems.length > 0;
    if (signal) this.problems.push(`killed by ${signal}${during}`);
    else if (code !== 0 && (!told || during)) this.problems.push(`exited with status ${code}${during}`);
    else if (!this.ended && !told)
      this.problems.push(this.#tests > 0 ? 'ended before its tests did' : 'ran no test');
  }

  get #tests(): number {
    return this.passed + this.failed + this.skipped.length;
  }
}

/** Runs one compiled test file in a process group of its own, which doesn't outlive the call. */
export async function runFile(
  file: string,
  limits: Limits,
  environment: NodeJS.ProcessEnv = {},
): Promise<FileResult> {
  const [result] = await runProcess([file], [file], limits, undefined, environment);
  return result as FileResult;
}

/** Runs test files one after the other in one process. */
const TOGETHER = fileURLToPath(new URL('./together.js', import.meta.url));

/**
 * Runs compiled test files one after the other in one process, since to start one takes seconds on an emulated machine. A file
 * that ends the process doesn't end the run: the ones behind it get another. What a file leaves behind is told of the last.
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

/** Runs a program that goes through test files, and judges those that it got to. */
async function runProcess(
  program: readonly string[],
  files: readonly string[],
  limits: Limits,
  onResult: (result: FileResult) => void = () => {},
  environment: NodeJS.ProcessEnv = {},
): Promise<FileResult[]> {
  const results: FileResult[] = [];
  let start = performance.now();
  let tally = new Tally();
  const child = spawn(process.execPath, ['--enable-source-maps', ...program], {
    detached: true, // its own process group, so that its children can be ended with it
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
    tally = new Tally();
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

/** Waits until the pipes of an exited process are read to their end; its group being dead, nobody holds them open. */
async function closed(child: ChildProcess): Promise<void> {
  const streams = child.stdio.filter((stream) => stream && !stream.closed);
  const all = Promise.all(streams.map((stream) => new Promise((resolve) => stream?.once('close', resolve))));
  await Promise.race([all, sleep(2000, undefined, { ref: false })]);
}
