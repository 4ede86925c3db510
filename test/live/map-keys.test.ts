/** Keys of kernel maps: arbitrary bytes, and maps that change while they are listed. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { TSchema } from '@sinclair/typebox';
import * as assert from 'uvu/assert';
import type { Builder } from '../../src/asm/builder/builder.ts';
import { getCurrentPidTgid, getPrandomU32 } from '../../src/asm/helpers.ts';
import { rawTracepoint } from '../../src/asm/hooks.ts';
import { arrayOf, bytes, chars, layoutOf, s64n, struct, u8, u32, u64, u64n } from '../../src/asm/layout.ts';
import { array, hash, lpmTrie, lruHash, type MapSpec, perCpuHash } from '../../src/asm/map.ts';
import { hashOfMaps } from '../../src/asm/map-of-maps.ts';
import { target } from '../../src/asm/target.ts';
import { Attr, allocateCopy, Command } from '../../src/loader/bpf.ts';
import { MapIterationError } from '../../src/loader/errors.ts';
import { BpfMap } from '../../src/loader/map.ts';
import { Session } from '../../src/loader/session.ts';
import { needsRoot, sameOnEveryKernel, suite } from '../harness.ts';
import { here } from './tracer.ts';

const test = suite('live/map-keys', { seconds: 60 });

/** Inserts raw bytes as a key, as a program may. */
function put(map: BpfMap, key: Uint8Array, value: Uint8Array): void {
  const attr = new Attr(here.syscalls, 32)
    .u32(0, map.fd)
    .pointer(8, allocateCopy(key))
    .pointer(16, allocateCopy(value));
  assert.is(attr.send(Command.mapUpdateElem), 0);
}

const hex = (...keys: string[]): Uint8Array[] =>
  keys.map((key) => Uint8Array.from(Buffer.from(key.replaceAll(' ', ''), 'hex')));

/** Keys without a plain value, with pairs that are easily confused. */
const UNUSUAL: readonly (readonly [string, TSchema, readonly Uint8Array[]])[] = [
  [
    'text',
    chars(4),
    hex('6c730000', '6c730001', '6c737273', '63e90000', '63ea0000', '63c3a900', '00000000', '00000001'),
  ],
  [
    'numbers past 2^53',
    u64n,
    hex('785634128088ffff', '795634128088ffff', 'ffffffffffff1f00', 'ffffffffffffffff'),
  ],
  ['negative numbers past 2^53', s64n, hex('0000000000000080', '0100000000000080', 'ffffffffffffffff')],
  [
    'padding',
    struct({ a: u8, b: u32 }),
    hex('01 000000 02000000', '01 000001 02000000', '01 ff0000 02000000'),
  ],
  [
    'all of them, nested',
    struct({ list: arrayOf(struct({ n: u8, at: u64n }), 2), name: chars(3) }),
    hex(
      '01 00000000000000 0500000000000000 02 00000000000000 0600000000000000 616263 0000000000',
      '01 00000000000001 0500000000000000 02 00000000000000 0600000000000000 616263 0000000000',
      '01 00000000000000 05000000000000ff 02 00000000000000 0600000000000000 616263 0000000000',
      '01 00000000000000 0500000000000000 02 00000000000000 0600000000000000 6100ff 0000000000',
      '01 00000000000000 0500000000000000 02 00000000000000 0600000000000000 616263 0000000001',
    ),
  ],
];

const maxEntries = 16;
const inner = hash('inner', { key: u32, value: u32, maxEntries: 1 });
const kinds: Record<string, (key: TSchema) => MapSpec> = {
  hash: (key) => hash('m', { key, value: u32, maxEntries }),
  lruHash: (key) => lruHash('m', { key, value: u32, maxEntries: 1024 }),
  perCpuHash: (key) => perCpuHash('m', { key, value: u32, maxEntries }),
  hashOfMaps: (key) => hashOfMaps('m', { key, inner, maxEntries }),
};

for (const [kind, make] of Object.entries(kinds))
  for (const [what, schema, keys] of UNUSUAL)
    test.skipIf(
      needsRoot,
      `${kind}, ${what}: every key can be listed, looked up, updated and deleted`,
      () => {
        const isOfMaps = kind === 'hashOfMaps';
        const stride = kind === 'perCpuHash' ? 8 * here.possibleCpus.length : 4;
        const map = BpfMap.create(here, make(schema));
        const held = BpfMap.create(here, inner);
        try {
          for (const [index, key] of keys.entries()) {
            assert.is(key.length, layoutOf(schema).size);
            const value = new Uint8Array(stride);
            new DataView(value.buffer).setUint32(0, isOfMaps ? held.fd : index, true);
            put(map as BpfMap, key, value);
          }
          const listed = [...map.keys()];
          assert.is(listed.length, keys.length);
          const entries = [...map.entries()];
          assert.is(entries.length, keys.length);
          const first = (value: unknown) => (Array.isArray(value) ? value[0] : value);
          if (!isOfMaps)
            assert.equal(
              entries.map(([, value]) => first(value)).sort(),
              keys.map((_, index) => index),
            );
          for (const [key, value] of entries) assert.equal(map.lookup(key), value);
          for (const key of listed) {
            if (isOfMaps) map.update(key, held as never);
            else map.update(key, (kind === 'perCpuHash' ? here.possibleCpus.map(() => 77) : 77) as never);
          }
          assert.is([...map.keys()].length, keys.length, 'no key was added');
          if (!isOfMaps) assert.ok([...map.entries()].every(([, value]) => first(value) === 77));
          for (const key of listed) assert.is(map.delete(key), true);
          for (const key of listed) assert.is(map.lookup(key), undefined);
          assert.equal([...map.keys()], []);
        } finally {
          held.close();
          map.close();
        }
      },
    );

test.skipIf(needsRoot, 'a trie lists prefixes with nonzero bits past their length', () => {
  const Prefix = struct({ bits: u32, address: bytes(4) });
  const map = BpfMap.create(here, lpmTrie('m', { key: Prefix, value: u32, maxEntries: 4 }));
  try {
    put(map as unknown as BpfMap, ...(hex('08000000 0a010203', '01000000') as [Uint8Array, Uint8Array]));
    put(map as unknown as BpfMap, ...(hex('18000000 0a000002', '02000000') as [Uint8Array, Uint8Array]));
    const entries = [...map.entries()];
    assert.equal(entries.map(([{ bits }, value]) => [bits, value]).sort(), [
      [24, 2],
      [8, 1],
    ]);
    for (const [key] of entries) assert.is(map.delete(key), true);
    assert.equal([...map.keys()], []);
  } finally {
    map.close();
  }
});

test.skipIf(needsRoot, 'iteration sees every remaining key while the loop adds and deletes keys', () => {
  for (const [stay, come, each] of [
    [100, 900, 5],
    [500, 500, 2],
    [2000, 2000, 1],
  ] as const) {
    const map = BpfMap.create(here, hash('m', { key: u32, value: u32, maxEntries: stay + come }));
    try {
      for (let key = 0; key < stay; key++) map.update(key, key);
      const moving = Array.from({ length: come }, (_, index) => 1_000_000 + index);
      for (const key of moving) map.update(key, 0);
      let [next, at] = [2_000_000, 0];
      const seen: number[] = [];
      for (const [key] of map.entries()) {
        seen.push(key);
        for (let i = 0; i < each; i++) {
          at = (at * 31 + 17) % come;
          map.delete(moving[at] as number);
          moving[at] = next++;
          map.update(moving[at] as number, 0);
        }
      }
      assert.is(new Set(seen).size, seen.length, 'each key is listed once');
      assert.is(seen.filter((key) => key < stay).length, stay);
    } finally {
      map.close();
    }
  }
});

/** A process that calls getuid() until it is killed. */
async function busyProcess(): Promise<{ readonly pid: number; start(): void; stop(): void }> {
  const script = `console.log('up'); process.stdin.once('data', () => { for (;;) process.getuid(); });`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  return {
    pid: child.pid as number,
    start: () => void child.stdin.write('go\n'),
    stop: () => void child.kill('SIGKILL'),
  };
}

/** The keys, or undefined if the map changes too fast to list them. */
function keysOf(map: BpfMap<MapSpec<typeof u32>>): ReadonlySet<number> | undefined {
  try {
    return new Set(map.keys());
  } catch (error) {
    assert.instance(error, MapIterationError);
    return undefined;
  }
}

const GETUID = process.arch === 'arm64' ? 174 : 102;
const KEYS = 500;

for (const [what, change] of [
  [
    'adds and deletes other keys',
    (b: Builder, map: MapSpec) => {
      const key = b.stack(u32);
      const value = b.stack(u32, 1);
      for (const add of [true, false]) {
        const random = b.call(getPrandomU32).and(511).or(0x10000);
        key.set(random);
        if (add) b.update(map, key, value);
        else b.delete(map, key);
      }
    },
  ],
  [
    'updates the same keys',
    (b: Builder, map: MapSpec) => {
      const key = b.stack(u32);
      key.set(b.call(getPrandomU32).mod(KEYS));
      b.update(map, key, b.stack(u32, 1));
    },
  ],
] as const)
  for (const make of [hash, lruHash])
    test.skipIf(
      needsRoot || sameOnEveryKernel,
      `a ${make.name} that a program on another CPU ${what}: a pass lists every remaining key or throws`,
      async () => {
        const busy = await busyProcess();
        const map = make('m', { key: u32, value: u32, maxEntries: make === lruHash ? 16_384 : 2048 });
        const runs = array('runs', { value: u64 });
        const program = rawTracepoint('sys_enter', target(process.arch, here.btf), (b) => {
          b.if(b.arg(1).ne(GETUID), () => b.exit());
          b.if(b.call(getCurrentPidTgid).rsh(32).ne(busy.pid), () => b.exit());
          for (let i = 0; i < 8; i++) change(b, map);
          b.global(runs).atomicAdd(1);
        });
        const session = Session.open(
          { name: 'busy', programs: [program], maps: [map, runs] },
          { kernel: here },
        );
        try {
          const opened = session.map(map);
          for (let key = 0; key < KEYS; key++) opened.update(key, 0);
          busy.start();
          const count = () => session.map(runs).lookup(0) ?? 0n;
          while (count() < 1000n) await new Promise((resolve) => setTimeout(resolve, 10));
          const before = count();
          let complete = 0;
          for (let walk = 0; walk < 20 || count() < before + 5000n; walk++) {
            const keys = keysOf(opened);
            if (keys === undefined) continue;
            complete++;
            let there = 0;
            for (let key = 0; key < KEYS; key++) there += Number(keys.has(key));
            assert.is(there, KEYS, `walk ${walk}`);
          }
          assert.ok(complete > 0);
        } finally {
          busy.stop();
          session.close();
        }
      },
    );

test.run();
