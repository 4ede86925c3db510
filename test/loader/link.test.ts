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
  UnsupportedError,
  UntraceableSymbolError,
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

test('an LSM program is refused if the kernel would never run it', () => {
  const fake = new FakeSyscalls();
  const [kernel, program] = loaded(fake, { kind: 'lsm', symbol: 'bpf_lsm_file_open', btfId: 7 });
  fake.files.set('/sys/kernel/security/lsm', 'capability,landlock');
  assert.throws(
    () => attach(kernel, program),
    (error: Error) =>
      error instanceof UnsupportedError &&
      /no active BPF LSM \(Linux 5\.7 and later\): .*'on_it'.*boot with lsm=capability,landlock,bpf/.test(
        error.message,
      ),
  );
  fake.files.set('/sys/kernel/security/lsm', 'capability,bpf');
  attach(kernel, program).close();
  fake.files.delete('/sys/kernel/security/lsm'); // securityfs is not mounted
  attach(kernel, program).close();
});

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

test('before Linux 5.15 (no links for perf events) the program is set on the event itself', () => {
  const fake = withoutLinks();
  const [kernel, program] = loaded(fake, kprobe);
  const link = attach(kernel, program);
  assert.equal(fake.calls.slice(-3), ['bpf 28', 'ioctl 11 0x40042408', 'ioctl 11 0x2400']);
  assert.is(link.missedHits(), undefined);
  link.close();
  assert.equal(fake.calls.slice(-1), ['close 11'], 'the link info is not read');
  assert.equal([...fake.open], [program.fd]);
});

test('a kretprobe is the same event with the retprobe bit', () => {
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
  test(`a missing function (errno ${errno}) throws NoSuchSymbolError`, () => {
    const fake = new FakeSyscalls();
    const [kernel, program] = loaded(fake, kprobe);
    fake.onPerfEventOpen = () => -errno;
    assert.throws(
      () => attach(kernel, program),
      (error: unknown) => error instanceof NoSuchSymbolError && error.symbol === 'tcp_v4_connect',
    );
  });

test('other failures to open a kprobe are not a NoSuchSymbolError', () => {
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
  test(`a kprobe is closed again if the kernel refuses its ${what}`, () => {
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

/** A kernel that fills in `known` bytes of the info of a perf event link of this kind. */
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

test('the link of a kprobe or kretprobe returns its missed hits, and the last count after it was closed', () => {
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

test('before Linux 6.7 missed hits are undefined', () => {
  const fake = new FakeSyscalls();
  const link = attach(...loaded(fake, kprobe));
  telling(fake, 0, 0n, 48);
  assert.is(link.missedHits(), undefined);
  link.close();
  assert.is(link.missedHits(), undefined);
});

test('a tracepoint, classic or raw, has no missed hits', () => {
  const fake = withTracefs();
  const classic = attach(...loaded(fake, record));
  // Other events may use the bytes of a kprobe's count for something else.
  telling(fake, TRACEPOINT, 9n);
  assert.is(classic.missedHits(), 0);
  assert.is(attach(...loaded(new FakeSyscalls(), raw)).missedHits(), 0);
});

test('a link whose info cannot be read is closed all the same', () => {
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

/** Refuses one ioctl of a perf event. */
function refusingIoctl(fake: FakeSyscalls, refused: number, errno: number): void {
  fake.onIoctl = (_, request) => (request === refused ? -errno : 0);
}

/** A kernel before Linux 5.15, without links for perf events. */
function withoutLinks(fake = new FakeSyscalls()): FakeSyscalls {
  fake.answers.set(LINK, () => -Errno.EINVAL);
  return fake;
}

/** A kernel with the tracepoint's id in tracefs. */
function withTracefs(): FakeSyscalls {
  const fake = new FakeSyscalls();
  fake.files.set('/proc/self/mounts', 'tracefs /sys/kernel/tracing tracefs rw 0 0\n');
  fake.files.set('/sys/kernel/tracing/events/sched/sched_switch/id', '316\n');
  return fake;
}

test('a tracepoint is a perf event with its id, linked to the program, enabled', () => {
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

test('a failed attach to a tracepoint closes everything', () => {
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

test('a tracepoint without tracefs throws NoTracefsError', () => {
  const [kernel, program] = loaded(new FakeSyscalls(), record);
  assert.throws(
    () => attach(kernel, program),
    (error: unknown) => error instanceof NoTracefsError,
  );
});

test('a missing tracepoint throws NoSuchSymbolError', () => {
  const fake = new FakeSyscalls();
  const [kernel, program] = loaded(fake, raw);
  fake.answers.set(OPEN, () => -Errno.ENOENT);
  assert.throws(
    () => attach(kernel, program),
    (error: unknown) =>
      error instanceof NoSuchSymbolError &&
      error.message ===
        "cannot attach the program 'on_it' to the tracepoint sched_switch: bpf(BPF_RAW_TRACEPOINT_OPEN): " +
          'ENOENT (no such file or directory): this kernel has no such tracepoint; see available_events in tracefs',
  );
});

for (const errno of [Errno.ENOENT, Errno.EINVAL])
  test(`a function that fentry cannot trace (errno ${errno}) throws NoSuchSymbolError`, () => {
    const fake = new FakeSyscalls();
    const [kernel, program] = loaded(fake, fentry);
    fake.answers.set(OPEN, () => -errno);
    assert.throws(
      () => attach(kernel, program),
      (error: unknown) =>
        error instanceof NoSuchSymbolError &&
        /^cannot attach the program 'on_it' to the function tcp_v4_connect: .*cannot be traced by fentry/.test(
          error.message,
        ),
    );
  });

test('a function that another tracer has for itself throws UntraceableSymbolError', () => {
  const fake = new FakeSyscalls();
  const [kernel, program] = loaded(fake, fentry);
  fake.answers.set(OPEN, () => -Errno.EBUSY);
  assert.throws(
    () => attach(kernel, program),
    (error: unknown) => error instanceof UntraceableSymbolError && /another tracer/.test(error.message),
  );
});

test('a kernel without fentry on this architecture names it', () => {
  const fake = new FakeSyscalls();
  const [kernel, program] = loaded(fake, fentry);
  fake.answers.set(OPEN, () => -Errno.ENOTSUPP);
  assert.throws(
    () => attach(kernel, program),
    (error: unknown) =>
      error instanceof KernelError &&
      !(error instanceof NoSuchSymbolError) &&
      /has no fentry and fexit on this architecture/.test(error.message),
  );
});

test('ENOTSUPP, which libc does not name, has a name', () => {
  const fake = new FakeSyscalls();
  const [kernel, program] = loaded(fake, tpBtf);
  fake.answers.set(OPEN, () => -524);
  assert.throws(() => attach(kernel, program), /ENOTSUPP \(not supported\)/);
});

test.run();
