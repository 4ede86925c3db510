/**
 * A process that calls getpid() as often as the line on its stdin says, as fast as can be, and tells how many ns that took.
 *
 * It is lfind(3) that calls: for each element of an array that isn't there, with getpid() as the comparison, which never finds two
 * elements equal since no process has the id 0. So there is nothing of JavaScript between two calls.
 */
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import type * as Koffi from 'koffi';

const libc = (createRequire(import.meta.url)('koffi') as typeof Koffi).load(null);
const dlsym = libc.func('uintptr_t dlsym(uintptr_t handle, str name)');
const lfind = libc.func(
  'uintptr_t lfind(uintptr_t key, uintptr_t base, uint64_t *count, size_t width, uintptr_t compare)',
);
const getpid = dlsym(0, 'getpid');

process.stdout.write('ready\n');
for await (const line of createInterface({ input: process.stdin })) {
  const begin = process.hrtime.bigint();
  lfind(0, 0, new BigUint64Array([BigInt(line)]), 0, getpid);
  process.stdout.write(`${process.hrtime.bigint() - begin}\n`);
}
