import * as assert from 'uvu/assert';
import { perfEventArray } from '../../src/asm/events.ts';
import { chars, struct, u8, u32, u64 } from '../../src/asm/layout.ts';
import { array, constants, globals, hash, MapType, perCpuArray } from '../../src/asm/map.ts';
import { arrayOfMaps } from '../../src/asm/map-of-maps.ts';
import { pinned } from '../../src/asm/pinned.ts';
import { Errno } from '../../src/loader/errno.ts';
import {
  KernelError,
  MapIterationError,
  NotPermittedError,
  UnsupportedError,
} from '../../src/loader/errors.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { BpfMap, UpdateMode } from '../../src/loader/map.ts';
import { suite } from '../harness.ts';
import { FakeSyscalls } from './fake.ts';

const test = suite('loader/map');

const Command = { create: 0, lookup: 1, update: 2, delete: 3, next: 4 };
const Value = struct({ ns: u64, comm: chars(8) });
const spec = hash('attempts', { key: u32, value: Value, maxEntries: 100 });

/** A kernel with one hash map, whose keys and values are stored as hex. */
function withMap(fake: FakeSyscalls, content: Map<string, string>): void {
  const bytesAt = (attr: DataView, offset: number) =>
    Buffer.from(fake.at(attr.getBigUint64(offset, true)).buffer);
  const keyOf = (attr: DataView) => bytesAt(attr, 8).toString('hex');
  fake.answers.set(Command.lookup, (attr) => {
    const value = content.get(keyOf(attr));
    if (value === undefined) return -Errno.ENOENT;
    bytesAt(attr, 16).write(value, 'hex');
    return 0;
  });
  fake.answers.set(Command.update, (attr) => {
    content.set(keyOf(attr), bytesAt(attr, 16).toString('hex'));
    return 0;
  });
  fake.answers.set(Command.delete, (attr) => {
    // The kernel refuses attributes with bytes set after the key.
    if (attr.byteLength > 16) return -Errno.EINVAL;
    return content.delete(keyOf(attr)) ? 0 : -Errno.ENOENT;
  });
  fake.answers.set(Command.next, (attr) => {
    const keys = [...content.keys()];
    // As in the kernel, a deleted key or no key restarts at the first key.
    const index = attr.getBigUint64(8, true) === 0n ? -1 : keys.indexOf(keyOf(attr));
    const next = keys[index + 1];
    if (next === undefined) return -Errno.ENOENT;
    bytesAt(attr, 16).write(next, 'hex');
    return 0;
  });
}

function open(content = new Map<string, string>()): {
  fake: FakeSyscalls;
  map: BpfMap<typeof spec>;
  content: typeof content;
} {
  const fake = new FakeSyscalls();
  withMap(fake, content);
  return { fake, map: BpfMap.create(new Kernel(fake), spec), content };
}

test('a map is created from its spec', () => {
  const fake = new FakeSyscalls();
  fake.answers.set(Command.create, (attr) => {
    assert.equal(
      [0, 4, 8, 12, 16].map((offset) => attr.getUint32(offset, true)),
      [MapType.hash, 4, 16, 100, 0],
    );
    assert.is(Buffer.from(attr.buffer, 28, 16).toString().replaceAll('\0', ''), 'attempts');
    return undefined;
  });
  const map = BpfMap.create(new Kernel(fake), spec);
  assert.is(fake.open.has(map.fd), true);
  map.close();
  map.close();
  assert.is(fake.open.size, 0);
  assert.throws(() => map.fd, /after it was closed/);
});

test('with debug the types of keys and values are loaded', () => {
  const fake = new FakeSyscalls();
  fake.answers.set(Command.create, (attr) => {
    assert.is(attr.byteLength, 60);
    assert.is(fake.open.has(attr.getUint32(48, true)), true);
    assert.is(attr.getUint32(52, true) > 0 && attr.getUint32(56, true) > 0, true);
    return undefined;
  });
  const map = BpfMap.create(new Kernel(fake), spec, { debug: true });
  assert.equal([...fake.open], [map.fd], 'the kernel holds its own reference to the types');
  map.close();
});

for (const [what, load, create] of [
  ['no types (before 4.18)', -Errno.EINVAL, 1],
  ['none for maps of that type (ENOTSUPP)', undefined, 2],
] as const)
  test(`a kernel that accepts ${what} gets a map without`, () => {
    const fake = new FakeSyscalls();
    fake.answers.set(18, () => load);
    fake.answers.set(Command.create, (attr) => (attr.byteLength > 44 ? -524 : undefined));
    const map = BpfMap.create(new Kernel(fake), spec, { debug: true });
    assert.is(fake.calls.filter((call) => call === 'bpf 0').length, create);
    assert.equal([...fake.open], [map.fd]);
    map.close();
  });

test('without debug no types are loaded, nor for perf event arrays', () => {
  const fake = new FakeSyscalls();
  BpfMap.create(new Kernel(fake), spec).close();
  BpfMap.create(new Kernel(fake), perfEventArray('events', u32), { debug: true }).close();
  assert.is(fake.calls.includes('bpf 18'), false);
});

for (const errno of [Errno.E2BIG, Errno.EINVAL])
  test(`the name is omitted if the kernel answers ${errno} to it`, () => {
    const fake = new FakeSyscalls();
    fake.answers.set(Command.create, (attr) => (attr.byteLength > 28 ? -errno : undefined));
    BpfMap.create(new Kernel(fake), spec).close();
    assert.equal(fake.calls.slice(0, 2), ['bpf 0', 'bpf 0']);
  });

test('the initial entries are written when the map is created', () => {
  const fake = new FakeSyscalls();
  const content = new Map<string, string>();
  withMap(fake, content);
  const entries = [[7, { ns: 5n, comm: 'node' }] as const, [8, { ns: 6n, comm: '' }] as const];
  BpfMap.create(new Kernel(fake), hash('held', { key: u32, value: Value, maxEntries: 2, entries }));
  assert.equal(
    [...content],
    [
      ['07000000', '05000000000000006e6f646500000000'],
      ['08000000', '06000000000000000000000000000000'],
    ],
  );
});

test('a map that cannot be filled is closed', () => {
  const fake = new FakeSyscalls();
  fake.answers.set(Command.update, () => -Errno.ENOMEM);
  const entries = [[7, { ns: 5n, comm: 'node' }] as const];
  assert.throws(
    () => BpfMap.create(new Kernel(fake), hash('held', { key: u32, value: Value, maxEntries: 2, entries })),
    /update the map 'held'.*ENOMEM/,
  );
  assert.is(fake.open.size, 0);
});

for (const [what, spec, flag, since] of [
  ['globals', globals('g', u64), 0x400, '5.5'],
  ['constants', constants('c', u64, 1n), 0x80, '5.2'],
] as const)
  test(`the error of a kernel without ${what} names the first one that has them`, () => {
    const fake = new FakeSyscalls();
    fake.answers.set(Command.create, (attr) => (attr.getUint32(16, true) & flag ? -Errno.EINVAL : undefined));
    assert.throws(
      () => BpfMap.create(new Kernel(fake), spec),
      (error: unknown) => error instanceof UnsupportedError && error.since === since,
    );
    assert.is(fake.open.size, 0);
  });

test('a map that is refused for another reason is not reported as unsupported', () => {
  const fake = new FakeSyscalls();
  fake.answers.set(Command.create, () => -Errno.EINVAL);
  assert.throws(() => BpfMap.create(new Kernel(fake), globals('g', u64)), /create the map 'g'.*EINVAL/);
});

test('constants are frozen after they are written, and closed if that fails', () => {
  const fake = new FakeSyscalls();
  const map = BpfMap.create(new Kernel(fake), constants('c', u64, 1n));
  assert.equal(fake.calls, ['bpf 0', 'bpf 2', 'bpf 22']);
  map.close();
  fake.answers.set(22, () => -Errno.EBUSY);
  assert.throws(() => BpfMap.create(new Kernel(fake), constants('c', u64, 1n)), /freeze the map 'c'.*EBUSY/);
  assert.is(fake.open.size, 0);
});

test('globals are mapped once, and unmapped when they are closed', () => {
  const fake = new FakeSyscalls();
  const map = BpfMap.create(new Kernel(fake), globals('g', struct({ n: u64 })));
  assert.is(map.view, map.view);
  map.view.n.set(7n);
  const { fd } = map;
  map.close();
  map.close();
  assert.equal(
    fake.calls.filter((call) => call.includes('m')),
    [`mmap ${fd}`, `munmap ${fd}`],
  );
  assert.throws(() => map.view.n.get(), /after it was closed/);
});

test('globals that cannot be mapped throw, and other maps have no view', () => {
  const fake = new FakeSyscalls();
  fake.onMmap = () => -Errno.ENOMEM;
  assert.throws(
    () => BpfMap.create(new Kernel(fake), globals('g', u64)).view,
    /cannot map the map 'g', 4096 bytes: mmap: ENOMEM/,
  );
  assert.throws(() => open().map.view, /map 'attempts' has no view.*map\.test\.ts:\d+\)$/);
});

test('a map of maps is created with a temporary inner map', () => {
  const fake = new FakeSyscalls();
  const templates: number[] = [];
  fake.answers.set(Command.create, (attr) => {
    const inner = attr.getUint32(20, true);
    if (attr.getUint32(0, true) !== MapType.arrayOfMaps) assert.is(inner, 0);
    else {
      assert.is(fake.open.has(inner), true);
      templates.push(inner);
    }
    return undefined;
  });
  const outer = BpfMap.create(new Kernel(fake), arrayOfMaps('outer', { inner: spec, maxEntries: 1 }));
  assert.is(templates.length, 1);
  assert.equal([...fake.open], [outer.fd]);
  fake.answers.set(Command.create, (attr) => (attr.getUint32(20, true) ? -Errno.ENOMEM : undefined));
  outer.close();
  assert.throws(
    () => BpfMap.create(new Kernel(fake), arrayOfMaps('outer', { inner: spec, maxEntries: 1 })),
    /create the map 'outer'.*ENOMEM/,
  );
  assert.is(fake.open.size, 0);
});

test('a map of maps contains its initial maps, which must be open', () => {
  const fake = new FakeSyscalls();
  const kernel = new Kernel(fake);
  const content = new Map<string, string>();
  withMap(fake, content);
  const outer = arrayOfMaps('outer', { inner: spec, maps: [spec] });
  const held = BpfMap.create(kernel, spec);
  const map = BpfMap.create(kernel, outer, { maps: new Map([[spec, held]]) });
  assert.equal([...content], [['00000000', Buffer.from(Uint32Array.of(held.fd).buffer).toString('hex')]]);
  map.close();
  assert.throws(
    () => BpfMap.create(kernel, outer),
    /map 'outer' contains the map 'attempts', which is not open; .* \(.*map\.test\.ts:\d+\)$/,
  );
  assert.equal([...fake.open], [held.fd]);
});

test('a map that another process pins first is opened instead', () => {
  const fake = new FakeSyscalls();
  const [OBJ_PIN, OBJ_GET, INFO] = [6, 7, 15];
  fake.fileSystems.set('/sys/fs/bpf', 0xcafe4a11);
  let opened = 0;
  fake.answers.set(OBJ_PIN, () => -Errno.EEXIST);
  fake.answers.set(OBJ_GET, () => (opened++ === 0 ? -Errno.ENOENT : fake.fd()));
  fake.answers.set(INFO, (attr) => {
    const info = new DataView(fake.at(attr.getBigUint64(8, true)).buffer);
    for (const [index, value] of [MapType.hash, 77, 4, 16, 100].entries())
      info.setUint32(4 * index, value, true);
    return 0;
  });
  const map = BpfMap.create(new Kernel(fake), pinned(spec, '/sys/fs/bpf/attempts'));
  assert.equal([...fake.open], [map.fd], 'the map of this process is closed');
  assert.is(opened, 2);
  fake.answers.set(OBJ_GET, () => -Errno.ENOENT);
  fake.answers.set(OBJ_PIN, () => -Errno.EACCES);
  assert.throws(
    () => BpfMap.create(new Kernel(fake), pinned(spec, '/sys/fs/bpf/attempts')),
    /cannot pin the map 'attempts' at \/sys\/fs\/bpf\/attempts: bpf\(BPF_OBJ_PIN\): EACCES/,
  );
  assert.is(fake.open.size, 1);
});

test('constants cannot be pinned', () => {
  assert.throws(
    () => pinned(constants('settings', u32, 7), '/sys/fs/bpf/settings'),
    /map settings cannot be pinned: its content belongs to the programs .*map\.test\.ts:\d+\)$/,
  );
});

test('a descriptor 0 is moved to a higher number', () => {
  const fake = new FakeSyscalls();
  fake.answers.set(Command.create, () => {
    fake.open.add(0);
    return 0;
  });
  const map = BpfMap.create(new Kernel(fake), spec);
  assert.ok(map.fd > 2);
  assert.is(fake.open.has(0), false);
});

test('a perf event array has an entry for each possible CPU number', () => {
  const fake = new FakeSyscalls();
  fake.files.set('/sys/devices/system/cpu/possible', '0-1,6\n');
  let entries = 0;
  fake.answers.set(Command.create, (attr) => {
    entries = attr.getUint32(12, true);
    return undefined;
  });
  BpfMap.create(new Kernel(fake), perfEventArray('events', u32));
  assert.is(entries, 7);
});

test('keys and values go through their layouts', () => {
  const { map, content } = open();
  assert.is(map.lookup(7), undefined);
  map.update(7, { ns: 5n, comm: 'node' });
  assert.equal([...content], [['07000000', '05000000000000006e6f646500000000']]);
  assert.equal(map.lookup(7), { ns: 5n, comm: 'node' });
  assert.is(map.delete(7), true);
  assert.is(map.delete(7), false);
});

test('the mode of an update reaches the kernel, for this update only', () => {
  const { fake, map } = open();
  const flags: bigint[] = [];
  fake.answers.set(Command.update, (attr) => {
    flags.push(attr.getBigUint64(24, true));
    return attr.getBigUint64(24, true) === 1n ? -Errno.EEXIST : 0;
  });
  fake.answers.set(Command.lookup, (attr) => {
    flags.push(attr.getBigUint64(24, true));
    return -Errno.ENOENT;
  });
  const value = { ns: 0n, comm: '' };
  assert.throws(() => map.update(1, value, UpdateMode.create), /update the map 'attempts'.*EEXIST/);
  map.lookup(1);
  map.update(1, value, UpdateMode.replace);
  map.update(1, value);
  assert.equal(flags, [1n, 0n, 2n, 0n]);
});

test('the error of a full map says that it is full', () => {
  const { fake, map } = open();
  fake.answers.set(Command.update, () => -Errno.E2BIG);
  assert.throws(
    () => map.update(1, { ns: 0n, comm: '' }),
    (error: unknown) =>
      error instanceof KernelError && error.errnoName === 'E2BIG' && /the map is full/.test(error.message),
  );
});

test('all keys and entries are walked', () => {
  const { map } = open();
  for (const key of [3, 1, 2]) map.update(key, { ns: BigInt(key), comm: '' });
  assert.equal([...map.keys()], [3, 1, 2]);
  assert.equal(
    [...map.entries()].map(([key, { ns }]) => [key, ns]),
    [
      [3, 3n],
      [1, 1n],
      [2, 2n],
    ],
  );
});

test('the loop may delete the current key', () => {
  const { map, content } = open();
  for (const key of [3, 1, 2]) map.update(key, { ns: 0n, comm: '' });
  for (const [key] of map.entries()) map.delete(key);
  assert.is(content.size, 0);
});

test('two loops at the same time do not affect each other', () => {
  const { map } = open();
  for (const key of [1, 2, 3]) map.update(key, { ns: 0n, comm: '' });
  const pairs: string[] = [];
  for (const a of map.keys()) for (const b of map.keys()) pairs.push(`${a}${b}`);
  assert.equal(pairs, ['11', '12', '13', '21', '22', '23', '31', '32', '33']);
});

test('an entry that others delete during a loop is skipped', () => {
  const { map, content } = open();
  for (const key of [1, 2, 3]) map.update(key, { ns: 0n, comm: '' });
  const seen: number[] = [];
  for (const [key] of map.entries()) {
    seen.push(key);
    content.delete('02000000');
  }
  assert.equal(seen, [1, 3]);
});

for (const [what, keyAt, distinct] of [
  ['the kernel begins again for ever', (call: number) => call % 3, 3],
  ['new keys come for ever', (call: number) => call, undefined],
] as const)
  for (const stay of [false, true])
    test(`${what}: listing keys throws before it lists any, ${stay ? 'though they' : 'and they do not'} stay`, () => {
      const { fake, map } = open();
      let calls = 0;
      fake.answers.set(Command.lookup, () => (stay ? 0 : -Errno.ENOENT));
      fake.answers.set(Command.next, (attr) => {
        calls++;
        Buffer.from(fake.at(attr.getBigUint64(16, true)).buffer).writeUInt32LE(keyAt(calls));
        return 0;
      });
      const seen: number[] = [];
      assert.throws(
        () => {
          for (const key of map.keys()) seen.push(key);
        },
        (error: unknown) =>
          error instanceof MapIterationError &&
          error.name === 'MapIterationError' &&
          error.code === 'ERR_MAP_ITERATION' &&
          error.map === 'attempts' &&
          (distinct === undefined || error.keysRead === distinct) &&
          /^cannot list the keys of the map 'attempts': programs delete keys faster .* \(\d+ were read\); try again, or/.test(
            error.message,
          ),
      );
      assert.equal(seen, []);
      assert.ok(calls < 10_000, `${calls} calls`);
    });

/** Changes the map before or after each BPF_MAP_GET_NEXT_KEY, as another process could. */
function disturbed(
  fake: FakeSyscalls,
  at: 'before' | 'after',
  disturb: (step: number, attr: DataView) => void,
): void {
  const next = fake.answers.get(Command.next);
  let step = 0;
  fake.answers.set(Command.next, (attr, its) => {
    step++;
    if (at === 'before') disturb(step, attr);
    const result = next?.(attr, its);
    if (at === 'after') disturb(step, attr);
    return result;
  });
}

const id = (key: number): string => Buffer.from(Uint32Array.of(key).buffer).toString('hex');

test('if others delete keys during the listing, every other key is listed once', () => {
  for (const every of [2, 3, 7]) {
    const { fake, map, content } = open();
    for (let key = 0; key < 60; key++) map.update(key, { ns: 0n, comm: '' });
    disturbed(fake, 'before', (step, attr) => {
      if (attr.getBigUint64(8, true) === 0n || step % every !== 0) return;
      // Deletes the current key, so that the kernel restarts, and adds a new key.
      const key = Buffer.from(fake.at(attr.getBigUint64(8, true)).buffer).readUInt32LE();
      if (key >= 30 && key < 60 && content.delete(id(key))) content.set(id(1000 + step), '00'.repeat(16));
    });
    const keys = [...map.keys()];
    assert.is(new Set(keys).size, keys.length);
    assert.equal(
      keys.filter((key) => key < 30).sort((a, b) => a - b),
      Array.from({ length: 30 }, (_, key) => key),
    );
  }
});

test('a key that the kernel skips because the one before it is deleted is listed', () => {
  const { fake, map, content } = open();
  for (const key of [1, 2, 3, 4, 5, 6]) map.update(key, { ns: 0n, comm: '' });
  // The entry of key 2 is reused in another bucket while the kernel looks for the next key.
  disturbed(fake, 'after', (_, attr) => {
    const given = attr.getBigUint64(8, true);
    if (given === 0n || Buffer.from(fake.at(given).buffer).readUInt32LE() !== 2) return;
    if (!content.delete(id(2))) return;
    Buffer.from(fake.at(attr.getBigUint64(16, true)).buffer).writeUInt32LE(6);
  });
  assert.equal([...map.keys()].filter((key) => key !== 2).sort(), [1, 3, 4, 5, 6]);
});

test('a key that an update moves during the listing is listed', () => {
  const { fake, map, content } = open();
  for (const key of [1, 2, 3, 4]) map.update(key, { ns: 0n, comm: '' });
  // Moves each next key to the front once, to a position that the reader has passed.
  const moved = new Set<string>();
  disturbed(fake, 'before', (_, attr) => {
    const keys = [...content.keys()];
    const given = attr.getBigUint64(8, true);
    const at = given === 0n ? -1 : keys.indexOf(Buffer.from(fake.at(given).buffer).toString('hex'));
    const [following] = keys.slice(at + 1);
    if (at < 0 || following === undefined || moved.has(following)) return;
    moved.add(following);
    const entries = [...content].sort(([a], [b]) => Number(b === following) - Number(a === following));
    content.clear();
    for (const [key, value] of entries) content.set(key, value);
  });
  assert.equal([...map.keys()].sort(), [1, 2, 3, 4]);
  assert.ok(moved.size > 0);
});

test('the keys of an array are read once, those of an unchanged hash twice', () => {
  for (const [map, calls] of [
    [array('m', { value: u8, maxEntries: 3 }), 4],
    [perCpuArray('m', { value: u8, maxEntries: 3 }), 4],
    [spec, 8],
  ] as const) {
    const fake = new FakeSyscalls();
    withMap(fake, new Map([1, 2, 3].map((key) => [id(key), '00'.repeat(16)])));
    const opened = BpfMap.create(new Kernel(fake), map);
    assert.equal([...opened.keys()], [1, 2, 3]);
    assert.is(fake.calls.filter((call) => call === `bpf ${Command.next}`).length, calls);
  }
});

test('a per-CPU map has a value for each possible CPU, aligned to eight bytes', () => {
  const fake = new FakeSyscalls();
  fake.files.set('/sys/devices/system/cpu/possible', '0-2\n');
  const content = new Map<string, string>();
  withMap(fake, content);
  const map = BpfMap.create(new Kernel(fake), perCpuArray('counts', { value: u8 }));
  map.update(0, [1, 2, 3]);
  assert.is(content.get('00000000'), '010000000000000002000000000000000300000000000000');
  assert.equal(map.lookup(0), [1, 2, 3]);
  assert.equal([...map.entries()], [[0, [1, 2, 3]]]);
  assert.throws(
    () => map.update(0, [1]),
    /'counts' takes a list of 3 values, one for each possible CPU, not a list of 1 \(.*map\.test\.ts:\d+\)$/,
  );
  assert.throws(
    () => map.update(0, 1 as unknown as number[]),
    /'counts' takes a list of 3 values, one for each possible CPU, not /,
  );
});

test('without capabilities the error names them', () => {
  const fake = new FakeSyscalls();
  fake.files.set('/proc/self/status', 'CapEff:\t0000000000000000\n');
  fake.answers.set(Command.create, () => -Errno.EPERM);
  assert.throws(
    () => BpfMap.create(new Kernel(fake), spec),
    (error: unknown) =>
      error instanceof NotPermittedError &&
      error.message ===
        "cannot create the map 'attempts': bpf(BPF_MAP_CREATE): EPERM (operation not permitted): " +
          'this process lacks CAP_BPF and CAP_PERFMON (before Linux 5.8: CAP_SYS_ADMIN); run it as root',
  );
  assert.is(fake.calls.includes('memlock'), false, 'the locked-memory limit is unchanged');
});

test('before 5.11 the locked-memory limit is raised when a call needs it', () => {
  const fake = new FakeSyscalls();
  let limit = { soft: 65536n, hard: 65536n };
  fake.onMemlock = (set) => {
    if (set) limit = { ...set };
    return limit;
  };
  fake.answers.set(Command.create, () => (limit.soft < 2n ** 30n ? -Errno.EPERM : undefined));
  BpfMap.create(new Kernel(fake), spec).close();
  assert.is(limit.soft, 2n ** 64n - 1n);
});

test('without CAP_SYS_RESOURCE the limit is raised to the hard limit', () => {
  const fake = new FakeSyscalls();
  let limit = { soft: 65536n, hard: 2n ** 32n };
  fake.onMemlock = (set) => {
    if (set && set.hard > limit.hard) return -Errno.EPERM;
    if (set) limit = { ...set };
    return limit;
  };
  fake.answers.set(Command.create, () => (limit.soft < 2n ** 30n ? -Errno.EPERM : undefined));
  BpfMap.create(new Kernel(fake), spec).close();
  assert.is(limit.soft, 2n ** 32n);
});

test('if raising the limit fails or does not help, the error names causes, and the limit is restored', () => {
  for (const mayRaise of [true, false]) {
    const fake = new FakeSyscalls();
    let limit = { soft: 65536n, hard: 131072n };
    fake.onMemlock = (set) => {
      if (set && !mayRaise && set.soft > limit.hard) return -Errno.EPERM;
      if (set) limit = { ...set };
      return limit;
    };
    fake.answers.set(Command.create, () => -Errno.EPERM);
    assert.throws(
      () => BpfMap.create(new Kernel(fake), spec),
      /a policy forbids the call.*lockdown.*ulimit -l/,
    );
    assert.equal(limit, { soft: 65536n, hard: 131072n });
  }
});

test('a locked-memory limit that this process cannot raise is named with its remedy', () => {
  const fake = new FakeSyscalls();
  fake.files.set('/proc/self/status', 'CapEff:\t000000c000000000\n');
  fake.onMemlock = (set) => (set ? -Errno.EPERM : { soft: 65536n, hard: 65536n });
  fake.answers.set(Command.create, () => -Errno.EPERM);
  assert.throws(
    () => BpfMap.create(new Kernel(fake), spec),
    /locked memory: .* may lock 64 KiB .* CAP_SYS_RESOURCE .*ulimit -l unlimited$/,
  );
});

test.run();
