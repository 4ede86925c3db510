/**
 * The live tests on other kernels: `npm run test:vm`, or `npm run test:vm -- 6.1 6.12` for some of them, or
 * `npm run test:vm -- 6.1 live/kprobe` for the test files whose path holds a text.
 *
 * Each kernel is booted in turn and runs the tests itself. The last line sums them up as the runner's does. A kernel
 * that can't be had, a guest that hangs, dies or doesn't start, is a failure.
 */
import { PassThrough } from 'node:stream';
import { BROKEN, type Summary, sum, summaryOf, textOf } from '../summary.ts';
import { runInGuest } from './guest.ts';
import { rootDisk, withProjectDisk } from './image.ts';
import { kernelOf } from './kernel.ts';
import { MATRIX } from './matrix.ts';

/** For one kernel's tests. */
const SECONDS = 600;

/** How many times slower than a machine a guest may be before a test's time limit is reached. */
const SLOWNESS = 3;

/** How many lines of the console explain a guest that died. */
const CONSOLE_LINES = 40;

interface Disks {
  readonly rootDisk: string;
  readonly projectDisk: string;
}

async function testKernel(series: string, filters: readonly string[], disks: Disks): Promise<Summary> {
  const kernel = await kernelOf(series);
  console.log(`\n== ${kernel.release}`);
  let output = '';
  const stdout = new PassThrough().on('data', (chunk: Buffer) => {
    output += chunk;
    process.stdout.write(chunk);
  });
  const command = ['node', '--enable-source-maps', 'build/test/run.js', ...filters].join(' ');
  const script = `export TSBPF_TEST_SLOWNESS=${SLOWNESS}\nexec ${command}\n`;
  const guest = { kernel, ...disks };
  const outcome = await runInGuest(guest, { script, seconds: SECONDS, stdout, stderr: process.stderr });
  if (!outcome.failure) return summaryOf(output, outcome.status);
  console.log(outcome.console.split('\n').slice(-CONSOLE_LINES).join('\n'));
  console.log(`${series}: ${outcome.failure}`);
  return BROKEN;
}

/** As testKernel, but a kernel that can't be had is said to be missing and counts as failed. */
async function testKernelOrSay(series: string, filters: readonly string[], disks: Disks): Promise<Summary> {
  try {
    return await testKernel(series, filters, disks);
  } catch (error) {
    console.log(`\n== ${series} can't be had: ${(error as Error).message}`);
    return BROKEN;
  }
}

async function main(args: readonly string[]): Promise<boolean> {
  const named = args.filter((arg) => /^\d+\.\d+$/.test(arg));
  const filters = args.filter((arg) => !named.includes(arg));
  const root = await rootDisk();

  const lines: string[] = [];
  const summaries: Summary[] = [];
  await withProjectDisk(async (projectDisk) => {
    for (const series of named.length ? named : MATRIX.map((source) => source.series)) {
      const start = performance.now();
      const summary = await testKernelOrSay(series, filters.length ? filters : ['test/live/'], {
        rootDisk: root,
        projectDisk,
      });
      summaries.push(summary);
      lines.push(
        `${series.padEnd(6)} ${textOf(summary)} (${((performance.now() - start) / 1000).toFixed(0)} s)`,
      );
    }
  });
  const total = sum(summaries);
  console.log(`\n${lines.join('\n')}\n\n${textOf(total)}`);
  return total.failed === 0;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));
process.exitCode = (await main(process.argv.slice(2))) ? 0 : 1;
