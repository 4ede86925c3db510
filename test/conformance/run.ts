/**
 * Runs the conformance suite on this kernel: `test/conformance/run [FOLDER]`, as root. Prints one line per
 * test and a count; exit status 1 if a test failed.
 */
import { existsSync } from 'node:fs';
import { runTest, suiteFolder, testNames } from './suite-folder.ts';

function main(): number {
  const folder = process.argv[2] ?? suiteFolder();
  if (folder === undefined || !existsSync(folder)) {
    console.error(
      `${folder === undefined ? '' : `${folder} does not exist; `}usage: test/conformance/run FOLDER`,
    );
    return 2;
  }
  let passed = 0;
  const names = testNames(folder);
  for (const name of names) {
    try {
      runTest(folder, name);
      console.log(`ok    ${name}`);
      passed++;
    } catch (error) {
      console.log(`FAIL  ${name}: ${error instanceof Error ? error.message : error}`);
    }
  }
  console.log(`${passed} passed, ${names.length - passed} failed`);
  return passed === names.length && names.length > 0 ? 0 : 1;
}

process.exitCode = main();
