import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { exit, mov } from '../../src/asm/constructors.ts';
import { r0 } from '../../src/asm/registers.ts';
import { Errno } from '../../src/loader/errno.ts';
import {
  KernelError,
  NoSuchSymbolError,
  NotPermittedError,
  UnsupportedError,
} from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { kprobesUnsupportedReason } from '../../src/loader/kprobe-events.ts';
import { attach, type Link } from '../../src/loader/link.ts';
import { loadProgram } from '../../src/loader/load.ts';
import { unsupportedReason } from '../../src/loader/probe.ts';
import { suite } from '../harness.ts';
import { FakeSyscalls } from './fake.ts';

const test = suite('loader/kprobe-events');

const FILE = '/tracing/kprobe_events';
const PMU = '/sys/bus/event_source/devices/kprobe/type';

/**
 * A line of /proc/PID/stat: the process name contains a parenthesis, and `start` is the start time in ticks.
 */
function stat(pid: number, start: number): string {
  return `${pid} (a) b) S 1 ${'0 '.repeat(17)}${start} 9 9\n`;
}

/** A kernel without the kprobe PMU, with a tracefs that stores the events written to it. */
function fakeTracefs(...events: string[]): FakeSyscalls {
  const fake = new FakeSyscalls();
  let nextId = 1000;
  fake.files.delete(PMU);
  fake.files.set('/proc/self/mounts', 'tracefs /tracing tracefs rw 0 0\n');
  for (const name of ['self', '42']) fake.files.set(`/proc/${name}/stat`, stat(42, 777));
  fake.files.set(FILE, events.map((event) => `${event}\n`).join(''));
  fake.onAppend = (path, text) => {
    const lines = (fake.files.get(path) ?? '').split('\n').filter(Boolean);
    const [, sign, name] = /^([pr-]):(\S+)/.exec(text) as RegExpExecArray;
    const rest = lines.filter((line) => !line.slice(1).startsWith(`:${name} `));
    const made = sign !== '-';
    if (made && rest.length < lines.length) return -Errno.EEXIST;
    if (!made && rest.length === lines.length) return -Errno.ENOENT;
    fake.files.set(path, [...(made ? [...lines, text.trimEnd()] : rest), ''].join('\n'));
    if (made) fake.files.set(`/tracing/events/${name}/id`, `${nextId++}\n`);
    else fake.files.delete(`/tracing/events/${name}/id`);
    return text.length;
  };
  return fake;
}

function attachTo(
  fake: FakeSyscalls,
  symbol = 'tcp_v4_connect',
  kernel = new Kernel(fake),
  kind: 'kprobe' | 'kretprobe' = 'kprobe',
): Link {
  const instructions = [mov(r0, 0), exit()];
  const spec = { name: 'on_it', attachment: { kind, symbol }, instructions };
  const program = loadProgram(kernel, spec, assemble(instructions), new Map());
  try {
    return attach(kernel, program);
  } finally {
    program.close();
  }
}

const appended = (fake: FakeSyscalls): string[] =>
  fake.calls.flatMap((call) => (call.startsWith('append') ? [call.replace(`append ${FILE} `, '')] : []));

test('without the PMU a kprobe is a tracefs event, opened by its id, linked to the program, enabled', () => {
  const fake = fakeTracefs();
  fake.files.set('/sys/devices/system/cpu/online', '1-3\n');
  const opened: unknown[] = [];
  fake.onPerfEventOpen = (attr, cpu) => {
    opened.push([attr.getUint32(0, true), attr.getUint32(4, true), attr.getBigUint64(8, true), cpu]);
    return undefined;
  };
  const link = attachTo(fake);
  const [definition = ''] = appended(fake);
  assert.match(definition, /^p:tsbpf_42_777\/tcp_v4_connect_\d+ tcp_v4_connect$/);
  assert.equal(opened, [[2, 72, 1000n, 1]], 'PERF_TYPE_TRACEPOINT, on the first online CPU');
  assert.equal(fake.calls.slice(-3, -1), ['bpf 28', 'ioctl 11 0x2400']);
  link.close();
});

test('a kretprobe is a tracefs event as well', () => {
  const fake = fakeTracefs();
  const link = attachTo(fake, 'tcp_v4_connect', new Kernel(fake), 'kretprobe');
  assert.match(appended(fake)[0] ?? '', /^r:tsbpf_42_777\/tcp_v4_connect_\d+ tcp_v4_connect$/);
  link.close();
  assert.is(fake.files.get(FILE), '');
});

test('close closes the event before it deletes its definition, once', () => {
  const fake = fakeTracefs('p:other/mine tcp_v4_connect');
  const link = attachTo(fake);
  const before = fake.calls.length;
  link.close();
  link.close();
  const [ask, unlink, close, remove, ...more] = fake.calls.slice(before);
  assert.equal([ask, unlink, close], ['bpf 15', 'close 12', 'close 11']);
  assert.match(remove ?? '', /-:tsbpf_42_777\/tcp_v4_connect_\d+$/);
  assert.equal(more, []);
  assert.is(fake.files.get(FILE), 'p:other/mine tcp_v4_connect\n');
});

test('two programs on one function have separate events, with valid names', () => {
  const fake = fakeTracefs();
  const links = ['f', 'f', `f.isra.0${'x'.repeat(90)}`].map((symbol) => attachTo(fake, symbol));
  const names = appended(fake).map((line) => /\/(\S+)/.exec(line)?.[1] ?? '');
  assert.is(new Set(names).size, 3);
  assert.match(names[2] ?? '', /^f_isra_0x+_\d+$/);
  assert.ok(names.every((name) => name.length < 64));
  for (const link of links) link.close();
  assert.is(fake.files.get(FILE), '');
});

test('a name that another thread of the process uses is skipped', () => {
  const fake = fakeTracefs();
  const write = fake.onAppend;
  let refusals = 3;
  fake.onAppend = (path, text) => (refusals-- > 0 ? -Errno.EEXIST : write(path, text));
  attachTo(fake).close();
  assert.is(new Set(appended(fake)).size, 5, 'three failed attempts, one definition, one deletion');
});

for (const errno of [Errno.ENOENT, Errno.EINVAL])
  test(`a missing function (errno ${errno}) throws NoSuchSymbolError`, () => {
    const fake = fakeTracefs();
    fake.onAppend = () => -errno;
    assert.throws(
      () => attachTo(fake),
      (error: unknown) => error instanceof NoSuchSymbolError && error.symbol === 'tcp_v4_connect',
    );
  });

for (const [errno, type, message] of [
  [Errno.EADDRNOTAVAIL, KernelError, /several functions/],
  [Errno.EACCES, NotPermittedError, /write\(\/tracing\/kprobe_events\): EACCES/],
  [Errno.EEXIST, KernelError, /EEXIST/],
] as const)
  test(`${errno} from tracefs is not a NoSuchSymbolError`, () => {
    const fake = fakeTracefs();
    fake.onAppend = () => -errno;
    assert.throws(
      () => attachTo(fake),
      (error: unknown) =>
        error instanceof type && !(error instanceof NoSuchSymbolError) && message.test(error.message),
    );
  });

for (const [capabilities, message] of [
  ['000000c000000000', /only root may write this file.*lacks CAP_DAC_OVERRIDE/],
  ['0000000000200000', /only root may write this file.*lacks CAP_DAC_OVERRIDE/],
  ['000000c000000002', /a policy forbids the call/],
  ['0000008000000000', /lacks CAP_PERFMON/],
] as const)
  test(`with the capabilities ${capabilities} the error of kprobe_events says ${message.source}`, () => {
    const fake = fakeTracefs();
    fake.files.set('/proc/self/status', `CapEff:\t${capabilities}\n`);
    fake.onAppend = () => -Errno.EACCES;
    assert.throws(
      () => attachTo(fake),
      (error: unknown) => error instanceof NotPermittedError && message.test(error.message),
    );
  });

test('an event is deleted again if perf cannot open it or the kernel refuses its program', () => {
  for (const refuse of ['open', 'ioctl']) {
    const fake = fakeTracefs();
    if (refuse === 'open') fake.onPerfEventOpen = () => -Errno.EMFILE;
    else fake.onIoctl = () => -Errno.EEXIST;
    assert.throws(() => attachTo(fake), /tcp_v4_connect/);
    assert.is(fake.files.get(FILE), '');
    assert.is(fake.open.size, 0);
  }
});

test('an event that another process deletes is defined again, a limited number of times', () => {
  for (const vanishing of [2, 99]) {
    const fake = fakeTracefs();
    let left = vanishing;
    const write = fake.onAppend;
    fake.onAppend = (path, text) => {
      const result = write(path, text);
      if (text.startsWith('p') && left-- > 0) fake.onAppend(path, `-${text.slice(1).split(' ')[0]}`);
      return result;
    };
    if (vanishing === 2) attachTo(fake).close();
    else assert.throws(() => attachTo(fake), /open the event tsbpf_42_777\/\S+.*ENOENT/);
    assert.is(fake.files.get(FILE), '');
  }
});

test('events of exited tsbpf processes are deleted once, and no others', () => {
  const living = 'p:tsbpf_50_100/a_1 a';
  const other = ['p:other/mine tcp_v4_connect', 'p:tsbpf/x a', 'p:tsbpf_1_2_3/x a', 'r4:mytsbpf_9_9/x a'];
  const fake = fakeTracefs(
    ...[living, ...other, 'p:tsbpf_50_99/a_1 a', 'p:tsbpf_51_1/b_7 tcp_v4_connect', 'p:tsbpf_51_1/b_8 b+4'],
  );
  fake.files.set('/proc/50/stat', stat(50, 100));
  const kernel = new Kernel(fake);
  const link = attachTo(fake, 'f', kernel);
  assert.equal(appended(fake).slice(0, 3), ['-:tsbpf_50_99/a_1', '-:tsbpf_51_1/b_7', '-:tsbpf_51_1/b_8']);
  link.close();
  assert.equal(fake.files.get(FILE)?.trimEnd().split('\n'), [living, ...other]);
  const before = appended(fake).length;
  attachTo(fake, 'f', kernel).close();
  assert.is(appended(fake).length, before + 2, 'one definition, one deletion');
});

test('stale events are also deleted if the PMU exists, and errors are ignored', () => {
  const fake = fakeTracefs('p:tsbpf_51_1/b_7 tcp_v4_connect');
  fake.files.set(PMU, '8\n');
  fake.onAppend = () => -Errno.EBUSY;
  attachTo(fake).close();
  assert.equal(appended(fake), ['-:tsbpf_51_1/b_7']);
});

for (const [name, without, message] of [
  ['tracefs', '/proc/self/mounts', /no perf PMU.*tracefs is not mounted \(mount it: mount -t tracefs/],
  ['kprobe_events', FILE, /no perf PMU.*no \/tracing\/kprobe_events \(built without CONFIG_KPROBE_EVENTS\)/],
] as const)
  test(`without the PMU and without ${name} the error names both`, () => {
    const fake = fakeTracefs();
    fake.files.delete(without);
    const expected = (error: unknown) => error instanceof UnsupportedError && message.test(error.message);
    assert.throws(() => attachTo(fake), expected);
    assert.ok(expected(unsupportedReason(new Kernel(fake), { kind: 'kprobe', symbol: 'f' })));
    assert.ok(expected(kprobesUnsupportedReason(new Kernel(fake))));
  });

test('the PMU or tracefs is enough for kprobes', () => {
  for (const way of [PMU, FILE]) {
    const fake = fakeTracefs();
    fake.files.set(PMU, '8\n');
    fake.files.delete(way);
    assert.is(unsupportedReason(new Kernel(fake), { kind: 'kprobe', symbol: 'f' }), undefined);
  }
});

test.run();
