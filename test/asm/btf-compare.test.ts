/** Differences between schemas and the types of maps that others created. */
import type { TSchema } from '@sinclair/typebox';
import * as assert from 'uvu/assert';
import { BtfBuilder, IntEncoding } from '../../src/asm/btf/builder.ts';
import { layoutDifferences } from '../../src/asm/btf/compare.ts';
import { mapBtf } from '../../src/asm/btf/map-types.ts';
import { BtfReader } from '../../src/asm/btf/reader.ts';
import {
  arrayOf,
  bytes,
  chars,
  layoutOf,
  s32,
  struct,
  u8,
  u16be,
  u32,
  u64,
  union,
} from '../../src/asm/layout.ts';
import { hash } from '../../src/asm/map.ts';
import { suite } from '../harness.ts';

const test = suite('asm/btf-compare');

/** The differences between the type that `make` adds and a schema. */
function differences(make: (types: BtfBuilder) => number, schema: TSchema): string[] {
  const types = new BtfBuilder();
  const id = make(types);
  return layoutDifferences(new BtfReader(types.bytes()), id, layoutOf(schema), 'value');
}

test('the types that this project writes match their schemas', () => {
  for (const schema of [
    ...[u8, u16be, s32, u64, chars(16), bytes(3), arrayOf(arrayOf(u32, 2), 3)],
    struct({ a: u8, inner: struct({ b: u64, list: arrayOf(struct({ c: u16be }), 4) }), text: chars(5) }),
    union({ number: u64, parts: struct({ low: u32, high: u32 }) }),
  ]) {
    const types = mapBtf(hash('m', { key: u32, value: schema, maxEntries: 1 }));
    assert.equal(
      layoutDifferences(new BtfReader(types?.bytes ?? bytes0), types?.value ?? 0, layoutOf(schema), 'value'),
      [],
    );
  }
});

const bytes0 = new Uint8Array();
const int = (types: BtfBuilder, size = 4) => types.int('int', size, IntEncoding.signed);

for (const [what, make, schema, expected] of [
  ['signs', int, u32, ['value is signed in the kernel, and unsigned in the schema']],
  ['no sign of single bytes', (types) => types.int('char', 1, IntEncoding.signed), u8, []],
  ['kinds', int, struct({ a: u32 }), ['value is of kind int int in the kernel, and struct in the schema']],
  ['bytes, which are anything of their size', (types) => int(types, 8), bytes(8), []],
  [
    'bytes of another size',
    int,
    bytes(8),
    ['value is of kind int int in the kernel, and bytes in the schema'],
  ],
  [
    'lengths of arrays',
    (types) => types.array(int(types), 3, int(types)),
    arrayOf(s32, 4),
    ['value has 12 bytes in the kernel, and 16 in the schema'],
  ],
  [
    'elements of arrays',
    (types) => types.array(int(types), 3, int(types)),
    arrayOf(u32, 3),
    ['value[] is signed in the kernel, and unsigned in the schema'],
  ],
  ['typedefs', (types) => types.typedef('pid_t', int(types)), s32, []],
  [
    'anonymous members, which belong to their struct',
    (types) => {
      const inner = types.composite('struct', '', 8, [
        { name: 'b', offset: 0, type: int(types) },
        { name: 'c', offset: 4, type: int(types) },
      ]);
      return types.composite('struct', 'outer', 12, [
        { name: 'a', offset: 0, type: int(types) },
        { name: '', offset: 4, type: inner },
      ]);
    },
    struct({ a: s32, b: s32, c: s32 }),
    [],
  ],
  [
    'the size of a struct with the same fields',
    (types) => types.composite('struct', 'padded', 8, [{ name: 'a', offset: 0, type: int(types) }]),
    struct({ a: s32 }),
    ['value has 8 bytes in the kernel, and 4 in the schema'],
  ],
] as readonly (readonly [string, (types: BtfBuilder) => number, TSchema, readonly string[]])[])
  test(`compares ${what}`, () => assert.equal(differences(make, schema), expected));

test.run();
