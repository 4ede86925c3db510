/**
 * Runs compiled test files one after the other in this process: `node together.js FILE...`. Started by the
 * runner (test/runner.ts), which it notifies after each file.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

/** uvu's queue of suites. With `UVU_DEFER`, suites wait for `exec`, as in uvu's own command. */
const uvu = globalThis as { UVU_DEFER?: boolean; UVU_QUEUE?: unknown[][] };
uvu.UVU_DEFER = true;
// After UVU_DEFER is set.
const { exec } = await import('uvu');
const { report } = await import('./harness.ts');

for (const [i, file] of process.argv.slice(2).entries()) {
  if (i > 0) {
    await sleep(100); // lets the runner read the last file's output, which uses another pipe
    report({ kind: 'next' });
  }
  uvu.UVU_QUEUE = [[null]];
  await import(pathToFileURL(file).href);
  await exec();
}
