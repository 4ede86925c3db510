/**
 * Runs compiled test files one after the other in this process: `node together.js FILE...`, for the runner, which is told when
 * one is done (test/runner.ts).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

/** uvu's suites, after the name of their file; with `UVU_DEFER` they wait until they are told to run, as uvu's own command does it. */
const uvu = globalThis as { UVU_DEFER?: boolean; UVU_QUEUE?: unknown[][] };
uvu.UVU_DEFER = true;
// Not before that.
const { exec } = await import('uvu');
const { report } = await import('./harness.ts');

for (const [i, file] of process.argv.slice(2).entries()) {
  if (i > 0) {
    await sleep(100); // the runner reads what the last file printed, which comes by another pipe
    report({ kind: 'next' });
  }
  uvu.UVU_QUEUE = [[null]];
  await import(pathToFileURL(file).href);
  await exec();
}
