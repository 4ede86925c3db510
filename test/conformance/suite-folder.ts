/** Where the suite's tests are, and what becomes of one. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ConformanceTest, readTest } from './data-file.ts';
import { runInKernel } from './machine.ts';

const PROJECT = fileURLToPath(new URL('../../../', import.meta.url));

/** The folder that TSBPF_CONFORMANCE names, or else the one beside the project; in a guest of the lab, the one in it. */
export function suiteFolder(): string | undefined {
  const named = process.env.TSBPF_CONFORMANCE;
  if (named) return named;
  return [join(PROJECT, '../shared/conformance'), join(PROJECT, 'conformance')].find(existsSync);
}

/** The tests of a folder, by name. */
export function testNames(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.data'))
    .map((name) => name.replace(/\.data$/, ''))
    .sort();
}

/** Reads a test. Throws where it has no program, or nothing that is to come of it. */
export function readTestFile(folder: string, name: string): ConformanceTest {
  return readTest(readFileSync(join(folder, `${name}.data`), 'utf8'));
}

/** Runs a test. Throws where it can't be read, is refused, or r0 is another than was to come of it. */
export function runTest(folder: string, name: string): void {
  const { program, memory, result } = readTestFile(folder, name);
  if (result === undefined) {
    if (isRefused(() => runInKernel(program(), memory))) return;
    throw new Error('it was to be refused, and ran');
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
