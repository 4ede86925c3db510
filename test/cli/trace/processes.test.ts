import * as assert from 'uvu/assert';
import { processWarnings } from '../../../src/cli/trace/processes.ts';
import { Kernel } from '../../../src/loader/kernel.ts';
import { suite } from '../../harness.ts';
import { FakeSyscalls } from '../../loader/fake.ts';

const test = suite('cli/trace/processes');

/** A machine with the threads 1, 42 and 43. The last two belong to process 42. */
function machine(): FakeSyscalls {
  const fake = new FakeSyscalls();
  for (const [thread, process] of [
    [1, 1],
    [42, 42],
    [43, 42],
  ])
    fake.files.set(`/proc/${thread}/status`, `Name:\tx\nTgid:\t${process}\nNgid:\t0\nPid:\t${thread}\n`);
  fake.inodes.set('/proc/self/ns/pid', 4_026_531_836n); // the initial PID namespace
  return fake;
}

const warnings = (fake: FakeSyscalls, ...only: [number, number][]) =>
  processWarnings(only.length > 0 ? { pid: { only } } : {}, new Kernel(fake));

test('an existing process causes no warning, and neither does a run without -p', () => {
  assert.equal(warnings(machine()), []);
  assert.equal(warnings(machine(), [1, 1], [42, 42]), []);
});

test('a thread is reported with its process, and a missing process as missing', () => {
  const thread = '-p 43: this is a thread of process 42; use -p 42';
  const missing = '-p 44: no such process; only a process that starts later can match';
  assert.equal(warnings(machine(), [43, 43]), [thread]);
  assert.equal(warnings(machine(), [42, 44]), [thread, missing], 'a range of PIDs');
});

test('if /proc hides the processes of other users, there are no warnings', () => {
  const fake = machine();
  fake.files.delete('/proc/1/status');
  assert.equal(warnings(fake, [44, 44]), []);
});

test('in a PID namespace one line explains the PIDs, and they are not looked up', () => {
  const fake = machine();
  fake.inodes.set('/proc/self/ns/pid', 4_026_532_500n);
  const [without, ...more] = warnings(fake);
  const [filtered, ...others] = warnings(fake, [43, 44]);
  assert.equal([more, others], [[], []]);
  assert.match(without ?? '', /the output uses the PIDs of the host; docker run --pid=host/);
  assert.match(filtered ?? '', /the output and -p use the PIDs of the host/);
});

test.run();
