/** The probes under kernel lockdown: which programs work, and what the command advises. */
import * as assert from 'uvu/assert';
import { assemble } from '../../../src/asm/assemble.ts';
import { disassemble } from '../../../src/asm/disassemble.ts';
import { messageWithoutPosition } from '../../../src/asm/error-position.ts';
import { target } from '../../../src/asm/target.ts';
import { type Options, readArguments } from '../../../src/cli/arguments.ts';
import { blockedFlags, LOCKDOWN_PROBES } from '../../../src/cli/trace/lockdown.ts';
import { describeBlindSpot, NoProbeError, withFirstProbe } from '../../../src/cli/trace/probes.ts';
import { Errno } from '../../../src/loader/errno.ts';
import { LockdownError } from '../../../src/loader/errors.ts';
import { Kernel } from '../../../src/loader/kernel.ts';
import { Session } from '../../../src/loader/session.ts';
import { suite } from '../../harness.ts';
import { FakeSyscalls } from '../../loader/fake.ts';
import { socketBlob } from '../../programs/kernel.ts';
import { rejected } from '../../thrown.ts';

const test = suite('cli/trace/lockdown');

function options(...args: string[]): Options {
  const request = readArguments(args, '');
  if (request.action !== 'trace') throw new Error(args.join(' '));
  return request.options;
}

/** BPF_FUNC_probe_read_kernel. */
const PROBE_READ_KERNEL = 113;
const TRACING = 26;

/**
 * A kernel under lockdown: it refuses programs that call bpf_probe_read_kernel, and has no format of the
 * tracepoint's record. `typed`: it has helpers for typed pointers (Linux 6.2).
 */
function lockedDown(typed = true): FakeSyscalls {
  const fake = new FakeSyscalls();
  fake.files.set('/sys/kernel/security/lockdown', 'none integrity [confidentiality]\n');
  fake.files.set('/proc/self/mounts', 'tracefs /sys/kernel/tracing tracefs rw 0 0\n');
  fake.mappable.set('/sys/kernel/btf/vmlinux', socketBlob({ typed }));
  fake.answers.set(5, (attr) => {
    const code = fake.at(attr.getBigUint64(8, true));
    const view = new DataView(code.buffer, code.byteOffset, code.byteLength);
    const calls = (at: number) =>
      view.getUint8(at) === 0x85 && view.getInt32(at + 4, true) === PROBE_READ_KERNEL;
    const slots = Array.from({ length: attr.getUint32(4, true) }, (_, slot) => 8 * slot);
    const at = slots.find(calls);
    if (at === undefined) return undefined;
    const log = attr.byteLength > 32 ? attr.getBigUint64(32, true) : 0n;
    const text = `${at / 8}: (85) call x\nunknown func bpf_probe_read_kernel#113\nprocessed 9 insns\0`;
    if (log !== 0n) fake.at(log).set(Buffer.from(text));
    return -Errno.EINVAL;
  });
  return fake;
}

/** The probe type that the command chooses. */
function open(fake: FakeSyscalls, ...args: string[]): Promise<string> {
  const kernel = new Kernel(fake);
  return withFirstProbe(
    options(...args),
    kernel,
    () => target('x64', kernel.btf),
    (programs) => {
      Session.open(programs, { kernel, onEvent: () => {} }).close();
      return programs.probe;
    },
  );
}

/** Every option that affects the programs. */
const OPTIONS = [
  [],
  ['-p', '7'],
  ['--port', '443'],
  ['--not-port', '443'],
  ['--to', '10.0.0.0/8'],
  ['--not-to', '10.0.0.0/8'],
  ['--from', '10.0.0.0/8'],
  ['--comm', 'curl'],
  ['--uid', '33'],
  ['-4'],
  ['-6'],
  ['10'],
  ['-L'],
  ['--json'],
  ['--who'],
  ['--requested'],
  ['--record', 'file'],
  ['--failed'],
  ['--outcome'],
];

for (const args of OPTIONS)
  test(`the probes that work with ${args.join(' ') || 'no option'} without bpf_probe_read_kernel are known`, async () => {
    for (const [probe, typed] of LOCKDOWN_PROBES.flatMap((each) => [
      [each, true] as const,
      [each, false] as const,
    ])) {
      const kernel = new Kernel(lockedDown(typed));
      const shown = { ...options(...args), probe, dryRun: true };
      const texts = await withFirstProbe(
        shown,
        kernel,
        () => target('x64', kernel.btf),
        ({ programs }) =>
          programs.flatMap(({ instructions }) =>
            assemble(instructions).instructions.map(({ instruction }) => disassemble(instruction)),
          ),
      );
      const reads = texts.some((text) => text.includes(`#${PROBE_READ_KERNEL}`));
      const on = target('x64', kernel.btf);
      assert.is(blockedFlags(probe, options(...args), on).length > 0, reads, `${probe} ${typed}`);
    }
  });

for (const [args, probe] of [
  [[], 'fentry'],
  [['--json'], 'fentry'],
  [['--outcome'], 'fentry'],
  [['--failed', '-L'], 'fentry'],
  [['--port', '443'], 'tp_btf'],
  [['--port', '443', '--outcome', '--json'], 'tp_btf'],
  [['--probe', 'tracepoint'], 'tp_btf'],
] as const)
  test(`${args.join(' ') || 'no option'}: ${probe} works`, async () => {
    assert.is(await open(lockedDown(), ...args), probe);
  });

test('without fentry it uses tp_btf', async () => {
  const fake = lockedDown(false);
  const refusing = fake.answers.get(5);
  fake.answers.set(5, (attr) => {
    const FENTRY = 24;
    const isFentry = attr.getUint32(0, true) === TRACING && attr.getUint32(68, true) === FENTRY;
    return isFentry ? -Errno.EINVAL : refusing?.(attr, fake);
  });
  assert.is(await open(fake), 'tp_btf');
  const error = await rejected(() => open(fake, '--json'));
  assert.match(error.message, /; --probe tp_btf works without --json$/);
});

for (const [args, advice] of [
  [['--probe', 'kprobe'], '--probe fentry works'],
  [['--probe', 'raw_tracepoint', '-L'], '--probe fentry works'],
  [['--probe', 'trace_event'], '--probe fentry works'],
  [['--probe', 'kprobe', '--failed'], '--probe fentry works without --failed'],
  [['--probe', 'fentry', '--port', '443', '--not-to', '10.0.0.0/8'], '--probe tp_btf works'],
] as const)
  test(`${args.join(' ')}: one line with an alternative`, async () => {
    const error = await rejected(() => open(lockedDown(false), ...args));
    assert.instance(error, LockdownError);
    const text = messageWithoutPosition(error);
    assert.ok(text.endsWith(`; ${advice}`), text);
    assert.match(
      text,
      /kernel lockdown \(confidentiality\) forbids .*; it is set by a boot parameter or Secure Boot/,
    );
    assert.not.match(text, /\n/);
  });

for (const [args, without] of [
  [['--failed'], ' without --failed'],
  [['--outcome', '--json'], ' without --outcome'],
  [['--json', '--port', '443'], ' without --port'],
  [['--btf', 'some.btf'], ' without --btf'],
] as const)
  test(`${args.join(' ')}: one short line per probe, and the options to omit`, async () => {
    const error = await rejected(() => open(lockedDown(false), ...args));
    assert.instance(error, NoProbeError);
    const lines = error.message.split('\n');
    assert.match(lines[1] ?? '', /^ {2}kprobe: kernel lockdown forbids bpf_probe_read_kernel$/);
    assert.match(lines.at(-2) ?? '', /^ {2}trace_event: kernel lockdown forbids tracefs$/);
    assert.is(
      lines.at(-1),
      `Kernel lockdown (confidentiality): it is set by a boot parameter or Secure Boot and lasts until the next boot; --probe fentry works${without}`,
    );
  });

test('under lockdown --btf is never recommended, neither for blind spots nor without BTF', async () => {
  const locked = new Kernel(lockedDown());
  const unlocked = new Kernel(new FakeSyscalls());
  for (const spot of ['refused', 'errors'] as const) {
    assert.match(describeBlindSpot(spot, unlocked), /--btf FILE/);
    assert.not.match(describeBlindSpot(spot, locked), /--btf/);
    assert.match(describeBlindSpot(spot, locked), /kernel lockdown \(confidentiality\)/);
  }
  assert.not.match(describeBlindSpot('unrouted', locked), /--probe kprobe/);
  const withoutTypes = lockedDown();
  withoutTypes.mappable.clear();
  for (const args of [[], ['--probe', 'kprobe']])
    assert.not.match((await rejected(() => open(withoutTypes, ...args))).message, /--btf/);
});

test.run();
