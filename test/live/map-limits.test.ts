/** What the kernel demands of maps: each rule against this kernel, and the messages of refused calls. */
import * as assert from 'uvu/assert';
import { BPF_F_NO_PREALLOC, BPF_F_RDONLY, BPF_F_WRONLY } from '../../src/asm/flags.ts';
import { bytes, struct, u32, u64 } from '../../src/asm/layout.ts';
import {
  array,
  hash,
  lpmTrie,
  lruHash,
  MapType,
  mapTypeName,
  perCpuArray,
  perCpuHash,
} from '../../src/asm/map.ts';
import { mapFault } from '../../src/asm/map-limits.ts';
import { queue } from '../../src/asm/queue.ts';
import { Attr, Command } from '../../src/loader/bpf.ts';
import { BpfMap, UpdateMode } from '../../src/loader/map.ts';
import { needsRoot, suite } from '../harness.ts';
import { here } from './tracer.ts';

const test = suite('live/map-limits');

/** Whether this kernel creates a map. */
function isCreated(type: MapType, key: number, value: number, flags: number): boolean {
  const attr = new Attr(here.syscalls, 28);
  for (const [index, field] of [type, key, value, 4, flags].entries()) attr.u32(4 * index, field);
  const fd = attr.send(Command.mapCreate);
  if (fd >= 0) here.syscalls.close(fd);
  return fd >= 0;
}

/** Types that need neither BTF nor an inner map, the sizes of a key and a value, and their least flags. */
const SHAPES: readonly (readonly [MapType, number, number, number])[] = [
  ...([MapType.hash, MapType.lruHash, MapType.perCpuHash, MapType.lruPerCpuHash] as const).map(
    (type) => [type, 8, 8, 0] as const,
  ),
  ...([MapType.array, MapType.perCpuArray] as const).map((type) => [type, 4, 8, 0] as const),
  ...([MapType.programArray, MapType.perfEventArray, MapType.cgroupArray] as const).map(
    (type) => [type, 4, 4, 0] as const,
  ),
  [MapType.lpmTrie, 8, 8, BPF_F_NO_PREALLOC],
  [MapType.stackTrace, 4, 64, 0],
  [MapType.queue, 0, 8, 0],
  [MapType.stack, 0, 8, 0],
  [MapType.bloomFilter, 0, 8, 0],
];

for (const [type, key, value, least] of SHAPES)
  test.skipIf(needsRoot, `${mapTypeName(type)}: what the table refuses, this kernel refuses`, () => {
    assert.is(mapFault({ type, key, value, flags: least }), undefined);
    if (!isCreated(type, key, value, least)) return; // not configured, or of a later kernel
    let refused = 0;
    for (let bit = 0; bit < 13; bit++) {
      const flags = least | (1 << bit);
      if (mapFault({ type, key, value, flags }) === undefined) continue;
      refused++;
      assert.is(isCreated(type, key, value, flags), false, `flags 0x${flags.toString(16)}`);
    }
    assert.ok(refused > 0);
    for (const [sizes, k, v] of [
      ['key', 4, value],
      ['long key', 300, value],
      ['value', key, 12],
      ['long value', key, 40_000],
    ] as const)
      if (mapFault({ type, key: k, value: v, flags: least }) !== undefined)
        assert.is(isCreated(type, k, v, least), false, sizes);
  });

for (const [what, make, message] of [
  [
    'a flag',
    () => lruHash('m', { key: u32, value: u32, maxEntries: 4, flags: BPF_F_NO_PREALLOC }),
    /maps of type lruHash cannot have BPF_F_NO_PREALLOC; they accept BPF_F_NO_COMMON_LRU, /,
  ],
  [
    'two flags',
    () => hash('m', { key: u32, value: u32, maxEntries: 4, flags: BPF_F_RDONLY | BPF_F_WRONLY }),
    /the flags BPF_F_RDONLY, BPF_F_WRONLY exclude each other/,
  ],
  [
    'a large value',
    () => perCpuArray('m', { value: bytes(40_000) }),
    /values of type perCpuArray have at most 32768 bytes, not 40000/,
  ],
  [
    'a large key',
    () => lpmTrie('m', { key: struct({ bits: u32, address: bytes(300) }), value: u32, maxEntries: 4 }),
    /keys of type lpmTrie have 5 to 260 bytes, not 304/,
  ],
] as const)
  test(`${what} that no kernel accepts is an error at the line of the map`, () => {
    assert.throws(make, (error: unknown) => {
      assert.instance(error, RangeError);
      assert.match((error as Error).message, message);
      assert.match((error as Error).message, /^map m: .*map-limits\.test\.ts:\d+\)$/);
      return true;
    });
  });

test.skipIf(needsRoot, 'a changed spec is checked before the call', () => {
  const changed = { ...array('m', { value: u64 }), flags: BPF_F_NO_PREALLOC };
  assert.throws(
    () => BpfMap.create(here, changed),
    /map 'm': maps of type array cannot have BPF_F_NO_PREALLOC.*map-limits\.test\.ts:\d+\)$/,
  );
});

test.skipIf(
  needsRoot,
  'a map that the kernel refuses: the error has its values and the likely causes',
  () => {
    assert.throws(
      () => BpfMap.create(here, hash('m', { key: u32, value: bytes(8 << 20), maxEntries: 2 })),
      /E2BIG.*hash, key 4 bytes, value 8388608 bytes, maxEntries 2, no flags: too large;.*less than 4 MiB/,
    );
    assert.throws(
      () => BpfMap.create(here, hash('m', { key: u32, value: u32, maxEntries: 4, flags: 0x4000_0000 })),
      /EINVAL.*hash, key 4 bytes, value 4 bytes, maxEntries 4, flags 0x40000000: this kernel refuses a flag or a size; create it without flags/,
    );
  },
);

test.skipIf(needsRoot, 'a refused call for an element: the error names the cause', () => {
  const use = <T extends { close(): void }>(map: T, check: (map: T) => void) => {
    try {
      check(map);
    } finally {
      map.close();
    }
  };
  const Prefix = struct({ bits: u32, address: bytes(4) });
  const address = Uint8Array.of(10, 0, 0, 0);
  use(BpfMap.create(here, lpmTrie('m', { key: Prefix, value: u32, maxEntries: 1 })), (map) => {
    for (const work of [
      () => map.update({ bits: 33, address }, 1),
      () => map.lookup({ bits: 33, address }),
      () => map.updateMany([[{ bits: 33, address }, 1]]),
    ])
      assert.throws(
        work,
        /the key of the map 'm' is a prefix of 33 bits, but it has 32 bits after its length.*map-limits\.test\.ts:\d+\)$/,
      );
    map.update({ bits: 8, address }, 1);
    assert.throws(
      () => map.update({ bits: 9, address }, 1),
      /ENOSPC.*the map is full \(maxEntries 1\); increase maxEntries/,
    );
  });
  use(BpfMap.create(here, array('m', { value: u32, maxEntries: 2 })), (map) => {
    assert.throws(() => map.delete(0), /EINVAL.*the keys of an array are indices, which cannot be deleted/);
    assert.throws(() => map.update(0, 1, UpdateMode.create), /EEXIST.*every index of an array exists/);
    assert.throws(() => map.update(2, 1), /E2BIG.*the index is beyond its 2 entries/);
  });
  use(BpfMap.create(here, hash('m', { key: u32, value: u32, maxEntries: 2, flags: BPF_F_RDONLY })), (map) => {
    assert.throws(() => map.update(0, 1), /EPERM.*the map has the flag BPF_F_RDONLY: only programs write it/);
  });
  use(BpfMap.create(here, hash('m', { key: u32, value: u32, maxEntries: 2, flags: BPF_F_WRONLY })), (map) => {
    map.update(0, 1);
    assert.throws(() => map.lookup(0), /EPERM.*the map has the flag BPF_F_WRONLY: only programs read it/);
    assert.throws(() => [...map.entries()], /EPERM.*BPF_F_WRONLY/);
  });
  use(BpfMap.create(here, perCpuHash('m', { key: u32, value: u32, maxEntries: 1 })), (map) => {
    map.update(
      1,
      here.possibleCpus.map(() => 1),
    );
    assert.throws(
      () =>
        map.update(
          1,
          here.possibleCpus.map(() => 1),
          UpdateMode.create,
        ),
      /EEXIST.*the map has this key/,
    );
  });
});

test.skipIf(
  needsRoot,
  'the methods for many entries refuse a map without keys, and name those it has',
  () => {
    const map = BpfMap.create(here, queue('q', { value: u32, maxEntries: 4 })) as unknown as BpfMap;
    try {
      for (const work of [
        () => map.updateMany([[undefined as never, 1 as never]]),
        () => map.deleteMany([undefined as never]),
        () => map.drain(),
        () => map.clear(),
      ])
        assert.throws(
          work,
          /map 'q': a queue or stack has no keys; use push, pop and peek .*map-limits\.test\.ts:\d+\)$/,
        );
    } finally {
      map.close();
    }
  },
);

test.run();
