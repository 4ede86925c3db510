import * as assert from 'uvu/assert';
import { kernelSymbols } from '../../src/loader/kallsyms.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { suite } from '../harness.ts';
import { FakeSyscalls } from './fake.ts';

const test = suite('loader/kallsyms');

const NAMES = 50_000;

function kernel(): Kernel {
  const fake = new FakeSyscalls();
  const lines = Array.from(
    { length: NAMES },
    (_, index) => `${(0x1000 + index).toString(16).padStart(16, '0')} t f${index}\n`,
  );
  fake.files.set('/proc/kallsyms', `0000000000000fff t __bpf_call_base\n${lines.join('')}`);
  return new Kernel(fake);
}

test('addresses have the names in /proc/kallsyms', () => {
  const { base, nameAt } = kernelSymbols(kernel(), []);
  assert.is(base, 0xfffn);
  assert.is(nameAt(0x1000n), 'f0');
  assert.is(nameAt(0x1000n + BigInt(NAMES - 1)), `f${NAMES - 1}`);
  assert.is(nameAt(1n), undefined);
});

test('the name of an address is searched once', () => {
  const { nameAt } = kernelSymbols(kernel(), []);
  const last = 0x1000n + BigInt(NAMES - 1);
  const time = (count: number, address: bigint): number => {
    const begin = performance.now();
    for (let i = 0; i < count; i++) nameAt(address);
    return performance.now() - begin;
  };
  const once = time(1, last);
  assert.ok(time(10_000, last) < 100 * Math.max(once, 0.2));
  assert.ok(time(1, 1n) * 100 > time(10_000, 1n), 'an address without a name is also searched once');
});

test.run();
