/**
 * The test runner: `npm test`, or `npm test -- asm/encode live/` for files whose path contains one of the
 * words.
 * Unit tests run two files at a time. Tests that trace the running kernel (test/live, test/lab) run one after
 * the other, since every tracer sees every connect. Guests of the lab run these in one process (`--together`)
 * and repeat a failed file alone (`--again`), because an emulated machine stops while the real one is busy.
 * A test that failed and then passed is flaky, and counts neither as passed nor as failed.
 * Without words, and if QEMU is installed, the tests on other kernels follow (test/vm): all of them on the
 * oldest and the newest, their core on the others. `--full` runs all of them on every kernel, and then the
 * tests on other releases of Node (test/runtimes). The last line is `N passed, N failed, N flaky, N skipped`;
 * exit status 1 on failure.
 */
import { readdirSync } from 'node:fs';
import { join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { slowness } from './harness.ts';
import { type FileResult, killAll, type Limits, runFile, runTogether } from './runner.ts';
import { BROKEN, formatSummary, type Summary, sum } from './summary.ts';

const UNIT: Limits = { seconds: 120 * slowness, grace: 2 * slowness };
const LIVE: Limits = { seconds: 300 * slowness, grace: 5 * slowness };

/** How many characters of a failing file's output are shown, from its end. */
const SHOWN = 20_000;

/** The compiled test files below a folder whose path contains one of the filters; all without filters. */
function testFiles(folder: string, filters: readonly string[]): string[] {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.js') && !file.split(sep).includes('node_modules'))
    .sort();
  const wanted = (file: string): boolean => filters.some((filter) => `test/${file}`.includes(filter));
  return filters.length ? files.filter(wanted) : files;
}

/** Runs `one` on all items, `width` at a time. */
async function forEach<T>(
  items: readonly T[],
  width: number,
  one: (item: T) => Promise<void>,
): Promise<void> {
  const queue = [...items];
  const worker = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await one(item);
  };
  await Promise.all(Array.from({ length: width }, worker));
}

function nameOf(file: string): string {
  return file.replace(/\.test\.js$/, '');
}

function isBad(result: FileResult | undefined): boolean {
  return result === undefined || result.failed + result.problems.length > 0;
}

function describe(result: FileResult, name: string): string {
  const { passed, failed, skipped, problems } = result;
  const bad = failed + problems.length;
  const counts = [`${passed} passed`, bad && `${bad} failed`, skipped.length && `${skipped.length} skipped`];
  const line = `${bad ? 'FAIL' : 'ok  '}  ${name.padEnd(32)} ${counts.filter(Boolean).join(', ')}`;
  const lines = [`${line.padEnd(64)} ${result.seconds.toFixed(1)} s`];
  if (bad) lines.push(result.output.slice(-SHOWN).trimEnd());
  for (const problem of problems) lines.push(`  ${name}: ${problem}`);
  return lines.join('\n');
}

function summaryOfFile({ passed, failed, problems, skipped }: FileResult): Summary {
  return { passed, failed: failed + problems.length, flaky: 0, skipped: skipped.length };
}

/** The summary of a file that ran again after `failedFirst` failures: those that did not recur are flaky. */
function afterRerun(again: Summary, failedFirst: number): Summary {
  const flaky = Math.max(0, Math.min(failedFirst - again.failed, again.passed));
  return { ...again, passed: again.passed - flaky, flaky };
}

/** One paragraph per reason, since most skipped tests share their reasons. */
function describeSkipped(results: ReadonlyMap<string, FileResult>): string[] {
  const byReason = new Map<string, string[]>();
  for (const [name, { skipped }] of results) {
    for (const test of skipped) {
      byReason.set(test.reason, [...(byReason.get(test.reason) ?? []), `${name}: ${test.name}`]);
    }
  }
  return [...byReason].map(([reason, tests]) => `skipped, ${reason}:\n  ${tests.join('\n  ')}`);
}

/** Runs the files of a folder of compiled tests and prints their results. */
async function runFolder(
  folder: string,
  filters: readonly string[],
  { together = false, again = false } = {},
): Promise<Summary> {
  const results = new Map<string, FileResult>();
  const summaries = new Map<string, Summary>();
  const show = (result: FileResult): void => {
    const name = nameOf(relative(folder, result.file));
    const failedFirst = summaries.get(name)?.failed ?? 0;
    results.set(name, result);
    summaries.set(name, afterRerun(summaryOfFile(result), failedFirst));
    console.log(describe(result, name));
  };
  const run = (limits: Limits) => async (file: string) => show(await runFile(join(folder, file), limits));

  const files = testFiles(folder, filters);
  const live = (file: string): boolean => ['lab', 'live', 'servers'].includes(file.split(sep)[0] as string);
  await forEach(
    files.filter((file) => !live(file)),
    2,
    run(UNIT),
  );
  const inOrder = files.filter(live);
  if (together)
    await runTogether(
      inOrder.map((file) => join(folder, file)),
      LIVE,
      show,
    );
  else await forEach(inOrder, 1, run(LIVE));
  if (again) {
    const failed = inOrder.filter((file) => isBad(results.get(nameOf(file))));
    for (const file of failed) {
      console.log(`\n${nameOf(file)} runs again, alone`);
      await run(LIVE)(file);
    }
    const flaky = [...summaries].filter(([, summary]) => summary.flaky > 0);
    const counts = flaky.map(([name, summary]) => `${name} (${summary.flaky})`);
    if (counts.length > 0) console.log(`\nflaky, failed first and then passed alone: ${counts.join(', ')}`);
  }

  for (const text of describeSkipped(results)) console.log(`\n${text}`);
  if (files.length === 0) {
    console.log(`no test file below ${relative('.', folder) || '.'} matches`);
    return BROKEN;
  }
  return sum([...summaries.values()]);
}

/**
 * Runs the tests on other kernels if QEMU is installed; returns their summary, or undefined.
 * TSBPF_TEST_LAB=no skips them.
 */
async function runLab(full: boolean): Promise<Summary | undefined> {
  if (process.env.TSBPF_TEST_LAB === 'no') {
    console.log('\nno tests on other kernels: TSBPF_TEST_LAB=no');
    return undefined;
  }
  const { processorsHere, runVisits, totalOf, visits } = await import('./vm/lab.ts');
  const wanted = visits({ core: !full }, await processorsHere());
  return wanted.length > 0 ? totalOf(await runVisits(wanted)) : undefined;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    killAll();
    process.exit(1);
  });
}

/** The folder of the tests; TSBPF_TEST_FOLDER selects another one, for tests of the runner. */
const { TSBPF_TEST_FOLDER: otherFolder } = process.env;
const { values, positionals: filters } = parseArgs({
  options: {
    together: { type: 'boolean', default: false },
    again: { type: 'boolean', default: false },
    full: { type: 'boolean', default: false },
  },
  allowPositionals: true,
});
const here = await runFolder(
  resolve(otherFolder ?? fileURLToPath(new URL('.', import.meta.url))),
  filters,
  values,
);
const elsewhere = otherFolder || filters.length > 0 ? undefined : await runLab(values.full);
const withOthers = values.full ? await import('./runtimes/releases.ts') : undefined;
const total = sum([
  here,
  ...(elsewhere ? [elsewhere] : []),
  ...(withOthers ? [await withOthers.runReleases()] : []),
]);
console.log(`\n${formatSummary(total)}`);
process.exitCode = total.failed === 0 ? 0 : 1;
