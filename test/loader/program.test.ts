import { createHash } from 'node:crypto';
import * as assert from 'uvu/assert';
import { exit, mov } from '../../src/asm/constructors.ts';
import type { ProgramSpec } from '../../src/asm/program.ts';
import { r0 } from '../../src/asm/registers.ts';
import { Errno } from '../../src/loader/errno.ts';
import { KernelError, NotPermittedError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { measureRuns, Program } from '../../src/loader/program.ts';
import { suite } from '../harness.ts';
import { FakeSyscalls } from './fake.ts';

const test = suite('loader/program');

const OBJECT_GET = 7;
const TEST_RUN = 10;
const INFO = 15;
const ENABLE_STATS = 32;
/** `BPF_PROG_TYPE_RAW_TRACEPOINT`. */
const RAW_TRACEPOINT = 17;
/** r0 = 0; exit */
const CODE = Uint8Array.of(0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0);
const spec: ProgramSpec = {
  name: 'on_switch',
  attachment: { kind: 'raw_tracepoint', tracepoint: 'sched_switch' },
  instructions: [],
};

test('info returns the id, and missed runs if the kernel counts them', () => {
  for (const [filled, misses] of [
    [232, 9],
    [208, undefined],
  ] as const) {
    const fake = new FakeSyscalls();
    fake.answers.set(INFO, (attr) => {
      const info = new DataView(fake.at(attr.getBigUint64(8, true)).buffer);
      info.setUint32(4, 77, true);
      info.setBigUint64(192, 5000n, true);
      info.setBigUint64(200, 3n, true);
      if (filled > 208) info.setBigUint64(208, 9n, true);
      attr.setUint32(4, Math.min(attr.getUint32(4, true), filled), true);
      return 0;
    });
    const program = new Program(new Kernel(fake), spec, 30);
    assert.equal(program.info(), { id: 77, recursionMisses: misses, runs: 3, runNs: 5000 });
  }
});

test('run passes the context and returns the result', () => {
  const fake = new FakeSyscalls();
  fake.answers.set(TEST_RUN, (attr) => {
    assert.is(attr.getUint32(0, true), 30);
    const context = fake.at(attr.getBigUint64(48, true));
    assert.equal([...context], [1, 2, 3, 4, 5, 6, 7, 8]);
    assert.is(attr.getUint32(40, true), 8);
    attr.setUint32(4, 0xffff_fffe, true);
    return 0;
  });
  const program = new Program(new Kernel(fake), spec, 30);
  assert.is(program.run(Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)), 0xffff_fffe);
  fake.answers.set(TEST_RUN, () => -Errno.ENOTSUPP);
  assert.throws(
    () => program.run(new Uint8Array(8)),
    (error: unknown) =>
      error instanceof KernelError &&
      error.errno === Errno.ENOTSUPP &&
      /^cannot run the program 'on_switch': bpf\(BPF_PROG_TEST_RUN\)/.test(error.message),
  );
});

test('a pinned program is opened by one descriptor, which a worker thread adopts once', () => {
  const fake = new FakeSyscalls();
  const adopted: number[] = [];
  let tag = 'a04f5eef06a7f555'; // as bpftool shows it for r0 = 0; exit
  fake.adopt = (fd) => {
    adopted.push(fd);
    return fd + 100;
  };
  fake.answers.set(OBJECT_GET, () => 30);
  fake.answers.set(INFO, (attr) => {
    const bytes = fake.at(attr.getBigUint64(8, true));
    new DataView(bytes.buffer).setUint32(0, RAW_TRACEPOINT, true);
    bytes.set(Buffer.from(tag, 'hex'), 8);
    bytes.set(Buffer.from('on_switch\0'), 64);
    return 0;
  });
  const exits = { ...spec, instructions: [mov(r0, 0), exit()] };
  const open = () => Program.open(new Kernel(fake), exits, '/sys/fs/bpf/on_switch');
  const program = open();
  assert.equal(adopted, [30]);
  assert.is(program.fd, 130);
  program.close();
  assert.throws(() => program.fd, /after it was closed/);
  // As newer kernels give it.
  tag = createHash('sha256').update(CODE).digest('hex').slice(0, 16);
  open().close();
  tag = '0123456789abcdef';
  assert.throws(
    open,
    /tag of its instructions is 0123456789abcdef in the kernel, and a04f5eef06a7f555 in the spec/,
  );
});

test('runs are measured until the descriptor is closed', () => {
  const fake = new FakeSyscalls();
  fake.answers.set(ENABLE_STATS, () => 31);
  const measuring = measureRuns(new Kernel(fake));
  assert.is(measuring.fd, 31);
  measuring.close();
  assert.throws(() => measuring.fd, /after it was closed/);
  fake.answers.set(ENABLE_STATS, () => -Errno.EPERM);
  assert.throws(
    () => measureRuns(new Kernel(fake)),
    (error: unknown) =>
      error instanceof NotPermittedError && error.message.startsWith('cannot measure the runs of programs'),
  );
});

test.run();
