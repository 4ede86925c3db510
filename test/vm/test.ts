/**
 * The live tests and the lab's own on other kernels: `npm run test:vm`, or `npm run test:vm -- 6.1 6.12` for some of them, or
 * `npm run test:vm -- 6.1 live/kprobe` for the test files whose path holds a text.
 *
 * Each kernel is booted and runs the tests itself, two of them at once where there is room. The last lines say how each kernel
 * fared and sum them up as the runner does. A kernel that can't be had, a guest that hangs, dies or doesn't start, is a failure.
 * Some kernels run only where they're named: `npm run test:vm -- 6.16 7.2`. `--core` runs what `npm test` runs of it; `--docs` also writes docs/kernels.md from what the kernels turn out to have.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { formatSummary } from '../summary.ts';
import { describeKernels } from './docs.ts';
import { PROJECT } from './image.ts';
import { processorsHere, runVisits, totalOf, visits } from './lab.ts';

async function main(): Promise<boolean> {
  const { values, positionals } = parseArgs({
    options: { core: { type: 'boolean', default: false }, docs: { type: 'boolean', default: false } },
    allowPositionals: true,
  });
  const processors = await processorsHere();
  const series = positionals.filter((arg) => /^\d+\.\d+(-arm64)?$/.test(arg));
  const filters = positionals.filter((arg) => !series.includes(arg));
  const wanted = visits({ series, filters, core: values.core }, processors);
  const visited = await runVisits(wanted, { withFacts: values.docs });
  if (values.docs) {
    const text = describeKernels(visited, new Date(), values.core ? 'core' : 'all');
    await writeFile(join(PROJECT, 'docs/kernels.md'), text);
    console.log('\ndocs/kernels.md is written');
  }
  const total = totalOf(visited);
  console.log(`\n${formatSummary(total)}`);
  return total.failed === 0;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));
process.exitCode = (await main()) ? 0 : 1;
