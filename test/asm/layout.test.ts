import type { Static, TSchema } from '@sinclair/typebox';
import { Value as Check } from '@sinclair/typebox/value';
import * as assert from 'uvu/assert';
import {
  arrayOf,
  bytes,
  chars,
  type Layout,
  layoutOf,
  type StructLayout,
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
import type { Width } from '../../src/asm/width.ts';
import { suite } from '../harness.ts';
import { thrownText } from '../thrown.ts';

const test = suite('asm/layout');

const Attempt = struct({ startNs: u64, pid: u32, comm: chars(16) });

/** `offset name` of each field and `offset+size after name` of each gap, then size and alignment. */
function describeLayout(schema: TSchema): string {
  const { fields, padding, size, align } = layoutOf(schema) as StructLayout;
  const parts = fields.map((field) => `${field.offset} ${field.name}`);
  const holes = padding.map((hole) => `${hole.offset}+${hole.size} after ${hole.after}`);
  return `${parts.join(', ')}; ${holes.join(', ') || 'no padding'}; ${size}/${align}`;
}

// Layouts

test('a scalar is aligned to its size', () => {
  const rows: [TSchema & Width, number, boolean, boolean, string][] = [
    [u8, 1, false, false, 'number'],
    [u16, 2, false, false, 'number'],
    [u32, 4, false, false, 'number'],
    [u64, 8, false, false, 'bigint'],
    [u64n, 8, false, false, 'number'],
    [s8, 1, true, false, 'number'],
    [s16, 2, true, false, 'number'],
    [s32, 4, true, false, 'number'],
    [s64, 8, true, false, 'bigint'],
    [s64n, 8, true, false, 'number'],
    [u16be, 2, false, true, 'number'],
    [u32be, 4, false, true, 'number'],
  ];
  for (const [schema, size, signed, bigEndian, as] of rows) {
    assert.equal(layoutOf(schema), { kind: 'int', size, align: size, signed, bigEndian, as } as Layout);
    assert.is(schema.size, size);
  }
});

// gcc 12 on x86-64 gives the same results for these structs in C.
const shapes: [string, TSchema, string][] = [
  [
    'no gaps',
    struct({ a: u64, b: u32, c: u16, d: u8, e: s8 }),
    '0 a, 8 b, 12 c, 14 d, 15 e; no padding; 16/8',
  ],
  ['a gap and a tail', struct({ a: u8, b: u32, c: u16 }), '0 a, 4 b, 8 c; 1+3 after a, 10+2 after c; 12/4'],
  ['only a tail', struct({ a: u64, b: u8 }), '0 a, 8 b; 9+7 after b; 16/8'],
  ['chars need no alignment', struct({ a: u8, b: chars(5), c: u16 }), '0 a, 1 b, 6 c; no padding; 8/2'],
  ['bytes need no alignment', struct({ a: bytes(3), b: bytes(16) }), '0 a, 3 b; no padding; 19/1'],
  [
    'an array is aligned as its element',
    struct({ a: u8, b: arrayOf(u32, 3) }),
    '0 a, 4 b; 1+3 after a; 16/4',
  ],
  [
    'a struct is aligned as its widest field',
    struct({ a: u8, b: struct({ c: u8, d: u64 }), e: u8 }),
    '0 a, 8 b, 24 e; 1+7 after a, 25+7 after e; 32/8',
  ],
  [
    'an array of structs',
    struct({ a: arrayOf(struct({ b: u32, c: u8 }), 3), d: u8 }),
    '0 a, 24 d; 25+3 after d; 28/4',
  ],
];
for (const [name, schema, expected] of shapes)
  test(`a struct has the layout of C: ${name}`, () => {
    assert.is(describeLayout(schema), expected);
    assert.is(schema.size, layoutOf(schema).size);
  });

test('an array layout has its element and length', () => {
  assert.equal(layoutOf(arrayOf(u16, 5)), {
    kind: 'array',
    size: 10,
    align: 2,
    element: layoutOf(u16),
    length: 5,
  } as Layout);
});

test('a schema has one layout', () => {
  assert.is(layoutOf(Attempt), layoutOf(Attempt));
});

test('a copy of a schema with other annotations has the same layout', () => {
  assert.equal(layoutOf({ ...u32, description: 'process id' }), layoutOf(u32));
  assert.equal(layoutOf({ ...Attempt, title: 'attempt' }), layoutOf(Attempt));
});

test('schemas without a C layout throw TypeError', () => {
  const schema = { type: 'string' } as unknown as TSchema;
  assert.match(
    thrownText(() => layoutOf(schema)),
    /^TypeError: this schema has no C layout: use u8/,
  );
  assert.match(
    thrownText(() => struct({ a: u8, b: schema })),
    /^TypeError: b: this schema has no C layout/,
  );
  assert.match(
    thrownText(() => arrayOf(schema, 2)),
    /^TypeError: \[\]: this schema has no C layout/,
  );
  assert.match(
    thrownText(() => layoutOf({ ...u8, ctype: 'constructor' })),
    /^TypeError: this schema has no C layout/,
  );
  assert.match(
    thrownText(() => struct({})),
    /^TypeError: a struct needs at least one field/,
  );
  assert.match(
    thrownText(() => layoutOf({ ...Attempt, required: ['pid', 'comm'] })),
    /^TypeError: startNs: .* optional/,
  );
});

test('field names that JavaScript would reorder or drop throw TypeError', () => {
  for (const name of ['0', 'a b', '', 'a-b', '__proto__'])
    assert.match(
      thrownText(() => struct({ [name]: u8 })),
      /^TypeError: .*C identifier/,
      name,
    );
});

test('sizes below one throw RangeError', () => {
  for (const make of [
    () => chars(0),
    () => bytes(-1),
    () => arrayOf(u8, 0),
    () => bytes(1.5),
    () => arrayOf(u8, Number.NaN),
  ])
    assert.match(thrownText(make), /^RangeError: the number of (bytes|elements) must be a positive integer/);
});

// Static types: these lines fail to compile if Static is wrong.

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const staticTypes: [
  Same<Static<typeof Attempt>, { startNs: bigint; pid: number; comm: string }>,
  Same<Static<typeof u64n>, number>,
  Same<Static<typeof s64>, bigint>,
  Same<Static<typeof u16be>, number>,
  ReturnType<typeof bytes>['static'] extends Uint8Array ? true : false,
  Same<ReturnType<typeof arrayOf<typeof u64>>['static'], bigint[]>,
] = [true, true, true, true, true, true];

test('the static type is the type of the decoded value', () => {
  const Everything = struct({ a: Attempt, list: arrayOf(struct({ b: bytes(2), n: u64n }), 2) });
  const value: Static<typeof Everything> = valueDecoder(Everything)(
    new DataView(new ArrayBuffer(Everything.size)),
    0,
  );
  const start: bigint = value.a.startNs;
  const octets: Uint8Array | undefined = value.list[0]?.b;
  assert.is(start, 0n);
  assert.instance(octets, Uint8Array);
  assert.ok(staticTypes.every(Boolean));
});

// JSON Schema

test('in JSON Schema an integer has its limits and a struct its required fields', () => {
  const plain = JSON.parse(
    JSON.stringify(struct({ port: u16be, delta: s32, name: chars(16), ids: arrayOf(u8, 2) })),
  );
  assert.is(plain.type, 'object');
  assert.equal(plain.required, ['port', 'delta', 'name', 'ids']);
  const { port, delta, name, ids } = plain.properties;
  assert.equal([port.type, port.minimum, port.maximum], ['integer', 0, 65_535]);
  assert.equal([delta.minimum, delta.maximum], [-2_147_483_648, 2_147_483_647]);
  assert.equal([name.type, name.maxLength], ['string', 16]);
  assert.equal([ids.type, ids.minItems, ids.maxItems], ['array', 2, 2]);
  const { minByteLength, maxByteLength } = bytes(4);
  assert.equal([minByteLength, maxByteLength], [4, 4]);
  assert.equal([u64n.minimum, u64n.maximum, s64n.minimum, s64n.maximum], [0, 2 ** 64, -(2 ** 63), 2 ** 63]);
  assert.is(JSON.parse(JSON.stringify(Attempt)).properties.startNs.type, 'bigint');
});

test('in JSON Schema memory has its length as minimum and maximum', () => {
  const { data, text, list } = struct({ data: bytes(3), text: chars(4), list: arrayOf(u8, 2) }).properties;
  assert.equal([data.minByteLength, data.maxByteLength], [3, 3]);
  for (const length of [2, 3, 4])
    assert.is(Check.Check(data, new Uint8Array(length)), length === 3, `${length}`);
  assert.is(text.minLength, undefined);
  for (const each of ['', 'abcd']) assert.is(Check.Check(text, each), true, each);
  assert.is(Check.Check(text, 'abcde'), false);
  for (const each of [[1], [1, 2], [1, 2, 3]])
    assert.is(Check.Check(list, each), each.length === 2, `${each}`);
});

test('a struct accepts annotations', () => {
  const schema = struct({ a: u8 }, { $id: 'thing', description: 'a thing' });
  assert.equal([schema.$id, schema.description, schema.size], ['thing', 'a thing', 1]);
});

test.run();
