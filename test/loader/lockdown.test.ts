/** Kernel lockdown, with a fake kernel: the errors of refused operations name it. */
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { exit, mov } from '../../src/asm/constructors.ts';
import type { Attachment } from '../../src/asm/program.ts';
import { r0 } from '../../src/asm/registers.ts';
import { Errno } from '../../src/loader/errno.ts';
import { LockdownError, NotPermittedError, VerifierError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { attach } from '../../src/loader/link.ts';
import { loadProgram } from '../../src/loader/load.ts';
import { readTracepointFormat } from '../../src/loader/tracefs.ts';
import { suite } from '../harness.ts';
import { FakeSyscalls } from './fake.ts';

const test = suite('loader/lockdown');

const FILE = '/sys/kernel/security/lockdown';
const MODES = {
  none: '[none] integrity confidentiality\n',
  integrity: 'none [integrity] confidentiality\n',
  confidentiality: 'none integrity [confidentiality]\n',
} as const;
type Mode = keyof typeof MODES;

/** A kernel in a lockdown mode, or one that does not show its mode. */
function fakeIn(mode: Mode | undefined): FakeSyscalls {
  const fake = new FakeSyscalls();
  if (mode) fake.files.set(FILE, MODES[mode]);
  return fake;
}

for (const [mode, text] of Object.entries(MODES))
  test(`the mode ${mode} is read`, () => {
    assert.is(new Kernel(fakeIn(mode as Mode)).lockdown, mode);
    assert.is(text.includes(`[${mode}]`), true);
  });

test('without securityfs, or in an unknown mode, lockdown is undefined', () => {
  assert.is(new Kernel(new FakeSyscalls()).lockdown, undefined);
  const fake = new FakeSyscalls();
  fake.files.set(FILE, 'none [secrecy]\n');
  assert.is(new Kernel(fake).lockdown, undefined);
});

function load(fake: FakeSyscalls, kind: 'kprobe' | 'raw_tracepoint' = 'kprobe') {
  const attachment: Attachment =
    kind === 'kprobe' ? { kind, symbol: 'tcp_v4_connect' } : { kind, tracepoint: 'inet_sock_set_state' };
  const spec = { name: 'reader', attachment, instructions: [mov(r0, 0), exit()] };
  return loadProgram(new Kernel(fake), spec, assemble(spec.instructions), new Map());
}

/** Makes the kernel refuse every program with this log. */
function refuse(fake: FakeSyscalls, log: string): FakeSyscalls {
  fake.answers.set(5, (attr, { at }) => {
    const address = attr.byteLength > 32 ? attr.getBigUint64(32, true) : 0n;
    if (address !== 0n) at.call(fake, address).set(Buffer.from(`${log}\0`));
    return -Errno.EINVAL;
  });
  return fake;
}

const WORDINGS = [
  ['up to 6.8', (helper: string) => `6: (85) call ${helper}\nunknown func ${helper}\nprocessed 7 insns`],
  [
    'since 6.9',
    (helper: string) =>
      `6: (85) call ${helper}\nprogram of this type cannot use helper ${helper}\nprocessed 7 insns`,
  ],
] as const;
const HELPERS = [
  ['bpf_probe_read_kernel#113', ['confidentiality']],
  ['bpf_probe_read_kernel_str#115', ['confidentiality']],
  ['bpf_probe_read#4', ['confidentiality']],
  ['bpf_probe_write_user#36', ['confidentiality', 'integrity']],
  ['bpf_probe_read_user#112', []],
  ['bpf_redirect#23', []],
] as const satisfies readonly (readonly [string, readonly Mode[]])[];

for (const [kernels, log] of WORDINGS)
  for (const [helper, modes] of HELPERS)
    test(`${kernels}: ${helper} refused is ${modes.length > 0 ? `lockdown's doing in the mode ${modes.join(' or ')}` : 'never lockdown\u2019s doing'}`, () => {
      for (const mode of [undefined, ...Object.keys(MODES)] as (Mode | undefined)[]) {
        const name = helper.replace(/#.*/, '');
        assert.throws(
          () => load(refuse(fakeIn(mode), log(helper))),
          (error: unknown) =>
            mode && (modes as readonly Mode[]).includes(mode)
              ? error instanceof LockdownError &&
                error.forbidden === name &&
                error.message.includes(`kernel lockdown (${mode}) forbids ${name}, even for root`) &&
                !error.message.includes('\n')
              : error instanceof VerifierError,
          String(mode),
        );
      }
    });

test('if the mode is unknown, the hint names lockdown among the causes', () => {
  try {
    load(refuse(fakeIn(undefined), WORDINGS[0][1]('bpf_probe_read_kernel#113')));
  } catch (error) {
    assert.match((error as VerifierError).summary.hint ?? '', /\/sys\/kernel\/security\/lockdown/);
    return;
  }
  throw new Error('it was loaded');
});

test('lockdown is named for a refused kprobe in the mode confidentiality only', () => {
  for (const [mode, kind, message] of [
    [
      'confidentiality',
      LockdownError,
      /EPERM .*: kernel lockdown \(confidentiality\) forbids kprobes, even for root/,
    ],
    ['integrity', NotPermittedError, /a policy forbids the call: a security module,/],
    ['none', NotPermittedError, /a policy forbids the call: a security module,/],
    [undefined, NotPermittedError, /a policy forbids the call: kernel lockdown \(.*\), a security module/],
  ] as const) {
    const fake = fakeIn(mode);
    const kernel = new Kernel(fake);
    const program = load(fake);
    fake.onPerfEventOpen = () => -Errno.EPERM;
    assert.throws(
      () => attach(kernel, program),
      (error: unknown) => error instanceof kind && message.test((error as Error).message),
      String(mode),
    );
  }
});

test('under lockdown a missing capability is still named first', () => {
  const fake = fakeIn('confidentiality');
  const kernel = new Kernel(fake);
  const program = load(fake);
  fake.files.set('/proc/self/status', 'CapEff:\t0000000000000000\n');
  fake.onPerfEventOpen = () => -Errno.EPERM;
  assert.throws(() => attach(kernel, program), /lacks CAP_BPF and CAP_PERFMON/);
});

test('under lockdown an empty tracefs throws LockdownError', () => {
  const fake = fakeIn('confidentiality');
  fake.files.set('/proc/self/mounts', 'tracefs /sys/kernel/tracing tracefs rw 0 0\n');
  assert.throws(
    () => readTracepointFormat(new Kernel(fake), 'sock', 'inet_sock_set_state'),
    (error: unknown) => error instanceof LockdownError && error.forbidden === 'tracefs',
  );
});

test.run();
