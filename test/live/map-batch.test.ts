/** Batch calls: reading, writing and draining whole maps, also while other processes change them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { TSchema } from '@sinclair/typebox';
import * as assert from 'uvu/assert';
import { BPF_F_NO_PREALLOC } from '../../src/asm/flags.ts';
import { arrayOf, bytes, chars, struct, u16, u32, u64 } from '../../src/asm/layout.ts';
import {
  array,
  hash,
  lpmTrie,
  lruHash,
  lruPerCpuHash,
  type MapSpec,
  perCpuArray,
  perCpuHash,
} from '../../src/asm/map.ts';
import { arrayOfMaps, hashOfMaps } from '../../src/asm/map-of-maps.ts';
import { MapBatchError, MapIterationError } from '../../src/loader/errors.ts';
import { BpfMap, UpdateMode } from '../../src/loader/map.ts';
import { inGuest, needsRoot, sameOnEveryKernel, suite } from '../harness.ts';
import { here } from './tracer.ts';

const test = suite('live/map-batch', { seconds: 60 });

const perCpu = (value: bigint) => here.possibleCpus.map((_, index) => value + BigInt(index));
const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

function withMap<M extends MapSpec>(spec: M, use: (map: BpfMap<M>) => void): void {
  const map = BpfMap.create(here, spec);
  try {
    use(map);
  } finally {
    map.close();
  }
}

/** The number of entries, several batches; an emulated guest takes long to compare them. */
const N = inGuest ? 5000 : 10_000;
const HASHES: readonly (readonly [string, MapSpec<typeof u32, typeof u64>, (n: number) => unknown])[] = [
  ['hash', hash('m', { key: u32, value: u64, maxEntries: N }), BigInt],
  [
    'hash without preallocation',
    hash('m', { key: u32, value: u64, maxEntries: N, flags: BPF_F_NO_PREALLOC }),
    BigInt,
  ],
  ['lruHash', lruHash('m', { key: u32, value: u64, maxEntries: 4 * N }), BigInt],
  ['perCpuHash', perCpuHash('m', { key: u32, value: u64, maxEntries: N }), (n) => perCpu(BigInt(n))],
  [
    'lruPerCpuHash',
    lruPerCpuHash('m', { key: u32, value: u64, maxEntries: 4 * N }),
    (n) => perCpu(BigInt(n)),
  ],
];

for (const [what, spec, valueFor] of HASHES)
  test.skipIf(needsRoot, `${what}: all entries are updated, read, deleted, drained and cleared`, async () => {
    const map = BpfMap.create(here, spec as MapSpec);
    try {
      const entries = range(N).map((key) => [key, valueFor(key)] as const);
      assert.is(map.updateMany(entries), N);
      const sorted = (read: Iterable<[unknown, unknown]>) =>
        [...read].sort(([a], [b]) => (a as number) - (b as number));
      assert.equal(sorted(map.entries()), entries);
      const asynchronous: [unknown, unknown][] = [];
      for await (const entry of map.entriesAsync()) asynchronous.push(entry);
      assert.equal(sorted(asynchronous), entries);
      assert.equal(
        [...map.keys()].map(Number).sort((a, b) => a - b),
        range(N),
      );
      // Missing keys are skipped, wherever they are.
      assert.is(map.deleteMany([N, ...range(100), N + 1, N + 2, 50, 200]), 101);
      assert.is([...map.keys()].length, N - 101);
      assert.is(map.drain().length, N - 101);
      assert.equal(map.drain(), []);
      map.updateMany(entries.slice(0, N / 2));
      assert.is(map.clear(), N / 2);
      assert.is(map.clear(), 0);
      assert.equal([...map.keys()], []);
    } finally {
      map.close();
    }
  });

test.skipIf(needsRoot, 'entriesWhere decodes and lists only the entries whose value matches', () => {
  const value = struct({ number: u64, raw: bytes(4) });
  const entries = range(N).map(
    (key) => [key, { number: BigInt(key), raw: Uint8Array.of(key, 0, 0, 1) }] as const,
  );
  withMap(hash('m', { key: u32, value, maxEntries: N }) as MapSpec, (map) => {
    map.updateMany(entries);
    const views = new Set<unknown>();
    const found = map.entriesWhere((view) => {
      views.add(view);
      return (view as { number: bigint }).number % 1000n === 7n;
    });
    assert.equal(
      [...found].sort(([a], [b]) => (a as number) - (b as number)),
      entries.filter(([key]) => key % 1000 === 7),
    );
    assert.is(views.size, 1, 'one view');
    assert.equal([...map.entriesWhere(() => false)], []);
  });
  withMap(perCpuArray('m', { value, maxEntries: 1 }) as MapSpec, (map) =>
    assert.throws(() => [...map.entriesWhere(() => true)], /map 'm' has a value for each CPU; use entries/),
  );
  withMap(hash('m', { key: u32, value: u64, maxEntries: 1 }) as MapSpec, (map) =>
    assert.throws(() => [...map.entriesWhere(() => true)], /only a struct has a sample view/),
  );
});

test.skipIf(needsRoot, 'arrays are read and updated, and their keys cannot be deleted', () => {
  for (const [spec, valueFor, zero] of [
    [array('m', { value: u64, maxEntries: N }), BigInt, 0n],
    [
      perCpuArray('m', { value: u64, maxEntries: N }),
      (n: number) => perCpu(BigInt(n)),
      here.possibleCpus.map(() => 0n),
    ],
  ] as const)
    withMap(spec as MapSpec, (map) => {
      assert.is(map.updateMany(range(N / 2).map((key) => [key, valueFor(key)])), N / 2);
      const read = [...map.entries()];
      assert.equal(
        read,
        range(N).map((key) => [key, key < N / 2 ? valueFor(key) : zero]),
      );
      for (const remove of [() => map.drain(), () => map.clear(), () => map.deleteMany([1])])
        assert.throws(
          remove,
          /^the keys of the map 'm' are indices, which cannot be deleted; .*map-batch.test.ts:\d+\)$/,
        );
      assert.equal(map.lookup(1), valueFor(1));
    });
});

test.skipIf(needsRoot, 'tries and maps of maps have the same methods', () => {
  const Prefix = struct({ bits: u32, address: bytes(4) });
  withMap(lpmTrie('m', { key: Prefix, value: u32, maxEntries: 100 }), (map) => {
    const prefix = (n: number) => ({ bits: 32, address: Uint8Array.of(10, 0, 0, n) });
    assert.is(map.updateMany(range(50).map((n) => [prefix(n), n])), 50);
    assert.equal(
      [...map.entries()].map(([, value]) => value).sort((a, b) => a - b),
      range(50),
    );
    assert.is(map.deleteMany([prefix(60), prefix(1)]), 1);
    assert.is(map.drain().length, 49);
    assert.is(map.clear(), 0);
  });
  const inner = hash('inner', { key: u32, value: u32, maxEntries: 1 });
  const [one, two] = [BpfMap.create(here, inner), BpfMap.create(here, inner)];
  withMap(hashOfMaps('m', { key: u16, inner, maxEntries: 8 }), (map) => {
    assert.is(
      map.updateMany([
        [7, one],
        [8, two],
        [9, one],
      ]),
      3,
    );
    const ids = new Map(map.entries());
    assert.is(ids.size, 3);
    assert.is(ids.get(7), ids.get(9));
    assert.is(ids.get(8) === ids.get(7), false);
    assert.is(map.deleteMany([8]), 1);
    assert.is(map.clear(), 2);
  });
  withMap(arrayOfMaps('m', { inner, maxEntries: 4 }), (map) => {
    map.updateMany([
      [3, one],
      [1, two],
    ]);
    assert.equal(
      [...map.entries()].map(([key]) => key),
      [1, 3],
      'empty slots are skipped',
    );
  });
  one.close();
  two.close();
});

test.skipIf(needsRoot, 'a bucket with more entries than a batch has room for is read', () => {
  const value = bytes(600_000);
  withMap(hash('m', { key: u32, value, maxEntries: 16, flags: BPF_F_NO_PREALLOC }), (map) => {
    for (const key of range(16)) map.update(key, new Uint8Array(600_000).fill(key));
    const read = [...map.entries()].sort(([a], [b]) => a - b);
    assert.equal(
      read.map(([key]) => key),
      range(16),
    );
    for (const [key, content] of read) assert.ok(content.every((byte) => byte === key));
    assert.is(map.drain().length, 16);
  });
});

test.skipIf(needsRoot, 'two loops over one map do not disturb each other', () => {
  withMap(hash('m', { key: u16, value: chars(8), maxEntries: 8 }), (map) => {
    map.updateMany([
      [1, 'a'],
      [2, 'b'],
      [3, 'c'],
    ]);
    const pairs: string[] = [];
    for (const [, a] of map.entries()) for (const [, b] of map.entries()) pairs.push(a + b);
    assert.equal(pairs.sort(), ['aa', 'ab', 'ac', 'ba', 'bb', 'bc', 'ca', 'cb', 'cc']);
  });
});

test.skipIf(
  needsRoot,
  'a full map: the error says how many entries were updated, and which one failed',
  () => {
    for (const mode of [UpdateMode.any, UpdateMode.create])
      withMap(hash('counts', { key: u32, value: u32, maxEntries: 1000 }), (map) => {
        let thrown: unknown;
        try {
          map.updateMany(
            range(5000).map((key) => [key + 10, key]),
            mode,
          );
        } catch (error) {
          thrown = error;
        }
        assert.instance(thrown, MapBatchError);
        const { applied, index, key, errnoName, message } = thrown as MapBatchError;
        // A hash table may hold a few more entries than it was made for, one for each CPU.
        assert.is(applied, [...map.keys()].length);
        assert.ok(applied >= 1000 && applied <= 1000 + here.possibleCpus.length, String(applied));
        assert.equal([index, key, errnoName], [applied, applied + 10, 'E2BIG']);
        assert.match(
          message,
          new RegExp(
            `^cannot update the map 'counts': bpf\\(BPF_MAP_UPDATE_(BATCH|ELEM)\\): E2BIG .*: entry ${index} \\(key ${key}\\) failed, ` +
              `${applied} were updated before: the map is full.*map-batch\\.test\\.ts:\\d+\\)$`,
          ),
        );
      });
  },
);

test.skipIf(needsRoot, 'the modes of updateMany apply to each entry', () => {
  withMap(hash('m', { key: u32, value: u32, maxEntries: 8 }), (map) => {
    map.update(2, 20);
    const failed = (mode: UpdateMode, keys: number[]): [string, unknown, number] => {
      try {
        map.updateMany(
          keys.map((key) => [key, 7]),
          mode,
        );
      } catch (error) {
        if (error instanceof MapBatchError) return [error.errnoName, error.key, error.applied];
        throw error;
      }
      throw new Error('nothing failed');
    };
    assert.equal(failed(UpdateMode.create, [1, 2, 3]), ['EEXIST', 2, 1]);
    assert.equal(failed(UpdateMode.replace, [1, 4, 2]), ['ENOENT', 4, 1]);
    assert.equal([...map.entries()].sort(), [
      [1, 7],
      [2, 20],
    ]);
  });
});

test.skipIf(needsRoot, 'an entry that does not fit its schema is named, and nothing changes', () => {
  withMap(hash('m', { key: u32, value: struct({ port: u16 }), maxEntries: 8 }), (map) => {
    assert.throws(
      () =>
        map.updateMany([
          [1, { port: 1 }],
          [2, { port: 65_536 }],
        ]),
      /^entry 1: port: 65536 does not fit in u16 .*map-batch\.test\.ts:\d+\)$/,
    );
    assert.throws(() => map.deleteMany([1, -1]), /^entry 1: .*-1 does not fit in u32/);
    assert.equal([...map.keys()], []);
  });
});

test.skipIf(needsRoot, 'a long asynchronous listing lets the event loop run', async () => {
  const map = BpfMap.create(here, hash('m', { key: u32, value: u32, maxEntries: 50_000 }));
  try {
    map.updateMany(range(50_000).map((key) => [key, key]));
    let [turns, longest, last] = [0, 0, performance.now()];
    const turn = () => {
      turns++;
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
      next = setImmediate(turn);
    };
    let next = setImmediate(turn);
    let read = 0;
    for await (const [key] of map.entriesAsync()) {
      read++;
      // As slow as a loop body that formats the entry.
      for (let i = 0; i < 20; i++) String(key + i);
    }
    clearImmediate(next);
    assert.is(read, 50_000);
    assert.ok(turns >= 5, `${turns} turns of the event loop, at most ${longest.toFixed(1)} ms apart`);
  } finally {
    map.close();
  }
});

/** A value of 128 bytes, which takes time to decode. */
const Wide = struct({ numbers: arrayOf(u32, 32) });
const wide = (key: number): number[] => range(32).map((index) => key + index);

const WIDE = inGuest ? 20_000 : 50_000;

test.skipIf(needsRoot, 'drainAsync and clearAsync delete everything and let the event loop run', async () => {
  const map = BpfMap.create(here, hash('m', { key: u32, value: Wide, maxEntries: WIDE }));
  const fill = () => map.updateMany(range(WIDE).map((key) => [key, { numbers: wide(key) }]));
  let turns = 0;
  const turn = () => {
    turns++;
    next = setImmediate(turn);
  };
  let next: NodeJS.Immediate | undefined;
  try {
    fill();
    next = setImmediate(turn);
    const drained = await map.drainAsync();
    clearImmediate(next);
    assert.equal(
      drained.map(([key]) => key).sort((a, b) => a - b),
      range(WIDE),
    );
    for (const [key, { numbers }] of drained.slice(0, 100)) assert.equal(numbers, wide(key));
    assert.ok(turns >= 5, `${turns} turns of the event loop`);
    assert.equal([...map.keys()], []);
    fill();
    assert.is(await map.clearAsync(), WIDE);
    assert.equal(await map.drainAsync(), []);
  } finally {
    clearImmediate(next);
    map.close();
  }
});

/** The number of keys that no process inserts or deletes. An emulated guest reads fewer, of one map type. */
const UNTOUCHED = inGuest ? 5000 : 100_000;

/** Checks that a pass lists each untouched key, and no key twice. */
class Seen {
  readonly #others = new Set<number>();
  readonly #untouched = new Uint8Array(UNTOUCHED);

  add(key: number): void {
    if (key >= UNTOUCHED) {
      if (this.#others.has(key)) assert.unreachable(`${key} is listed twice`);
      this.#others.add(key);
    } else if ((this.#untouched[key] as number)++ > 0) assert.unreachable(`${key} is listed twice`);
  }

  check(): void {
    assert.is(this.#untouched.indexOf(0), -1, 'an untouched key is missing');
  }
}

/** How many processes change a map at the same time. An emulated guest takes seconds to start one. */
const WRITERS = inGuest ? 2 : 4;

/** Starts processes that change a map. */
async function startWriters(
  map: BpfMap,
  valueBytes: number,
  action: string,
): Promise<{ stop(): Promise<void> }> {
  const script = fileURLToPath(new URL('./map-writer.js', import.meta.url));
  const writers = range(WRITERS).map((index) =>
    spawn(
      process.execPath,
      [script, String(valueBytes), String((index + 1) * 100_000_000), action, String(UNTOUCHED)],
      {
        stdio: ['ignore', 'pipe', 'inherit', map.fd],
      },
    ),
  );
  await Promise.all(writers.map((writer) => once(writer.stdout as NodeJS.ReadableStream, 'data')));
  return {
    async stop() {
      const ends = writers.map((writer) => once(writer, 'exit'));
      for (const writer of writers) {
        assert.is(writer.exitCode, null, 'the writer ran until now');
        writer.kill('SIGKILL');
      }
      await Promise.all(ends);
    },
  };
}

type AnyMap = BpfMap<MapSpec<typeof u32, TSchema>>;

for (const [what, spec, valueBytes] of [
  ['hash', hash('m', { key: u32, value: u64, maxEntries: 150_000 }), 8],
  ['lruHash', lruHash('m', { key: u32, value: u64, maxEntries: 400_000 }), 8],
  [
    'perCpuHash',
    perCpuHash('m', { key: u32, value: u64, maxEntries: 150_000 }),
    needsRoot ? 8 : 8 * here.possibleCpus.length,
  ],
] as const)
  for (const action of ['insert', 'update'] as const)
    test.skipIf(
      needsRoot || (what !== 'hash' && sameOnEveryKernel),
      `a ${what} of many entries, with ${WRITERS} processes that ${action}: every pass lists each untouched key once, or throws`,
      async () => {
        const map = BpfMap.create(here, spec as MapSpec<typeof u32, TSchema>) as AnyMap;
        const value = what === 'perCpuHash' ? perCpu(7n) : 7n;
        map.updateMany(range(UNTOUCHED).map((key) => [key, value as never]));
        const writers = await startWriters(map as unknown as BpfMap, valueBytes, action);
        const passes: readonly ((seen: Seen) => void | Promise<void>)[] = [
          (seen) => {
            for (const key of map.keys()) seen.add(key);
          },
          (seen) => {
            for (const [key] of map.entries()) seen.add(key);
          },
          async (seen) => {
            for await (const [key] of map.entriesAsync()) seen.add(key);
          },
        ];
        try {
          let complete = 0;
          const end = performance.now() + 2000;
          for (let pass = 0; pass < passes.length || complete === 0 || performance.now() < end; pass++) {
            const seen = new Seen();
            try {
              await passes[pass % passes.length]?.(seen);
            } catch (error) {
              if (!(error instanceof MapIterationError)) throw error;
              continue;
            }
            seen.check();
            complete++;
          }
          assert.ok(complete > 0, 'some passes were complete');
        } finally {
          await writers.stop();
          map.close();
        }
      },
    );

test.skipIf(
  needsRoot,
  'what several processes add is drained: no key is lost, and none is drained twice',
  async () => {
    const maxEntries = inGuest ? 5000 : 20_000;
    const map = BpfMap.create(here, hash('m', { key: u32, value: u64, maxEntries }));
    const writers = await startWriters(map as unknown as BpfMap, 8, 'add');
    const drained: number[] = [];
    try {
      const end = performance.now() + 2000;
      const writing = new Set<number>();
      for (let round = 0; round < 10 || writing.size < WRITERS || performance.now() < end; round++) {
        for (const [key] of map.drain()) {
          drained.push(key);
          writing.add(Math.floor(key / 100_000_000));
        }
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    } finally {
      await writers.stop();
      for (const [key] of map.drain()) drained.push(key);
      map.close();
    }
    for (const writer of range(WRITERS)) {
      const first = (writer + 1) * 100_000_000;
      const own = drained.filter((key) => key >= first && key < first + 100_000_000).sort((a, b) => a - b);
      assert.ok(own.length > 0, `writer ${writer} added keys`);
      assert.is(
        own.findIndex((key, index) => key !== first + index),
        -1,
        'each key once, without gaps',
      );
    }
  },
);

test.run();
