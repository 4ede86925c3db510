import * as assert from 'uvu/assert';
import { perfEventArray, ringBuffer } from '../../src/asm/events.ts';
import { jumpTable } from '../../src/asm/jump-table.ts';
import { bytes, struct, u8, u16, u32, u64 } from '../../src/asm/layout.ts';
import { cgrpStorage, inodeStorage, skStorage, taskStorage } from '../../src/asm/local-storage.ts';
import {
  array,
  cgroupArray,
  constants,
  globals,
  hash,
  lpmTrie,
  lruHash,
  lruPerCpuHash,
  type MapSpec,
  MapType,
  perCpuArray,
  perCpuHash,
  programArray,
  slotNumber,
} from '../../src/asm/map.ts';
import { arrayOfMaps, hashOfMaps } from '../../src/asm/map-of-maps.ts';
import { bloomFilter, queue, stack } from '../../src/asm/queue.ts';
import { stackTrace } from '../../src/asm/stack-trace.ts';
import { suite } from '../harness.ts';

const test = suite('asm/map');

const Prefix = struct({ bits: u32, address: bytes(4) });

test('initial entries are part of a map', () => {
  const entries = [[1, 2n] as const];
  assert.equal(hash('h', { key: u32, value: u64, maxEntries: 4, entries }).entries, entries);
  assert.is('entries' in hash('h', { key: u32, value: u64, maxEntries: 4 }), false);
});

test('initial entries must fit', () => {
  const entries = [1, 2, 3].map((key) => [key, 0n] as const);
  assert.throws(
    () => hash('h', { key: u32, value: u64, maxEntries: 2, entries }),
    /map h: 3 entries do not fit maxEntries 2/,
  );
});

test('a trie allocates on demand and has room for its initial entries', () => {
  const entries = [[{ bits: 8, address: Uint8Array.of(10, 0, 0, 0) }, 1] as const];
  const trie = lpmTrie('nets', { key: Prefix, value: u32, entries });
  assert.equal([trie.type, trie.maxEntries, trie.flags, trie.entries], [MapType.lpmTrie, 1, 1, entries]);
  assert.is(lpmTrie('nets', { key: Prefix, value: u32, maxEntries: 9 }).maxEntries, 9);
});

test('every kind of map keeps its flags', () => {
  const NUMA_NODE = 0x4;
  const shape = { key: u32, value: u64, maxEntries: 4, flags: NUMA_NODE };
  const inner = hash('inner', shape);
  for (const map of [
    ...[hash('m', shape), lruHash('m', shape), perCpuHash('m', shape), lruPerCpuHash('m', shape)],
    ...[array('m', shape), perCpuArray('m', shape)],
    ...[hashOfMaps('m', { ...shape, inner }), arrayOfMaps('m', { ...shape, inner })],
  ])
    assert.is(map.flags, NUMA_NODE, `type ${map.type}`);
  const trie = lpmTrie('m', { ...shape, key: Prefix });
  assert.is(trie.flags, NUMA_NODE | 1, 'a trie requires BPF_F_NO_PREALLOC');
});

for (const [what, key] of [
  ['no struct', u32],
  ['a struct that begins with a narrow number', struct({ bits: u16, address: bytes(4) })],
  ['a struct with no bits', struct({ bits: u32 })],
  ['a struct that begins with bytes', struct({ address: bytes(4), bits: u32 })],
] as const)
  test(`a trie refuses ${what} as its key`, () => {
    assert.throws(
      () => lpmTrie('nets', { key, value: u8 }),
      /map nets: the key of a trie is a struct of a u32 and the bits after it/,
    );
  });

test('a constructor has the name of its map type', () => {
  const table = { key: u32, value: u32, maxEntries: 1 };
  const key = struct({ bits: u32, address: bytes(4) });
  const inner = hash('inner', table);
  const specs = {
    hash: inner,
    array: array('m', table),
    programArray: programArray('m', { maxEntries: 1 }),
    perfEventArray: perfEventArray('m', u32),
    perCpuHash: perCpuHash('m', table),
    perCpuArray: perCpuArray('m', table),
    cgroupArray: cgroupArray('m', ['/a']),
    lruHash: lruHash('m', table),
    lruPerCpuHash: lruPerCpuHash('m', table),
    lpmTrie: lpmTrie('m', { key, value: u8, maxEntries: 1 }),
    arrayOfMaps: arrayOfMaps('m', { inner, maxEntries: 1 }),
    hashOfMaps: hashOfMaps('m', { key: u32, inner, maxEntries: 1 }),
    ringBuffer: ringBuffer('m', u32, { bytes: 4096 }),
    stackTrace: stackTrace('m', { maxEntries: 1 }),
    queue: queue('m', { value: u32, maxEntries: 1 }),
    stack: stack('m', { value: u32, maxEntries: 1 }),
    bloomFilter: bloomFilter('m', { value: u32, maxEntries: 1 }),
    taskStorage: taskStorage('m', { value: u32 }),
    inodeStorage: inodeStorage('m', { value: u32 }),
    cgrpStorage: cgrpStorage('m', { value: u32 }),
    skStorage: skStorage('m', { value: u32 }),
    instructionArray: jumpTable('m', ['label']),
  } satisfies Record<keyof typeof MapType, MapSpec>;
  for (const [name, { type }] of Object.entries(specs))
    assert.is(type, MapType[name as keyof typeof MapType], name);
});

test('a schema in place of the name is refused: C arrays are arrayOf', () => {
  assert.throws(
    () => array(u8 as never, 4 as never),
    /^a map needs a name as its first argument; for a schema use arrayOf\(type, length\) \(.*map\.test\.ts:\d+\)$/,
  );
});

test('an array has one entry by default', () => {
  assert.is(array('one', { value: u32 }).maxEntries, 1);
  assert.is(perCpuArray('one', { value: u32 }).maxEntries, 1);
});

test('a cgroup array has an entry for each folder', () => {
  const { type, maxEntries, cgroups } = cgroupArray('groups', ['/a', '/b']);
  assert.equal([type, maxEntries, cgroups], [MapType.cgroupArray, 2, ['/a', '/b']]);
});

test('globals are a mappable array of one entry, zero by default', () => {
  const { type, maxEntries, flags, entries } = globals('g', u64);
  assert.equal([type, maxEntries, flags, entries], [MapType.array, 1, 0x400, undefined]);
  assert.equal(globals('g', u64, 5n).entries, [[0, 5n]]);
});

test('constants are read-only for programs and frozen', () => {
  const { type, flags, frozen, entries } = constants('c', u64, 5n);
  assert.equal([type, flags, frozen, entries], [MapType.array, 0x80, true, [[0, 5n]]]);
});

test('initial values must fit, or the error names their line', () => {
  assert.throws(
    () => constants('c', struct({ n: u8 }), { n: 256 }),
    /n: 256 does not fit in u8.*map\.test\.ts:\d+\)$/,
  );
  assert.throws(() => globals('g', u8, -1), /-1 does not fit in u8.*map\.test\.ts:\d+\)$/);
});

test('a program array has a slot for each name, or a number of slots', () => {
  const named = programArray('stages', { slots: ['parse', 'send'] });
  assert.equal([named.type, named.maxEntries, named.slots], [3, 2, ['parse', 'send']]);
  assert.equal([slotNumber(named, 'send'), slotNumber(named, 1), slotNumber(named, '0')], [1, 1, 0]);
  const numbered = programArray('stages', { maxEntries: 3 });
  assert.equal([numbered.maxEntries, numbered.slots, slotNumber(numbered, 2)], [3, [], 2]);
});

for (const [slot, message] of [
  ['sent', /^program array stages has no slot sent; its slots: parse, send \(.*map\.test/],
  [2, /no slot 2/],
  [-1, /no slot -1/],
  [0.5, /no slot 0\.5/],
] as const)
  test(`a program array refuses slot ${slot}`, () => {
    assert.throws(() => slotNumber(programArray('stages', { slots: ['parse', 'send'] }), slot), message);
  });

test('slot names must differ', () => {
  assert.throws(
    () => programArray('stages', { slots: ['a', 'b', 'a'] }),
    /map stages: two slots have the same name: a, b, a/,
  );
});

test('a key or value without a layout is refused when the map is defined', () => {
  const nothing = { type: 'boolean' } as never;
  for (const shape of [
    { key: nothing, value: u64 },
    { key: u64, value: nothing },
  ])
    assert.throws(() => hash('odd', { ...shape, maxEntries: 1 }), TypeError);
});

test('maxEntries is a 32-bit integer', () => {
  for (const maxEntries of [-1, 1.5, Number.NaN, 2 ** 32])
    assert.throws(
      () => hash('odd', { key: u64, value: u64, maxEntries }),
      new RegExp(`^map odd: maxEntries ${maxEntries} is not between 0 and 2\\^32-1`),
    );
  assert.is(hash('large', { key: u64, value: u64, maxEntries: 2 ** 32 - 1 }).maxEntries, 2 ** 32 - 1);
});

test.run();
