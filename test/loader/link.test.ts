import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { exit, mov } from '../../src/asm/constructors.ts';
import type { Attachment } from '../../src/asm/program.ts';
import { r0 } from '../../src/asm/registers.ts';
import { Errno } from '../../src/loader/errno.ts';
import {
  KernelError,
  NoSuchSymbolError,
  NoTracefsError,
  NotPermittedError,
} from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { attach } from '../../src/loader/link.ts';
import { loadProgram, type Program } from '../../src/loader/program.ts';
import { suite } from '../harness.ts';
import { FakeSyscalls } from './fake.ts';

const test = suite('loader/link');

const OPEN = 17;
const kprobe: Attachment = { kind: 'kprobe', symbol: 'tcp_v4_connect' };
const raw: Attachment = { kind: 'raw_tracepoint', tracepoint: 'sched_switch' };
const fentry: Attachment = { kind: 'fentry', symbol: 'tcp_v4_connect', btfId: 815 };
const record: Attachment = { kind: 'tracepoint', category: 'sched', tracepoint: 'sched_switch' };
const tpBtf: Attachment = { kind: 'tp_btf', tracepoint: 'sched_switch', btfId: 4711 };

function loaded(fake: FakeSyscalls, attachment: Attachment): [Kernel, Program] {
  const kernel = new Kernel(fake);
  const spec = { name: 'on_it', attachment, instructions: [mov(r0, 0), exit()] };
  return [kernel, loadProgram(kernel, spec, assemble(spec.instructions), new Map())];
}

test('a kprobe is a perf event of the PMU with the symbol, the program set, enabled', () => {
  const fake = new FakeSyscalls();
  const [kernel, program] = loaded(fake, kprobe);
  fake.onPerfEventOpen = (attr, cpu) => {
    assert.is(cpu, 0);
    assert.is(attr.byteLength, 72);
    assert.equal([attr.getUint32(0, true), attr.getUint32(4, true)], [8, 72]);
    assert.is(attr.getBigUint64(8, true), 0n, 'no return probe');
    assert.is(fake.textAt(attr.getBigUint64(56, true)), 'tcp_v4_connect');
    return undefined;
  };
  const link = attach(kernel, program);
  assert.equal(fake.calls.slice(-2), ['ioctl 11 0x40042408', 'ioctl 11 0x2400']);
  link.close();
  link.close();
  assert.equal([...fake.open], [program.fd]);
});

test('the return of a function is the same event with the bit for it', () => {
  const fake = new FakeSyscalls();
  const [kernel, program] = loaded(fake, { kind: 'kretprobe', symbol: 'tcp_v4_connect' });
  fake.onPerfEventOpen = (attr) => {
    assert.equal([attr.getUint32(0, true), attr.getBigUint64(8, true)], [8, 1n]);
    assert.is(fake.textAt(attr.getBigUint64(56, true)), 'tcp_v4_connect');
    return undefined;
  };
  attach(kernel, program).close();
  assert.equal(fake.calls.slice(-3, -1), ['ioctl 11 0x40042408', 'ioctl 11 0x2400']);
});

for (const errno of [Errno.ENOENT, Errno.EINVAL])
  test(`a function that isn't there (errno ${errno}) is an error that can be told from others`, () => {
    const fake = new FakeSyscalls();
    const [kernel, program] = loaded(fake, kprobe);
    fake.onPerfEventOpen = () => -errno;
    assert.throws(
      () => attach(kernel, program),
      (error: unknown) => error instanceof NoSuchSymbolError && error.symbol === 'tcp_v4_connect',
    );
  });

test('other failures to open a kprobe are no missing symbol', () => {
  for (const [errno, type, message] of [
    [Errno.EACCES, NotPermittedError, /policy/],
    [Errno.EADDRNOTAVAIL, KernelError, /several functions/],
    [Errno.EMFILE, KernelError, /too many open files/],
  ] as const) {
    const fake = new FakeSyscalls();
    const [kernel, program] = loaded(fake, kprobe);
    fake.onPerfEventOpen = () => -errno;
    assert.throws(
      () => attach(kernel, program),
      (error: unknown) =>
        error instanceof type && !(error instanceof NoSuchSymbolError) && message.test(error.message),
    );
  }
});

test('a kprobe whose program the kernel refuses is closed again', () => {
  const fake = new FakeSyscalls();
  const [kernel, program] = loaded(fake, kprobe);
  fake.onIoctl = (_, request) => (request === 0x2400 ? 0 : -Errno.EEXIST);
  assert.throws(
    () => attach(kernel, program),
    /attach the program 'on_it' to tcp_v4_connect.*SET_BPF.*EEXIST/,
  );
  assert.equal([...fake.open], [program.fd]);
});

for (const [attachment, name] of [
  [raw, 'sched_switch'],
  [tpBtf, undefined],
  [fentry, undefined],
  [{ ...fentry, kind: 'fexit' } as const, undefined],
] as const)
  test(`a ${attachment.kind} is opened ${name ? 'by its name' : 'without a name'}`, () => {
    const fake = new FakeSyscalls();
    const [kernel, program] = loaded(fake, attachment);
    fake.answers.set(OPEN, (attr) => {
      const address = attr.getBigUint64(0, true);
      assert.is(address === 0n ? undefined : fake.textAt(address), name);
      assert.is(attr.getUint32(8, true), program.fd);
      return undefined;
    });
    const link = attach(kernel, program);
    assert.is(fake.open.size, 2);
    link.close();
    assert.equal([...fake.open], [program.fd]);
  });

/** A kernel with the tracepoint's number in tracefs. */
function withTracefs(): FakeSyscalls {
  const fake = new FakeSyscalls();
  fake.files.set('/proc/self/mounts', 'tracefs /sys/kernel/tracing tracefs rw 0 0\n');
  fake.files.set('/sys/kernel/tracing/events/sched/sched_switch/id', '316\n');
  return fake;
}

test('a tracepoint is a perf event of its number, the program set, enabled', () => {
  const fake = withTracefs();
  const [kernel, program] = loaded(fake, record);
  fake.onPerfEventOpen = (attr, cpu) => {
    assert.is(cpu, 0);
    assert.equal([attr.byteLength, attr.getUint32(0, true), attr.getUint32(4, true)], [64, 2, 64]);
    assert.is(attr.getBigUint64(8, true), 316n);
    return undefined;
  };
  const link = attach(kernel, program);
  assert.equal(link.attachment, record);
  assert.equal(fake.calls.slice(-2), ['ioctl 11 0x40042408', 'ioctl 11 0x2400']);
  link.close();
  assert.equal([...fake.open], [program.fd]);
});

test('a tracepoint that can\u2019t be opened, or whose program is refused, leaves nothing behind', () => {
  const closed = withTracefs();
  closed.onPerfEventOpen = () => -Errno.EACCES;
  const [first, refusedProgram] = loaded(closed, record);
  assert.throws(
    () => attach(first, refusedProgram),
    (error: unknown) =>
      error instanceof NotPermittedError && /open the tracepoint sched:sched_switch/.test(error.message),
  );
  const strict = withTracefs();
  strict.onIoctl = (_, request) => (request === 0x2400 ? 0 : -Errno.EACCES);
  const [second, program] = loaded(strict, record);
  assert.throws(() => attach(second, program), /attach the program 'on_it' to sched_switch.*SET_BPF.*EACCES/);
  assert.equal([...strict.open], [program.fd]);
});

test('without tracefs a tracepoint can\u2019t be found', () => {
  const [kernel, program] = loaded(new FakeSyscalls(), record);
  assert.throws(
    () => attach(kernel, program),
    (error: unknown) => error instanceof NoTracefsError,
  );
});

test("a tracepoint that isn't there is an error that can be told from others", () => {
  const fake = new FakeSyscalls();
  const [kernel, program] = loaded(fake, raw);
  fake.answers.set(OPEN, () => -Errno.ENOENT);
  assert.throws(
    () => attach(kernel, program),
    (error: unknown) =>
      error instanceof NoSuchSymbolError &&
      error.message ===
        "cannot attach the program 'on_it' to the tracepoint sched_switch: bpf(BPF_RAW_TRACEPOINT_OPEN): " +
          'ENOENT (no such file or directory): this kernel has no such tracepoint',
  );
});

for (const errno of [Errno.ENOENT, Errno.EINVAL, Errno.EBUSY])
  test(`a function that has no place for fentry (errno ${errno}) is an error that can be told from others`, () => {
    const fake = new FakeSyscalls();
    const [kernel, program] = loaded(fake, fentry);
    fake.answers.set(OPEN, () => -errno);
    assert.throws(
      () => attach(kernel, program),
      (error: unknown) =>
        error instanceof NoSuchSymbolError &&
        /^cannot attach the program 'on_it' to the function tcp_v4_connect: .*no place/.test(error.message),
    );
  });

test('a kernel that calls programs from no function says so', () => {
  const fake = new FakeSyscalls();
  const [kernel, program] = loaded(fake, fentry);
  fake.answers.set(OPEN, () => -Errno.ENOTSUPP);
  assert.throws(
    () => attach(kernel, program),
    (error: unknown) =>
      error instanceof KernelError &&
      !(error instanceof NoSuchSymbolError) &&
      /cannot call programs from functions/.test(error.message),
  );
});

test('ENOTSUPP, which libc has no name for, has one', () => {
  const fake = new FakeSyscalls();
  const [kernel, program] = loaded(fake, tpBtf);
  fake.answers.set(OPEN, () => -524);
  assert.throws(() => attach(kernel, program), /ENOTSUPP \(not supported\)/);
});

test.run();
