import * as assert from 'uvu/assert';
import { Btf, BtfError, NoSuchField } from '../../src/asm/btf.ts';
import { suite } from '../harness.ts';
import { BtfWriter } from './btf-writer.ts';
import { kernelInSmall } from './fixtures/kernel-types.ts';

const test = suite('asm/btf-blob');

/** Runs it, and returns what it threw. */
function thrown(run: () => unknown): Error {
  try {
    run();
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error('nothing was thrown');
}

const SIGNED = 1; // BTF_INT_SIGNED

const btf = Btf.parse(kernelInSmall().blob());

// Types

test('types are found by kind and name', () => {
  assert.equal(btf.type(btf.find('typedef', 'btf_trace_inet_sock_set_state') ?? 0).kind, 'typedef');
  assert.is(btf.find('int', 'int'), 4);
  assert.is(btf.find('struct', 'int'), undefined);
  assert.is(btf.find('struct', 'nothing'), undefined);
  assert.is(btf.find('struct', ''), undefined);
  assert.is(btf.find('struct', 'sock\0sock_common'), undefined);
});

test('a name that is only the end of another string is found', () => {
  const w = new BtfWriter();
  w.endOf('unix_sock', 'sock');
  w.string('psock');
  const id = w.struct('sock', 4, []);
  assert.is(Btf.parse(w.blob()).find('struct', 'sock'), id);
});

test('every kind is decoded', () => {
  const w = new BtfWriter();
  const int = w.int('int', 4, SIGNED);
  const ids = {
    ptr: w.pointer(int),
    fwd: w.raw('later', 7 << 24, 0),
    fwdUnion: w.raw('later', 0x8700_0000, 0),
    restrict: w.raw('', 11 << 24, int),
    func: w.raw('f', (12 << 24) + 1, w.prototype(int, { a: int, '': 0 })),
    var: w.raw('v', 14 << 24, int, [1]),
    datasec: w.raw('.data', (15 << 24) + 1, 8, [int, 4, 4]),
    float: w.raw('double', 16 << 24, 8),
    decl: w.raw('tag', 17 << 24, int, [-1 >>> 0]),
    typeTag: w.typeTag('rcu', int),
    last: w.enum64('e', { A: 1n }),
  };
  const all = Btf.parse(w.blob());
  const type = (id: number) => all.type(id);
  assert.equal(type(0), { kind: 'void' });
  assert.equal(type(int), {
    kind: 'int',
    name: 'int',
    size: 4,
    signed: true,
    bool: false,
    bits: 32,
    bitOffset: 0,
  });
  assert.equal(type(ids.ptr), { kind: 'ptr', name: '', type: int });
  assert.equal(type(ids.fwd), { kind: 'fwd', name: 'later', of: 'struct' });
  assert.equal(type(ids.fwdUnion), { kind: 'fwd', name: 'later', of: 'union' });
  assert.equal(type(ids.restrict), { kind: 'restrict', name: '', type: int });
  assert.equal(type(ids.func), { kind: 'func', name: 'f', type: ids.func - 1, linkage: 1 });
  assert.equal(type(ids.func - 1), {
    kind: 'func_proto',
    returns: int,
    parameters: [
      { name: 'a', type: int },
      { name: '', type: 0 },
    ],
  });
  assert.equal(type(ids.var), { kind: 'var', name: 'v', type: int, linkage: 1 });
  assert.equal(type(ids.datasec), {
    kind: 'datasec',
    name: '.data',
    size: 8,
    variables: [{ type: int, offset: 4, size: 4 }],
  });
  assert.equal(type(ids.float), { kind: 'float', name: 'double', size: 8 });
  assert.equal(type(ids.decl), { kind: 'decl_tag', name: 'tag', type: int, component: -1 });
  assert.equal(type(ids.typeTag), { kind: 'type_tag', name: 'rcu', type: int });
  assert.equal(type(ids.last), {
    kind: 'enum64',
    name: 'e',
    size: 8,
    signed: false,
    values: [{ name: 'A', value: 1n }],
  });
  assert.is(all.count, ids.last);
});

test('a struct of more than 65,535 members is read (24 bits of vlen since Linux 7.2)', () => {
  const w = new BtfWriter();
  const u8 = w.int('unsigned char', 1);
  const members = Array.from({ length: 70_000 }, (_, i) => ({ name: `m${i}`, type: u8, bits: i * 8 }));
  w.struct('large', 70_000, members);
  const after = w.struct('after', 1, []);
  const large = Btf.parse(w.blob());
  assert.is(large.member('large', 'm69999').offset, 69_999);
  assert.is(large.find('struct', 'after'), after);
});

test('offsets in long structs have 32 bits, or 24 beside the sizes of bit fields', () => {
  const w = new BtfWriter();
  const int = w.int('int', 4);
  w.struct('long', 2 ** 28, [{ name: 'last', type: int, bits: 0x7000_0000 }]);
  w.struct('flagged', 2 ** 21, [{ name: 'last', type: int, bits: 0xff_ffe0 }], true);
  const long = Btf.parse(w.blob());
  assert.is(long.member('long', 'last').offset, 0x0e00_0000);
  assert.is(long.member('flagged', 'last').offset, 0x1f_fffc);
});

// The blob

test('a longer header is accepted', () => {
  assert.is(Btf.parse(kernelInSmall().blob({ header: 32 })).sizeOf('sock'), 120);
});

test('bytes at any alignment are read', () => {
  const blob = kernelInSmall().blob();
  const shifted = new Uint8Array(blob.length + 3);
  shifted.set(blob, 3);
  assert.is(Btf.parse(shifted.subarray(3)).member('sock', 'sk_err').offset, 60);
});

const broken: [string, () => Uint8Array, RegExp][] = [
  ['nothing', () => new Uint8Array(0), /^0 bytes are no BTF/],
  ['another magic', () => kernelInSmall().blob({ magic: 0x457f }), /begins with 0x457f, not 0xeb9f/],
  ['a big-endian machine\u2019s', () => kernelInSmall().blob({ magic: 0x9feb }), /big-endian/],
  ['another version', () => kernelInSmall().blob({ version: 2 }), /BTF version 2/],
  ['cut short', () => kernelInSmall().blob().slice(0, -1), /the BTF string section .* ends past the blob/],
  [
    'a header longer than the blob',
    () => kernelInSmall().blob().slice(0, 24).fill(0xff, 4, 8),
    /BTF header of 4294967295 bytes/,
  ],
  [
    'strings without their last NUL',
    () => kernelInSmall().blob({ strings: Buffer.from('\0abc') }),
    /begin and end with a NUL/,
  ],
  [
    'names behind the strings',
    () => kernelInSmall().blob({ strings: Buffer.from('\0a\0') }),
    /^BTF type \d+: its name is at \d+, past the string section/,
  ],
  ['a kind of the future', () => blobOf((w) => w.raw('x', 20 << 24, 0)), /^BTF type 2: unknown kind 20/],
  [
    'a kind of more than 5 bits',
    () => blobOf((w) => w.raw('x', 33 << 24, 0)),
    /^BTF type 2: unknown kind 33/,
  ],
  ['kind 0', () => blobOf((w) => w.raw('x', 0, 0)), /^BTF type 2: unknown kind 0/],
  ['a type cut short', () => blobOf((w) => w.raw('x', (4 << 24) + 9, 0)), /^BTF type 2 reaches past the end/],
];
for (const [name, make, message] of broken)
  test(`parse refuses ${name} with BtfError`, () => {
    const error = thrown(() => Btf.parse(make()));
    assert.instance(error, BtfError);
    assert.match(error.message, message);
  });

function blobOf(add: (w: BtfWriter) => void): Uint8Array {
  const w = new BtfWriter();
  w.int('int', 4);
  add(w);
  return w.blob();
}

test('an id that does not exist throws BtfError', () => {
  for (const id of [-1, btf.count + 1, 1.5, Number.NaN])
    assert.instance(
      thrown(() => btf.type(id)),
      BtfError,
      `${id}`,
    );
});

test('types that refer to themselves throw BtfError instead of looping', () => {
  const w = new BtfWriter();
  w.typedef('self', 1);
  w.struct('a', 8, [{ name: 'x', type: 1, bits: 0 }]);
  w.array(3, 2);
  w.struct('b', 8, [{ name: 'x', type: 3, bits: 0 }]);
  w.struct('', 8, [{ type: 5, bits: 0 }]);
  w.struct('c', 8, [{ type: 5, bits: 0 }]);
  const loops = Btf.parse(w.blob());
  assert.match(thrown(() => loops.member('a', 'x')).message, /is a typedef or qualifier of itself/);
  assert.match(thrown(() => loops.member('b', 'x')).message, /is an array of itself/);
  assert.is(loops.has('c', 'x'), false);
  assert.match(thrown(() => loops.has('self')).message, /of itself/);
});

test('anonymous structs nested a thousand deep throw BtfError', () => {
  const w = new BtfWriter();
  for (let i = 0; i < 1000; i++) w.struct('', 8, [{ type: i + 2, bits: 0 }]);
  w.struct('', 8, []);
  w.struct('deep', 8, [{ type: 1, bits: 0 }]);
  assert.match(thrown(() => Btf.parse(w.blob()).member('deep', 'x')).message, /nested deeper than/);
});

test('anonymous structs that share their parts are searched once each', () => {
  const w = new BtfWriter();
  // 2^40 paths lead from the first to the last.
  for (let i = 0; i < 40; i++)
    w.struct('', 8, [
      { type: i + 2, bits: 0 },
      { type: i + 2, bits: 0 },
    ]);
  w.struct('', 8, []);
  w.struct('wide', 8, [{ type: 1, bits: 0 }]);
  assert.is(Btf.parse(w.blob()).has('wide', 'x'), false);
});

test('whatever bytes are changed, the answer is a value or a BtfError', () => {
  const good = kernelInSmall().blob();
  let state = 7;
  const random = (below: number) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
  const outcomes = { read: 0, refused: 0 };
  for (let round = 0; round < 4000; round++) {
    const bytes = good.slice(0, round % 4 === 0 ? random(good.length) : good.length);
    for (let change = random(4); change >= 0; change--)
      bytes[random(bytes.length)] = random(3) ? random(256) : 0xff;
    try {
      useAll(Btf.parse(bytes));
      outcomes.read++;
    } catch (error) {
      if (!(error instanceof BtfError)) throw error;
      outcomes.refused++;
    }
  }
  assert.ok(outcomes.read > 300 && outcomes.refused > 300, JSON.stringify(outcomes));
});

/** Asks for everything that there is a question for. */
function useAll(changed: Btf): void {
  for (let id = 0; id <= changed.count; id++) changed.type(id);
  changed.find('typedef', 'btf_trace_inet_sock_set_state');
  changed.has('sock', 'sk_grid[1][2]');
  changed.has('sock', 'sk_inner');
  for (const ask of [
    () => changed.member('sock', 'skc_daddr'),
    () => changed.member('sock', '__sk_common.skc_v6_daddr.in6_u.u6_addr32[1]'),
    () => changed.member('sock', 'sk_flags.across'),
    () => changed.sizeOf('in6_addr'),
    () => changed.enumValue('TCP_SYN_SENT'),
    () => changed.enumValue('BELOW', 'negative'),
  ])
    try {
      ask();
    } catch (error) {
      if (!(error instanceof NoSuchField)) throw error;
    }
}

test.run();
