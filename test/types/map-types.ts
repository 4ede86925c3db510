/**
 * Every map type, and what its schemas type in this process and in programs. Compiled by `npm run check`,
 * never run.
 */
import {
  array,
  arrayOfMaps,
  BpfMap,
  bloomFilter,
  bytes,
  cgroupArray,
  cgrpStorage,
  constants,
  getCurrentTaskBtf,
  globals,
  hash,
  inodeStorage,
  type Kernel,
  lpmTrie,
  lruHash,
  lruPerCpuHash,
  type MapBatchError,
  perCpuArray,
  programArray,
  queue,
  RingBuffer,
  rawTracepoint,
  ringBuffer,
  type Session,
  skStorage,
  stack,
  stackTrace,
  struct,
  target,
  taskStorage,
  UpdateMode,
  u32,
  u64,
} from 'tsbpf';
import { holds, type Same } from './same.ts';

declare const kernel: Kernel;
declare const session: Session;

const Job = struct({ id: u64, pid: u32, attempts: u32 });
const maxEntries = 8;

// Hash tables and arrays.
const lru = session.map(lruHash('lru', { key: u32, value: Job, maxEntries }));
const read = lru.lookup(1);
holds<Same<typeof read, { id: bigint; pid: number; attempts: number } | undefined>>();
const lruPerCpu = session.map(lruPerCpuHash('lru_per_cpu', { key: u32, value: u64, maxEntries }));
holds<Same<ReturnType<typeof lruPerCpu.lookup>, bigint[] | undefined>>();
const perCpu = session.map(perCpuArray('per_cpu', { value: u32, maxEntries }));
perCpu.update(0, [1, 2]);
// @ts-expect-error: a value for each CPU
perCpu.update(0, 1);
const trie = session.map(
  lpmTrie('nets', { key: struct({ bits: u32, address: bytes(4) }), value: u32, maxEntries }),
);
trie.update({ bits: 8, address: Uint8Array.of(10, 0, 0, 0) }, 1);
// @ts-expect-error: a prefix without a length
trie.update({ address: Uint8Array.of(10, 0, 0, 0) }, 1);
const fixed = BpfMap.create(kernel, constants('fixed', struct({ port: u32 }), { port: 80 }));
holds<Same<ReturnType<typeof fixed.lookup>, { port: number } | undefined>>();
// @ts-expect-error: the initial value has all fields
constants('fixed', struct({ port: u32 }), {});
globals('shared', Job, { id: 1n, pid: 1, attempts: 0 });

// Many entries.
holds<Same<ReturnType<typeof lru.updateMany>, number>>();
lru.updateMany([[1, { id: 1n, pid: 1, attempts: 0 }]], UpdateMode.create);
// @ts-expect-error: a value without fields
lru.updateMany([[1, {}]]);
lru.deleteMany([1, 2]);
// @ts-expect-error: a key of another schema
lru.deleteMany(['1']);
type Entries = [number, { id: bigint; pid: number; attempts: number }][];
holds<Same<ReturnType<typeof lru.drain>, Entries>>();
holds<Same<ReturnType<typeof lru.drainAsync>, Promise<Entries>>>();
holds<Same<ReturnType<typeof lru.clear>, number>>();
holds<Same<ReturnType<typeof lru.clearAsync>, Promise<number>>>();
async function listAll(): Promise<void> {
  for await (const [key, value] of lru.entriesAsync()) {
    holds<Same<typeof key, number>>();
    holds<Same<typeof value.id, bigint>>();
  }
}
listAll();
holds<Same<MapBatchError['index'], number | undefined>>();

// Maps of descriptors.
const inner = array('inner', { value: u64, maxEntries });
const outer = session.map(arrayOfMaps('outer', { inner, maxEntries }));
outer.update(0, session.map(inner));
// @ts-expect-error: a number for an open map
outer.update(0, 1);
holds<Same<ReturnType<typeof outer.lookup>, number | undefined>>();
session.map(cgroupArray('services', ['/sys/fs/cgroup'])).update(0, 5);
const stages = session.programArray(programArray('stages', { slots: ['parse', 'count'] }));
stages.delete('parse');
// @ts-expect-error: no slot of that name
stages.delete('send');

// Queues, stacks and bloom filters.
const jobs = session.map(queue('jobs', { value: Job, maxEntries }));
jobs.push({ id: 1n, pid: 1, attempts: 0 }, UpdateMode.replace);
holds<Same<ReturnType<typeof jobs.pop>, { id: bigint; pid: number; attempts: number } | undefined>>();
// @ts-expect-error: a value without fields
jobs.push({});
// @ts-expect-error: a queue has no keys
jobs.lookup(1);
// @ts-expect-error: only a bloom filter has `add`
jobs.add({ id: 1n, pid: 1, attempts: 0 });
const recent = session.map(stack('recent', { value: u32, maxEntries }));
holds<Same<ReturnType<typeof recent.peek>, number | undefined>>();
const seen = session.map(bloomFilter('seen', { value: u64, maxEntries, hashes: 3 }));
seen.add(1n);
holds<Same<ReturnType<typeof seen.has>, boolean>>();
// @ts-expect-error: a number for a bigint
seen.has(1);
// @ts-expect-error: only queues and stacks have `push`
seen.push(1n);

// Stacks of functions.
const stacks = stackTrace('stacks', { maxEntries, depth: 16 });
holds<Same<ReturnType<BpfMap<typeof stacks>['stack']>, bigint[] | undefined>>();
session.stack(stacks, 1, { pid: 2 });
// @ts-expect-error: only a stackTrace map has stacks
session.stack(inner, 1);
// @ts-expect-error: only a stackTrace map has stacks
session.map(inner).stack(1);

// Storages.
for (const make of [taskStorage, skStorage, cgrpStorage, inodeStorage]) {
  const storage = session.map(make('store', { value: Job }));
  holds<Same<ReturnType<typeof storage.lookup>, { id: bigint; pid: number; attempts: number } | undefined>>();
  storage.update(3, { id: 1n, pid: 1, attempts: 0 });
  // @ts-expect-error: the key is a descriptor
  storage.delete('3');
}

// Ring buffers.
const ring = ringBuffer('ring', Job, { bytes: 65_536 });
RingBuffer.open(kernel, session.map(ring) as unknown as BpfMap, {
  onSample: (view, offset, size) => {
    holds<Same<typeof view, DataView>>();
    holds<Same<typeof offset | typeof size, number>>();
  },
});

// Programs.
const jobsSpec = queue('jobs', { value: Job, maxEntries });
const seenSpec = bloomFilter('seen', { value: u64, maxEntries });
const perTask = taskStorage('per_task', { value: u64 });
rawTracepoint('sys_enter', target('x64'), (b) => {
  const job = b.stack(Job);
  b.push(jobsSpec, job);
  b.pop(jobsSpec, { found: ({ pid }) => pid.set(1), missing: () => b.exit() });
  b.peek(jobsSpec, {
    found: (value) => {
      // @ts-expect-error: no field of the value
      value.port;
    },
  });
  b.peek(seenSpec, b.arg(1), { found: () => b.exit() });
  b.push(seenSpec, b.arg(1));
  const id = b.stackId(stacks, { user: true });
  b.exit(id);
  b.lookup(perTask, b.call(getCurrentTaskBtf), { create: true, found: (ns) => ns.atomicAdd(1) });
  // @ts-expect-error: a hash table is no queue
  b.push(hash('counts', { key: u32, value: u64, maxEntries }), 1);
  // @ts-expect-error: the memory of another struct
  b.push(jobsSpec, b.stack(struct({ port: u32 })));
  // @ts-expect-error: a queue takes no value to look for
  b.peek(jobsSpec, job, { found: () => {} });
  // @ts-expect-error: only a stackTrace map has stacks
  b.stackId(inner);
  // @ts-expect-error: only storages create values
  b.lookup(inner, 1, { create: true, found: () => {} });
});
