import * as assert from 'uvu/assert';
import { bytes, chars, struct, u8, u32, u64, u64n } from '../../src/asm/layout.ts';
import { array, hash, lpmTrie, lruHash, type MapSpec } from '../../src/asm/map.ts';
import { KernelError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { BpfMap, UpdateMode } from '../../src/loader/map.ts';
import { needsRoot, suite } from '../harness.ts';

const test = suite('live/loader-maps');

const Value = struct({ ns: u64, comm: chars(8), flag: u8 });

/** Opens a map while `use` runs. */
function withMap<M extends MapSpec>(spec: M, use: (map: BpfMap<M>, kernel: Kernel) => void): void {
  const kernel = new Kernel();
  const map = BpfMap.create(kernel, spec);
  try {
    use(map, kernel);
  } finally {
    map.close();
  }
}

/** Asserts that `run` throws a KernelError with this errno. */
function assertCode(code: string, run: () => void): void {
  assert.throws(run, (error: unknown) => error instanceof KernelError && error.errnoName === code);
}

for (const make of [hash, lruHash])
  test.skipIf(needsRoot, `a ${make.name} inserts, replaces, iterates and deletes`, () => {
    withMap(make('entries', { key: u32, value: Value, maxEntries: 64 }), (map) => {
      const value = { ns: 2n ** 63n + 5n, comm: 'node', flag: 255 };
      assert.is(map.lookup(0xffff_ffff), undefined);
      map.update(0xffff_ffff, value, UpdateMode.create);
      assert.equal(map.lookup(0xffff_ffff), value);
      assertCode('EEXIST', () => map.update(0xffff_ffff, value, UpdateMode.create));
      assertCode('ENOENT', () => map.update(1, value, UpdateMode.replace));
      map.update(1, { ...value, ns: 1n });
      assert.equal(
        [...map.entries()].map(([key, { ns }]) => [key, ns]).sort(),
        [
          [1, 1n],
          [0xffff_ffff, value.ns],
        ].sort(),
      );
      assert.is(map.delete(1), true);
      assert.is(map.delete(1), false);
      for (const key of map.keys()) map.delete(key);
      assert.equal([...map.keys()], []);
    });
  });

test.skipIf(needsRoot, 'keys and values may be structs', () => {
  const Key = struct({ pid: u32, fd: u32 });
  withMap(hash('by_fd', { key: Key, value: u8, maxEntries: 4 }), (map) => {
    map.update({ pid: 1, fd: 2 }, 3);
    assert.equal([...map.entries()], [[{ pid: 1, fd: 2 }, 3]]);
  });
});

test.skipIf(needsRoot, 'updating a full hash throws, and the error says that the map is full', () => {
  withMap(hash('small', { key: u32, value: u32, maxEntries: 2 }), (map) => {
    map.update(1, 1);
    map.update(2, 2);
    assert.throws(() => map.update(3, 3), /update the map 'small'.*E2BIG.*the map is full/);
  });
});

test.skipIf(needsRoot, 'a map may exceed the locked-memory limit, which counts maps before 5.11', () => {
  const { syscalls } = new Kernel();
  const limit = syscalls.memlock();
  if (typeof limit === 'number') throw new Error(`getrlimit: errno ${-limit}`);
  syscalls.memlock({ soft: 0n, hard: limit.hard });
  try {
    withMap(hash('large', { key: u64, value: u64, maxEntries: 100_000 }), (map) => {
      map.update(1n, 2n);
      assert.is(map.lookup(1n), 2n);
    });
  } finally {
    syscalls.memlock(limit);
  }
});

test.skipIf(needsRoot, 'a full LRU hash evicts entries', () => {
  withMap(lruHash('recent', { key: u32, value: u32, maxEntries: 16 }), (map, kernel) => {
    const highest = 16 * kernel.possibleCpus.length + 128;
    for (let key = 0; key < 1000; key++) map.update(key, key);
    const { length } = [...map.keys()];
    assert.ok(length > 0 && length <= highest, `${length} entries`);
    assert.is(map.lookup(999), 999);
  });
});

test.skipIf(needsRoot, 'iteration ends while every key is deleted and added again', () => {
  withMap(hash('moving', { key: u32, value: u32, maxEntries: 256 }), (map) => {
    for (let key = 0; key < 200; key++) map.update(key, key);
    const seen = new Set<number>();
    let next = 1000;
    for (const key of map.keys()) {
      assert.is(seen.has(key), false, 'each key is listed once');
      seen.add(key);
      for (const other of [key, key + 1, next - 1]) map.delete(other);
      if (next < 3000) map.update(next++, 0);
    }
    assert.ok(seen.size > 0);
  });
});

test.skipIf(needsRoot, 'array elements start at zero and cannot be deleted', () => {
  withMap(array('counts', { value: u64n, maxEntries: 3 }), (map) => {
    map.update(1, 2 ** 53 - 1);
    assert.equal(
      [...map.entries()],
      [
        [0, 0],
        [1, 2 ** 53 - 1],
        [2, 0],
      ],
    );
    assert.is(map.lookup(3), undefined);
    assertCode('EINVAL', () => map.delete(1));
    assertCode('E2BIG', () => map.update(3, 1));
  });
});

test.skipIf(needsRoot, 'a trie starts with its entries and finds the longest prefix', () => {
  const Prefix = struct({ bits: u32, address: bytes(4) });
  const key = (bits: number, ...address: number[]) => ({ bits, address: Uint8Array.from(address) });
  const entries = [
    [key(8, 10, 0, 0, 0), 1],
    [key(16, 10, 1, 0, 0), 2],
    [key(0, 0, 0, 0, 0), 3],
  ] as const;
  withMap(lpmTrie('nets', { key: Prefix, value: u32, entries, maxEntries: 4 }), (map) => {
    assert.is(map.lookup(key(32, 10, 2, 3, 4)), 1);
    assert.is(map.lookup(key(32, 10, 1, 255, 255)), 2);
    assert.is(map.lookup(key(32, 192, 0, 2, 1)), 3);
    assert.is(map.delete(key(16, 10, 1, 0, 0)), true);
    assert.is(map.lookup(key(32, 10, 1, 255, 255)), 1);
    assert.is([...map.keys()].length, 2);
  });
});

test.run();
