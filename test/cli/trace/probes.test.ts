import * as assert from 'uvu/assert';
import { NoSuchFieldError } from '../../../src/asm/btf.ts';
import { messageWithoutPosition } from '../../../src/asm/error-position.ts';
import { NoBtfError, type Target, target } from '../../../src/asm/target.ts';
import { type Options, readArguments } from '../../../src/cli/arguments.ts';
import { listTool } from '../../../src/cli/listing.ts';
import { type Failure, firstWay, NoProbeError } from '../../../src/cli/trace/probes.ts';
import { Errno } from '../../../src/loader/errno.ts';
import {
  KernelError,
  NoSuchSymbolError,
  NotPermittedError,
  UnsupportedError,
  VerifierError,
} from '../../../src/loader/errors.ts';
import { Kernel } from '../../../src/loader/kernel.ts';
import { Session } from '../../../src/loader/session.ts';
import { STATE_FORMAT } from '../../asm/fixtures/formats.ts';
import { suite } from '../../harness.ts';
import { FakeSyscalls } from '../../loader/fake.ts';
import { socketTypes } from '../../programs/kernel.ts';
import { thrown } from '../../thrown.ts';

const test = suite('cli/trace/probes');

/** Commands of bpf(2), and the program types that the ways need. */
const MAP_CREATE = 0;
const PROG_LOAD = 5;
const KPROBE = 2;
const RAW_TRACEPOINT = 17;
const TRACING = 26;

const withTypes = target('x64', socketTypes());

function options(...args: string[]): Options {
  const request = readArguments(args, '');
  if (request.action !== 'trace') throw new Error(args.join(' '));
  return request.options;
}

/** A kernel without the PMU of kprobes. */
function withoutKprobes(): FakeSyscalls {
  const fake = new FakeSyscalls();
  fake.files.delete('/sys/bus/event_source/devices/kprobe/type');
  return fake;
}

/** With the files of the tracepoint. */
function withTracefs(fake: FakeSyscalls): FakeSyscalls {
  const folder = '/sys/kernel/tracing/events/sock/inet_sock_set_state';
  fake.files.set('/proc/self/mounts', 'tracefs /sys/kernel/tracing tracefs rw 0 0\n');
  fake.files.set(`${folder}/format`, STATE_FORMAT);
  fake.files.set(`${folder}/id`, '1314\n');
  return fake;
}

/** Answers loads of programs of these types with an errno. */
function refuse(fake: FakeSyscalls, errno: number, ...types: number[]): FakeSyscalls {
  fake.answers.set(PROG_LOAD, (attr) => (types.includes(attr.getUint32(0, true)) ? -errno : undefined));
  return fake;
}

/** Takes all capabilities away from whoever asks, and what they are for. */
function unprivileged(fake: FakeSyscalls, capabilities = '0000000000000000'): FakeSyscalls {
  fake.files.set('/proc/self/status', `Name:\tfake\nCapEff:\t${capabilities}\n`);
  fake.answers.set(MAP_CREATE, () => -Errno.EPERM);
  fake.answers.set(PROG_LOAD, () => -Errno.EPERM);
  return fake;
}

/** Opens a session by the first way that works, as the command does, and says which and why not by the others. */
function open(
  fake: FakeSyscalls,
  args: string[] = [],
  on: Target = withTypes,
): { probe: string; failures: readonly Failure[] } {
  const kernel = new Kernel(fake);
  return firstWay(options(...args), kernel, on, (programs, failures) => {
    Session.open(programs, { kernel, onEvent: () => {} }).close();
    return { probe: programs.probe, failures };
  });
}

test('kprobes come first', () => {
  const { probe, failures } = open(new FakeSyscalls());
  assert.is(probe, 'kprobe');
  assert.equal(failures, []);
});

test('without kprobes it is the tracepoint by BTF, and said why', () => {
  const { probe, failures } = open(withoutKprobes());
  assert.is(probe, 'tp_btf');
  assert.is(failures.length, 1);
  assert.is(failures[0]?.probe, 'kprobe');
  assert.match(String(failures[0]?.error), /no kprobes .*CONFIG_KPROBES/);
});

test('without programs on typed tracepoints either it is the raw tracepoint', () => {
  const { probe, failures } = open(refuse(withoutKprobes(), Errno.EINVAL, TRACING));
  assert.is(probe, 'raw_tracepoint');
  assert.equal(
    failures.map((failure) => failure.probe),
    ['kprobe', 'tp_btf'],
  );
  assert.match(String(failures[1]?.error), /EINVAL/);
});

test('types without the tracepoint leave the raw one', () => {
  const { probe, failures } = open(withoutKprobes(), [], target('x64', socketTypes({ tracepoint: false })));
  assert.is(probe, 'raw_tracepoint');
  assert.match(String(failures[1]?.error), /types have no tracepoint inet_sock_set_state/);
});

test('kprobes that may not be used are as good as none', () => {
  const fake = new FakeSyscalls();
  fake.onPerfEventOpen = (attr) => (attr.getUint32(0, true) === 8 ? -Errno.EPERM : undefined);
  const { probe, failures } = open(fake);
  assert.is(probe, 'tp_btf');
  assert.instance(failures[0]?.error, NotPermittedError, 'root may be kept from it by a policy');
});

test('kprobes without the functions are as good as none', () => {
  const fake = new FakeSyscalls();
  fake.onPerfEventOpen = (attr) => (attr.getUint32(0, true) === 8 ? -Errno.ENOENT : undefined);
  assert.is(open(fake).probe, 'tp_btf');
});

test('a way that failed half way leaves nothing behind', () => {
  const fake = new FakeSyscalls();
  let probes = 0;
  fake.onPerfEventOpen = (attr) =>
    attr.getUint32(0, true) === 8 && ++probes === 3 ? -Errno.ENOENT : undefined;
  assert.is(open(fake).probe, 'tp_btf');
  assert.is(fake.open.size, 0);
});

for (const [option, probe] of [
  ['kprobe', 'kprobe'],
  ['fentry', 'fentry'],
  ['tracepoint', 'tp_btf'],
  ['tp_btf', 'tp_btf'],
  ['raw_tracepoint', 'raw_tracepoint'],
  ['trace_event', 'trace_event'],
] as const)
  test(`--probe ${option} uses ${probe}, if that works`, () => {
    const fake = withTracefs(new FakeSyscalls());
    assert.equal(open(fake, ['--probe', option]), { probe, failures: [] });
  });

test('--probe tracepoint is the raw one where there is no other', () => {
  const fake = refuse(new FakeSyscalls(), Errno.EINVAL, TRACING);
  assert.is(open(fake, ['--probe', 'tracepoint']).probe, 'raw_tracepoint');
});

test('a way that was named is not replaced: its own error comes', () => {
  const noKprobes = thrown(() => open(withoutKprobes(), ['--probe', 'kprobe']));
  assert.instance(noKprobes, UnsupportedError);
  const noTypes = thrown(() =>
    open(refuse(new FakeSyscalls(), Errno.EINVAL, TRACING), ['--probe', 'tp_btf']),
  );
  assert.match(noTypes.message, /cannot load the program 'inet_sock_state'.*EINVAL/);
});

test('where no way works each is named, and why it doesn\u2019t', () => {
  const fake = refuse(withoutKprobes(), Errno.EINVAL, KPROBE, TRACING, RAW_TRACEPOINT);
  const error = thrown(() => open(fake));
  assert.instance(error, NoProbeError);
  const [head, ...probes] = error.message.split('\n');
  assert.is(head, 'no probe works on this kernel (Linux 6.1.0-fake). Tried:');
  assert.is(probes.length, 4);
  assert.match(probes[0] ?? '', /^ {2}kprobe: this kernel has no kprobes/);
  assert.match(probes[1] ?? '', /^ {2}tp_btf: cannot load the program .*EINVAL.*kind tp_btf/);
  assert.match(probes[2] ?? '', /^ {2}raw_tracepoint: cannot load the program .*EINVAL.*kind raw_tracepoint/);
  assert.match(probes[3] ?? '', /^ {2}trace_event: .*needs tracefs.*mount -t tracefs tracefs \/sys/);
});

test('root who is refused everywhere hears of each way, since each may have its own reason', () => {
  const error = thrown(() => open(refuse(new FakeSyscalls(), Errno.EPERM, KPROBE, TRACING, RAW_TRACEPOINT)));
  assert.instance(error, NoProbeError);
  assert.is(error.message.match(/EPERM.*a policy forbids the call/g)?.length, 3);
});

test('without BTF it is the tracepoint\u2019s record', () => {
  const fake = withTracefs(new FakeSyscalls());
  const { probe, failures } = open(fake, [], target('x64'));
  assert.is(probe, 'trace_event');
  assert.equal(
    failures.map((failure) => failure.probe),
    ['kprobe', 'tp_btf', 'raw_tracepoint'],
  );
  assert.is(open(fake, ['--probe', 'tracepoint'], target('x64')).probe, 'trace_event');
});

test('without BTF a way that needs it says what else there is', () => {
  for (const probe of ['kprobe', 'raw_tracepoint', 'tp_btf', 'fentry']) {
    const error = thrown(() => open(new FakeSyscalls(), ['--probe', probe], target('x64')));
    assert.instance(error, NoBtfError);
    assert.match(error.message, /no BTF in .*--btf FILE \(not for fentry and tp_btf\); --probe trace_event/);
    assert.not.match(error.message, /\n/);
  }
});

test('a file of types serves kprobes and raw tracepoints, which name no types by their numbers', () => {
  const file = ['--btf', 'some.btf'];
  assert.is(open(new FakeSyscalls(), file).probe, 'kprobe');
  const { probe, failures } = open(withoutKprobes(), file);
  assert.is(probe, 'raw_tracepoint');
  assert.equal(
    failures.map((failure) => failure.probe),
    ['kprobe'],
  );
  assert.is(open(new FakeSyscalls(), [...file, '--probe', 'tracepoint']).probe, 'raw_tracepoint');
});

test('the record of a kernel that has no such tracepoint, or another, is as good as none', () => {
  const format = '/sys/kernel/tracing/events/sock/inet_sock_set_state/format';
  const none = withTracefs(new FakeSyscalls());
  none.files.delete(format);
  assert.instance(
    thrown(() => open(none, ['--probe', 'trace_event'], target('x64'))),
    NoSuchSymbolError,
  );
  const strange = withTracefs(new FakeSyscalls());
  strange.files.set(format, STATE_FORMAT.replace('skaddr', 'sk'));
  const error = thrown(() => open(strange, ['--probe', 'trace_event'], target('x64')));
  assert.instance(error, NoSuchFieldError);
  const garbled = withTracefs(new FakeSyscalls());
  garbled.files.set(format, 'nonsense');
  assert.match(thrown(() => open(garbled, [], target('x64'))).message, /\n {2}trace_event: the format of .*/);
});

test('without BTF and tracefs each way says what it lacks, and the end where types may come from', () => {
  const error = thrown(() => open(withoutKprobes(), [], target('x64')));
  assert.instance(error, NoProbeError);
  const [, kprobe, ...others] = error.message.split('\n');
  assert.match(kprobe ?? '', /no kprobes/);
  assert.is(others.length, 4);
  for (const line of others.slice(0, 2))
    assert.match(line, /no BTF in \/sys\/kernel\/btf\/vmlinux.*CONFIG_DEBUG_INFO_BTF=y/);
  assert.match(others[2] ?? '', /^ {2}trace_event: .*mount -t tracefs/);
  assert.is(others[3], "The kernel's types may come from a file: --btf FILE");
  const withKprobes = thrown(() => open(new FakeSyscalls(), [], target('x64')));
  assert.is(withKprobes.message.match(/no BTF/g)?.length, 3);
});

for (const [what, fake] of [
  ['with kprobes', new FakeSyscalls()],
  ['without kprobes', withoutKprobes()],
] as const)
  test(`a lack of capabilities is one line that names them, no list of probes: ${what}`, () => {
    const error = thrown(() => open(unprivileged(fake)));
    assert.instance(error, NotPermittedError);
    const told = messageWithoutPosition(error);
    assert.match(told, /this process lacks CAP_BPF and CAP_PERFMON .*run it as root$/);
    assert.not.match(told, /\n/);
  });

test('a limit of locked memory that the rings don’t fit in is no reason to try another way', () => {
  const fake = new FakeSyscalls();
  fake.onMmap = () => -Errno.EPERM;
  const error = thrown(() => open(fake));
  assert.instance(error, NotPermittedError);
  assert.match(error.message, /perf_event_mlock_kb/);
  assert.not.match(error.message, /\n/);
});

test('what keeps maps or perf events from a process keeps it from every way: one line', () => {
  const bpfAndPerfmon = (3n << 38n).toString(16);
  const maps = unprivileged(new FakeSyscalls(), bpfAndPerfmon);
  const perf = unprivileged(new FakeSyscalls(), bpfAndPerfmon);
  perf.answers.clear();
  perf.files.set('/proc/sys/kernel/perf_event_paranoid', '3\n');
  perf.onPerfEventOpen = () => -Errno.EACCES;
  for (const [fake, message] of [
    [maps, /create the map.*EPERM/],
    [perf, /perf_event_paranoid is 3/],
  ] as const) {
    const error = thrown(() => open(fake));
    assert.instance(error, NotPermittedError);
    assert.match(error.message, message);
    assert.not.match(error.message, /\n/);
  }
});

test('what this process or the machine has no more of is short for every way: one line that says what helps', () => {
  for (const [errno, remedy] of [
    [Errno.EMFILE, /EMFILE \(too many open files\): .* \(ulimit -n\)$/],
    [Errno.ENFILE, /\(sysctl fs\.file-max\)$/],
    [Errno.ENOMEM, /ENOMEM \(out of memory\): .* is out of memory; .*memory\.max\)$/],
  ] as const) {
    const fake = new FakeSyscalls();
    fake.answers.set(MAP_CREATE, () => -errno);
    const error = thrown(() => open(fake));
    assert.instance(error, KernelError);
    assert.match(messageWithoutPosition(error as Error), remedy);
  }
});

test('only what is missing is named', () => {
  const bpf = (1n << 39n).toString(16);
  const error = thrown(() => open(unprivileged(new FakeSyscalls(), bpf)));
  assert.match(error.message, /lacks CAP_PERFMON /);
});

test('a program that the verifier refuses is tried by the next way, and its reason told', () => {
  const fake = withoutKprobes();
  fake.answers.set(PROG_LOAD, (attr, { at }) => {
    if (attr.getUint32(0, true) !== TRACING) return undefined;
    const log = attr.getBigUint64(32, true);
    if (log !== 0n) at.call(fake, log).set(Buffer.from('0: R1 invalid mem access\n'));
    return -Errno.EACCES;
  });
  const { probe, failures } = open(fake);
  assert.is(probe, 'raw_tracepoint');
  assert.instance(failures[1]?.error, VerifierError);
});

test('a mistake of ours is none of the kernel\u2019s: it is thrown as it is', () => {
  const mistake = new TypeError('ours');
  const error = thrown(() =>
    firstWay(options(), new Kernel(new FakeSyscalls()), withTypes, () => {
      throw mistake;
    }),
  );
  assert.is(error, mistake);
});

test('a dry run asks the kernel for nothing', () => {
  for (const [args, probe] of [
    [['--dry-run'], 'kprobe'],
    [['--dry-run', '--probe', 'tp_btf'], 'tp_btf'],
  ] as const) {
    const fake = new FakeSyscalls();
    assert.is(
      firstWay(options(...args), new Kernel(fake), withTypes, (programs) => programs.probe),
      probe,
    );
    assert.equal(fake.calls, []);
  }
  const kprobe = ['--dry-run', '--probe', 'kprobe'];
  const shown = firstWay(options(...kprobe), new Kernel(withoutKprobes()), withTypes, ({ probe }) => probe);
  assert.is(shown, 'kprobe', 'what is named is shown also where it could not run');
  const auto = firstWay(options('--dry-run'), new Kernel(withoutKprobes()), withTypes, ({ probe }) => probe);
  assert.is(auto, 'tp_btf');
});

test('options reach the programs', () => {
  const made = (...args: string[]): string =>
    firstWay(options(...args), new Kernel(withoutKprobes()), withTypes, (programs) =>
      listTool(programs, () => undefined),
    );
  const bare = made();
  assert.is(made('-t', '-v'), bare, 'what is only shown is none of theirs');
  for (const option of ['-p7', '-L', '-4', '-6', '3', '--json'])
    assert.is.not(made(option), bare, `${option} makes a difference`);
  assert.is(made('0'), bare);
  assert.is(made('-L'), made('--json'), 'JSON has the local port');
});

test.run();
