/** Hooks: attachments, and the positions of arguments and results. */
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { Btf } from '../../src/asm/btf.ts';
import type { Builder } from '../../src/asm/builder/builder.ts';
import { disassemble } from '../../src/asm/disassemble.ts';
import { getCurrentPidTgid } from '../../src/asm/helpers.ts';
import { fentry, fexit, kprobe, kretprobe, rawTracepoint, tracepoint } from '../../src/asm/hooks.ts';
import { bytes, struct, u32, u64 } from '../../src/asm/layout.ts';
import type { ProgramSpec } from '../../src/asm/program.ts';
import { NoBtfError, target } from '../../src/asm/target.ts';
import { parseTracepointFormat } from '../../src/asm/tracepoint-format.ts';
import { suite } from '../harness.ts';
import { BtfWriter } from './btf-writer.ts';
import { STATE_FORMAT } from './fixtures/formats.ts';

const test = suite('asm/hooks');

const text = ({ instructions }: ProgramSpec): string[] =>
  assemble(instructions).instructions.map(({ instruction }) => disassemble(instruction));

/** BTF with a function of three arguments, the last in two slots. */
function withFunction(name: string): { readonly kernel: Btf; readonly id: number } {
  const w = new BtfWriter();
  const int = w.int('int', 4, 1);
  const sock = w.struct('sock', 16, [{ name: 'sk_err', type: int, bits: 64 }]);
  const id = w.func(name, w.prototype(int, { sk: w.pointer(sock), flags: int, by_value: sock }));
  return { kernel: Btf.parse(w.blob()), id };
}

const readError = (b: Builder) => {
  const { err } = b.kernel('sock', b.arg(0)).fields({ err: 'sk_err' });
  b.if(err.ne(0), () => b.exit());
};

test('fentry attaches by BTF id and reads arguments from an array and structs by plain loads', () => {
  const { kernel, id } = withFunction('tcp_connect');
  const program = fentry('tcp_connect', target('arm64', kernel), readError);
  assert.equal(program.attachment, { kind: 'fentry', symbol: 'tcp_connect', btfId: id });
  assert.is(program.name, 'tcp_connect');
  assert.is(program.optional, false);
  assert.equal(text(program).slice(0, 2), ['(79) r0 = *(u64 *)(r1 +0)', '(61) r2 = *(u32 *)(r0 +8)']);
});

test('fentry accepts a function missing from BTF: the loader may skip the program', () => {
  const { kernel } = withFunction('tcp_connect');
  const { attachment, optional } = fentry('tcp_konnect', target('x64', kernel), () => {}, { optional: true });
  assert.equal(attachment, { kind: 'fentry', symbol: 'tcp_konnect', btfId: undefined });
  assert.is(optional, true);
});

test('fentry needs kernel BTF', () => {
  assert.throws(
    () => fentry('tcp_connect', target('x64'), () => {}),
    (error: unknown) =>
      error instanceof NoBtfError && /^the function tcp_connect needs kernel types/.test(error.message),
  );
});

/** Stores the result, and exits if it is 0. */
const readResult = (b: Builder) => {
  b.if(b.retval.get().asSigned(32).eq(0), () => b.exit());
  b.stack(u64, b.retval.as(u64));
};
const RESULT_READ = (at: number, load = '(79) r0 = *(u64 *)') => [
  `${load}(r1 +${at})`,
  '(16) if w0 == 0x0 goto pc+2',
  `(79) r2 = *(u64 *)(r1 +${at})`,
  '(7b) *(u64 *)(r10 -8) = r2',
];

test('kretprobe reads the result from its register and has no arguments', () => {
  for (const [name, at] of [
    ['x64', 80],
    ['arm64', 0],
  ] as const) {
    const program = kretprobe('tcp_connect', target(name), readResult);
    assert.equal(program.attachment, { kind: 'kretprobe', symbol: 'tcp_connect' });
    assert.equal(text(program).slice(0, 4), RESULT_READ(at));
  }
  assert.throws(
    () => kretprobe('tcp_connect', target('x64'), (b) => b.arg(0)),
    /kretprobe tcp_connect has no argument 0/,
  );
});

test('fexit reads the result after the arguments, which it has, too', () => {
  const { kernel, id } = withFunction('tcp_connect');
  const program = fexit('tcp_connect', target('x64', kernel), readResult);
  assert.equal(program.attachment, { kind: 'fexit', symbol: 'tcp_connect', btfId: id });
  assert.equal(text(program).slice(0, 4), RESULT_READ(32, '(61) r0 = *(u32 *)'), 'four slots of arguments');
  assert.equal(text(fexit('tcp_connect', target('x64', kernel), readError)).slice(0, 2), [
    '(79) r0 = *(u64 *)(r1 +0)',
    '(61) r2 = *(u32 *)(r0 +8)',
  ]);
});

test('fexit accepts a function missing from BTF, like fentry', () => {
  const { kernel } = withFunction('tcp_connect');
  const { attachment } = fexit('tcp_konnect', target('x64', kernel), readResult);
  assert.equal(attachment, { kind: 'fexit', symbol: 'tcp_konnect', btfId: undefined });
});

test('b.retval is refused at entry hooks', () => {
  assert.throws(
    () => kprobe('tcp_connect', target('x64'), readResult),
    (error: unknown) =>
      error instanceof RangeError &&
      /kprobe tcp_connect has no return value: b.retval needs kretprobe or fexit \(.*hooks\.test\.ts:\d+\)$/.test(
        error.message,
      ),
  );
});

const withRecord = {
  ...target('x64'),
  formats: [parseTracepointFormat('sock', 'inet_sock_set_state', STATE_FORMAT)],
};
const onState = (body: (b: Builder) => void) => tracepoint('sock', 'inet_sock_set_state', withRecord, body);

test('tracepoint fields are loads from the context, by name', () => {
  const program = onState((b) => {
    b.if(b.field('newstate').eq(-2), () => b.exit());
    const copy = b.stack(struct({ key: u64, port: u32, address: bytes(16) }));
    copy.key.set(b.field('skaddr'));
    copy.port.set(b.field('sport'));
    copy.address.set(b.field('saddr_v6'));
  });
  assert.equal(program.attachment, {
    kind: 'tracepoint',
    category: 'sock',
    tracepoint: 'inet_sock_set_state',
  });
  assert.equal(text(program), [
    '(61) r0 = *(u32 *)(r1 +20)',
    '(16) if w0 == 0xfffffffe goto pc+12',
    '(79) r0 = *(u64 *)(r1 +8)',
    '(7b) *(u64 *)(r10 -32) = r0',
    '(69) r0 = *(u16 *)(r1 +24)',
    '(63) *(u32 *)(r10 -24) = r0',
    '(61) r0 = *(u32 *)(r1 +40)',
    '(63) *(u32 *)(r10 -20) = r0',
    '(61) r0 = *(u32 *)(r1 +44)',
    '(63) *(u32 *)(r10 -16) = r0',
    '(61) r0 = *(u32 *)(r1 +48)',
    '(63) *(u32 *)(r10 -12) = r0',
    '(61) r0 = *(u32 *)(r1 +52)',
    '(63) *(u32 *)(r10 -8) = r0',
    '(b7) r0 = 1',
    '(95) exit',
  ]);
});

test('tracepoint programs return 1 by default, which keeps the record for other consumers', () => {
  assert.equal(text(onState(() => {})), ['(b7) r0 = 1', '(95) exit']);
  assert.equal(text(onState((b) => b.exit(0))).slice(0, 2), ['(b7) r0 = 0', '(95) exit']);
});

test('a tracepoint array is not a number, even with the size of one', () => {
  assert.throws(
    () => onState((b) => b.stack(u64, b.field('saddr'))),
    (error: unknown) => error instanceof TypeError && /cannot copy saddr \(4 bytes\) to/.test(error.message),
  );
});

test('missing tracepoint fields and arguments are refused', () => {
  for (const [body, message] of [
    [(b: Builder) => b.field('state'), /no field 'state'; nearest: oldstate, newstate/],
    [(b: Builder) => b.field('common_pid'), /programs cannot read/],
    [(b: Builder) => b.arg(0), /tracepoint sock:inet_sock_set_state has no argument 0/],
    [
      (b: Builder) => {
        b.call(getCurrentPidTgid);
        b.field('sport').get();
      },
      /the context .* lost to bpf_get_current_pid_tgid/,
    ],
  ] as const)
    assert.throws(() => onState((b) => void body(b)), message);
  assert.throws(
    () => rawTracepoint('sched_switch', target('x64'), (b) => void b.field('prev_pid')),
    /the context of raw tracepoint sched_switch is not a record: b\.field\(\) needs a tracepoint program/,
  );
});

test('tracepoint needs the format in its target', () => {
  assert.throws(
    () => tracepoint('sock', 'inet_sock_set_state', target('x64'), () => {}),
    /the target has no format of tracepoint sock:inet_sock_set_state/,
  );
});

const { kernel: types } = withFunction('tcp_connect');
const hooks: Record<string, (name?: string, symbol?: string) => ProgramSpec> = {
  kprobe: (name, symbol = 'tcp_connect') => kprobe(symbol, target('x64'), () => {}, { name }),
  kretprobe: (name, symbol = 'tcp_connect') => kretprobe(symbol, target('x64'), () => {}, { name }),
  fentry: (name, symbol = 'tcp_connect') => fentry(symbol, target('x64', types), () => {}, { name }),
  fexit: (name, symbol = 'tcp_connect') => fexit(symbol, target('x64', types), () => {}, { name }),
  rawTracepoint: (name, symbol = 'sys_enter') => rawTracepoint(symbol, target('x64'), () => {}, { name }),
  tracepoint: (name) => tracepoint('sock', 'inet_sock_set_state', withRecord, () => {}, { name }),
};

for (const [hook, make] of Object.entries(hooks)) {
  for (const name of ['', 'a-b', 'a b', 'é', 'sixteen_letters_', 'a\0', 'name\n'])
    test(`${hook} refuses the program name ${JSON.stringify(name)}`, () => {
      assert.throws(
        () => make(name),
        (error: unknown) =>
          error instanceof RangeError &&
          error.message.startsWith(
            `program name '${name}' is invalid: the kernel accepts 1 to 15 characters of [A-Za-z0-9_.] (`,
          ) &&
          /hooks\.test\.ts:\d+\)$/.test(error.message),
      );
    });

  test(`${hook} refuses a name that is not a string`, () =>
    assert.throws(
      () => make(5 as never),
      /^program name '5' is invalid: the kernel accepts 1 to 15 characters/,
    ));

  test(`${hook} keeps names of 1 to 15 characters`, () => {
    for (const name of ['a', 'on.connect_2', 'fifteen_letters']) assert.is(make(name).name, name);
  });
}

test('a program without a name is named by the start of its symbol', () => {
  assert.is(hooks.kprobe?.(undefined, 'tcp_rcv_state_process').name, 'tcp_rcv_state_p');
  assert.is(hooks.kprobe?.(undefined, 'do_unlinkat.isra.0').name, 'do_unlinkat_isr');
  assert.is(hooks.tracepoint?.().name, 'inet_sock_set_s');
});

test.run();
