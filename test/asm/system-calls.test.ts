import { existsSync, readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { architectures } from '../../src/asm/architecture.ts';
import { systemCallName, systemCallNumber } from '../../src/asm/system-calls.ts';
import { target } from '../../src/asm/target.ts';
import { suite } from '../harness.ts';

const test = suite('asm/system-calls');

const x64 = target('x64');
const arm64 = target('arm64');

test('a number belongs to its architecture', () => {
  assert.equal([systemCallNumber(x64, 'openat'), systemCallNumber(arm64, 'openat')], [257, 56]);
  assert.equal([systemCallNumber(x64, 'renameat2'), systemCallNumber(arm64, 'renameat2')], [316, 276]);
  assert.equal([systemCallNumber(x64, 'listns'), systemCallNumber(arm64, 'listns')], [470, 470]);
});

for (const on of [x64, arm64])
  test(`${on.architecture.name}: the numbers are those of the loader`, () => {
    const { bpf, perfEventOpen } = architectures[on.architecture.name].syscalls;
    assert.equal(
      [systemCallNumber(on, 'bpf'), systemCallNumber(on, 'perf_event_open')],
      [bpf, perfEventOpen],
    );
  });

for (const on of [x64, arm64])
  test(`${on.architecture.name}: a number and its name belong together`, () => {
    for (let number = 0; number < 480; number++) {
      const name = systemCallName(on, number);
      if (name !== undefined) assert.is(systemCallNumber(on, name), number);
    }
    assert.is(systemCallName(on, 400), undefined);
    assert.is(systemCallName(on, 1000), undefined);
  });

test('an unknown name is refused at its line, with similar names', () => {
  assert.throws(
    () => systemCallNumber(arm64, 'open'),
    /^arm64 has no system call 'open'; nearest: .*openat.* \(.*system-calls\.test\.ts:\d+\)$/,
  );
  assert.throws(() => systemCallNumber(x64, 'sys_openat'), /^x64 has no system call 'sys_openat'/);
});

/**
 * The definitions of a header: names with their numbers. `__NR3264_` precedes calls that 32-bit processes
 * name otherwise.
 */
function definedIn(header: string): [string, number][] {
  const text = readFileSync(header, 'utf8');
  return [...text.matchAll(/^#define __NR(?:3264)?_(\w+)\s+(\d+)$/gm)].map(([, name = '', number]) => [
    name,
    Number(number),
  ]);
}

/** Definitions that are no system calls of 64-bit processes on x86-64 and arm64. */
const OTHERS =
  /^(syscalls|sync_file_range2|arch_specific_syscall|.*_time64|clock_(get|set|adj)time64|timer(fd)?_[gs]ettime64)$/;
/** The generic header names `newfstatat` by its number alone. */
const RENAMED: Readonly<Record<string, string>> = { fstatat: 'newfstatat' };

for (const [on, header] of [
  [x64, '/usr/include/x86_64-linux-gnu/asm/unistd_64.h'],
  [arm64, '/usr/include/asm-generic/unistd.h'],
] as const)
  test.skipIf(
    existsSync(header) ? false : `${header} is missing (package linux-libc-dev)`,
    `${on.architecture.name}: the table agrees with ${header}`,
    () => {
      const defined = definedIn(header).filter(([name]) => !OTHERS.test(name));
      assert.ok(defined.length > 290, `only ${defined.length} definitions`);
      for (const [name, number] of defined)
        if (number <= 470) assert.is(systemCallNumber(on, RENAMED[name] ?? name), number, name);
    },
  );

test.run();
