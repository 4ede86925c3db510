/**
 * The conformance suite's plugin: `test/conformance/plugin [MEMORY]`, as root. The program's bytes come as hexadecimal on the
 * standard input, the memory as the first argument; r0 goes to the standard output, in hexadecimal. Other arguments, which the suite has for
 * other machines, are passed over. What goes wrong is told on stderr, with exit status 1.
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
