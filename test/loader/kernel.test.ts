import * as os from 'node:os';
import * as assert from 'uvu/assert';
import { Kernel, parseCpuList } from '../../src/loader/kernel.ts';
import { Capability } from '../../src/loader/kernel-facts.ts';
import { BtfWriter } from '../asm/btf-writer.ts';
import { suite } from '../harness.ts';
import { FakeSyscalls } from './fake.ts';

const test = suite('loader/kernel');

for (const [text, cpus] of [
  ['0\n', [0]],
  ['0-3\n', [0, 1, 2, 3]],
  ['0-3,8,10-11\n', [0, 1, 2, 3, 8, 10, 11]],
] as const)
  test(`the CPU list ${text.trim()} is read`, () => {
    assert.equal(parseCpuList(text), cpus);
  });

for (const text of ['', 'all', '0-', '1;2'])
  test(`'${text}' is refused as a CPU list`, () => {
    assert.throws(() => parseCpuList(text), /not a list of CPUs/);
  });

test('facts are read from /proc and /sys once', () => {
  const fake = new FakeSyscalls();
  fake.files.set('/proc/sys/kernel/hostname', 'fakehost\n');
  fake.files.set('/sys/devices/system/cpu/online', '0,2\n');
  fake.files.set('/sys/devices/system/cpu/possible', '0-3\n');
  const kernel = new Kernel(fake);
  assert.is(kernel.release, '6.1.0-fake');
  assert.is(kernel.host, 'fakehost');
  assert.equal(kernel.onlineCpus, [0, 2]);
  assert.equal(kernel.possibleCpus, [0, 1, 2, 3]);
  assert.is(kernel.kprobePmu, 8);
  fake.files.clear();
  assert.is(kernel.release, '6.1.0-fake');
  assert.is(kernel.kprobePmu, 8);
});

test('release and host come from uname(2) if /proc is not mounted', () => {
  const fake = new FakeSyscalls();
  fake.files.clear();
  const kernel = new Kernel(fake);
  assert.equal([kernel.release, kernel.host], [os.release(), os.hostname()]);
});

test('missing features are undefined', () => {
  const fake = new FakeSyscalls();
  fake.files.delete('/sys/bus/event_source/devices/kprobe/type');
  const kernel = new Kernel(fake);
  assert.is(kernel.kprobePmu, undefined);
  assert.is(kernel.btf, undefined);
});

for (const mapped of [true, false])
  test(`kernel BTF is ${mapped ? 'mapped if the kernel allows it' : 'read if it cannot be mapped'}`, () => {
    const fake = new FakeSyscalls();
    const writer = new BtfWriter();
    writer.int('int', 4);
    const blob = writer.blob();
    const path = '/sys/kernel/btf/vmlinux';
    if (mapped) fake.mappable.set(path, blob);
    else fake.files.set(path, Buffer.from(blob).toString('latin1'));
    assert.is(new Kernel(fake).btf?.find('int', 'int'), 1);
  });

test('capabilities are bits of CapEff', () => {
  const fake = new FakeSyscalls();
  fake.files.set('/proc/self/status', 'CapPrm:\tffffffffffffffff\nCapEff:\t0000008000004000\n');
  const kernel = new Kernel(fake);
  assert.is(kernel.has(Capability.bpf), true);
  assert.is(kernel.has(Capability.ipcLock), true);
  assert.is(kernel.has(Capability.perfmon), false);
  assert.is(kernel.has(Capability.sysAdmin), false);
});

test('the page size is read from the auxiliary vector', () => {
  const fake = new FakeSyscalls();
  const auxv = Buffer.from(new BigUint64Array([33n, 5n, 6n, 65536n, 0n, 0n]).buffer);
  fake.files.set('/proc/self/auxv', auxv.toString('latin1'));
  assert.is(new Kernel(fake).pageSize, 65536);
});

test.run();
