import * as assert from 'uvu/assert';
import { BtfReader } from '../../src/asm/btf/reader.ts';
import { Btf, BtfError } from '../../src/asm/btf.ts';
import { suite } from '../harness.ts';
import { thrown } from '../thrown.ts';
import { BtfWriter } from './btf-writer.ts';
import { kernelInSmall } from './fixtures/kernel-types.ts';

const test = suite('asm/btf-blob');

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

test('a name stored as the end of another string is found', () => {
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
    enum64: w.enum64('e', { A: 1n }),
    constant: w.raw('', 0x1400_0002, 8, [2, 7, 1]),
    locations: w.raw('', 0x1500_0002, 0, [int, 0]),
    last: w.raw('inline.text', 0x1600_0001, 0, [3, 4, 0x100]),
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
  assert.equal(type(ids.constant), { kind: 'loc_param', size: 8, flags: 2, values: [7, 1] });
  assert.equal(type(ids.locations), { kind: 'loc_proto', parameters: [int, 0] });
  assert.equal(type(ids.last), {
    kind: 'locsec',
    name: 'inline.text',
    sites: [{ func: 3, prototype: 4, offset: 0x100 }],
  });
  assert.equal(type(ids.enum64), {
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

test('offsets in long structs have 32 bits, or 24 next to bit-field sizes', () => {
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
  assert.is(Btf.parse(kernelInSmall().blob({ header: 28 })).sizeOf('sock'), 120);
  assert.is(Btf.parse(kernelInSmall().blob({ header: 48, layout: new Uint8Array() })).sizeOf('sock'), 120);
});

/** The layout section: for each kind the size of its fixed part and of each element. */
function layoutOf(extents: Readonly<Record<number, readonly [number, number]>>): Uint8Array {
  const bytes = new Uint8Array(4 * (Math.max(...Object.keys(extents).map(Number)) + 1));
  for (const [kind, extent] of Object.entries(extents)) bytes.set(extent, 4 * Number(kind));
  return bytes;
}

test('unknown kinds are skipped if the blob has a layout section', () => {
  const w = new BtfWriter();
  w.int('int', 4);
  const later = w.raw('later', (40 << 24) + 3, 0, [1, 11, 12, 21, 22, 31, 32]);
  const grown = w.raw('', (20 << 24) + 1, 8, [2, 7, 9]);
  const after = w.struct('after', 4, [{ name: 'x', type: 1, bits: 0 }]);
  const layout = layoutOf({ 1: [0, 0], 20: [8, 4], 40: [4, 8] });
  const read = Btf.parse(w.blob({ layout }));
  assert.equal(read.type(later), { kind: 'unknown', name: 'later', number: 40 });
  assert.equal(
    read.type(grown),
    { kind: 'unknown', name: '', number: 20 },
    'a known kind with another layout',
  );
  assert.is(read.find('struct', 'after'), after);
  assert.is(read.type(1).kind, 'int', 'known kinds are unchanged');
  assert.throws(() => Btf.parse(w.blob()), /unknown kind 40/);
});

test('layouts that are no multiple of a word are refused', () => {
  const layout = layoutOf({ 21: [2, 4] });
  assert.throws(
    () => Btf.parse(kernelInSmall().blob({ layout })),
    /layout of kind 21 .* is not a multiple of 4 bytes/,
  );
});

// Modules

/** The types of a module, based on those of the small kernel. */
function module(): { readonly btf: Btf; readonly own: number; readonly first: number } {
  const base = kernelInSmall();
  const w = new BtfWriter(base);
  const s32 = btf.find('int', 'int') ?? 0;
  const own = w.struct('nft_table', 136, [
    { name: 'sk', type: btf.find('struct', 'sock') ?? 0, bits: 64 },
    { name: 'use', type: s32, bits: 1024 },
  ]);
  // Strings of the kernel are not written again.
  w.struct('proto', 16, [{ name: 'close', type: s32, bits: 32 }]);
  w.enum('nft_verdicts', 4, { NFT_BREAK: 7, TCP_SYN_SENT: 99 });
  w.func('nft_do_chain', w.prototype(s32, { table: w.pointer(own) }));
  return { btf: Btf.parse(w.blob(), btf), own, first: btf.count + 1 };
}

test("module types follow the kernel's types", () => {
  const { btf: both, own, first } = module();
  assert.is(own, first);
  assert.is(both.find('struct', 'nft_table'), first);
  assert.is(both.find('struct', 'sock'), btf.find('struct', 'sock'));
  assert.is(both.count, first + 5);
  assert.is(both.member('nft_table', 'sk.sk_err').offset, 8 + 60);
  assert.is(both.member('sock', 'sk_err').offset, 60, 'of the kernel');
  assert.equal(both.type(4), btf.type(4));
  assert.is(both.enumValue('NFT_BREAK'), 7);
  assert.is(both.enumValue('TCP_SYN_SENT'), 2, 'the kernel has priority');
  assert.is(both.prototype('nft_do_chain').parameters[0]?.pointsTo?.name, 'nft_table');
  assert.throws(() => both.member('nft_table', 'usee'), /nearest: use/);
  assert.throws(() => both.sizeOf('nft_tables'), /nearest: nft_table/);
});

test("a module's own struct has priority over a kernel struct of the same name", () => {
  const { btf: both } = module();
  assert.is(both.sizeOf('proto'), 16);
  assert.is(btf.sizeOf('proto'), 8);
});

test('a split BTF blob needs its base, and may have no strings', () => {
  const base = kernelInSmall();
  const w = new BtfWriter(base);
  w.const(4);
  assert.is(Btf.parse(w.blob(), btf).count, btf.count + 1);
  assert.throws(() => Btf.parse(w.blob()), /begin and end with a NUL/);
});

// Prototypes

test('functions have parameters and a return type', () => {
  const w = new BtfWriter();
  const s32 = w.int('int', 4, SIGNED);
  const sock = w.struct('sock', 8, []);
  const anonymous = w.struct('', 4, [{ name: 'flags', type: s32, bits: 0 }]);
  const gfp = w.typedef('gfp_t', anonymous);
  const pointer = w.pointer(w.const(sock));
  const proto = w.prototype(s32, { sk: pointer, flags: w.typedef('len_t', s32), gfp });
  w.func('send', proto);
  w.typedef('btf_trace_sent', w.pointer(w.const(w.prototype(0, { __data: w.pointer(0), '': s32 }))));
  w.func('printk', w.prototype(0, { fmt: w.pointer(s32), '': 0 }));
  w.func('bad', w.prototype(s32, { x: proto }));
  const read = Btf.parse(w.blob());
  assert.equal(read.prototype('send'), {
    parameters: [
      {
        name: 'sk',
        kind: 'pointer',
        signed: false,
        type: pointer,
        pointsTo: { name: 'sock', type: sock },
        size: 8,
      },
      { name: 'flags', kind: 'int', signed: true, type: s32, size: 4 },
      { name: 'gfp', kind: 'struct', signed: false, type: anonymous, size: 4 },
    ],
    returns: { kind: 'int', signed: true, type: s32, size: 4 },
    variadic: false,
  });
  const { parameters, returns } = read.prototype('btf_trace_sent');
  assert.equal(
    parameters.map(({ name, kind }) => [name, kind]),
    [
      ['__data', 'pointer'],
      ['', 'int'],
    ],
  );
  assert.is(returns, undefined);
  assert.is(read.prototype('printk').variadic, true);
  assert.is(read.prototype('printk').parameters.length, 1);
  assert.throws(() => read.prototype('sent'), /no function 'sent'; nearest: send/);
  assert.throws(() => read.prototype('len_t'), /no function 'len_t'/);
  assert.throws(() => read.prototype('bad'), /parameter 0 has a type without values/);
});

test('unaligned bytes can be parsed', () => {
  const blob = kernelInSmall().blob();
  const shifted = new Uint8Array(blob.length + 3);
  shifted.set(blob, 3);
  assert.is(Btf.parse(shifted.subarray(3)).member('sock', 'sk_err').offset, 60);
});

const broken: [string, () => Uint8Array, RegExp][] = [
  ['nothing', () => new Uint8Array(0), /^0 bytes are too few for BTF/],
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
    'names past the strings',
    () => kernelInSmall().blob({ strings: Buffer.from('\0a\0') }),
    /^BTF type \d+: its name is at \d+, past the string section/,
  ],
  ['an unknown kind', () => blobOf((w) => w.raw('x', 23 << 24, 0)), /^BTF type 2: unknown kind 23/],
  [
    'a kind of more than 5 bits',
    () => blobOf((w) => w.raw('x', 33 << 24, 0)),
    /^BTF type 2: unknown kind 33/,
  ],
  ['kind 0', () => blobOf((w) => w.raw('x', 0, 0)), /^BTF type 2: unknown kind 0/],
  [
    'a last type of one word',
    () => blobOf((w) => w.raw('x', 1 << 24, 4, [0, 0])),
    /^BTF type 3 reaches past the end/,
  ],
  [
    'a last type of two words',
    () => blobOf((w) => w.raw('x', 1 << 24, 4, [0, 0, 0])),
    /^BTF type 3 reaches past the end/,
  ],
  ['a type cut short', () => blobOf((w) => w.raw('x', (4 << 24) + 9, 0)), /^BTF type 2 reaches past the end/],
];
for (const [name, make, message] of broken)
  test(`parse refuses ${name} with BtfError`, () => {
    const error = thrown(() => Btf.parse(make()));
    assert.instance(error, BtfError);
    assert.match(error.message, message);
  });

test('a lookup that reaches a damaged type throws BtfError', () => {
  const w = new BtfWriter();
  for (let i = 1; i <= 40; i++) w.int(`int${i}`, 4);
  w.raw('x', 33 << 24, 0);
  w.int('last', 4);
  const lazy = Btf.lazy(w.blob());
  assert.is(lazy.find('int', 'int20'), 20);
  assert.equal((lazy.type(1) as { name: string }).name, 'int1');
  for (const look of [
    () => lazy.find('int', 'last'),
    () => lazy.type(41),
    () => lazy.count,
    () => lazy.prototype('f'),
  ])
    assert.match(thrown(look).message, /^BTF type 41: unknown kind 33/);
});

test('types are numbered in order, at every index position', () => {
  for (const count of [1, 15, 16, 17, 31, 32, 33, 100]) {
    const w = new BtfWriter();
    for (let i = 1; i <= count; i++)
      if (i % 3 === 0) w.array(1, i);
      else w.int(`int${i}`, 4);
    const [all, lazy] = [Btf.parse(w.blob()), Btf.lazy(w.blob())];
    assert.is(all.count, count);
    for (let id = count; id >= 1; id--) {
      if (id % 3 === 0) assert.is((lazy.type(id) as { length?: number }).length, id);
      else assert.is(lazy.find('int', `int${id}`), id);
    }
    assert.is(lazy.count, count);
    assert.match(thrown(() => lazy.type(count + 1)).message, /no type with the id/);
  }
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

test('recursive types throw BtfError', () => {
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

test('anonymous structs with shared parts are searched once each', () => {
  const w = new BtfWriter();
  // 2^40 paths lead from the first struct to the last.
  for (let i = 0; i < 40; i++)
    w.struct('', 8, [
      { type: i + 2, bits: 0 },
      { type: i + 2, bits: 0 },
    ]);
  w.struct('', 8, []);
  w.struct('wide', 8, [{ type: 1, bits: 0 }]);
  assert.is(Btf.parse(w.blob()).has('wide', 'x'), false);
});

test('an enum value is found in the enums that have it, with any types in between', () => {
  const w = new BtfWriter();
  w.enum('first', 4, { A: 1, B: 2 });
  w.struct('A', 4, [{ name: 'B', type: w.int('int', 4, 1), bits: 0 }]);
  w.enum('second', 4, { C: 3 });
  w.enum64('third', { D: 4n });
  const read = Btf.parse(w.blob());
  const values = ['A', 'B', 'C', 'D'].map((name) => Number(read.enumValue(name)));
  assert.equal(values, [1, 2, 3, 4]);
  assert.throws(() => read.enumValue('E'), /no value 'E' in any enum/);
});

test('the first type of a name is found, independent of its string offset', () => {
  const w = new BtfWriter();
  w.string('the_int');
  w.string('an_int');
  w.endOf('an_int', 'int');
  const first = w.int('int', 4);
  w.endOf('the_int', 'int');
  const second = w.int('int', 8);
  const struct = w.struct('int', 4, []);
  w.endOf('an_int', 'int');
  const other = w.struct('int', 8, []);
  const base = new BtfReader(w.blob());
  assert.is(base.find('int', 'int'), first);
  assert.is(base.find('struct', 'int'), struct);
  assert.equal(base.findAll(['int', 'struct'], 'int'), [first, second, struct, other]);
  assert.is(base.find('union', 'int'), undefined);
  // A module may repeat strings of the kernel.
  const own = new BtfWriter(w);
  own.string('my_int');
  own.endOf('my_int', 'int');
  const repeated = own.int('int', 2);
  own.endOf('the_int', 'int');
  own.int('int', 1);
  const both = new BtfReader(own.blob(), base);
  assert.is(both.find('int', 'int'), repeated);
  assert.equal(both.findAll(['int'], 'int'), [repeated, repeated + 1]);
  assert.is(both.find('struct', 'int'), struct);
});

test('an enum value is found in the last enum of the kernel and of a module', () => {
  const w = new BtfWriter();
  w.enum('first', 4, { A: 1, B: 2 });
  w.enum('last', 4, { C: 3, D: 4 });
  const base = Btf.parse(w.blob());
  const own = new BtfWriter(w);
  own.enum('own', 4, { E: 5, D: 6 });
  own.enum('lastOwn', 4, { F: 7, C: 8 });
  const both = Btf.parse(own.blob(), base);
  for (const [name, value] of Object.entries({ A: 1, B: 2, C: 3, D: 4 })) {
    assert.is(base.enumValue(name), value, name);
    assert.is(both.enumValue(name), value, name);
  }
  assert.is(both.enumValue('E'), 5);
  assert.is(both.enumValue('F'), 7);
  assert.is(both.enumValue('D', 'own'), 6);
  assert.throws(() => base.enumValue('E'), /no value 'E' in any enum/);
});

test('an array with too many bytes for a number is refused', () => {
  const w = new BtfWriter();
  const int = w.int('int', 1, 1);
  const most = w.array(int, 0xffff_ffff);
  const more = w.array(most, 0x20_0000);
  w.struct('large', 4, [
    { name: 'most', type: most, bits: 0 },
    { name: 'more', type: more, bits: 0 },
    { name: 'over', type: w.array(most, 0x20_0001), bits: 0 },
  ]);
  const read = Btf.parse(w.blob());
  assert.is(read.member('large', 'most').size, 0xffff_ffff);
  assert.is(read.member('large', 'more').size, 0xffff_ffff * 0x20_0000);
  assert.match(thrown(() => read.member('large', 'over')).message, /an array of \d+ bytes/);
});

test('at most 64 typedefs and qualifiers lead to a type', () => {
  const chain = (length: number): Btf => {
    const w = new BtfWriter();
    let type = w.int('int', 4, 1);
    for (let i = 0; i < length; i++) type = w.const(type);
    w.struct('deep', 4, [{ name: 'a', type, bits: 0 }]);
    return Btf.parse(w.blob());
  };
  assert.is(chain(63).member('deep', 'a').size, 4);
  assert.throws(() => chain(64).member('deep', 'a'), /is a typedef or qualifier of itself/);
});

test('without the bit-field flag, only an integer at an offset inside a byte is a bit field', () => {
  const w = new BtfWriter();
  const short = w.int('short unsigned int', 2);
  const huge = w.int('__int128', 16);
  w.struct('mixed', 32, [
    { name: 'whole', type: short, bits: 0 },
    { name: 'odd', type: short, bits: 17 },
    { name: 'huge', type: huge, bits: 128 },
  ]);
  const read = Btf.parse(w.blob());
  const placeOf = (path: string) => {
    const { offset, size, bitOffset, bitSize } = read.member('mixed', path);
    return [offset, size, bitOffset, bitSize];
  };
  assert.equal(placeOf('whole'), [0, 2, undefined, undefined]);
  assert.equal(placeOf('odd'), [0, 8, 17, 16]);
  assert.equal(placeOf('huge'), [16, 16, undefined, undefined]);
});

test('vlen counts parts only in kinds that have parts', () => {
  // Kinds and the number of their extra words, as in include/uapi/linux/btf.h.
  const fixed = { 1: 1, 2: 0, 3: 3, 7: 0, 8: 0, 9: 0, 10: 0, 11: 0, 12: 0, 14: 1, 16: 0, 17: 1, 18: 0 };
  for (const [kind, count] of Object.entries(fixed)) {
    const w = new BtfWriter();
    const words = Array.from({ length: count }, () => (kind === '1' ? 32 : 1));
    w.raw(kind === '3' ? '' : 'odd', (Number(kind) << 24) | 1, 4, words);
    const behind = w.int('behind', 4);
    assert.is(Btf.parse(w.blob()).find('int', 'behind'), behind, `kind ${kind}`);
  }
  // The number of words of each part.
  for (const [kind, each] of Object.entries({ 4: 3, 5: 3, 6: 2, 13: 2, 15: 3, 19: 3 })) {
    const w = new BtfWriter();
    w.raw('', (Number(kind) << 24) | 2, 8, new Array(2 * each).fill(0));
    const behind = w.int('behind', 4);
    assert.is(Btf.parse(w.blob()).find('int', 'behind'), behind, `kind ${kind}`);
  }
});

test('pointers to structs, unions and forward declarations name their target', () => {
  const w = new BtfWriter();
  const int = w.int('int', 4, 1);
  const members = [{ name: 'a', type: int, bits: 0 }];
  const rows = [
    ['s', w.struct('s', 4, members), 's'],
    ['u', w.union('u', 4, members), 'u'],
    ['d', w.raw('d', 7 << 24, 0), 'd'],
    ['none', int, undefined],
    ['void', 0, undefined],
    ['list', w.array(int, 2), undefined],
  ] as const;
  w.func('f', w.prototype(0, Object.fromEntries(rows.map(([name, type]) => [name, w.pointer(type)]))));
  const { parameters } = Btf.parse(w.blob()).prototype('f');
  assert.equal(
    parameters.map(({ name, pointsTo }) => [name, pointsTo?.name]),
    rows.map(([name, , target]) => [name, target]),
  );
});

test('members, parameters and results have the kind, size and sign of their type', () => {
  const w = new BtfWriter();
  const int = w.int('int', 4, SIGNED);
  const members = [{ name: 'x', type: int, bits: 0 }];
  const rows: [string, number, string, number, boolean][] = [
    ['int', int, 'int', 4, true],
    ['byte', w.int('unsigned char', 1), 'int', 1, false],
    ['choice', w.enum('choice', 4, { A: 1 }), 'enum', 4, false],
    ['signed_choice', w.enum('signed_choice', 2, { B: -1 }, true), 'enum', 2, true],
    ['wide', w.enum64('wide', { C: 1n }), 'enum', 8, false],
    ['signed_wide', w.enum64('signed_wide', { D: -1n }, true), 'enum', 8, true],
    ['fraction', w.raw('double', 16 << 24, 8), 'float', 8, false],
    ['pointer', w.pointer(int), 'pointer', 8, false],
    ['list', w.array(int, 3), 'array', 12, false],
    ['one', w.struct('one', 4, members), 'struct', 4, false],
    ['either', w.union('either', 4, members), 'union', 4, false],
    ['alias', w.typedef('alias_t', w.const(int)), 'int', 4, true],
  ];
  let bits = 0;
  const all = rows.map(([name, type, , size]) => {
    const member = { name, type, bits };
    bits += 8 * size;
    return member;
  });
  w.struct('all', bits / 8, all);
  w.func('takes', w.prototype(0, Object.fromEntries(rows)));
  for (const [name, type] of rows) w.func(`gives_${name}`, w.prototype(type, {}));
  const read = Btf.parse(w.blob());
  const { parameters, returns } = read.prototype('takes');
  assert.is(returns, undefined);
  for (const [index, [name, , kind, size, signed]] of rows.entries()) {
    const result = read.prototype(`gives_${name}`).returns;
    for (const each of [read.member('all', name), parameters[index], result])
      assert.equal([each?.kind, each?.size, each?.signed], [kind, size, signed], name);
  }
});

test('structs and unions suggest structs and unions, functions suggest functions', () => {
  const w = new BtfWriter();
  const int = w.int('sock_int', 4);
  w.typedef('sock_type', int);
  w.func('sock_func', w.prototype(0, {}));
  w.struct('sock_struct', 4, []);
  w.union('sock_union', 4, []);
  const read = Btf.parse(w.blob());
  assert.match(thrown(() => read.sizeOf('sock')).message, /; nearest: sock_union, sock_struct$/);
  assert.match(thrown(() => read.prototype('sock')).message, /; nearest: sock_func$/);
});

test('similar names include the last type of a blob', () => {
  const w = new BtfWriter();
  const int = w.int('int', 4);
  w.struct('first', 4, [{ name: 'x', type: int, bits: 0 }]);
  w.struct('last_of_all', 4, [{ name: 'x', type: int, bits: 0 }]);
  assert.throws(() => Btf.parse(w.blob()).sizeOf('last_of_al'), /nearest: last_of_all/);
});

test('arrays nest at most 65 deep', () => {
  const nested = (depth: number) => {
    const w = new BtfWriter();
    let type = w.int('int', 4);
    for (let level = 0; level < depth; level++) type = w.array(type, 1);
    w.struct('a', 4, [{ name: 'x', type, bits: 0 }]);
    return Btf.parse(w.blob());
  };
  assert.is(nested(65).member('a', 'x').size, 4);
  assert.throws(() => nested(66).member('a', 'x'), /is an array of itself/);
});

test.run();
