import * as assert from 'uvu/assert';
import { Errno } from '../../src/loader/errno.ts';
import { NoSuchSymbolError, NoTracefsError, NotPermittedError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { parseMounts } from '../../src/loader/mounts.ts';
import { readTracepointFormat, tracefsRoot, tracepointId } from '../../src/loader/tracefs.ts';
import { STATE_FORMAT } from '../asm/fixtures/formats.ts';
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

test('tracefs is found at any mount point', () => {
  assert.is(root(SYSFS, 'tracefs /sys/kernel/tracing tracefs rw 0 0'), '/sys/kernel/tracing');
  assert.is(root(SYSFS, 'nodev /mnt/t tracefs rw 0 0'), '/mnt/t');
});

test('a tracefs mount is preferred to debugfs', () => {
  assert.is(root(DEBUGFS, 'none /sys/kernel/tracing tracefs rw 0 0'), '/sys/kernel/tracing');
  assert.is(root(SYSFS, DEBUGFS), '/sys/kernel/debug/tracing');
});

test('without mounts of either there is no tracefs', () => {
  assert.is(root(SYSFS, 'tracefs /a ext4 rw 0 0'), undefined);
  assert.is(tracefsRoot(new Kernel(new FakeSyscalls())), undefined);
});

test('spaces, tabs and backslashes in a path are unescaped', () => {
  assert.is(root('tracefs /a\\040b\\011c\\134d tracefs rw 0 0'), '/a b\tc\\d');
  assert.equal(parseMounts('x /\\040 tmpfs rw 0 0\n'), [{ path: '/ ', type: 'tmpfs' }]);
});

/** A kernel whose tracefs is mounted at an unusual path. */
function traced(): FakeSyscalls {
  const fake = new FakeSyscalls();
  fake.files.set('/proc/self/mounts', 'none /mnt/a\\040b tracefs rw 0 0\n');
  fake.files.set('/mnt/a b/events/sock/inet_sock_set_state/format', STATE_FORMAT);
  fake.files.set('/mnt/a b/events/sock/inet_sock_set_state/id', '1314\n');
  return fake;
}

test('the record format and id of a tracepoint are read from any tracefs mount', () => {
  const kernel = new Kernel(traced());
  assert.is(readTracepointFormat(kernel, 'sock', 'inet_sock_set_state').fields.length, 15);
  assert.is(tracepointId(kernel, 'sock', 'inet_sock_set_state'), 1314);
});

test('a missing tracepoint gets suggestions', () => {
  const fake = traced();
  fake.files.set(
    '/mnt/a b/available_events',
    'sock:inet_sock_set_state\nsched:sched_switch\nirq:softirq_entry\n',
  );
  for (const [category, name, near] of [
    ['tcp', 'inet_sock_set_state', '; nearest: sock:inet_sock_set_state'],
    ['sched', 'sched_swich', '; nearest: sched:sched_switch'],
    ['nothing', 'like_it', ''],
  ] as const)
    assert.throws(
      () => tracepointId(new Kernel(fake), category, name),
      (error: Error) =>
        error instanceof NoSuchSymbolError &&
        error.message.endsWith(`this kernel has no such tracepoint${near}`),
    );
});

test('without tracefs the error names the mount command', () => {
  const fake = new FakeSyscalls();
  assert.throws(
    () => tracepointId(new Kernel(fake), 'sock', 'inet_sock_set_state'),
    (error: unknown) =>
      error instanceof NoTracefsError &&
      error.message ===
        'the tracepoint sock:inet_sock_set_state needs tracefs, which is not mounted; ' +
          'mount it: mount -t tracefs tracefs /sys/kernel/tracing',
  );
});

test('a missing tracepoint and an unreadable tracefs are different errors', () => {
  const fake = traced();
  assert.throws(
    () => readTracepointFormat(new Kernel(fake), 'sock', 'inet_sock_state'),
    (error: unknown) => error instanceof NoSuchSymbolError && error.symbol === 'inet_sock_state',
  );
  fake.readFile = (path) =>
    path.startsWith('/mnt') ? -Errno.EACCES : FakeSyscalls.prototype.readFile.call(fake, path);
  assert.throws(
    () => readTracepointFormat(new Kernel(fake), 'sock', 'inet_sock_set_state'),
    (error: unknown) =>
      error instanceof NotPermittedError && /usually only root may read tracefs/.test(error.message),
  );
});

test.run();
