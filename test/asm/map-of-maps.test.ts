import * as assert from 'uvu/assert';
import { struct, u32, u64 } from '../../src/asm/layout.ts';
import { array, hash, lruHash, MapType } from '../../src/asm/map.ts';
import { arrayOfMaps, hashOfMaps } from '../../src/asm/map-of-maps.ts';
import { suite } from '../harness.ts';

const test = suite('asm/map-of-maps');

const inner = hash('inner', { key: u32, value: struct({ n: u64 }), maxEntries: 8 });

test('an array of maps has room for its initial maps', () => {
  const outer = arrayOfMaps('outer', { inner, maps: [inner, inner] });
  assert.equal([outer.type, outer.maxEntries], [MapType.arrayOfMaps, 2]);
  assert.equal(outer.maps, [
    [0, inner],
    [1, inner],
  ]);
  assert.is(arrayOfMaps('outer', { inner, maxEntries: 5 }).maxEntries, 5);
});

test('a hash of maps accepts any key schema', () => {
  const key = struct({ user: u32, group: u32 });
  const maps = [[{ user: 1, group: 2 }, inner] as const];
  const outer = hashOfMaps('outer', { key, inner, maxEntries: 4, maps });
  assert.equal([outer.type, outer.key, outer.maps], [MapType.hashOfMaps, key, maps]);
});

test('an inner hash may have another size than the template, an inner array may not', () => {
  arrayOfMaps('outer', { inner, maps: [{ ...inner, maxEntries: 100 }] });
  const row = array('array', { value: u64, maxEntries: 2 });
  assert.throws(
    () => arrayOfMaps('outer', { inner: row, maps: [array('other', { value: u64, maxEntries: 3 })] }),
    /map outer can't hold other: its number of entries is not that of array \(.*map-of-maps\.test\.ts:\d+\)$/,
  );
});

for (const [fault, map] of [
  ['type', lruHash('other', { ...inner, name: 'other' } as never)],
  ['key size', { ...inner, key: u64 }],
  ['value size', { ...inner, value: u32 }],
  ['set of flags', { ...inner, flags: 1 }],
] as const)
  test(`an inner map of another ${fault} is refused`, () => {
    assert.throws(
      () => arrayOfMaps('outer', { inner, maps: [map as never] }),
      new RegExp(`map outer can't hold .*: its ${fault} is not that of inner`),
    );
  });

test('inner maps must fit and do not nest', () => {
  assert.throws(
    () => arrayOfMaps('outer', { inner, maxEntries: 1, maps: [inner, inner] }),
    /2 maps, and room for 1/,
  );
  const outer = arrayOfMaps('outer', { inner, maxEntries: 1 });
  assert.throws(
    () => arrayOfMaps('outermost', { inner: outer, maxEntries: 1 }),
    /map outermost: its maps can't hold maps themselves/,
  );
});

test.run();
