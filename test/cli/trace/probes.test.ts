import * as assert from 'uvu/assert';
import { NoSuchFieldError } from '../../../src/asm/btf.ts';
import { messageWithoutPosition } from '../../../src/asm/error-position.ts';
import { listTool } from '../../../src/asm/listing.ts';
import { NoBtfError, type Target, target } from '../../../src/asm/target.ts';
import { type Options, readArguments } from '../../../src/cli/arguments.ts';
import { type Failure, NoProbeError, withFirstProbe } from '../../../src/cli/trace/probes.ts';
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
import { rejected } from '../../thrown.ts';

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

/** Removes all capabilities but the given ones, and refuses maps and programs. */
function unprivileged(fake: FakeSyscalls, capabilities = '0000000000000000'): FakeSyscalls {
  fake.files.set('/proc/self/status', `Name:\tfake\nCapEff:\t${capabilities}\n`);
  fake.answers.set(MAP_CREATE, () => -Errno.EPERM);
  fake.answers.set(PROG_LOAD, () => -Errno.EPERM);
  return fake;
}

/**
 * Opens a session with the first probe type that works, as the command does. Returns it, and the failures of
 * the others.
 */
function open(
  fake: FakeSyscalls,
  args: string[] = [],
  on: Target = withTypes,
): Promise<{ probe: string; failures: readonly Failure[] }> {
  const kernel = new Kernel(fake);
  return withFirstProbe(
    options(...args),
    kernel,
    () => on,
    (programs, failures) => {
      Session.open(programs, { kernel, onEvent: () => {} }).close();
      return { probe: programs.probe, failures };
    },
  );
}

test('kprobes come first', async () => {
  const { probe, failures } = await open(new FakeSyscalls());
  assert.is(probe, 'kprobe');
  assert.equal(failures, []);
});

test('without kprobes it uses tp_btf, and reports why', async () => {
  const { probe, failures } = await open(withoutKprobes());
  assert.is(probe, 'tp_btf');
  assert.is(failures.length, 1);
  assert.is(failures[0]?.probe, 'kprobe');
  assert.match(String(failures[0]?.error), /no kprobes .*CONFIG_KPROBES/);
});

test('without kprobes and tp_btf it uses raw_tracepoint', async () => {
  const { probe, failures } = await open(refuse(withoutKprobes(), Errno.EINVAL, TRACING));
  assert.is(probe, 'raw_tracepoint');
  assert.equal(
    failures.map((failure) => failure.probe),
    ['kprobe', 'tp_btf'],
  );
  assert.match(String(failures[1]?.error), /EINVAL/);
});

test('with BTF that lacks the tracepoint it uses raw_tracepoint', async () => {
  const { probe, failures } = await open(
    withoutKprobes(),
    [],
    target('x64', socketTypes({ tracepoint: false })),
  );
  assert.is(probe, 'raw_tracepoint');
  assert.match(String(failures[1]?.error), /types have no tracepoint inet_sock_set_state/);
});

test('kprobes that are not permitted are skipped', async () => {
  const fake = new FakeSyscalls();
  fake.onPerfEventOpen = (attr) => (attr.getUint32(0, true) === 8 ? -Errno.EPERM : undefined);
  const { probe, failures } = await open(fake);
  assert.is(probe, 'tp_btf');
  assert.instance(failures[0]?.error, NotPermittedError, 'a policy may forbid it even to root');
});

test('kprobes on missing functions are skipped', async () => {
  const fake = new FakeSyscalls();
  fake.onPerfEventOpen = (attr) => (attr.getUint32(0, true) === 8 ? -Errno.ENOENT : undefined);
  assert.is((await open(fake)).probe, 'tp_btf');
});

test('a probe type that fails halfway leaves nothing open', async () => {
  const fake = new FakeSyscalls();
  let probes = 0;
  fake.onPerfEventOpen = (attr) =>
    attr.getUint32(0, true) === 8 && ++probes === 3 ? -Errno.ENOENT : undefined;
  assert.is((await open(fake)).probe, 'tp_btf');
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
  test(`--probe ${option} uses ${probe}, if that works`, async () => {
    const fake = withTracefs(new FakeSyscalls());
    assert.equal(await open(fake, ['--probe', option]), { probe, failures: [] });
  });

test('--probe tracepoint uses raw_tracepoint if tp_btf does not work', async () => {
  const fake = refuse(new FakeSyscalls(), Errno.EINVAL, TRACING);
  assert.is((await open(fake, ['--probe', 'tracepoint'])).probe, 'raw_tracepoint');
});

test('an explicit probe type is not replaced: its error is thrown', async () => {
  const noKprobes = await rejected(() => open(withoutKprobes(), ['--probe', 'kprobe']));
  assert.instance(noKprobes, UnsupportedError);
  const noTypes = await rejected(() =>
    open(refuse(new FakeSyscalls(), Errno.EINVAL, TRACING), ['--probe', 'tp_btf']),
  );
  assert.match(noTypes.message, /cannot load the program 'inet_sock_state'.*EINVAL/);
});

test('if no probe type works, the error lists each of them with the reason', async () => {
  const fake = refuse(withoutKprobes(), Errno.EINVAL, KPROBE, TRACING, RAW_TRACEPOINT);
  const error = await rejected(() => open(fake));
  assert.instance(error, NoProbeError);
  const [head, ...probes] = error.message.split('\n');
  assert.is(head, 'no probe works on this kernel (Linux 6.1.0-fake). Tried:');
  assert.is(probes.length, 4);
  assert.match(probes[0] ?? '', /^ {2}kprobe: this kernel has no kprobes/);
  assert.match(probes[1] ?? '', /^ {2}tp_btf: cannot load the program .*EINVAL.*support tp_btf programs/);
  assert.match(
    probes[2] ?? '',
    /^ {2}raw_tracepoint: the tool 'tcpconnlat' needs .* does not have: raw_tracepoint \(Linux 4\.17 and later\)/,
  );
  assert.match(probes[3] ?? '', /^ {2}trace_event: .*needs tracefs.*mount -t tracefs tracefs \/sys/);
});

test('if everything is forbidden to root, the error lists each probe type', async () => {
  const error = await rejected(() =>
    open(refuse(new FakeSyscalls(), Errno.EPERM, KPROBE, TRACING, RAW_TRACEPOINT)),
  );
  assert.instance(error, NoProbeError);
  assert.is(error.message.match(/EPERM.*a policy forbids the call/g)?.length, 3);
});

test('without BTF it uses trace_event', async () => {
  const fake = withTracefs(new FakeSyscalls());
  const { probe, failures } = await open(fake, [], target('x64'));
  assert.is(probe, 'trace_event');
  assert.equal(
    failures.map((failure) => failure.probe),
    ['kprobe', 'tp_btf', 'raw_tracepoint'],
  );
  assert.is((await open(fake, ['--probe', 'tracepoint'], target('x64'))).probe, 'trace_event');
});

test('without BTF an explicit probe type that needs it suggests alternatives', async () => {
  for (const probe of ['kprobe', 'raw_tracepoint', 'tp_btf', 'fentry']) {
    const error = await rejected(() => open(new FakeSyscalls(), ['--probe', probe], target('x64')));
    assert.instance(error, NoBtfError);
    assert.match(
      error.message,
      /no BTF in .*--btf FILE to read kernel BTF from a file \(not for fentry and tp_btf\), or --probe trace_event/,
    );
    assert.not.match(error.message, /\n/);
  }
});

test('--btf works with kprobe and raw_tracepoint, which need no BTF ids', async () => {
  const file = ['--btf', 'some.btf'];
  assert.is((await open(new FakeSyscalls(), file)).probe, 'kprobe');
  const { probe, failures } = await open(withoutKprobes(), file);
  assert.is(probe, 'raw_tracepoint');
  assert.equal(
    failures.map((failure) => failure.probe),
    ['kprobe'],
  );
  assert.is((await open(new FakeSyscalls(), [...file, '--probe', 'tracepoint'])).probe, 'raw_tracepoint');
});

test('trace_event fails if the tracepoint or its fields are missing', async () => {
  const format = '/sys/kernel/tracing/events/sock/inet_sock_set_state/format';
  const none = withTracefs(new FakeSyscalls());
  none.files.delete(format);
  assert.instance(
    await rejected(() => open(none, ['--probe', 'trace_event'], target('x64'))),
    NoSuchSymbolError,
  );
  const strange = withTracefs(new FakeSyscalls());
  strange.files.set(format, STATE_FORMAT.replace('skaddr', 'sk'));
  const error = await rejected(() => open(strange, ['--probe', 'trace_event'], target('x64')));
  assert.instance(error, NoSuchFieldError);
  const garbled = withTracefs(new FakeSyscalls());
  garbled.files.set(format, 'nonsense');
  assert.match(
    (await rejected(() => open(garbled, [], target('x64')))).message,
    /\n {2}trace_event: the format of .*/,
  );
});

test('without BTF and tracefs the error lists what each probe type needs, and suggests --btf', async () => {
  const error = await rejected(() => open(withoutKprobes(), [], target('x64')));
  assert.instance(error, NoProbeError);
  const [, kprobe, ...others] = error.message.split('\n');
  assert.match(kprobe ?? '', /no kprobes/);
  assert.is(others.length, 4);
  for (const line of others.slice(0, 2))
    assert.match(line, /no BTF in \/sys\/kernel\/btf\/vmlinux.*CONFIG_DEBUG_INFO_BTF=y/);
  assert.match(others[2] ?? '', /^ {2}trace_event: .*mount -t tracefs/);
  assert.is(others[3], 'Use --btf FILE to read kernel BTF from a file');
  const withKprobes = await rejected(() => open(new FakeSyscalls(), [], target('x64')));
  assert.is(withKprobes.message.match(/no BTF/g)?.length, 3);
});

for (const [what, fake] of [
  ['with kprobes', new FakeSyscalls()],
  ['without kprobes', withoutKprobes()],
] as const)
  test(`missing capabilities cause a one-line error without a list of probe types: ${what}`, async () => {
    const error = await rejected(() => open(unprivileged(fake)));
    assert.instance(error, NotPermittedError);
    const message = messageWithoutPosition(error);
    assert.match(message, /this process lacks CAP_BPF and CAP_PERFMON .*run it as root$/);
    assert.not.match(message, /\n/);
  });

test('if the locked-memory limit is too low for the buffers, no other probe type is tried', async () => {
  const fake = new FakeSyscalls();
  fake.onMmap = () => -Errno.EPERM;
  const error = await rejected(() => open(fake));
  assert.instance(error, NotPermittedError);
  assert.match(error.message, /perf_event_mlock_kb/);
  assert.not.match(error.message, /\n/);
});

test('if maps or perf events are forbidden, the error has one line', async () => {
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
    const error = await rejected(() => open(fake));
    assert.instance(error, NotPermittedError);
    assert.match(error.message, message);
    assert.not.match(error.message, /\n/);
  }
});

test('if a resource is exhausted, the error has one line with a remedy', async () => {
  for (const [errno, remedy] of [
    [Errno.EMFILE, /EMFILE \(too many open files\): .* \(ulimit -n\)$/],
    [Errno.ENFILE, /\(sysctl fs\.file-max\)$/],
    [Errno.ENOMEM, /ENOMEM \(out of memory\): .* is out of memory; .*memory\.max\)$/],
  ] as const) {
    const fake = new FakeSyscalls();
    fake.answers.set(MAP_CREATE, () => -errno);
    const error = await rejected(() => open(fake));
    assert.instance(error, KernelError);
    assert.match(messageWithoutPosition(error as Error), remedy);
  }
});

test('the error names only the missing capabilities', async () => {
  const bpf = (1n << 39n).toString(16);
  const error = await rejected(() => open(unprivileged(new FakeSyscalls(), bpf)));
  assert.match(error.message, /lacks CAP_PERFMON /);
});

test('if the verifier refuses a program, the next probe type is tried and the reason is kept', async () => {
  const fake = withoutKprobes();
  fake.answers.set(PROG_LOAD, (attr, { at }) => {
    if (attr.getUint32(0, true) !== TRACING) return undefined;
    const log = attr.getBigUint64(32, true);
    if (log !== 0n) at.call(fake, log).set(Buffer.from('0: R1 invalid mem access\n'));
    return -Errno.EACCES;
  });
  const { probe, failures } = await open(fake);
  assert.is(probe, 'raw_tracepoint');
  assert.instance(failures[1]?.error, VerifierError);
});

test('an error that is not about the kernel is thrown unchanged', async () => {
  const bug = new TypeError('ours');
  const error = await rejected(() =>
    withFirstProbe(
      options(),
      new Kernel(new FakeSyscalls()),
      () => withTypes,
      () => {
        throw bug;
      },
    ),
  );
  assert.is(error, bug);
});

test('a dry run makes no system calls', async () => {
  for (const [args, probe] of [
    [['--dry-run'], 'kprobe'],
    [['--dry-run', '--probe', 'tp_btf'], 'tp_btf'],
  ] as const) {
    const fake = new FakeSyscalls();
    assert.is(
      await withFirstProbe(
        options(...args),
        new Kernel(fake),
        () => withTypes,
        (programs) => programs.probe,
      ),
      probe,
    );
    assert.equal(fake.calls, []);
  }
  const kprobe = ['--dry-run', '--probe', 'kprobe'];
  const shown = await withFirstProbe(
    options(...kprobe),
    new Kernel(withoutKprobes()),
    () => withTypes,
    ({ probe }) => probe,
  );
  assert.is(shown, 'kprobe', 'an explicit probe type is shown even if it could not run');
  const auto = await withFirstProbe(
    options('--dry-run'),
    new Kernel(withoutKprobes()),
    () => withTypes,
    ({ probe }) => probe,
  );
  assert.is(auto, 'tp_btf');
});

test('options reach the programs', async () => {
  const made = (...args: string[]): Promise<string> =>
    withFirstProbe(
      options(...args),
      new Kernel(withoutKprobes()),
      () => withTypes,
      (programs) => listTool(programs, () => undefined),
    );
  const bare = await made();
  assert.is(await made('-t', '-v'), bare, 'what is only shown is none of theirs');
  for (const option of ['-p7', '-L', '-4', '-6', '3', '--json'])
    assert.is.not(await made(option), bare, `${option} makes a difference`);
  assert.is(await made('0'), bare);
  assert.is(await made('-L'), await made('--json'), 'JSON has the local port');
});

test.run();
