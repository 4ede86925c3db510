import * as assert from 'uvu/assert';
import { Btf, NoSuchFieldError } from '../../src/asm/btf.ts';
import { nearest } from '../../src/asm/nearest.ts';
import { suite } from '../harness.ts';
import { thrown } from '../thrown.ts';
import { BtfWriter } from './btf-writer.ts';
import { kernelInSmall } from './fixtures/kernel-types.ts';

const test = suite('asm/btf');

const btf = Btf.parse(kernelInSmall().blob());
const at = (path: string, struct = 'sock') => {
  const { offset, size, kind } = btf.member(struct, path);
  return `${kind} ${size} at ${offset}`;
};

// Paths

const places: [string, string][] = [
  ['sk_protocol', 'int 2 at 56'],
  ['__sk_common', 'struct 56 at 0'],
  ['__sk_common.skc_daddr', 'int 4 at 0'],
  ['__sk_common.skc_rcv_saddr', 'int 4 at 4'],
  ['__sk_common.skc_addrpair', 'int 8 at 0'],
  ['__sk_common.skc_state', 'int 1 at 18'],
  ['__sk_common.skc_v6_daddr', 'struct 16 at 24'],
  ['__sk_common.skc_v6_daddr.in6_u', 'union 16 at 24'],
  ['__sk_common.skc_v6_daddr.in6_u.u6_addr32', 'array 16 at 24'],
  ['__sk_common.skc_v6_daddr.in6_u.u6_addr32[3]', 'int 4 at 36'],
  ['__sk_common.skc_v6_daddr.in6_u.u6_addr8[15]', 'int 1 at 39'],
  ['__sk_common.skc_prot', 'pointer 8 at 40'],
  ['sk_grid', 'array 12 at 86'],
  ['sk_grid[1]', 'array 6 at 92'],
  ['sk_grid[1][2]', 'int 2 at 96'],
  ['sk_tail', 'array 0 at 120'],
  ['sk_tail[2]', 'struct 16 at 152'],
  ['sk_reuse', 'int 1 at 84'],
  ['sk_inner', 'int 2 at 102'],
];
for (const [path, expected] of places)
  test(`sock.${path} is found`, () => {
    assert.is(at(path), expected);
  });

test('a member knows whether it is signed', () => {
  assert.is(btf.member('sock', 'sk_err').signed, true);
  assert.is(btf.member('sock', 'sk_protocol').signed, false);
  assert.is(btf.member('sock', '__sk_common').signed, false);
});

test('a pointer names its struct, also through a typedef', () => {
  assert.is(btf.member('sock', '__sk_common.skc_prot').pointsTo?.name, 'proto');
  assert.is(btf.member('sock', 'sk_link').pointsTo?.name, 'net');
  assert.is(btf.member('sock', '__sk_common.skc_refcnt').pointsTo?.name, 'atomic_t');
  assert.is(btf.member('sock', 'sk_void').pointsTo, undefined);
  assert.is(btf.member('atomic_t', 'counter').offset, 0);
});

test('the first existing path of several is used', () => {
  assert.is(btf.member('sock', ['sk_new', 'sk_err', 'sk_protocol']).offset, 60);
  assert.is(btf.has('sock', ['sk_new', 'sk_err']), true);
});

test('has() tests for types and members', () => {
  assert.is(btf.has('sock'), true);
  assert.is(btf.has('sock_t'), false, 'a typedef of a non-struct');
  assert.is(btf.has('atomic_t'), true);
  assert.is(btf.has('nothing'), false);
  assert.is(btf.has('nothing', 'x'), false);
  assert.is(btf.has('sock', '__sk_common.skc_daddr'), true);
  assert.is(btf.has('sock', 'skc_daddr'), false);
  assert.is(btf.has('sock', 'sk_grid[2]'), false);
});

test('sizeOf() returns the size of structs, unions and their typedefs', () => {
  assert.equal([btf.sizeOf('sock'), btf.sizeOf('in6_addr'), btf.sizeOf('atomic_t')], [120, 16, 4]);
  assert.instance(
    thrown(() => btf.sizeOf('nothing')),
    NoSuchFieldError,
  );
});

// Bit fields

test('a bit field of whole bytes is a plain field', () => {
  assert.equal(btf.member('sock', 'sk_flags.whole'), {
    kind: 'int',
    signed: false,
    type: 3,
    offset: 64,
    size: 1,
  });
  assert.is(at('sk_flags.wide'), 'int 2 at 68');
  assert.is(at('sk_flags.plain'), 'int 2 at 70');
  assert.is(at('sk_old'), 'int 1 at 80');
});

test('other bit fields have the smallest aligned load around them', () => {
  const bits = (path: string) => {
    const { offset, size, bitOffset, bitSize, signed } = btf.member('sock', path);
    return { offset, size, bitOffset, bitSize, signed };
  };
  assert.equal(bits('sk_flags.odd'), { offset: 65, size: 1, bitOffset: 0, bitSize: 3, signed: false });
  assert.equal(bits('sk_flags.across'), { offset: 64, size: 4, bitOffset: 11, bitSize: 9, signed: true });
  assert.equal(bits('sk_older'), { offset: 81, size: 1, bitOffset: 3, bitSize: 2, signed: false });
});

test('a bit field that no aligned 8-byte load covers throws BtfError', () => {
  assert.match(
    thrown(() => btf.member('sock', 'sk_flags.straddles')).message,
    /sock\.sk_flags\.straddles: 16 bits/,
  );
});

// Missing types and members

test('a misspelled member throws NoSuchFieldError with similar names', () => {
  const error = thrown(() => btf.member('sock', 'sk_protcol')) as NoSuchFieldError;
  assert.instance(error, NoSuchFieldError);
  assert.is(error.message, "struct sock: no member 'sk_protcol'; nearest: sk_protocol");
  assert.equal([error.struct, error.paths, error.nearest], ['sock', ['sk_protcol'], ['sk_protocol']]);
});

test('an error names the path of a nested member', () => {
  const error = thrown(() => btf.member('sock', 'skc_daddr')) as NoSuchFieldError;
  assert.is(error.nearest[0], '__sk_common.skc_daddr');
  const nested = thrown(() => btf.member('sock', '__sk_common.daddr')) as NoSuchFieldError;
  assert.match(
    nested.message,
    /^struct sock: no member '__sk_common\.daddr'; nearest: __sk_common\.skc_daddr/,
  );
});

test('an error lists the members of a struct once', () => {
  const w = new BtfWriter();
  const inner = w.struct('inner', 4, [{ name: 'field', type: w.int('int', 4, 1), bits: 0 }]);
  w.struct('outer', 8, [
    { name: 'a', type: inner, bits: 0 },
    { name: 'b', type: inner, bits: 32 },
  ]);
  const error = thrown(() => Btf.parse(w.blob()).member('outer', 'fields')) as NoSuchFieldError;
  assert.equal(error.nearest, ['a.field']);
});

test('a missing struct throws NoSuchFieldError with similar names', () => {
  const error = thrown(() => btf.member('sock_comon', 'skc_daddr')) as NoSuchFieldError;
  assert.is(error.message, "this kernel has no struct 'sock_comon'; nearest: sock_common");
  assert.equal(error.paths, []);
});

test('if no alternative exists, the error lists them all', () => {
  const { message } = thrown(() => btf.member('sock', ['sk_prot_old', 'sk_errr']));
  assert.match(message, /no member 'sk_prot_old'; no member 'sk_errr'; nearest: .*sk_err/);
});

const dead: [string, RegExp][] = [
  [
    '__sk_common.skc_prot.close',
    /'__sk_common\.skc_prot' is a pointer and has no member 'close': read the pointer, then/,
  ],
  ['sk_err.x', /'sk_err' is an int and has no member 'x'/],
  ['sk_err[0]', /'sk_err' is an int, not an array/],
  ['sk_grid[2]', /'sk_grid\[2\]': the array has 2 elements/],
];
for (const [path, message] of dead)
  test(`${path} does not exist, and the error tells why`, () => {
    const error = thrown(() => btf.member('sock', path));
    assert.instance(error, NoSuchFieldError);
    assert.match(error.message, message);
  });

test('an invalid path throws TypeError', () => {
  for (const path of ['', '.', 'a.', 'a..b', 'a[', 'a[x]', '[0]', 'a b', 'a->b'])
    assert.instance(
      thrown(() => btf.member('sock', path)),
      TypeError,
      path,
    );
});

test('an empty list of paths throws TypeError', () => {
  assert.instance(
    thrown(() => btf.member('sock', [])),
    TypeError,
  );
});

test('nearest() ranks equal names elsewhere, then affixes, then typing errors', () => {
  assert.equal(nearest('daddr', ['saddr', 'skc_daddr', 'x.daddr', 'unlike']), [
    'x.daddr',
    'saddr',
    'skc_daddr',
  ]);
  assert.equal(nearest('abcdef', ['uvwxyz', 'abc', 'abcdfe', 'abcdef_old']), ['abcdef_old', 'abcdfe']);
  assert.equal(nearest('x', ['yyy']), []);
  assert.equal(nearest('name', ['name4', 'name1', 'name3', 'name2']), ['name4', 'name1', 'name3']);
});

// Enums

test('enum values are found in a named enum or in any', () => {
  assert.is(btf.enumValue('TCP_SYN_SENT'), 2);
  assert.is(btf.enumValue('MINUS', 'small'), -1);
  assert.is(btf.enumValue('ALL'), 0xffff_ffff);
  assert.is(btf.enumValue('TOP', 'huge'), 2n ** 63n);
  assert.is(btf.enumValue('LOW'), 3n);
  assert.is(btf.enumValue('BELOW'), -5n);
});

test('a missing enum value throws NoSuchFieldError', () => {
  assert.match(
    thrown(() => btf.enumValue('PLUSS', 'small')).message,
    /^no value 'PLUSS' in enum small of this kernel; nearest: PLUS/,
  );
  assert.instance(
    thrown(() => btf.enumValue('TOP', 'small')),
    NoSuchFieldError,
  );
  assert.instance(
    thrown(() => btf.enumValue('NOTHING')),
    NoSuchFieldError,
  );
  assert.match(thrown(() => btf.enumValue('A', 'nothing')).message, /no enum 'nothing'/);
});

test.run();
