/**
 * A process that calls getpid() as fast as possible. Each input line holds a number of calls; the answer is
 * the duration in ns.
 *
 * lfind(3) makes the calls, so that no JavaScript runs between them: getpid() is its comparison function, for
 * each element of an array that it never reads. No process has the ID 0, so no comparison finds equal
 * elements.
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
