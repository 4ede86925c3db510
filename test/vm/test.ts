/**
 * Runs the live tests and the lab's own tests on other kernels: `npm run test:vm` on all of them, `npm run
 * test:vm -- 6.1 6.12` on these, and `npm run test:vm -- 6.1 live/kprobe` only test files whose path contains
 * the word.
 *
 * Each guest runs its tests itself, two guests at once if there is room. The last lines report each kernel
 * and the sum. An unavailable kernel and a guest that hangs, dies or does not start are failures. Some
 * kernels run only if named: `npm run test:vm -- 6.16 7.2`. `--core` runs the selection of `npm test`;
 * `--docs` also writes docs/kernels.md from the features found.
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
    console.log('\nwrote docs/kernels.md');
  }
  const total = totalOf(visited);
  console.log(`\n${formatSummary(total)}`);
  return total.failed === 0;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => process.exit(130));
process.exitCode = (await main()) ? 0 : 1;
