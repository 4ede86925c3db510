/**
 * Reading a hash table of 10,000 entries: in batches, with and without turns of the event loop, and key by
 * key. The reference is the kernel's batch call alone, which decodes nothing. CPU time of this process, so
 * that other load on the machine does not count.
 */

import { u32, u64 } from '../src/asm/layout.ts';
import { hash } from '../src/asm/map.ts';
import { Attr, allocate, Command } from '../src/loader/bpf.ts';
import { Errno } from '../src/loader/errno.ts';
import { Kernel } from '../src/loader/kernel.ts';
import { BpfMap } from '../src/loader/map.ts';
import { ms, type Row, takeTurns } from './measure.ts';

const [ENTRIES, ROUNDS, WARM_UP] = [10_000, 40, 10];

export async function maps(): Promise<Row[]> {
  const kernel = new Kernel();
  const spec = hash('bench', { key: u32, value: u64, maxEntries: ENTRIES });
  const map = BpfMap.create(kernel, spec);
  // The same map on a kernel without batches.
  const { syscalls } = kernel;
  const old = new Kernel({
    ...syscalls,
    bpf: (command, attr) =>
      command >= Command.mapLookupBatch && command <= Command.mapDeleteBatch
        ? -Errno.EINVAL
        : syscalls.bpf(command, attr),
  });
  const iterated = BpfMap.create(old, spec);
  try {
    const entries = Array.from({ length: ENTRIES }, (_, key) => [key, BigInt(key)] as const);
    map.updateMany(entries);
    iterated.updateMany(entries);
    const raw = rawRead(kernel, map.fd);
    const measures = {
      raw: async () => cpuTime(raw),
      batch: async () => cpuTime(() => count(map.entries())),
      async: async () => {
        const before = process.cpuUsage();
        let read = 0;
        for await (const _ of map.entriesAsync()) read++;
        return took(before, read);
      },
      iteration: async () => cpuTime(() => count(iterated.entries())),
      update: async () => cpuTime(() => map.updateMany(entries)),
      single: async () =>
        cpuTime(() => {
          for (const [key, value] of entries) map.update(key, value);
          return ENTRIES;
        }),
    };
    await takeTurns(WARM_UP, measures);
    const medians = await takeTurns(ROUNDS, measures);
    const row = (what: string, figure: number, reference: string, value: number, most?: number): Row => ({
      measure: `${ENTRIES} map entries, ${what}`,
      figure: ms(figure),
      reference: `${reference}: ${ms(value)}`,
      ratio: figure / value,
      ...(most !== undefined && { bar: `ratio ${most}`, met: figure / value <= most }),
    });
    const call = 'the batch call alone';
    return [
      row('entries()', medians.batch, call, medians.raw, 2),
      row('entriesAsync()', medians.async, call, medians.raw),
      row('entries() without batches (before Linux 5.6)', medians.iteration, call, medians.raw),
      row('updateMany()', medians.update, 'update() in a loop', medians.single, 1),
    ];
  } finally {
    iterated.close();
    map.close();
  }
}

/** Returns a function that reads all entries in one call into the same memory. */
function rawRead(kernel: Kernel, fd: number): () => number {
  const attr = new Attr(kernel.syscalls, 56)
    .pointer(8, allocate(4))
    .pointer(16, allocate(4 * ENTRIES))
    .pointer(24, allocate(8 * ENTRIES));
  return () => {
    attr.u32(32, ENTRIES).u32(36, fd).send(Command.mapLookupBatch);
    return attr.getU32(32);
  };
}

function count(entries: Iterable<unknown>): number {
  let read = 0;
  for (const _ of entries) read++;
  return read;
}

/** The CPU time of work that handles all entries, in ms. */
function cpuTime(work: () => number): number {
  const before = process.cpuUsage();
  const handled = work();
  return took(before, handled);
}

function took(before: NodeJS.CpuUsage, handled: number): number {
  if (handled !== ENTRIES) throw new Error(`${handled} of ${ENTRIES} entries`);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}
