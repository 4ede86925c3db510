import * as assert from 'uvu/assert';
import { Kernel } from '../../src/loader/kernel.ts';
import { parseMounts, tracefsRoot } from '../../src/loader/tracefs.ts';
import { suite } from '../harness.ts';
import { FakeSyscalls } from './fake.ts';

const test = suite('loader/tracefs');

const root = (...lines: string[]) => {
  const fake = new FakeSyscalls();
  fake.files.set('/proc/self/mounts', lines.map((line) => `${line}\n`).join(''));
  return tracefsRoot(new Kernel(fake));
};

const SYSFS = 'sysfs /sys sysfs rw,nosuid 0 0';
const DEBUGFS = 'debugfs /sys/kernel/debug debugfs rw 0 0';

test('tracefs is found wherever it is mounted, whatever the source is called', () => {
  assert.is(root(SYSFS, 'tracefs /sys/kernel/tracing tracefs rw 0 0'), '/sys/kernel/tracing');
  assert.is(root(SYSFS, 'nodev /mnt/t tracefs rw 0 0'), '/mnt/t');
});

test('a mount of its own goes before the folder in debugfs', () => {
  assert.is(root(DEBUGFS, 'none /sys/kernel/tracing tracefs rw 0 0'), '/sys/kernel/tracing');
  assert.is(root(SYSFS, DEBUGFS), '/sys/kernel/debug/tracing');
});

test('where neither is mounted, or /proc has no mounts, there is none', () => {
  assert.is(root(SYSFS, 'tracefs /a ext4 rw 0 0'), undefined);
  assert.is(tracefsRoot(new Kernel(new FakeSyscalls())), undefined);
});

test('blanks, tabs and backslashes in a path are written as octal numbers', () => {
  assert.is(root('tracefs /a\\040b\\011c\\134d tracefs rw 0 0'), '/a b\tc\\d');
  assert.equal(parseMounts('x /\\040 tmpfs rw 0 0\n'), [{ path: '/ ', type: 'tmpfs' }]);
});

test.run();
