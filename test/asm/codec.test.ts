import type { Static, TSchema } from '@sinclair/typebox';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import {
  arrayOf,
  bytes,
  chars,
  encodeValue,
  s8,
  s16,
  s32,
  s64,
  s64n,
  struct,
  u8,
  u16,
  u16be,
  u32,
  u32be,
  u64,
  u64n,
  valueDecoder,
} from '../../src/asm/layout.ts';
import { suite } from '../harness.ts';
import { thrownText } from '../thrown.ts';

const test = suite('asm/codec');

const Attempt = struct({ startNs: u64, pid: u32, comm: chars(16) });

function read<T extends TSchema>(schema: T, ...octets: readonly number[]): Static<T> {
  return valueDecoder(schema)(new DataView(Uint8Array.from(octets).buffer), 0);
}

const hex = (octets: Uint8Array) => Buffer.from(octets).toString('hex');

// Reading

const ints: [string, TSchema, readonly number[], number | bigint][] = [
  ['u8', u8, [0xfe], 254],
  ['s8', s8, [0xfe], -2],
  ['u16', u16, [0x34, 0x12], 0x1234],
  ['s16', s16, [0xfe, 0xff], -2],
  ['u16be', u16be, [0x12, 0x34], 0x1234],
  ['u32', u32, [0xff, 0xff, 0xff, 0xff], 4_294_967_295],
  ['s32', s32, [0xfe, 0xff, 0xff, 0xff], -2],
  ['u32be', u32be, [0x7f, 0, 0, 1], 0x7f00_0001],
  ['u64', u64, [1, 2, 3, 4, 5, 6, 7, 0xff], 0xff07_0605_0403_0201n],
  ['s64', s64, [0xfe, 255, 255, 255, 255, 255, 255, 255], -2n],
  ['u64n', u64n, [0, 0, 0, 0, 1, 0, 0, 0], 2 ** 32],
  ['s64n', s64n, [0xfe, 255, 255, 255, 255, 255, 255, 255], -2],
];
for (const [name, schema, octets, value] of ints)
  test(`${name} decodes and encodes back`, () => {
    assert.is(read(schema, ...octets), value);
    assert.equal([...encodeValue(schema, value)], [...octets]);
  });

test('past 2^53, u64n and s64n round like Number(bigint)', () => {
  const edges = [
    2n ** 53n + 1n,
    2n ** 53n + 3n,
    2n ** 63n + 1024n,
    2n ** 63n + 1025n,
    2n ** 64n - 1n,
    2n ** 54n + 2n,
    2n ** 54n + 6n,
  ];
  // A reproducible sequence over all magnitudes.
  let state = 1n;
  const walk = Array.from({ length: 2000 }, (_, i) => {
    state = (state * 6_364_136_223_846_793_005n + 1_442_695_040_888_963_407n) & (2n ** 64n - 1n);
    return state >> BigInt(i % 64);
  });
  for (const value of [...edges, ...walk]) {
    const octets = encodeValue(u64, value);
    const view = new DataView(octets.buffer);
    assert.is(valueDecoder(u64n)(view, 0), Number(value), `u64n ${value}`);
    assert.is(valueDecoder(s64n)(view, 0), Number(BigInt.asIntN(64, value)), `s64n ${value}`);
  }
});

test('chars end at the first NUL or fill the field', () => {
  assert.is(read(chars(6), 0x61, 0x62, 0, 0x63, 0x64, 0), 'ab');
  assert.is(read(chars(3), 0x61, 0x62, 0x63), 'abc');
  assert.is(read(chars(2), 0, 0x61), '');
});

test('chars are UTF-8, with a lone surrogate for each other byte', () => {
  assert.is(read(chars(6), 0x61, 0xc3, 0xbc, 0, 0x62, 0), 'a\u00fc');
  assert.is(read(chars(4), 0x61, 0xff, 0x62, 0), 'a\udcffb');
  assert.is(read(chars(3), 0x61, 0xe2, 0x82), 'a\udce2\udc82', 'a truncated character');
  assert.is(read(chars(4), 0xef, 0xbb, 0xbf, 0x61), '\ufeffa', 'a byte order mark is a character');
  assert.is(read(chars(4), 0xef, 0xbf, 0xbd, 0xff), '\ufffd\udcff', 'so is U+FFFD');
});

test('any text without a NUL inside encodes to the bytes that it was decoded from', () => {
  const octet = fc.oneof(
    fc.integer({ min: 1, max: 255 }),
    fc.constantFrom(0xc3, 0xa9, 0xe6, 0x97, 0xa5, 0xf0),
  );
  fc.assert(
    fc.property(fc.array(octet, { maxLength: 15 }), (octets) => {
      const text = read(chars(16), ...octets, ...Array(16 - octets.length).fill(0));
      assert.equal([...encodeValue(chars(16), text)].slice(0, octets.length), octets);
    }),
  );
});

test('decoded bytes are a copy', () => {
  const source = Uint8Array.of(1, 2, 3, 4);
  const copy = valueDecoder(bytes(2))(new DataView(source.buffer), 1);
  source.fill(9);
  assert.equal([...copy], [2, 3]);
  assert.is(copy.buffer.byteLength, 2);
});

test('a struct decodes at any offset of any view', () => {
  const Pair = struct({
    port: u16be,
    inner: struct({ flag: u8, sum: u32 }),
    list: arrayOf(struct({ x: u8, y: u16 }), 2),
  });
  const value = {
    port: 443,
    inner: { flag: 7, sum: 0xdead_beef },
    list: [
      { x: 1, y: 2 },
      { x: 3, y: 4 },
    ],
  };
  const source = new Uint8Array(Pair.size + 16).fill(0xee);
  source.set(encodeValue(Pair, value), 11);
  assert.equal(valueDecoder(Pair)(new DataView(source.buffer, 4), 7), value);
});

test('fields decode in the order of the struct', () => {
  const value = valueDecoder(struct({ zeta: u8, alpha: u8, get: u8, class: u8 }))(
    new DataView(new ArrayBuffer(4)),
    0,
  );
  assert.equal(Object.keys(value), ['zeta', 'alpha', 'get', 'class']);
});

test('decoding past the end of the view throws RangeError, even inside its buffer', () => {
  const view = new DataView(new ArrayBuffer(64), 0, 8);
  for (const schema of [u64, chars(8), bytes(8), arrayOf(u32, 2), struct({ a: u32, b: bytes(4) })]) {
    assert.match(
      thrownText(() => valueDecoder(schema as TSchema)(view, 1)),
      /^RangeError: /,
    );
    assert.match(
      thrownText(() => valueDecoder(schema as TSchema)(view, -1)),
      /^RangeError: /,
    );
  }
});

test('a schema has one decoder', () => {
  assert.is(valueDecoder(Attempt), valueDecoder(Attempt));
});

// Writing

test('padding is encoded as zeros', () => {
  const Holes = struct({ a: u8, b: u32, name: chars(4), c: u16 });
  assert.is(
    hex(encodeValue(Holes, { a: 1, b: 2, name: 'xy', c: 3 })),
    '010000000200000078790000' + '03000000',
  );
});

test('text must fit with its NUL, in bytes', () => {
  assert.is(hex(encodeValue(chars(4), 'abc')), '61626300');
  assert.is(hex(encodeValue(chars(4), '')), '00000000');
  assert.is(hex(encodeValue(chars(4), 'a\u00fc')), '61c3bc00');
  assert.match(
    thrownText(() => encodeValue(chars(4), 'abcd')),
    /^RangeError: value: "abcd" takes 5 bytes with its NUL; the field has 4/,
  );
  assert.match(
    thrownText(() => encodeValue(chars(4), 'ab\u00fc')),
    /takes 5 bytes/,
  );
});

test('text that would decode differently throws', () => {
  assert.match(
    thrownText(() => encodeValue(chars(8), 'a\0b')),
    /^RangeError: .* contains a NUL/,
  );
  assert.match(
    thrownText(() => encodeValue(chars(8), 'a\ud83d')),
    /^RangeError: .* a lone surrogate/,
  );
});

const refused: [string, TSchema, unknown, RegExp][] = [
  ['too large for u8', u8, 256, /^RangeError: value: 256 does not fit in u8 \(0 to 255\)/],
  ['negative', u32, -1, /^RangeError: value: -1 does not fit in u32 \(0 to 4294967295\)/],
  ['too small for s16', s16, -32_769, /does not fit in s16 \(-32768 to 32767\)/],
  ['2^64', u64, 2n ** 64n, /does not fit in u64 \(0 to 18446744073709551615\)/],
  ['-2^63 - 1', s64, -(2n ** 63n) - 1n, /does not fit in s64/],
  ['negative u64n', u64n, -1, /does not fit in u64 \(0 to/],
  ['unsafe u64n', u64n, 2 ** 53, /^RangeError: value: 9007199254740992 is not a safe integer/],
  ['unsafe s64n', s64n, -(2 ** 53), /not a safe integer/],
  ['a fraction', u32, 1.5, /^RangeError: value: 1.5 is not a safe integer/],
  ['NaN', u32, Number.NaN, /^RangeError: value: NaN is not a safe integer/],
  ['a number for u64', u64, 1, /^TypeError: value: expected a bigint, got a number/],
  ['a bigint for u32', u32, 1n, /^TypeError: value: expected a number, got a bigint/],
  ['a number for text', chars(4), 1, /^TypeError: value: expected a string, got a number/],
  ['an array for bytes', bytes(2), [1, 2], /^TypeError: value: expected a Uint8Array, got an array/],
  ['too few bytes', bytes(3), new Uint8Array(2), /^RangeError: value: 2 bytes, expected 3/],
  ['too many elements', arrayOf(u8, 2), [1, 2, 3], /^RangeError: value: 3 elements, expected 2/],
  ['no array', arrayOf(u8, 1), { 0: 1 }, /^TypeError: value: expected an array, got an object/],
  ['null', Attempt, null, /^TypeError: value: expected an object, got null/],
];
for (const [name, schema, value, message] of refused)
  test(`encode refuses ${name}`, () => {
    assert.match(
      thrownText(() => encodeValue(schema, value)),
      message,
    );
  });

test('errors name the path of the field', () => {
  const Outer = struct({ attempt: Attempt, ports: arrayOf(struct({ port: u16 }), 2) });
  const good = { attempt: { startNs: 1n, pid: 2, comm: 'x' }, ports: [{ port: 1 }, { port: 2 }] };
  const bad = (change: object) => thrownText(() => encodeValue(Outer as TSchema, { ...good, ...change }));
  assert.match(bad({ ports: [{ port: 1 }, { port: 65_536 }] }), /^RangeError: ports\[1\]\.port: 65536/);
  assert.match(bad({ attempt: { ...good.attempt, comm: 'x'.repeat(16) } }), /^RangeError: attempt\.comm: /);
  assert.match(bad({ attempt: { startNs: 1n, pid: 2 } }), /^TypeError: attempt\.comm: missing/);
  assert.match(
    bad({ attempt: { ...good.attempt, pidd: 1 } }),
    /^TypeError: attempt: unknown field 'pidd'; the fields are startNs, pid, comm/,
  );
  assert.match(bad({ extra: 1 }), /^TypeError: value: unknown field 'extra'/);
});

test('encode and decode are inverse at the limits of every integer', () => {
  for (const [schema, low, high] of [
    [u8, 0, 255],
    [s8, -128, 127],
    [u16, 0, 65_535],
    [s16, -32_768, 32_767],
    [u16be, 0, 65_535],
    [u32, 0, 4_294_967_295],
    [s32, -2_147_483_648, 2_147_483_647],
    [u32be, 0, 4_294_967_295],
    [u64, 0n, 2n ** 64n - 1n],
    [s64, -(2n ** 63n), 2n ** 63n - 1n],
    [u64n, 0, Number.MAX_SAFE_INTEGER],
    [s64n, Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  ] as [TSchema, number | bigint, number | bigint][])
    for (const value of [low, high])
      assert.is(valueDecoder(schema)(new DataView(encodeValue(schema, value).buffer), 0), value);
});

test.run();
