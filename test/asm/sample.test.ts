import type { TSchema } from '@sinclair/typebox';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import {
  arrayOf,
  bytes,
  chars,
  encodeValue,
  type StructSchema,
  s8,
  s16,
  s16be,
  s32,
  s32be,
  s64,
  s64be,
  s64n,
  sampleView,
  struct,
  u8,
  u16,
  u16be,
  u32,
  u32be,
  u64,
  u64be,
  u64n,
  union,
  valueDecoder,
} from '../../src/asm/layout.ts';
import { suite } from '../harness.ts';
import { thrownText } from '../thrown.ts';

const test = suite('asm/sample');

const Event = struct({ pid: u32, task: struct({ comm: chars(16), id: u64 }), address: bytes(4) });

const SCALARS = [u8, s8, u16, s16, u16be, s16be, u32, s32, u32be, s32be, u64, s64, u64n, s64n, u64be, s64be];

const { anyStruct } = fc.letrec<{ anySchema: TSchema; anyStruct: StructSchema<Record<string, TSchema>> }>(
  (tie) => ({
    anySchema: fc.oneof(
      { maxDepth: 3 },
      fc.constantFrom<TSchema>(...SCALARS),
      fc.integer({ min: 1, max: 70 }).map((size) => chars(size)),
      fc.integer({ min: 1, max: 70 }).map((size) => bytes(size)),
      tie('anyStruct'),
      fc
        .tuple(fc.constantFrom<TSchema>(...SCALARS), fc.integer({ min: 1, max: 4 }))
        .map(([element, length]) => arrayOf(element, length)),
      fc.constantFrom<TSchema>(...SCALARS).map((member) => union({ member, raw: bytes(8) })),
    ),
    anyStruct: fc
      .dictionary(fc.stringMatching(/^[a-z]{1,3}$/), tie('anySchema'), { minKeys: 1, maxKeys: 6 })
      .map((fields) => struct({ ...fields }) as StructSchema<Record<string, TSchema>>),
  }),
);
test('a view has the fields that the decoder returns, at any offset, for any struct and bytes', () => {
  fc.assert(
    fc.property(
      anyStruct,
      fc.infiniteStream(fc.oneof(fc.nat(255), fc.nat(127), fc.constant(0))),
      (schema, octets) => {
        const at = sampleView(schema);
        for (const offset of [0, 3]) {
          const source = Uint8Array.from({ length: schema.size + 8 }, () => octets.next().value as number);
          const view = new DataView(source.buffer, 1);
          assert.equal(at(view, offset), valueDecoder(schema)(view, offset));
        }
      },
    ),
  );
});

test('the view is one object, which moves', () => {
  const at = sampleView(Event);
  const source = new Uint8Array(2 * Event.size);
  const value = { pid: 1, task: { comm: 'one', id: 2n ** 63n }, address: Uint8Array.of(1, 2, 3, 4) };
  source.set(encodeValue(Event, value));
  source.set(encodeValue(Event, { ...value, pid: 2, task: { comm: 'two', id: 3n } }), Event.size);
  const view = new DataView(source.buffer);
  const first = at(view, 0);
  const { task } = first;
  assert.equal(first, value);
  assert.is(at(view, Event.size), first);
  assert.equal([first.pid, task.comm, task.id], [2, 'two', 3n]);
});

test('the view reads the bytes at each access, and a field of bytes keeps its array', () => {
  const source = new Uint8Array(Event.size);
  const sample = sampleView(Event)(new DataView(source.buffer), 0);
  const { address } = sample;
  source.fill(7);
  assert.equal([...address], [0, 0, 0, 0]);
  assert.is(sample.address, address);
  assert.equal([...address], [7, 7, 7, 7]);
});

test('an access past the end of the view throws RangeError', () => {
  const sample = sampleView(Event)(new DataView(new ArrayBuffer(64), 0, 8), 4);
  for (const access of [() => sample.task.id, () => sample.task.comm, () => sample.address])
    assert.match(thrownText(access), /^RangeError: /);
});

test('only structs have a view', () => {
  for (const schema of [u32, chars(4), union({ a: u8 })])
    assert.throws(
      () => sampleView(schema as TSchema),
      /^only a struct has a sample view; decode other values with valueDecoder \(.*sample\.test\.ts:\d+\)$/,
    );
});

test('texts are read right when many different ones come, and when they share a place in the cache', () => {
  const at = sampleView(struct({ comm: chars(16) }));
  const read = (text: string) => {
    const source = new Uint8Array(16).fill(0xff);
    source.set(new TextEncoder().encode(`${text}\0`).subarray(0, 16));
    return at(new DataView(source.buffer), 0).comm;
  };
  for (let round = 0; round < 2; round++) for (let i = 0; i < 3000; i++) assert.is(read(`n${i}`), `n${i}`);
  fc.assert(fc.property(fc.stringMatching(/^[a-c]{0,16}$/), (text) => assert.is(read(text), text)));
});

test.run();
