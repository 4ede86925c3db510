/** Map keys: any bytes decode to a distinct value that encodes back. */
import type { TSchema } from '@sinclair/typebox';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { KeyCodec } from '../../src/asm/layout/key.ts';
import {
  arrayOf,
  bytes,
  chars,
  layoutOf,
  s8,
  s64,
  s64n,
  struct,
  u8,
  u16,
  u16be,
  u32,
  u64,
  u64n,
  union,
  valueDecoder,
} from '../../src/asm/layout.ts';
import { suite } from '../harness.ts';

const test = suite('asm/key');

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(' ', ''), 'hex'));

for (const [what, octets, text] of [
  ['plain text', '6c73 0000', 'ls'],
  ['no text', '0000 0000', ''],
  ['UTF-8', 'c3a9 0000', 'é'],
  ['a byte order mark', 'efbbbf 61 0000', '\ufeffa'],
  ['a character past 16 bits that fills the field', 'f09f9880', '😀'],
  ['text without a NUL', '6c737275', 'lsru'],
  ['Latin-1', '63e9 0000', 'c\udce9'],
  ['truncated UTF-8', 'f09f98 6c73', '\udcf0\udc9f\udc98ls'],
  ['UTF-8 of a lone surrogate', 'edb280 00', '\udced\udcb2\udc80'],
  ['overlong UTF-8', 'c080 e08080 00', '\udcc0\udc80\udce0\udc80\udc80'],
  ['a character and a stray continuation byte', 'f09f9880 80', '😀\udc80'],
  ['bytes after the NUL', '6c73 00 00 01 00', 'ls\0\0\u0001'],
  ['a NUL first', '00 61', '\0a'],
  ['invalid UTF-8 after the NUL', '61 00 ff 00', 'a\0\udcff'],
] as const)
  test(`a key with ${what}`, () => {
    const raw = hex(octets);
    const codec = new KeyCodec(chars(raw.length));
    assert.is(codec.decode(raw), text);
    assert.equal(codec.encode(text), raw);
  });

for (const [schema, octets, number] of [
  [u64n, 'ffffffffffff1f00', 2 ** 53 - 1],
  [u64n, '0000000000002000', 2n ** 53n],
  [u64n, '0100000000002000', 2n ** 53n + 1n],
  [u64n, '785634128088ffff', 0xffff888012345678n],
  [s64n, '010000000000e0ff', 1 - 2 ** 53],
  [s64n, '000000000000e0ff', -(2n ** 53n)],
  [s64n, '0000000000000080', -(2n ** 63n)],
  [u64, '0500000000000000', 5n],
] as const)
  test(`a 64-bit key is ${typeof number} ${number}`, () => {
    const codec = new KeyCodec(schema as TSchema);
    assert.is(codec.decode(hex(octets)), number);
    assert.equal(codec.encode(number), hex(octets));
  });

test('a number may be given as a bigint within its limits', () => {
  assert.equal(new KeyCodec(u64n as TSchema).encode(5n), hex('0500000000000000'));
  for (const [schema, number] of [
    [u64n, -1n],
    [u64n, 2n ** 64n],
    [s64n, 2n ** 63n],
    [u32, 1n],
  ] as const)
    assert.throws(() => new KeyCodec(schema as TSchema).encode(number), /expected a number, got a bigint/);
});

test('text that no bytes decode to is refused with its path', () => {
  const codec = new KeyCodec(struct({ comm: chars(4) }));
  for (const [comm, message] of [
    ['a\0', /^comm: "a\\u0000" contains a NUL/],
    ['\ud800', /^comm: .* contains a lone surrogate/],
    ['\udc7f', /^comm: .* contains a lone surrogate/],
    ['abcde', /^comm: "abcde" takes 6 bytes with its NUL; the field has 4/],
  ] as const)
    assert.throws(() => codec.encode({ comm }), message);
  for (const key of [{}, { comm: 5 }, { comm: 'a', more: 1 }, null, [], 'a'])
    assert.throws(() => codec.encode(key as never), TypeError);
});

const Padded = struct({ a: u8, b: u32, c: arrayOf(struct({ d: u16, e: u8 }), 2), f: chars(3) });

test('nonzero padding belongs to the decoded object', () => {
  const codec = new KeyCodec(Padded);
  const { size } = layoutOf(Padded);
  const raw = Uint8Array.from({ length: size }, (_, at) => at + 0x41);
  const key = codec.decode(raw);
  assert.equal(codec.encode(key), raw);
  const plain = codec.encode({ ...key });
  assert.not.equal(plain, raw, 'a copy has no padding');
  assert.equal(codec.encode(codec.decode(plain)), plain);

  key.b = 5;
  assert.equal(codec.encode(key), codec.encode({ ...key }), 'nor has an object that was changed');
  assert.equal(new KeyCodec(Padded).encode(codec.decode(raw)), plain, 'other codecs do not know it');
});

/** Any flat schema of a key. */
const { schema: anySchema } = fc.letrec<{ schema: TSchema }>((tie) => ({
  schema: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.constantFrom<TSchema>(u8, s8, u16be, u32, u64, s64, u64n, s64n),
    fc.integer({ min: 1, max: 9 }).map(chars),
    fc.integer({ min: 1, max: 5 }).map(bytes),
    fc
      .tuple(tie('schema'), fc.integer({ min: 1, max: 3 }))
      .map(([element, length]) => arrayOf(element, length)),
    fc
      .array(tie('schema'), { minLength: 1, maxLength: 4 })
      .chain((fields) =>
        fc.constantFrom<TSchema>(
          ...[struct, union].map((make) =>
            make(Object.fromEntries(fields.map((field, index) => [`f${index}`, field]))),
          ),
        ),
      ),
  ),
}));

/** Bytes that often matter: zeros, letters, parts of UTF-8. */
const anyByte = fc.oneof(fc.constantFrom(0, 0, 0x61, 0xc3, 0xa9, 0xed, 0xb2, 0x80, 0xf0, 0xff), fc.nat(255));

test('any bytes of any schema decode to a key that encodes back', () => {
  fc.assert(
    fc.property(
      anySchema.chain((schema) => {
        const { size } = layoutOf(schema);
        return fc.tuple(fc.constant(schema), fc.array(anyByte, { minLength: size, maxLength: size }));
      }),
      ([schema, octets]) => {
        const raw = Uint8Array.from(octets);
        const codec = new KeyCodec(schema);
        assert.equal(codec.encode(codec.decode(raw)), raw);
      },
    ),
    { numRuns: 2000 },
  );
});

test('keys with a plain value decode to it', () => {
  const Key = struct({ pid: u32, ns: u64n, comm: chars(8), hash: bytes(3) });
  const codec = new KeyCodec(Key);
  const key = { pid: 7, ns: 2 ** 50, comm: 'nodé', hash: Uint8Array.of(1, 0, 255) };
  const raw = codec.encode(key);
  assert.equal(codec.decode(raw), key);
  assert.equal(codec.decode(raw), valueDecoder(Key)(new DataView(raw.buffer), 0));
});

test.run();
