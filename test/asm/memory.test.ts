/** Memory: ownership, alignment, and initialized bytes. test/live/memory runs such programs. */
import * as assert from 'uvu/assert';
import { Btf } from '../../src/asm/btf.ts';
import type { Builder } from '../../src/asm/builder/builder.ts';
import type { Place, StructMemory } from '../../src/asm/builder/place.ts';
import { perfEventArray } from '../../src/asm/events.ts';
import {
  getCurrentComm,
  getCurrentPidTgid,
  getStack,
  ktimeGetNs,
  probeReadKernel,
  probeReadKernelStr,
  tracePrintk,
} from '../../src/asm/helpers.ts';
import { tpBtf } from '../../src/asm/hooks.ts';
import { arrayOf, bytes, chars, out, struct, u8, u16, u32, u64 } from '../../src/asm/layout.ts';
import { array, hash } from '../../src/asm/map.ts';
import { subprogram } from '../../src/asm/subprogram.ts';
import { target } from '../../src/asm/target.ts';
import { suite } from '../harness.ts';
import { BtfWriter } from './btf-writer.ts';
import { emitted, errorMessage } from './built.ts';
import { textsOf } from './texts.ts';

const test = suite('asm/memory');

// --- slots belong to their block -------------------------------------------------------------------

const ESCAPES: readonly (readonly [string, (b: Builder) => void])[] = [
  ['read', (b) => b.exit(escaped(b).get())],
  ['written', (b) => escaped(b).set(1)],
  ['compared', (b) => b.if(escaped(b).eq(1), () => b.exit())],
  ['copied from', (b) => b.stack(u64).set(escaped(b))],
  ['passed to a helper', (b) => b.call(getCurrentComm, escaped(b))],
  ['viewed with another schema', (b) => b.as(escaped(b), u32).set(1)],
  ['assumed to be written', (b) => b.assumeWritten(escaped(b))],
  ['added to', (b) => escaped(b).atomicAdd(1)],
];

/** A slot of a block that has ended, whose bytes belong to another slot now. */
function escaped(b: Builder): Place {
  let slot: Place | undefined;
  b.if(b.arg(0).eq(1), () => {
    slot = b.stack(u64, 111);
  });
  b.stack(u64, 222);
  return slot as Place;
}

for (const [name, body] of ESCAPES)
  test(`a stack slot expires with its block: ${name}`, () => {
    assert.match(
      errorMessage(body),
      /^stack of \S+memory\.test\.ts:\d+ is on the stack of a block that has ended: make it before the block \(\S+memory\.test\.ts:\d+\)$/,
    );
  });

test('a slot of an outer block is valid in inner blocks and after them', () => {
  assert.ok(
    emitted((b) => {
      const slot = b.stack(u64, 1);
      b.if(b.arg(0).eq(1), () => slot.set(2));
      b.exit(slot.get());
    }),
  );
});

// --- alignment -------------------------------------------------------------------------------------

test('memory of a subprogram is accessed with the alignment of its schema', () => {
  const Pair = struct({ a: u32, b: u32 });
  const Outer = struct({ head: u32, pair: Pair });
  const copy = subprogram('copy', [Pair, Pair], (_, from, to) => to.set(from));
  const lines = emitted((b) => {
    const outer = b.stack(Outer);
    outer.set(0);
    b.call(copy, outer.pair, outer.pair);
  });
  assert.equal(lines.slice(lines.indexOf('copy:') + 1, -2), [
    ...['r0 = *(u32 *)(r1 +0)', '*(u32 *)(r2 +0) = r0', 'r0 = *(u32 *)(r1 +4)', '*(u32 *)(r2 +4) = r0'],
  ]);
});

test('a field of a packed kernel struct is read with the alignment of its stack copy', () => {
  const on = packed();
  const lines = emitted(
    (b) => b.exit(b.kernel('epoll_event', b.arg(0)).fields({ data: 'data' }).data.get()),
    on,
  );
  assert.equal(
    lines.slice(-5),
    ['r0 = *(u32 *)(r10 -12)', 'r1 = *(u32 *)(r10 -8)', 'r1 <<= 32', 'r0 |= r1', 'exit'].slice(-5),
  );
});

test('memory is not passed to a subprogram that needs a larger alignment', () => {
  const Words = struct({ low: u64 });
  const f = subprogram('f', [struct({ a: u32, rest: struct({ b: u32, c: u32 }) })], (b, x) =>
    b.call(g, x.rest as never),
  );
  const g = subprogram('g', [Words], () => {});
  assert.match(
    errorMessage((b) => {
      const x = b.stack(struct({ a: u32, rest: struct({ b: u32, c: u32 }) }));
      x.set(0);
      b.call(f, x);
    }),
    /^argument 0 of g is aligned to 8 bytes; argument 0 of f\.rest is aligned to 4: copy it to a b\.stack\(\)/,
  );
});

/** struct epoll_event, which is packed on x86-64: `data` is at offset 4. */
function packed() {
  const w = new BtfWriter();
  const long = w.int('long unsigned int', 8);
  const int = w.int('unsigned int', 4);
  w.struct('epoll_event', 12, [
    { name: 'events', type: int, bits: 0 },
    { name: 'data', type: long, bits: 32 },
  ]);
  return target('x64', Btf.parse(w.blob()));
}

test('a field that needs several loads is assembled before the arguments of a call are placed', () => {
  const lines = emitted((b) => {
    const text = b.stack(u64, 0);
    const { data } = b.kernel('epoll_event', b.arg(0)).fields({ data: 'data' });
    b.call(tracePrintk, text, 1, 2, data);
  }, packed());
  const call = lines.slice(lines.indexOf('call bpf_probe_read_kernel#113') + 1);
  const last = call.findLastIndex((line) => line.includes('|='));
  assert.ok(last >= 0 && last < call.indexOf('r3 = 1'), call.join('; '));
});

test('a field that needs several loads is returned completely', () => {
  const whole = subprogram('whole', [struct({ a: u32, rest: struct({ b: u32, c: u32 }) })], (b, x) => {
    void x;
    const { data } = b.kernel('epoll_event', b.value(0)).fields({ data: 'data' });
    b.return(data);
  });
  const lines = emitted((b) => {
    const x = b.stack(struct({ a: u32, rest: struct({ b: u32, c: u32 }) }));
    x.set(0);
    b.call(whole, x);
  }, packed());
  assert.equal(lines.slice(lines.indexOf('whole:')).slice(-5), [
    ...['r0 = *(u32 *)(r10 -12)', 'r1 = *(u32 *)(r10 -8)', 'r1 <<= 32', 'r0 |= r1'],
    'exit',
  ]);
});

// --- what helpers write ----------------------------------------------------------------------------

test('memory that a helper may fill partially is zeroed first', () => {
  const zeroed = ['*(u64 *)(r10 -16) = 0', '*(u64 *)(r10 -8) = 0'];
  assert.equal(emitted((b) => b.call(probeReadKernelStr, b.stack(chars(16)), b.arg(0))).slice(0, 2), zeroed);
  assert.equal(emitted((b) => b.call(getCurrentComm, b.stack(chars(16)))).slice(0, 2), zeroed);
  assert.ok(emitted((b) => b.call(getStack, b.stack(bytes(8)), 0)).includes('*(u64 *)(r10 -8) = 0'));
  assert.not.ok(
    emitted((b) => b.call(probeReadKernel, b.stack(bytes(8)), b.arg(0))).includes('*(u64 *)(r10 -8) = 0'),
  );
});

test("a helper's result must go to memory that the program can read", () => {
  assert.match(
    errorMessage((b) => b.call(getCurrentComm, b.arg(0).get())),
    /^bpf_get_current_comm writes to memory, but got the number argument 0 \(u64, .*\): pass a b\.stack\(\)/,
  );
  assert.match(
    errorMessage((b) => b.call(probeReadKernel, 5, b.arg(0))),
    /but got the number 5/,
  );
  assert.match(
    errorMessage((b) => b.call(getCurrentComm, b.arg(0))),
    /but got argument 0, which is read-only/,
  );
});

test('a struct in the context is copied to the stack for a helper', () => {
  const Pair = struct({ a: u32, b: u32 });
  const events = perfEventArray('events', Pair);
  const lines = emitted((b) => {
    b.keep(b.context);
    b.output(events, b.as(b.arg(0), Pair));
  });
  assert.equal(lines.slice(1, 3), ['r0 = *(u64 *)(r6 +0)', '*(u64 *)(r10 -8) = r0']);
});

test('a number is not a key of a map with struct keys', () => {
  const map = hash('m', { key: struct({ a: u32, b: u32 }), value: u32, maxEntries: 1 });
  assert.match(
    errorMessage((b) => b.update(map, b.arg(0), 1)),
    /^the key of map m is a struct of 8 bytes \(a, b\), but got the number argument 0 \(u64, .*\): fill a b\.stack\(\) of its schema/,
  );
});

// --- far offsets, elements, bit fields -------------------------------------------------------------

test('fields beyond the reach of a load are accessed by a moved pointer', () => {
  const Far = struct({ head: bytes(40_000), last: u64 });
  const map = array('far', { value: Far });
  assert.equal(
    emitted((b) => {
      const { last } = b.global(map);
      last.set(1);
      b.exit(last.get());
    }),
    [
      ...['r0 = map[far][0]+0', 'r2 = r0', 'r2 += 40000', '*(u64 *)(r2 +0) = 1'],
      ...['r3 = r0', 'r3 += 40000', 'r2 = *(u64 *)(r3 +0)', 'r0 = r2', 'exit'],
    ],
  );
});

test('an element with a constant index is a place; an index out of range throws', () => {
  assert.equal(emitted((b) => b.exit(b.as(b.arg(0), u32).get())).length, 2);
  assert.equal(
    emitted((b) => {
      const numbers = b.stack(arrayOf(u16, 4));
      numbers.set(0);
      numbers.at(2).set(7);
    }).slice(0, 2),
    ['*(u64 *)(r10 -8) = 0', '*(u16 *)(r10 -4) = 7'],
  );
  for (const index of [-1, 4, 1.5])
    assert.match(
      errorMessage((b) => b.stack(arrayOf(u16, 4)).at(index)),
      index === 1.5 ? /^1\.5 is not/ : /^stack has no element -?\d+: it has 4, from 0 to 3/,
    );
});

test('a variable index is compared with the length and selects one element', () => {
  const map = array('m', { value: struct({ n: arrayOf(struct({ hits: u32, ns: u64 }), 8) }) });
  assert.equal(
    emitted((b) => {
      const { n } = b.global(map);
      n.at(b.arg(0), ({ hits }) => hits.atomicAdd(1));
    }),
    [
      ...['r0 = map[m][0]+0', 'r2 = *(u64 *)(r1 +0)', 'if r2 >= 0x8 goto end_1'],
      ...['r2 *= 16', 'r2 += r0', 'r3 = 1', 'lock *(u32 *)(r2 +0) += r3'],
      ...['end_1:', 'r0 = 0', 'exit'],
    ],
  );
  assert.match(
    errorMessage((b) => b.stack(arrayOf(u32, 2)).at(b.arg(0), () => {})),
    /never written/,
  );
  assert.match(
    errorMessage((b) => b.global(map).n.at(b.arg(0).get().asSigned(), () => {})),
    /may be negative: cast it with as\(u32\)/,
  );
});

test('a bit field reads as the number in its bits', () => {
  const w = new BtfWriter();
  const int = w.int('unsigned int', 4);
  const signed = w.int('int', 4, 1);
  w.struct(
    'flags',
    4,
    [
      { name: 'low', type: int, bits: 0, size: 3 },
      { name: 'sign', type: signed, bits: 3, size: 5 },
    ],
    true,
  );
  const on = target('x64', Btf.parse(w.blob()));
  const lines = emitted((b) => {
    const { low, sign } = b.kernel('flags', b.arg(0)).fields({ low: 'low', sign: 'sign' });
    b.if(low.eq(7), () => b.exit(1));
    b.if(sign.lt(0), () => b.exit(2));
  }, on);
  assert.ok(lines.join('; ').includes('r0 <<= 61; r0 >>= 61; if r0 != 0x7'), lines.join('; '));
  assert.ok(lines.join('; ').includes('r0 <<= 56; r0 s>>= 59; if r0 s>= 0x0'), lines.join('; '));
  const field = (b: Builder) => b.kernel('flags', b.arg(0)).fields({ low: 'low' }).low;
  assert.match(
    errorMessage((b) => b.if(field(b).eq(8), () => b.exit()), on),
    /^8 doesn't fit flags\.low \(0 to 7\)/,
  );
  assert.match(
    errorMessage((b) => field(b).set(1), on),
    /^flags\.low is a bit field: it can only be read/,
  );
});

test('a typed pointer reaches members past 32,767 bytes', () => {
  const w = new BtfWriter();
  const long = w.int('long unsigned int', 8);
  const node = w.struct('node', 50_000, [{ name: 'last', type: long, bits: 8 * 40_000 }]);
  w.typedef('btf_trace_t', w.pointer(w.prototype(0, { data: w.pointer(0), node: w.pointer(node) })));
  const program = tpBtf('t', target('x64', Btf.parse(w.blob())), (b) =>
    b.exit(b.kernel('node', b.arg(0)).fields({ last: 'last' }).last.get()),
  );
  assert.equal(textsOf(program.instructions), [
    ...['r0 = *(u64 *)(r1 +0)', 'r3 = r0', 'r3 += 40000', 'r2 = *(u64 *)(r3 +0)', 'r0 = r2', 'exit'],
  ]);
});

// --- memory that a subprogram fills ----------------------------------------------------------------

const Stamp = struct({ ns: u64, id: u32, pad: u32 });

test('out() passes unwritten memory, which is written afterwards', () => {
  const fill = subprogram('fill', [out(Stamp)], (b, stamp) => {
    const to = b.keep(stamp);
    to.ns.set(b.call(ktimeGetNs));
    to.id.set(b.call(getCurrentPidTgid).as(u32));
    to.pad.set(0);
  });
  assert.ok(
    emitted((b) => {
      const stamp = b.stack(Stamp);
      b.call(fill, stamp);
      b.exit(stamp.ns.get());
    }),
  );
  const plain = subprogram('plain', [Stamp], () => {});
  assert.match(
    errorMessage((b) => b.call(plain, b.stack(Stamp))),
    /^stack\.ns was never written/,
  );
});

for (const [name, body] of [
  ['at its end', (b: Builder, stamp: { ns: Place }) => stamp.ns.set(b.value(1))],
  [
    'on one path',
    (b: Builder, stamp: { ns: Place }) => {
      b.if(stamp.ns.eq(0), () => {});
    },
  ],
  [
    'before a return',
    (b: Builder, stamp: StructMemory) => {
      b.if(b.value(1).eq(1), () => b.return());
      stamp.set(0);
    },
  ],
] as const)
  test(`a subprogram must fill its out() memory: not ${name}`, () => {
    const fill = subprogram('fill', [out(Stamp)], body as never);
    assert.match(
      errorMessage((b) => b.call(fill, b.stack(Stamp))),
      /^argument 0 of fill\.\w+ was never written/,
    );
  });

test('fields named as the methods of their struct are reached by field()', () => {
  const Clashing = struct({ set: u64, field: struct({ set: u64 }) });
  const lines = emitted((b) => {
    const memory = b.stack(Clashing);
    memory.set(0);
    memory.field('set').set(1);
    memory.field('field').field('set').set(2);
  });
  assert.equal(lines.slice(0, 4), [
    '*(u64 *)(r10 -16) = 0',
    '*(u64 *)(r10 -8) = 0',
    '*(u64 *)(r10 -16) = 1',
    '*(u64 *)(r10 -8) = 2',
  ]);
});

const numbers = hash('numbers', { key: u64, value: u64, maxEntries: 1 });
for (const [use, body] of [
  ['an operand', (b: Builder, method: never) => void b.stack(u64).set(method)],
  ['an operand of a condition', (b: Builder, method: never) => b.if(b.arg(0).eq(method), () => {})],
  ['a key', (b: Builder, method: never) => void b.delete(numbers, method)],
  ['memory for a helper', (b: Builder, method: never) => void b.call(getCurrentComm, method)],
  ['memory seen by another schema', (b: Builder, method: never) => void b.as(method, u32)],
] as const)
  test(`a method that hides a field is refused as ${use}`, () => {
    const message = errorMessage((b) => body(b, b.stack(struct({ set: u64 })).set as never));
    assert.match(message, /the method set\(\) \(a field of its name is memory\.field\('set'\)\)/);
  });

test('an unknown field is refused with the names of the fields', () =>
  assert.match(
    errorMessage((b) => b.stack(struct({ a: u64, b: u64 })).field('c' as never)),
    /^stack has no field 'c'; it has a, b \(\S+memory\.test\.ts:\d+\)$/,
  ));

test('bytes are written one element at a time', () => {
  assert.ok(
    emitted((b) => {
      const data = b.stack(arrayOf(u8, 2));
      data.at(0).set(1);
      data.at(1).set(2);
      b.update(hash('m', { key: u32, value: arrayOf(u8, 2), maxEntries: 1 }), 1, data);
    }),
  );
});

test('the index of one-byte elements is not multiplied', () => {
  const code = (size: typeof u8 | typeof u16) =>
    emitted((b) => b.stack(arrayOf(size, 4), 0).at(b.arg(0).get().and(3), (element) => element.set(1)));
  assert.equal(
    [u8, u16].map((size) => code(size).filter((line) => line.includes('*= '))),
    [[], ['r2 *= 2']],
  );
});

test.run();
