/**
 * Test suites: those of uvu, with time limits and stricter failures. A test or hook that never settles fails
 * at its time limit, a hook that throws is a failure (uvu ignores it), a skipped test has a reason, and a
 * file that forgets `run()` fails. Each result is also reported to the runner (test/run.ts), if there is one.
 *
 *   const test = suite('asm/encode');
 *   test('a jump that is too far throws', () => { ... });
 *   test.skipIf(needsRoot, 'a program loads', async () => { ... });
 *   test.run();
 */
import { existsSync, writeSync } from 'node:fs';
import * as uvu from 'uvu';

/** The body of a test or hook. */
export type Body = () => void | Promise<void>;

/** A report to the runner, one line of JSON on the descriptor TSBPF_TEST_REPORT. */
export type Report =
  | { readonly kind: 'started'; readonly name: string }
  | { readonly kind: 'passed' | 'failed'; readonly name: string }
  | { readonly kind: 'skipped'; readonly name: string; readonly reason: string }
  /** A failure outside of tests: a hook, or tests that were never run. */
  | { readonly kind: 'broken'; readonly name: string; readonly reason: string }
  /** Every suite has run. If the process stays alive now, a test has left something open. */
  | { readonly kind: 'ended' }
  /** The process is done with its file and continues with the next one. */
  | { readonly kind: 'next' };

interface Hook {
  (body: Body): void;
  /** Runs around every test instead of around the suite. */
  each(body: Body): void;
}

/** A suite. Call it to add a test, and call `run()` at the end of the file. */
export interface Suite {
  (name: string, body: Body): void;
  /** Adds the test; if there is a reason to skip it, reports it as skipped with that reason. */
  skipIf(reason: string | false | undefined, name: string, body: Body): void;
  readonly before: Hook;
  readonly after: Hook;
  run(): void;
}

// Commands that tests start use no cache of programs, unless a test names one.
process.env.TCPCONNLAT_CACHE ??= '';

/** Why a test that needs the running kernel is skipped, or false. */
export const needsRoot: string | false = process.getuid?.() === 0 ? false : 'needs root';

/** Whether this is a guest of the lab (test/vm), a machine used only by the tests. */
export const inGuest = existsSync('/run/lab');

/** Why a test that does not depend on the kernel is skipped, or false. */
export const sameOnEveryKernel: string | false =
  inGuest && 'does not depend on the kernel (runs outside of the lab)';

/** Why a test that downloads large packages is skipped, or false. */
export const noDownloads: string | false =
  process.env.TSBPF_TEST_LAB === 'no' && 'downloads packages (TSBPF_TEST_LAB=no)';

/**
 * Why a test that compares times is skipped, or false. A machine's load changes times, except in a guest
 * whose clock counts instructions.
 */
export const noSteadyClock: string | false =
  process.env.TSBPF_TEST_CLOCK !== 'instructions' &&
  'compares times (runs in guests whose clock counts instructions)';

/** A factor for all time limits, because emulated machines are slow. */
export const slowness = Number(process.env.TSBPF_TEST_SLOWNESS || 1);

const reportTo = Number(process.env.TSBPF_TEST_REPORT || Number.NaN);

/** Sends a report to the runner, if there is one. */
export function report(line: Report): void {
  if (!Number.isNaN(reportTo)) writeSync(reportTo, `${JSON.stringify(line)}\n`);
}

/** Reports an error of the file itself, and prints it for runs without the runner. */
function broken(name: string, reason: string): void {
  report({ kind: 'broken', name, reason });
  console.error(`\n  ${name}: ${reason}`);
  process.exitCode = 1;
}

/** The number of suites that have begun and not ended. */
let open = 0;

/** Runs `body` and rejects if it has not settled after `seconds`. */
async function within(seconds: number, body: Body): Promise<void> {
  const limit = seconds * slowness;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not settled after ${limit} s`)), limit * 1000);
  });
  try {
    await Promise.race([body(), late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A suite whose tests fail if they take longer than `seconds` (10). */
export function suite(name: string, { seconds = 10 }: { seconds?: number } = {}): Suite {
  const inner = uvu.suite(name);
  const counts = { added: 0, settled: 0 };
  let ran = false;

  const add = (title: string, body: Body): void => {
    counts.added++;
    inner(title, async () => {
      report({ kind: 'started', name: title });
      try {
        await within(seconds, body);
        report({ kind: 'passed', name: title });
      } catch (error) {
        report({ kind: 'failed', name: title });
        throw error;
      } finally {
        counts.settled++;
      }
    });
  };

  /**
   * uvu counts a suite whose hook throws as passed: so a hook never throws, but reports the file as broken.
   */
  const guarded = (title: string, body: Body) => async () => {
    try {
      await within(seconds, body);
    } catch (error) {
      broken(`${name}, ${title}`, error instanceof Error ? (error.stack ?? error.message) : String(error));
    }
  };
  const hook = (title: 'before' | 'after'): Hook =>
    Object.assign((body: Body) => inner[title](guarded(title, body)), {
      each: (body: Body) => inner[title].each(guarded(`${title}.each`, body)),
    });

  const run = (): void => {
    ran = true;
    if (counts.added === 0) broken(name, 'has no tests');
    inner.after(() => {
      open--;
      if (open === 0) report({ kind: 'ended' });
    });
    inner.run();
  };

  const skipIf = (reason: string | false | undefined, title: string, body: Body): void => {
    if (!reason) {
      add(title, body);
      return;
    }
    counts.added++;
    counts.settled++;
    report({ kind: 'skipped', name: title, reason });
    inner.skip();
  };

  open++;
  process.on('exit', () => {
    if (!ran) broken(name, 'run() was never called');
    else if (counts.settled < counts.added)
      broken(name, `${counts.added - counts.settled} tests were not run`);
  });
  return Object.assign(add, { skipIf, before: hook('before'), after: hook('after'), run });
}
