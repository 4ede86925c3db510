/** Arguments and results from the kernel's prototypes: types, slots, names, and errors. */
import * as assert from 'uvu/assert';
import { Btf } from '../../src/asm/btf.ts';
import type { Builder } from '../../src/asm/builder/builder.ts';
import { getFuncArgCnt } from '../../src/asm/helpers.ts';
import { fentry, fexit, kprobe, kretprobe, rawTracepoint, tpBtf } from '../../src/asm/hooks.ts';
import { bytes, s64, struct, u64 } from '../../src/asm/layout.ts';
import type { ProgramSpec } from '../../src/asm/program.ts';
import { target } from '../../src/asm/target.ts';
import { suite } from '../harness.ts';
import { thrown } from '../thrown.ts';
import { BtfWriter } from './btf-writer.ts';
import { textsOf } from './texts.ts';

const test = suite('asm/arguments');

const w = new BtfWriter();
const int = w.int('int', 4, 1);
const short = w.int('short unsigned int', 2);
const long = w.int('long unsigned int', 8);
const member = (name: string, type: number, offset: number) => ({ name, type, bits: 8 * offset });
const sock = w.struct('sock', 16, [member('sk_err', int, 8)]);
w.struct('tcp_sock', 32, [member('sk', sock, 0), member('rtt', int, 16)]);
const pair = w.struct('pair', 16, [member('a', long, 0), member('b', long, 8)]);
const wide = w.prototype(int, {
  ...{ pair, flags: int, port: w.typedef('__be16', short), on: w.int('_Bool', 1, 4) },
  ...{ sk: w.pointer(w.const(sock)), data: w.pointer(0) },
});
w.func('wide', wide);
w.func('nine', w.prototype(0, Object.fromEntries(Array.from('abcdefghi', (name) => [name, int]))));
w.typedef('btf_trace_sent', w.pointer(w.prototype(0, { '': w.pointer(0) })));
const sent = w.prototype(0, { __data: w.pointer(0), sk: w.pointer(sock), size: int });
w.func('__bpf_trace_sent', sent);
w.typedef('btf_trace_named', w.pointer(sent));
const on = target('x64', Btf.parse(w.blob()));
const onArm = target('arm64', Btf.parse(w.blob()));

const linesOf = ({ instructions }: ProgramSpec) => textsOf(instructions);
const load = (body: (b: Builder) => void) => linesOf(fentry('wide', on, body))[0];

test("a number argument has its parameter's type and is read from the low bytes of its slot", () => {
  assert.is(
    load((b) => void b.arg(1).get()),
    'r0 = *(u32 *)(r1 +16)',
  );
  assert.is(
    load((b) => void b.arg('flags').get()),
    'r0 = *(u32 *)(r1 +16)',
  );
  assert.is(
    load((b) => void b.arg('on').get()),
    'r0 = *(u8 *)(r1 +32)',
  );
  assert.is(
    load((b) => void b.arg('data').get()),
    'r0 = *(u64 *)(r1 +48)',
  );
  const signed = linesOf(fentry('wide', on, (b) => b.if(b.arg('flags').lt(0), () => b.exit())));
  assert.match(signed.join('\n'), /w0 s>= 0|w0 s< 0/);
});

test('a __be16 parameter is in network byte order', () => {
  const lines = linesOf(fentry('wide', on, (b) => b.if(b.arg('port').ne(443), () => b.exit())));
  assert.match(lines.join('\n'), /r0 = \*\(u16 \*\)\(r1 \+24\)\n.*0xbb01/);
});

test('a pointer to a non-struct is a number, which helpers can read through', () => {
  const fields = (b: Builder, argument: string) => {
    b.kernel('sock', b.arg(argument)).fields({ error: 'sk_err' });
  };
  const helper = /call bpf_probe_read_kernel/;
  assert.match(linesOf(fentry('wide', on, (b) => fields(b, 'data'))).join('\n'), helper);
  assert.not.match(linesOf(fentry('wide', on, (b) => fields(b, 'sk'))).join('\n'), helper);
});

test('as(u64) reads the whole slot of a narrower number', () => {
  assert.is(
    load((b) => void b.arg(1).as(u64).get()),
    'r0 = *(u64 *)(r1 +16)',
  );
  assert.throws(() => load((b) => b.arg('data').as(bytes(16))), /integer schema/);
});

test('a 16-byte struct occupies two slots', () => {
  assert.equal(
    linesOf(fentry('wide', on, (b) => b.stack(struct({ a: u64, b: u64 })).set(b.arg(0)))).slice(0, 4),
    ['r0 = *(u64 *)(r1 +0)', '*(u64 *)(r10 -16) = r0', 'r0 = *(u64 *)(r1 +8)', '*(u64 *)(r10 -8) = r0'],
  );
  assert.match(thrown(() => load((b) => b.arg(0).get())).message, /argument 0 is bytes\(16\), not a number/);
});

for (const name of [6, 1.5, -1, Number.NaN, 'nobody'])
  test(`argument ${name} does not exist`, () => {
    const { message } = thrown(() => load((b) => b.arg(name)));
    assert.match(
      message,
      `fentry wide has no argument ${name}: wide has 6 arguments: pair, flags, port, on, sk, data`,
    );
    assert.match(message, 'arguments.test.ts');
  });

test('a pointer to a struct is a kernel pointer of that type', () => {
  const body = (b: Builder) => void b.kernel(b.arg('sk')).fields({ err: 'sk_err' }).err.get();
  assert.equal(linesOf(fentry('wide', on, body)).slice(0, 2), [
    'r0 = *(u64 *)(r1 +40)',
    'r2 = *(u32 *)(r0 +8)',
  ]);
  assert.match(
    thrown(() => load((b) => b.kernel(b.arg('data')))).message,
    /argument data is not known to point to/,
  );
});

test('a pointer read as another struct uses a probe read, because the verifier would refuse a load', () => {
  const read = (name: string) => (b: Builder) => {
    const path = name === 'tcp_sock' ? 'rtt' : 'sk_err';
    b.kernel(name, b.arg('sk')).fields({ x: path }).x.get();
  };
  assert.is(linesOf(fentry('wide', on, read('sock'))).filter((line) => line.startsWith('call')).length, 0);
  assert.is(
    linesOf(fentry('wide', on, read('tcp_sock'))).filter((line) => line.startsWith('call')).length,
    1,
  );
});

test('raw tracepoints take parameters from their typedef and names from the calling function', () => {
  for (const hook of [rawTracepoint, tpBtf]) {
    const lines = linesOf(hook('named', on, (b) => b.stack(s64, b.arg('size'))));
    assert.is(lines[0], 'r0 = *(u32 *)(r1 +8)');
    assert.match(thrown(() => hook('sent', on, (b) => b.arg(0))).message, /sent has no arguments/);
    assert.match(thrown(() => hook('named', on, (b) => b.arg(2))).message, /named has 2 arguments: sk, size/);
  }
  assert.is(linesOf(rawTracepoint('unknown', on, (b) => void b.arg(11).get()))[0], 'r0 = *(u64 *)(r1 +88)');
});

test('unnamed parameters get the names of the calling function if the counts match', () => {
  const types = new BtfWriter();
  const number = types.int('int', 4, 1);
  const data = types.pointer(0);
  const tracepoint = (name: string, own: Record<string, number>, caller?: Record<string, number>) => {
    types.typedef(`btf_trace_${name}`, types.pointer(types.prototype(0, own)));
    if (caller) types.func(`__bpf_trace_${name}`, types.prototype(0, { __data: data, ...caller }));
  };
  const object = types.pointer(types.struct('thing', 4, [{ name: 'x', type: number, bits: 0 }]));
  tracepoint('same', { __data: data, '': number }, { other: number });
  tracepoint('fewer', { __data: data, '': number, b: object }, { other: number });
  tracepoint('more', { __data: data, '': object }, { other: number, further: number });
  tracepoint('alone', { __data: data, '': number });
  tracepoint('own', { __data: data, mine: number }, { other: number });
  tracepoint('partly', { __data: data, '': number, mine: number }, { first: number, second: number });
  const kernel = target('x64', Btf.parse(types.blob()));
  const names = (name: string) =>
    thrown(() => rawTracepoint(name, kernel, (b) => b.arg(9))).message.replace(
      /^.*?arguments?: | \(.*$/g,
      '',
    );
  const useNumbers = '; the types of this kernel do not name them: use numbers';
  assert.is(names('same'), 'other');
  assert.is(names('fewer'), '0, b');
  assert.is(names('more'), `struct thing *${useNumbers}`);
  assert.is(names('alone'), `0${useNumbers}`);
  assert.is(names('own'), 'mine');
  assert.is(names('partly'), 'first, second');
  const first = (name: string, parameter: string) =>
    linesOf(rawTracepoint(name, kernel, (b) => void b.arg(parameter).get()))[0];
  assert.is(first('same', 'other'), 'r0 = *(u32 *)(r1 +0)');
  assert.is(first('own', 'mine'), 'r0 = *(u32 *)(r1 +0)');
  assert.is(first('partly', 'second'), 'r0 = *(u32 *)(r1 +8)');
  assert.match(thrown(() => first('own', 'other')).message, /has no argument other/);
  assert.match(thrown(() => first('fewer', 'other')).message, /has no argument other/);
});

test('kprobe arguments are in registers: a 16-byte struct takes two, later ones are on the stack', () => {
  const reading = (symbol: string, name: string, where = on) =>
    linesOf(kprobe(symbol, where, (b) => void b.arg(name).get()))[0];
  assert.is(reading('wide', 'flags'), 'r0 = *(u32 *)(r1 +96)', 'rdx');
  assert.is(reading('wide', 'flags', onArm), 'r0 = *(u32 *)(r1 +16)', 'regs[2]');
  assert.match(
    thrown(() => reading('wide', 'pair')).message,
    /argument pair of wide is in two registers at a kprobe/,
  );
  assert.is(reading('nine', 'f'), 'r0 = *(u32 *)(r1 +72)'.replace('72', '64'), 'r9');
  const stacked = /argument g of nine is on the stack at a kprobe \(x64 passes 6 in registers\); use fentry/;
  assert.match(thrown(() => reading('nine', 'g')).message, stacked);
  assert.is(reading('nine', 'h', onArm), 'r0 = *(u32 *)(r1 +56)');
});

test("the result has the function's return type; void functions have none", () => {
  const result = (b: Builder) => void b.retval.get();
  assert.is(linesOf(fexit('wide', on, result))[0], 'r0 = *(u32 *)(r1 +56)');
  assert.is(linesOf(kretprobe('wide', on, result))[0], 'r0 = *(u32 *)(r1 +80)');
  assert.match(thrown(() => fexit('nine', on, result)).message, /nine returns nothing/);
});

test('fentry and fexit must return 0', () => {
  for (const hook of [fentry, fexit])
    for (const wrong of [(b: Builder) => b.exit(1), (b: Builder) => b.exit(b.arg('flags').get())])
      assert.match(thrown(() => hook('wide', on, wrong)).message, /wide must return 0.*arguments\.test\.ts/);
});

test('a helper that the program type lacks is refused at its line', () => {
  const refused = thrown(() => rawTracepoint('named', on, (b) => b.call(getFuncArgCnt)));
  assert.match(
    refused.message,
    /^raw tracepoint named cannot call bpf_get_func_arg_cnt: only tp_btf, fentry, fexit programs can \(.*arguments\.test\.ts:\d+\)$/,
  );
  assert.ok(
    linesOf(
      fentry('wide', on, (b) => {
        b.call(getFuncArgCnt);
      }),
    ).includes('call bpf_get_func_arg_cnt#185'),
  );
});

test('functions without a prototype have twelve arguments', () => {
  const last = linesOf(fentry('unknown', on, (b) => void b.arg(11).get()))[0];
  assert.is(last, 'r0 = *(u64 *)(r1 +88)');
  assert.match(
    thrown(() => fentry('unknown', on, (b) => void b.arg(12))).message,
    /^fentry unknown: argument 12 cannot be read; only 0 to 11 can/,
  );
});

test("a pointer to a typedef of a struct gets the struct's name", () => {
  const types = new BtfWriter();
  const number = types.int('int', 4, 1);
  const named = types.struct('named', 4, [{ name: 'a', type: number, bits: 0 }]);
  const nameless = types.struct('', 4, [{ name: 'a', type: number, bits: 0 }]);
  const aliases = [types.typedef('named_t', named), types.typedef('nameless_t', nameless)] as const;
  types.func(
    'take',
    types.prototype(0, { a: types.pointer(aliases[0]), b: types.pointer(types.const(aliases[1])) }),
  );
  const { parameters } = Btf.parse(types.blob()).prototype('take');
  assert.equal(
    parameters.map(({ pointsTo }) => pointsTo),
    [
      { name: 'named', type: named },
      { name: 'nameless_t', type: nameless },
    ],
  );
});

test.run();
