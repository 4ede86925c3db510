/** Batch calls against a scripted kernel: its error numbers, and the fallback to calls for single keys. */
import * as assert from 'uvu/assert';
import { struct, u8, u16, u32 } from '../../src/asm/layout.ts';
import { hash, lpmTrie, programArray } from '../../src/asm/map.ts';
import { Errno } from '../../src/loader/errno.ts';
import { KernelError, MapBatchError, NotPermittedError } from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { BpfMap } from '../../src/loader/map.ts';
import { suite } from '../harness.ts';
import { FakeSyscalls } from './fake.ts';

const test = suite('loader/map-batch');

const Command = {
  lookup: 1,
  update: 2,
  delete: 3,
  next: 4,
  read: 24,
  drain: 25,
  updateAll: 26,
  deleteAll: 27,
};
const spec = hash('m', { key: u32, value: u32, maxEntries: 4 });

/** An answer to a batch: entries, and the result. */
interface Answer {
  readonly keys?: readonly number[];
  readonly result: number;
}

/** A map whose batches of `command` get these answers in turn. Records the calls. */
function scripted(command: number, answers: readonly Answer[]) {
  const fake = new FakeSyscalls();
  const calls: { in: number | undefined; count: number }[] = [];
  fake.answers.set(command, (attr) => {
    const at = (offset: number) => new DataView(fake.at(attr.getBigUint64(offset, true)).buffer);
    calls.push({
      in: attr.getBigUint64(0, true) === 0n ? undefined : at(0).getUint32(0, true),
      count: attr.getUint32(32, true),
    });
    const { keys = [], result } = answers[calls.length - 1] as Answer;
    for (const [index, key] of keys.entries()) {
      at(16).setUint32(4 * index, key, true);
      at(24).setUint32(4 * index, 10 * key, true);
    }
    if (attr.getBigUint64(8, true) !== 0n) at(8).setUint32(0, 100 + calls.length, true);
    if (result !== -Errno.ENOMEM) attr.setUint32(32, keys.length, true);
    return result;
  });
  return { fake, calls, map: BpfMap.create(new Kernel(fake), spec) };
}

test('batches continue at the position that the kernel returned, until ENOENT', () => {
  const { map, calls } = scripted(Command.read, [
    { keys: [1, 2, 3], result: 0 },
    { keys: [4], result: -Errno.ENOENT },
  ]);
  assert.equal(
    [...map.entries()],
    [
      [1, 10],
      [2, 20],
      [3, 30],
      [4, 40],
    ],
  );
  assert.equal(calls, [
    { in: undefined, count: 4 },
    { in: 101, count: 4 },
  ]);
});

test('a batch is read only when the loop needs it', () => {
  const { map, calls } = scripted(Command.read, [{ keys: [1, 2], result: 0 }]);
  for (const key of map.keys()) if (key === 2) break;
  assert.is(calls.length, 1);
});

test('a bucket that is larger than the batch (ENOSPC) is read with a larger one, from the same position', () => {
  const { map, calls } = scripted(Command.read, [
    { keys: [1], result: 0 },
    { result: -Errno.ENOSPC },
    { result: -Errno.ENOSPC },
    { keys: [2, 3], result: -Errno.ENOENT },
    { keys: [7], result: -Errno.ENOENT },
  ]);
  assert.equal([...map.keys()], [1, 2, 3]);
  assert.equal(
    calls.map(({ count }) => count),
    [4, 4, 8, 16],
  );
  assert.equal([...map.keys()], [7], 'the next pass begins with the larger batch');
  assert.is(calls.at(-1)?.count, 16);
});

for (const errno of ['EINTR', 'EAGAIN', 'EBUSY'] as const)
  test(`${errno} in the middle of a pass: the entries so far count, and the pass continues`, () => {
    const { map } = scripted(Command.read, [
      { keys: [1, 2], result: -Errno[errno] },
      { result: -Errno[errno] },
      { keys: [3], result: -Errno.ENOENT },
    ]);
    assert.equal([...map.keys()], [1, 2, 3]);
  });

test('a kernel that never continues is an error', () => {
  const { map, calls } = scripted(Command.read, Array(200).fill({ result: -Errno.EBUSY }));
  assert.throws(() => [...map.keys()], /^cannot read the map 'm': bpf\(BPF_MAP_LOOKUP_BATCH\): EBUSY/);
  assert.ok(calls.length < 150);
});

test('an error in the middle of a pass is thrown', () => {
  const { map } = scripted(Command.read, [{ keys: [1], result: 0 }, { result: -Errno.EFAULT }]);
  const seen: number[] = [];
  assert.throws(
    () => {
      for (const key of map.keys()) seen.push(key);
    },
    (error: unknown) => error instanceof KernelError && error.errnoName === 'EFAULT',
  );
  assert.equal(seen, [1]);
});

for (const errno of ['EINVAL', 'ENOTSUPP', 'EPERM'] as const)
  test(`a kernel without batches (${errno}): the map is read key by key, and batches are not tried again`, () => {
    const { fake, map, calls } = scripted(Command.read, [{ result: -Errno[errno] }]);
    fake.answers.set(Command.next, (attr) => {
      const from = attr.getBigUint64(8, true);
      const key = from === 0n ? 0 : new DataView(fake.at(from).buffer).getUint32(0, true);
      if (key === 3) return -Errno.ENOENT;
      new DataView(fake.at(attr.getBigUint64(16, true)).buffer).setUint32(0, key + 1, true);
      return 0;
    });
    assert.equal([...map.keys()], [1, 2, 3]);
    assert.equal(
      [...map.entries()].map(([key]) => key),
      [1, 2, 3],
    );
    assert.is(calls.length, 1);
  });

test('the position of a batch has at least four bytes, also for shorter keys', () => {
  const fake = new FakeSyscalls();
  let size = 0;
  fake.answers.set(Command.read, (attr) => {
    size = fake.at(attr.getBigUint64(8, true)).length;
    attr.setUint32(32, 0, true);
    return -Errno.ENOENT;
  });
  assert.equal(
    [...BpfMap.create(new Kernel(fake), hash('m', { key: u16, value: u8, maxEntries: 1 })).keys()],
    [],
  );
  assert.is(size, 4);
});

test('tries and program arrays are never read in batches', () => {
  const fake = new FakeSyscalls();
  fake.answers.set(Command.next, () => -Errno.ENOENT);
  const key = struct({ bits: u32, at: u32 });
  for (const map of [lpmTrie('m', { key, value: u8, maxEntries: 1 }), programArray('m', { maxEntries: 1 })])
    assert.equal([...BpfMap.create(new Kernel(fake), map).keys()], []);
  assert.is(fake.calls.includes(`bpf ${Command.read}`), false);
});

/** The keys that a write passes to the kernel. */
function keysIn(fake: FakeSyscalls, attr: DataView): number[] {
  const memory = fake.at(attr.getBigUint64(16, true));
  const view = new DataView(memory.buffer, memory.byteOffset);
  return Array.from({ length: attr.getUint32(32, true) }, (_, index) => view.getUint32(4 * index, true));
}

test('deleting goes on after a missing key, and stops at another error', () => {
  const fake = new FakeSyscalls();
  const calls: number[][] = [];
  fake.answers.set(Command.deleteAll, (attr) => {
    const keys = keysIn(fake, attr);
    calls.push(keys);
    const missing = keys.findIndex((key) => key % 10 === 0);
    const failing = keys.indexOf(7);
    const [at, errno] = missing >= 0 ? [missing, Errno.ENOENT] : [failing, Errno.EBUSY];
    if (at < 0) return 0;
    attr.setUint32(32, at, true);
    return -errno;
  });
  const map = BpfMap.create(new Kernel(fake), spec);
  assert.is(map.deleteMany([1, 10, 2, 20]), 2);
  assert.equal(calls, [
    [1, 10, 2, 20],
    [2, 20],
  ]);
  assert.is(map.deleteMany([1, 10, 2]), 2);
  assert.throws(
    () => map.deleteMany([1, 10, 2, 7, 3]),
    (error: unknown) =>
      error instanceof MapBatchError &&
      /delete from the map 'm': bpf\(BPF_MAP_DELETE_BATCH\): EBUSY .*entry 3 \(key 7\) failed, 2 were deleted before/.test(
        error.message,
      ) &&
      error.applied === 2 &&
      error.index === 3,
  );
});

test('a count that the kernel left as it was is no progress', () => {
  const { map } = scripted(Command.updateAll, [{ result: -Errno.ENOMEM }]);
  assert.throws(
    () =>
      map.updateMany([
        [1, 1],
        [2, 2],
      ]),
    (error: unknown) =>
      error instanceof MapBatchError && error.applied === 0 && error.index === 0 && error.key === 1,
  );
});

test('entries in several chunks: the index counts all of them', () => {
  const fake = new FakeSyscalls();
  fake.answers.set(Command.updateAll, (attr) => {
    const at = keysIn(fake, attr).indexOf(500);
    if (at < 0) return 0;
    attr.setUint32(32, at, true);
    return -Errno.E2BIG;
  });
  const map = BpfMap.create(new Kernel(fake), hash('m', { key: u32, value: u32, maxEntries: 500 }));
  assert.throws(
    () => map.updateMany(Array.from({ length: 1000 }, (_, key) => [key, key] as const)),
    (error: unknown) => error instanceof MapBatchError && error.applied === 500 && error.key === 500,
  );
});

test('without batches, entries are written one after another', () => {
  const fake = new FakeSyscalls();
  const written: number[] = [];
  fake.answers.set(Command.update, (attr) => {
    const key = new DataView(fake.at(attr.getBigUint64(8, true)).buffer).getUint32(0, true);
    if (key === 3) return -Errno.EPERM;
    written.push(key);
    return 0;
  });
  const map = BpfMap.create(new Kernel(fake), spec);
  assert.is(
    map.updateMany([
      [1, 1],
      [2, 2],
    ]),
    2,
  );
  assert.throws(
    () =>
      map.updateMany([
        [1, 1],
        [3, 3],
        [4, 4],
      ]),
    /bpf\(BPF_MAP_UPDATE_ELEM\): EPERM .*entry 1 \(key 3\) failed, 1 were updated before/,
  );
  assert.equal(written, [1, 2, 1]);
  assert.is(fake.calls.filter((call) => call === `bpf ${Command.updateAll}`).length, 1, 'tried once');
});

test('an error while draining has the entries that were drained before', () => {
  const { map } = scripted(Command.drain, [{ keys: [1, 2], result: 0 }, { result: -Errno.EFAULT }]);
  assert.throws(
    () => map.drain(),
    (error: unknown) => {
      assert.instance(error, MapBatchError);
      assert.equal((error as MapBatchError).drained, [
        [1, 10],
        [2, 20],
      ]);
      assert.match((error as Error).message, /cannot drain the map 'm'.*EFAULT.*2 were drained before/);
      return true;
    },
  );
  const { map: other } = scripted(Command.drain, [{ keys: [1, 2], result: 0 }, { result: -Errno.EFAULT }]);
  assert.throws(
    () => other.clear(),
    (error: unknown) => error instanceof MapBatchError && error.applied === 2,
  );
});

test('the error of a closed map in the middle of a listing names the map', () => {
  const { map } = scripted(Command.read, [{ keys: [1], result: 0 }]);
  assert.throws(() => {
    for (const _ of map.keys()) map.close();
  }, /the map 'm' was used after it was closed/);
});

test('an asynchronous listing can be left, and rejects with the errors of the kernel', async () => {
  const { map, calls } = scripted(Command.read, [
    { keys: [1, 2], result: 0 },
    { keys: [1, 2], result: 0 },
    { result: -Errno.EFAULT },
  ]);
  for await (const [key] of map.entriesAsync()) if (key === 1) break;
  assert.is(calls.length, 1);
  const listing = map.entriesAsync();
  assert.equal(await listing.next(), { done: false, value: [1, 10] });
  assert.equal(await listing.next(), { done: false, value: [2, 20] });
  const failed = await listing.next().then(
    () => undefined,
    (error: unknown) => error,
  );
  assert.instance(failed, KernelError);
  assert.equal(await listing.next(), { done: true, value: undefined });
});

test('an asynchronous drain returns all entries, and rejects with those that were drained before', async () => {
  const answers = [
    { keys: [1, 2], result: 0 },
    { keys: [3], result: -Errno.ENOENT },
  ];
  assert.equal(await scripted(Command.drain, answers).map.drainAsync(), [
    [1, 10],
    [2, 20],
    [3, 30],
  ]);
  assert.is(await scripted(Command.drain, answers).map.clearAsync(), 3);
  const failing = [{ keys: [1, 2], result: 0 }, { result: -Errno.EFAULT }];
  const rejected = (promise: Promise<unknown>): Promise<unknown> =>
    promise.then(
      () => undefined,
      (error: unknown) => error,
    );
  const error = await rejected(scripted(Command.drain, failing).map.drainAsync());
  assert.instance(error, MapBatchError);
  assert.is((error as MapBatchError).drained?.length, 2);
  assert.match((error as Error).message, /cannot drain the map 'm'.*EFAULT.*2 were drained before/);
  const cleared = await rejected(scripted(Command.drain, failing).map.clearAsync());
  assert.match((cleared as Error).message, /cannot clear the map 'm'.*EFAULT.*2 were deleted before/);
});

test('a map that is closed during an asynchronous drain rejects with what was drained', async () => {
  const { map, fake } = scripted(Command.drain, [
    { keys: [1, 2], result: 0 },
    { keys: [3], result: 0 },
    { keys: [4], result: -Errno.ENOENT },
  ]);
  const { bpf } = fake;
  fake.bpf = (command, attr) => {
    const end = performance.now() + 7;
    while (command === Command.drain && performance.now() < end);
    return bpf.call(fake, command, attr);
  };
  const draining = map.drainAsync();
  setImmediate(() => map.close());
  const error = await draining.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.instance(error, MapBatchError);
  assert.is((error as MapBatchError).drained?.length, 3);
  assert.match((error as Error).message, /the map was closed meanwhile; await the call before close\(\)/);
});

test('an asynchronous drain of an array rejects', async () => {
  const map = BpfMap.create(new Kernel(new FakeSyscalls()), programArray('a', { maxEntries: 1 }));
  for (const work of [(): Promise<unknown> => map.drainAsync(), () => map.clearAsync()])
    assert.match(
      String(await work().catch((error: unknown) => error)),
      /TypeError: the keys of the map 'a' are indices, which cannot be deleted/,
    );
});

test('draining without permission is an error, not an empty list', () => {
  const { fake, map } = scripted(Command.drain, [{ result: -Errno.EPERM }]);
  fake.answers.set(Command.next, () => -Errno.EPERM);
  assert.throws(
    () => map.drain(),
    (error: unknown) => error instanceof MapBatchError && error.errno === Errno.EPERM,
  );
  assert.throws(
    () => [...map.keys()],
    (error: unknown) => error instanceof NotPermittedError,
  );
});

test.run();
