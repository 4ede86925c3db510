/** Unions: members share their bytes. test/live/memory runs programs with them. */

import type { Static } from '@sinclair/typebox';
import { Value as Check } from '@sinclair/typebox/value';
import * as assert from 'uvu/assert';
import { KeyCodec } from '../../src/asm/layout/key.ts';
import {
  arrayOf,
  bytes,
  chars,
  encodeValue,
  layoutOf,
  type StructLayout,
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
import { subprogram } from '../../src/asm/subprogram.ts';
import { suite } from '../harness.ts';
import { thrown } from '../thrown.ts';
import { emitted, errorMessage } from './built.ts';

const test = suite('asm/union');

const Address = union({ v4: bytes(4), v6: bytes(6), port: u16be });
const Key = struct({ family: u16, address: Address });

function viewOf(...given: number[]): DataView {
  return new DataView(Uint8Array.from(given).buffer);
}

test('members are at offset 0; size and alignment are those of the largest, rounded up', () => {
  assert.equal([layoutOf(Address).size, layoutOf(Address).align, layoutOf(Key).size], [6, 2, 8]);
  const layout = layoutOf(union({ a: bytes(9), b: u64 })) as StructLayout;
  assert.is(layout.kind, 'union');
  assert.equal(
    layout.fields.map(({ name, offset }) => [name, offset]),
    [
      ['a', 0],
      ['b', 0],
    ],
  );
  assert.equal([layout.size, layout.padding], [16, [{ offset: 9, size: 7, after: 'a' }]]);
  assert.match(thrown(() => union({})).message, /^a union needs at least one field/);
  assert.match(thrown(() => union({ 0: u8 })).message, /must be a C identifier/);
});

test('a decoded value has every member and can be encoded again', () => {
  const address = valueDecoder(Address)(viewOf(1, 2, 3, 4, 5, 6), 0);
  assert.equal(address, {
    v4: Uint8Array.of(1, 2, 3, 4),
    v6: Uint8Array.of(1, 2, 3, 4, 5, 6),
    port: 0x102,
  });
  assert.equal([...encodeValue(Address, address)], [1, 2, 3, 4, 5, 6]);
  assert.ok(Check.Check(Address, address) && Check.Check(Address, { port: 80 }));
  assert.not.ok(Check.Check(Address, {}) || Check.Check(Address, { port: 80, other: 1 }));
});

test('one member is enough to encode a union; the rest is zero', () => {
  assert.equal([...encodeValue(Address, { port: 80 })], [0, 80, 0, 0, 0, 0]);
  assert.equal(
    [...encodeValue(Key, { family: 2, address: { v4: Uint8Array.of(9, 8, 7, 6), v6: undefined } })],
    [2, 0, 9, 8, 7, 6, 0, 0],
  );
  const Text = union({ text: chars(8), number: u32 });
  assert.equal([...encodeValue(Text, { number: 0x41, text: 'A' })], [0x41, 0, 0, 0, 0, 0, 0, 0]);
});

test('an invalid union value is refused', () => {
  const refused = (value: unknown) =>
    thrown(() => encodeValue(Key, { family: 2, address: value as never })).message;
  assert.match(refused({}), /^address: a union needs one of its members, v4, v6, port/);
  assert.match(refused({ v5: 1 }), /^address: unknown field 'v5'; the fields are v4, v6, port/);
  assert.match(refused({ port: 65_536 }), /^address\.port: 65536 does not fit in u16/);
  assert.match(
    refused({ v4: Uint8Array.of(0, 80, 1, 0), port: 80, v6: Uint8Array.of(0, 80, 2, 0, 0, 0) }),
    /^address: v4 and v6 share bytes of the union and differ there: set only one of them/,
  );
  const Text = union({ number: u64, text: chars(8) });
  assert.match(
    thrown(() => encodeValue(Text, { number: 0x41_4141n, text: 'A' })).message,
    /^value: number and text share bytes/,
  );
});

test('a union in a key keeps every byte', () => {
  const Named = struct({ kind: u8, of: union({ name: chars(5), id: u64n }) });
  const codec = new KeyCodec(Named);
  for (const raw of [
    [1, 0, 0, 0, 0, 0, 0, 0, 65, 0, 66, 255, 1, 255, 255, 255],
    [1, 9, 0, 0, 0, 0, 0, 7, 65, 66, 67, 68, 69, 0, 0, 0],
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
  ])
    assert.equal([...codec.encode(codec.decode(Uint8Array.from(raw)))], raw);
  assert.equal(
    [...codec.encode({ kind: 1, of: { name: 'ab' } })],
    [1, 0, 0, 0, 0, 0, 0, 0, 97, 98, 0, 0, 0, 0, 0, 0],
  );
  assert.match(
    thrown(() => codec.encode({ kind: 1, of: { name: 'ab', id: 1 } })).message,
    /name and id share bytes of the union/,
  );
  assert.match(thrown(() => codec.encode({ kind: 1, of: {} })).message, /^of: a union needs one/);
  assert.match(
    thrown(() => codec.encode({ kind: 1, of: { nome: 'a' } as never })).message,
    /unknown field 'nome'/,
  );
});

test('union padding is what no member covers', () => {
  const codec = new KeyCodec(union({ pair: struct({ a: u8, b: u32 }), list: arrayOf(u8, 2) }));
  const raw = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
  const key = codec.decode(raw);
  assert.equal([...codec.encode(key)], [...raw]);
});

// Static types: these lines fail to compile if Static is wrong.
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const staticType: Same<Static<typeof Address>, { v4?: Uint8Array; v6?: Uint8Array; port?: number }> = true;
void staticType;

test('in a program, members are memory at the same offset', () => {
  const lines = emitted((b) => {
    const key = b.stack(Key, undefined);
    key.set(0);
    key.address.port.set(443);
  });
  assert.ok(lines.includes('*(u16 *)(r10 -6) = 47873'), lines.join('; '));
});

test('writing a member leaves other bytes unwritten', () => {
  assert.match(
    errorMessage((b) => {
      const address = b.stack(Address);
      address.port.set(1);
      b.stack(bytes(4)).set(address.v4);
    }),
    /v4 was never written \(byte 2/,
  );
});

test('overlapping members are copied as through other memory', () => {
  const Overlap = union({
    low: struct({ a: u64, b: u64 }),
    high: struct({ skipped: u64, moved: struct({ a: u64, b: u64 }) }),
  });
  const lines = emitted((b) => {
    const memory = b.stack(Overlap);
    memory.set(0);
    memory.high.moved.set(memory.low);
  });
  const loads = lines.filter((line) => / = \*\(u64/.test(line));
  assert.equal(loads, ['r0 = *(u64 *)(r10 -16)', 'r0 = *(u64 *)(r10 -24)']);
});

test('a subprogram takes a union by address', () => {
  const read = subprogram('read', [Address], (b, address) => b.return(address.port));
  assert.ok(
    emitted((b) => {
      const address = b.stack(Address);
      address.set(0);
      b.call(read, address);
    }).some((line) => /^call/.test(line)),
  );
});

test.run();
