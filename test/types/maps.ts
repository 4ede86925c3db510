/**
 * The schemas of a map type its entries, in this process and in programs. Compiled by `npm run check`, never
 * run.
 */
import {
  array,
  type arrayOf,
  BpfMap,
  bytes,
  chars,
  globals,
  hash,
  hashOfMaps,
  type Kernel,
  perCpuHash,
  rawTracepoint,
  type Session,
  struct,
  target,
  u32,
  u64,
  u64n,
} from 'tsbpf';
import { holds, type Same } from './same.ts';

declare const kernel: Kernel;
declare const session: Session;

const Task = struct({ pid: u32, comm: chars(16) });
const Other = struct({ address: bytes(16) });
const tasks = hash('tasks', { key: Task, value: u64, maxEntries: 8 });
const starts = hash('starts', { key: u32, value: Task, maxEntries: 8 });
const slots = array('slots', { value: u64n, maxEntries: 8 });
const perCpu = perCpuHash('per_cpu', { key: u32, value: u64, maxEntries: 8 });
const outer = hashOfMaps('outer', { key: u32, inner: starts, maxEntries: 8 });

// Specs.
hash('tasks', { key: Task, value: u64, maxEntries: 1, entries: [[{ pid: 1, comm: 'init' }, 1n]] });
// @ts-expect-error: a value that is no bigint
hash('tasks', { key: Task, value: u64, maxEntries: 1, entries: [[{ pid: 1, comm: 'init' }, 1]] });
// @ts-expect-error: arrayOf makes the schema of a C array
array(u32, 4);
holds<Same<ReturnType<typeof arrayOf<typeof u64>>['static'], bigint[]>>();

// This process.
const map = session.map(tasks);
holds<Same<typeof map, BpfMap<typeof tasks>>>();
const found = map.lookup({ pid: 1, comm: 'init' });
holds<Same<typeof found, bigint | undefined>>();
map.update({ pid: 1, comm: 'init' }, 1n);
map.delete({ pid: 1, comm: 'init' });
// @ts-expect-error: a key without a field
map.lookup({ pid: 1 });
// @ts-expect-error: a number for a bigint
map.update({ pid: 1, comm: 'init' }, 1);
// @ts-expect-error: a key of another schema
map.delete(1);
for (const key of map.keys()) holds<Same<typeof key, { pid: number; comm: string }>>();
for (const [key, value] of map.entries()) {
  holds<Same<typeof key, { pid: number; comm: string }>>();
  holds<Same<typeof value, bigint>>();
}
for (const [slot, count] of session.map(slots).entries()) {
  holds<Same<typeof slot, number>>();
  holds<Same<typeof count, number>>();
}

const created = BpfMap.create(kernel, perCpu);
const values = created.lookup(1);
holds<Same<typeof values, bigint[] | undefined>>();
created.update(1, [1n, 2n]);
// @ts-expect-error: a per-CPU map has a value for each CPU
created.update(1, 1n);
session.map(outer).update(1, session.map(starts));
// @ts-expect-error: a map of another spec
session.map(outer).update(1, session.map(slots));

const stats = session.map(globals('stats', struct({ calls: u64, comm: chars(16) }))).view;
holds<Same<ReturnType<typeof stats.calls.get>, bigint>>();
holds<Same<ReturnType<typeof stats.comm.get>, string>>();
// @ts-expect-error: text is not added to
stats.comm.atomicAdd('x');

// Programs.
rawTracepoint('sys_enter', target('x64'), (b) => {
  const task = b.stack(Task);
  b.update(tasks, task, 1);
  b.update(tasks, task, b.value(1));
  b.update(starts, b.arg(1), task);
  b.count(tasks, task);
  b.delete(tasks, task);
  b.lookup(tasks, task, { found: (value) => value.atomicAdd(1) });
  b.lookup(starts, 1, {
    found(value) {
      value.pid.set(1);
      value.set(task);
      // @ts-expect-error: no field of the value
      value.port;
    },
  });
  b.lookup(outer, 1, {
    found(inner) {
      b.update(inner, 1, task);
      // @ts-expect-error: the inner map's values are structs
      b.update(inner, 1, 1);
    },
  });
  // @ts-expect-error: a number for a struct key
  b.lookup(tasks, 1, { found: () => {} });
  // @ts-expect-error: the memory of another struct
  b.update(tasks, b.stack(Other), 1);
  // @ts-expect-error: a number for a struct value
  b.update(starts, 1, 1);
  // @ts-expect-error: a struct for a number key
  b.delete(starts, task);
  // @ts-expect-error: a struct for a number key
  b.count(slots, task);
});
