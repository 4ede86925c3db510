/** The folder of the conformance suite, and running its tests. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ConformanceTest, readTest } from './data-file.ts';
import { runInKernel } from './machine.ts';

const PROJECT = fileURLToPath(new URL('../../../', import.meta.url));

/**
 * The folder in TSBPF_CONFORMANCE; by default the one beside the project, or in a guest of the lab the one
 * inside it.
 */
export function suiteFolder(): string | undefined {
  const named = process.env.TSBPF_CONFORMANCE;
  if (named) return named;
  return [join(PROJECT, '../shared/conformance'), join(PROJECT, 'conformance')].find(existsSync);
}

/** The names of a folder's tests. */
export function testNames(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.data'))
    .map((name) => name.replace(/\.data$/, ''))
    .sort();
}

/** Parses a test. Throws if it has no program, or neither a result nor an error. */
export function readTestFile(folder: string, name: string): ConformanceTest {
  return readTest(readFileSync(join(folder, `${name}.data`), 'utf8'));
}

/** Runs a test. Throws if it is invalid or has another result than expected. */
export function runTest(folder: string, name: string): void {
  const { program, memory, result } = readTestFile(folder, name);
  if (result === undefined) {
    if (isRefused(() => runInKernel(program(), memory))) return;
    throw new Error('the program ran, but must be refused');
  }
  const found = runInKernel(program(), memory);
  if (found !== result) throw new Error(`r0 is 0x${found.toString(16)}, not 0x${result.toString(16)}`);
}

function isRefused(work: () => unknown): boolean {
  try {
    work();
    return false;
  } catch {
    return true;
  }
}
