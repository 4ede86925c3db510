/**
 * The suites that tests are written in: uvu's, and what uvu leaves out. A test or hook that never settles fails at
 * its time limit, a hook that throws is a failure (uvu swallows it), a skipped test says why, and a file that
 * forgets `run()` doesn't pass. Each result is also reported to the runner (test/run.ts), if one listens.
 *
 *   const test = suite('asm/encode');
 *   test('a jump that is too far throws', () => { ... });
 *   test.skipIf(needsRoot, 'a program loads', async () => { ... });
 *   test.run();
 */
import { existsSync, writeSync } from 'node:fs';
import * as uvu from 'uvu';

/** A test's or hook's body. */
export type Body = () => void | Promise<void>;

/** What a file tells its runner, as lines of JSON on the descriptor named by TSBPF_TEST_REPORT. */
export type Report =
  | { readonly kind: 'started'; readonly name: string }
  | { readonly kind: 'passed' | 'failed'; readonly name: string }
  | { readonly kind: 'skipped'; readonly name: string; readonly reason: string }
  /** Something outside a test went wrong: a hook, or tests that were never run. */
  | { readonly kind: 'broken'; readonly name: string; readonly reason: string }
  /** Every suite has run. What keeps the process alive after this was left behind by a test. */
  | { readonly kind: 'ended' }
  /** The process is done with its file, and goes on with the next. */
  | { readonly kind: 'next' };

interface Hook {
  (body: Body): void;
  /** Around every test instead of around the suite. */
  each(body: Body): void;
}

/** A suite. Call it to add a test; `run()` at the end of the file. */
export interface Suite {
  (name: string, body: Body): void;
  /** Adds the test, or, where there is a reason not to run it, reports it as skipped for that reason. */
  skipIf(reason: string | false | undefined, name: string, body: Body): void;
  readonly before: Hook;
  readonly after: Hook;
  run(): void;
}

/** Why a test that works on the running kernel has to be skipped, or false. */
export const needsRoot: string | false = process.getuid?.() === 0 ? false : 'needs root';

/** Whether this is a guest of the lab (test/vm): a machine of the tests' own. */
export const inGuest = existsSync('/run/lab');

/** Why a test that has nothing to do with the kernel is skipped, or false. */
export const sameOnEveryKernel: string | false =
  inGuest && 'does not depend on the kernel: run outside of the lab';

/** All time limits are multiplied by this: an emulated machine is slow, not wrong. */
export const slowness = Number(process.env.TSBPF_TEST_SLOWNESS || 1);

const reportTo = Number(process.env.TSBPF_TEST_REPORT || Number.NaN);

/** Tells the runner, if one listens. */
export function report(line: Report): void {
  if (!Number.isNaN(reportTo)) writeSync(reportTo, `${JSON.stringify(line)}\n`);
}

/** Reports what is wrong with the file itself, also to who runs it without the runner. */
function broken(name: string, reason: string): void {
  report({ kind: 'broken', name, reason });
  console.error(`\n  ${name}: ${reason}`);
  process.exitCode = 1;
}

/** Suites begun and not yet through. */
let open = 0;

/** Settles as `body` does, or fails after so many seconds. */
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

/** A suite of tests, each of which fails when it isn't done after `seconds` (10). */
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

  /** uvu takes a suite whose hook throws for one that passed: so a hook never throws, it breaks the file. */
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
