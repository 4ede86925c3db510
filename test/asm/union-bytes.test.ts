/** The bytes of a union's members, without padding. */
import type { TSchema } from '@sinclair/typebox';
import * as assert from 'uvu/assert';
import { paddingOf, UnionBytes } from '../../src/asm/layout/union-bytes.ts';
import { arrayOf, bytes, layoutOf, struct, u8, u16, u32, union } from '../../src/asm/layout.ts';
import { suite } from '../harness.ts';
import { thrownText } from '../thrown.ts';

const test = suite('asm/union-bytes');

const Small = struct({ a: u8, b: u16 });
const PADDING: readonly [what: string, schema: TSchema, bytes: string][] = [
  ['a number', u32, '####'],
  ['bytes', bytes(3), '###'],
  ['a hole', Small, '#.##'],
  ['a tail', struct({ b: u16, a: u8 }), '###.'],
  ['a struct in a struct', struct({ x: u8, s: Small, y: u8 }), '#.#.###.'],
  ['an array of structs', arrayOf(Small, 3), '#.###.###.##'],
  ['an array in a struct', struct({ x: u16, list: arrayOf(Small, 2) }), '###.###.##'],
  ['members that fill each other', union({ s: Small, t: struct({ a: u16, b: u8 }) }), '####'],
  ['members with the same gap', union({ s: Small, t: struct({ c: u8, d: u16 }) }), '#.##'],
  ['members of different size', union({ x: u8, y: u16 }), '##'],
  ['a tail after all members', union({ list: bytes(5), n: u32 }), '#####...'],
  ['a union in a struct', struct({ x: u8, u: union({ s: Small, n: u8 }) }), '#.#.##'],
];
for (const [what, schema, expected] of PADDING)
  test(`padding of ${what}`, () => {
    const shown = paddingOf(layoutOf(schema)).map((isPadding) => (isPadding ? '.' : '#'));
    assert.is(shown.join(''), expected);
  });

test('members write their bytes, without padding', () => {
  const layout = layoutOf(union({ s: Small, n: u32 }));
  if (layout.kind !== 'union') throw new Error(layout.kind);
  const [s, n] = layout.fields;
  const taken = new UnionBytes(layout, 'key.u');
  assert.match(
    thrownText(() => taken.requireMember()),
    /^TypeError: key\.u: a union needs one of its members, s, n$/,
  );
  assert.ok(s && n);
  taken.add(s, Uint8Array.of(1, 99, 2, 3));
  taken.requireMember();
  assert.equal([...taken.bytes], [1, 0, 2, 3]);
  // The padding byte of s is set by n.
  taken.add(n, Uint8Array.of(1, 7, 2, 3));
  assert.equal([...taken.bytes], [1, 7, 2, 3]);
  for (const at of [0, 2, 3]) {
    const other = Uint8Array.of(1, 7, 2, 3).fill(50, at, at + 1);
    assert.match(
      thrownText(() => taken.add(s, other)),
      /^RangeError: key\.u: n and s share bytes of the union and differ there: set only one of them$/,
    );
  }
});

test.run();
