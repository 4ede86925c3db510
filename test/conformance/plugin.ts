/**
 * The plugin for the conformance suite: `test/conformance/plugin [MEMORY]`, as root. It reads the program as
 * hexadecimal bytes from standard input and memory from the first argument, and prints r0 in hexadecimal. It
 * ignores other arguments, which the suite has for other machines. Errors are printed to stderr, with exit
 * status 1.
 */
import { readFileSync } from 'node:fs';
import { decode } from '../../src/asm/decode.ts';
import { bytesOf } from './data-file.ts';
import { runInKernel } from './machine.ts';

try {
  const memory = bytesOf(process.argv.slice(2).find((argument) => !argument.startsWith('--')) ?? '');
  const program = decode(bytesOf(readFileSync(0, 'latin1')));
  if (program.length === 0) throw new Error('there is no program on the standard input');
  console.log(runInKernel(program, memory).toString(16));
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
