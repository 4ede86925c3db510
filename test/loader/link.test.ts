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
import { loadProgram } from '../../src/loader/load.ts';
import type { Program } from '../../src/loader/program.ts';
import { suite } from '../harness.ts';
import { FakeSyscalls } from './fake.ts';

const test = suite('loader/link');

/** Commands of bpf(2). */
const [INFO, OPEN, LINK] = [15, 17, 28];
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

test('a kprobe is a perf event of the PMU with the symbol, linked to the program, enabled', () => {
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
  fake.answers.set(LINK, (attr) => {
    assert.equal(
      [0, 4, 8].map((at) => attr.getUint32(at, true)),
      [program.fd, 11, 41],
      'the program, the event, BPF_PERF_EVENT',
    );
    return undefined;
  });
  const link = attach(kernel, program);
  assert.equal(fake.calls.slice(-2), ['bpf 28', 'ioctl 11 0x2400']);
  link.close();
  link.close();
  assert.equal(fake.calls.slice(-2), ['close 12', 'close 11'], 'the link first');
  assert.equal([...fake.open], [program.fd]);
});

test('before Linux 5.15, without links for perf events, the event itself is given the program', () => {
  const fake = withoutLinks();
  const [kernel, program] = loaded(fake, kprobe);
  const link = attach(kernel, program);
  assert.equal(fake.calls.slice(-3), ['bpf 28', 'ioctl 11 0x40042408', 'ioctl 11 0x2400']);
  assert.is(link.missedHits(), undefined);
  link.close();
  assert.equal(fake.calls.slice(-1), ['close 11'], 'nothing is asked for');
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
  attach(kernel, program);
  assert.equal(fake.calls.slice(-2), ['bpf 28', 'ioctl 11 0x2400']);
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

for (const [what, fails, message] of [
  ['link', (fake: FakeSyscalls) => fake.answers.set(LINK, () => -Errno.EEXIST), /LINK_CREATE/],
  ['program', (fake: FakeSyscalls) => refusingIoctl(withoutLinks(fake), 0x40042408, Errno.EEXIST), /SET_BPF/],
  ['start', (fake: FakeSyscalls) => refusingIoctl(fake, 0x2400, Errno.EEXIST), /IOC_ENABLE/],
] as const)
  test(`a kprobe whose ${what} the kernel refuses is closed again`, () => {
    const fake = new FakeSyscalls();
    fails(fake);
    const [kernel, program] = loaded(fake, kprobe);
    assert.throws(
      () => attach(kernel, program),
      (error: unknown) =>
        error instanceof KernelError &&
        /attach the program 'on_it' to tcp_v4_connect: .*EEXIST/.test(error.message) &&
        message.test(error.message),
    );
    assert.equal([...fake.open], [program.fd]);
  });

/** `struct bpf_link_info` of a perf event: BPF_PERF_EVENT_KPROBE, KRETPROBE and TRACEPOINT. */
const [KPROBE, KRETPROBE, TRACEPOINT] = [3, 4, 5];

/** A kernel that knows so many bytes of it, and tells of a perf event of that kind. */
function telling(fake: FakeSyscalls, kind: number, missed: bigint, known = 64): void {
  fake.answers.set(INFO, (attr) => {
    const info = new DataView(fake.at(attr.getBigUint64(8, true)).buffer);
    const size = Math.min(known, info.byteLength);
    info.setUint32(16, kind, true);
    if (size >= 56) info.setBigUint64(48, missed, true);
    attr.setUint32(4, size, true);
    return 0;
  });
}

test('hits that were missed are told by the link of a kprobe or its return, the last count after it was closed', () => {
  for (const [attachment, kind] of [
    [kprobe, KPROBE],
    [{ ...kprobe, kind: 'kretprobe' } as const, KRETPROBE],
  ] as const) {
    const fake = new FakeSyscalls();
    const link = attach(...loaded(fake, attachment));
    telling(fake, kind, 3n);
    assert.is(link.missedHits(), 3);
    telling(fake, kind, 5n);
    assert.is(link.missedHits(), 5);
    telling(fake, kind, 6n);
    link.close();
    telling(fake, kind, 7n);
    assert.is(link.missedHits(), 6);
  }
});

test('a kernel before 6.7 does not tell of missed hits', () => {
  const fake = new FakeSyscalls();
  const link = attach(...loaded(fake, kprobe));
  telling(fake, 0, 0n, 48);
  assert.is(link.missedHits(), undefined);
  link.close();
  assert.is(link.missedHits(), undefined);
});

test('no hits are missed before the program of a tracepoint, classic or raw', () => {
  const fake = withTracefs();
  const classic = attach(...loaded(fake, record));
  // Where a kprobe has its count, others may have something else.
  telling(fake, TRACEPOINT, 9n);
  assert.is(classic.missedHits(), 0);
  assert.is(attach(...loaded(new FakeSyscalls(), raw)).missedHits(), 0);
});

test('a link that the kernel tells nothing of is closed nevertheless', () => {
  const fake = new FakeSyscalls();
  const [kernel, program] = loaded(fake, kprobe);
  const link = attach(kernel, program);
  fake.answers.set(INFO, () => -Errno.EPERM);
  assert.throws(() => link.close(), /read the kernel's information about a link.*EPERM/);
  link.close();
  assert.is(link.missedHits(), undefined);
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

/** It refuses what is asked of an event. */
function refusingIoctl(fake: FakeSyscalls, refused: number, errno: number): void {
  fake.onIoctl = (_, request) => (request === refused ? -errno : 0);
}

/** A kernel without links for perf events: before Linux 5.15. */
function withoutLinks(fake = new FakeSyscalls()): FakeSyscalls {
  fake.answers.set(LINK, () => -Errno.EINVAL);
  return fake;
}

/** A kernel with the tracepoint's number in tracefs. */
function withTracefs(): FakeSyscalls {
  const fake = new FakeSyscalls();
  fake.files.set('/proc/self/mounts', 'tracefs /sys/kernel/tracing tracefs rw 0 0\n');
  fake.files.set('/sys/kernel/tracing/events/sched/sched_switch/id', '316\n');
  return fake;
}

test('a tracepoint is a perf event of its number, linked to the program, enabled', () => {
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
  assert.equal(fake.calls.slice(-2), ['bpf 28', 'ioctl 11 0x2400']);
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
  strict.answers.set(LINK, () => -Errno.EACCES);
  const [second, program] = loaded(strict, record);
  assert.throws(
    () => attach(second, program),
    /attach the program 'on_it' to sched_switch.*LINK_CREATE.*EACCES/,
  );
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
