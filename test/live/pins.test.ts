/** Pins in a bpffs, and the lists of maps, links and BTF objects. Mounts a bpffs of its own. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { getCurrentPidTgid } from '../../src/asm/helpers.ts';
import { kprobe, rawTracepoint, tpBtf } from '../../src/asm/hooks.ts';
import { chars, struct, u16, u32, u64 } from '../../src/asm/layout.ts';
import { array, hash, MapType, perCpuHash } from '../../src/asm/map.ts';
import { pinned } from '../../src/asm/pinned.ts';
import type { Attachment, ProgramSpec } from '../../src/asm/program.ts';
import { bloomFilter } from '../../src/asm/queue.ts';
import { target } from '../../src/asm/target.ts';
import {
  LinkMismatchError,
  MapMismatchError,
  PathError,
  ProgramMismatchError,
} from '../../src/loader/errors.ts';
import { attach, Link } from '../../src/loader/link.ts';
import { loadProgram } from '../../src/loader/load.ts';
import { loadedBtfs, loadedLinks, loadedMaps } from '../../src/loader/loaded/objects.ts';
import { BpfMap } from '../../src/loader/map.ts';
import { unpin } from '../../src/loader/pin.ts';
import { Program } from '../../src/loader/program.ts';
import { Session } from '../../src/loader/session.ts';
import { needsRoot, suite } from '../harness.ts';
import { isReleased } from './release.ts';
import { here } from './tracer.ts';

const test = suite('live/pins', { seconds: 30 });

const folder = mkdtempSync(join(tmpdir(), 'tsbpf-pins-'));
const bpffs = join(folder, 'bpf');
mkdirSync(bpffs);
const mounted = needsRoot ? 1 : spawnSync('mount', ['-t', 'bpf', 'bpf', bpffs]).status;
process.on('exit', () => {
  if (mounted === 0) spawnSync('umount', [bpffs]);
  rmSync(folder, { recursive: true });
});
const cannotPin = needsRoot || (mounted !== 0 && 'a bpffs cannot be mounted');

const pin = (name: string) => join(bpffs, name);
const Value = struct({ ns: u64, comm: chars(16) });
const spec = hash('calls', { key: u32, value: Value, maxEntries: 64 });

test.skipIf(cannotPin, 'a pinned map stays, with its entries, until its pin is removed', () => {
  const map = BpfMap.create(here, spec);
  map.update(7, { ns: 5n, comm: 'node' });
  map.pin(pin('calls'));
  map.close();
  const opened = BpfMap.open(here, spec, pin('calls'));
  assert.equal([...opened.entries()], [[7, { ns: 5n, comm: 'node' }]]);
  opened.update(8, { ns: 6n, comm: '' });
  opened.close();
  const again = BpfMap.open(here, spec, pin('calls'));
  assert.is(again.lookup(8)?.ns, 6n);
  assert.is(unpin(here, pin('calls')), true);
  assert.is(unpin(here, pin('calls')), false);
  assert.is(again.lookup(8)?.ns, 6n, 'an open map outlives its pin');
  again.close();
  assert.throws(() => BpfMap.open(here, spec, pin('calls')), /calls: nothing is pinned here/);
  // The kernel's own files end in .debug.
  assert.equal(
    readdirSync(bpffs).filter((name) => !name.includes('.')),
    [],
  );
});

test.skipIf(cannotPin, 'opening a pin names each difference to the spec, with the fields of the BTF', () => {
  const map = BpfMap.create(here, spec, { debug: true });
  map.pin(pin('typed'));
  map.close();
  const differences = (other: typeof spec | unknown): readonly string[] => {
    try {
      BpfMap.open(here, other as typeof spec, pin('typed')).close();
    } catch (error) {
      assert.instance(error, MapMismatchError);
      assert.match(
        (error as Error).message,
        /^the map pinned at .*typed is not that of the spec 'calls': .*pins\.test\.ts:\d+\)$/,
      );
      return (error as MapMismatchError).differences;
    }
    return [];
  };
  assert.equal(differences(spec), []);
  assert.equal(
    differences(hash('calls', { key: u32, value: struct({ ns: u64, name: chars(16) }), maxEntries: 64 })),
    ["value.name is not in the kernel's type", "value.comm of the kernel's type is not in the schema"],
  );
  assert.equal(
    differences(
      hash('calls', { key: u16, value: struct({ ns: u32, comm: chars(8) }), maxEntries: 65, flags: 1 }),
    ),
    [
      'maxEntries is 64 in the kernel, and 65 in the spec',
      'flags is 0x0 in the kernel, and 0x1 in the spec',
      'key has 4 bytes in the kernel, and 2 in the schema',
      'value.ns has 8 bytes in the kernel, and 4 in the schema',
      'value.comm is at offset 8 in the kernel, and at 4 in the schema',
    ],
  );
  assert.equal(differences(perCpuHash('calls', { key: u32, value: Value, maxEntries: 64 })), [
    'type is hash in the kernel, and perCpuHash in the spec',
  ]);
  unpin(here, pin('typed'));
  // Without BTF only the sizes show.
  const untyped = BpfMap.create(here, spec);
  untyped.pin(pin('typed'));
  untyped.close();
  assert.equal(
    differences(hash('calls', { key: u32, value: struct({ ns: u64, name: chars(16) }), maxEntries: 64 })),
    [],
  );
  assert.equal(differences(hash('calls', { key: u64, value: u32, maxEntries: 64 })), [
    'key size is 4 in the kernel, and 8 in the spec',
    'value size is 24 in the kernel, and 4 in the spec',
  ]);
  unpin(here, pin('typed'));
});

test.skipIf(cannotPin, 'the errors of pins say what is wrong with the path', () => {
  const map = BpfMap.create(here, spec);
  const program = loadProgram(here, exit, assemble(exit.instructions), new Map());
  try {
    const refused = (path: string): string => {
      for (const work of [() => map.pin(path), () => unpin(here, path)]) {
        try {
          work();
        } catch (error) {
          assert.instance(error, PathError);
          return (error as PathError).reason;
        }
      }
      throw new Error(`${path} was accepted`);
    };
    assert.match(
      refused(join(folder, 'calls')),
      /^not in a bpffs; mount one \(mount -t bpf bpf \/sys\/fs\/bpf\)/,
    );
    assert.match(refused(pin('missing/calls')), /^the directory .*missing does not exist; create it/);
    assert.match(refused(pin('calls.v1')), /^the name of a pin cannot contain a dot; use calls_v1/);
    map.pin(pin('calls'));
    assert.throws(
      () => map.pin(pin('calls')),
      /pin the map 'calls' at .*EEXIST.*this path exists; remove it \(unpin\).*pins\.test\.ts:\d+\)$/,
    );
    program.pin(pin('exit'));
    assert.throws(() => BpfMap.open(here, spec, pin('exit')), /exit: a program is pinned here, not a map/);
    assert.throws(() => Program.open(here, exit, pin('calls')), /calls: a map is pinned here, not a program/);
    assert.throws(() => Link.open(here, exit, pin('calls')), /calls: a map is pinned here, not a link/);
    mkdirSync(pin('sub'));
    assert.throws(() => BpfMap.open(here, spec, pin('sub')), /sub: a directory of a bpffs, not a pin/);
    assert.throws(() => unpin(here, pin('sub')), /sub: a directory of a bpffs, not a pin/);
    assert.throws(() => BpfMap.open(here, spec, join(folder, 'x')), /not in a bpffs/);
    map.pin(pin('sub/calls'));
    BpfMap.open(here, spec, pin('sub/calls')).close();
    rmSync(pin('sub'), { recursive: true });
    for (const name of ['calls', 'exit']) assert.is(unpin(here, pin(name)), true);
  } finally {
    map.close();
    program.close();
  }
});

const exit = rawTracepoint('sys_enter', target(process.arch), (b) => b.exit(3));

test.skipIf(
  cannotPin || (!here.features.has({ mapType: 'bloom_filter' }) && 'this kernel has no bloom filters'),
  'the hash functions of a pinned bloom filter are compared',
  () => {
    const seen = (hashes?: number) =>
      bloomFilter('seen', { value: u32, maxEntries: 8, ...(hashes !== undefined && { hashes }) });
    const map = BpfMap.create(here, seen(3));
    map.pin(pin('seen'));
    map.close();
    BpfMap.open(here, seen(3), pin('seen')).close();
    assert.throws(
      () => BpfMap.open(here, seen(), pin('seen')),
      /: extra is 3 in the kernel, and 0 in the spec; change the spec/,
    );
    unpin(here, pin('seen'));
  },
);

test.skipIf(cannotPin, 'pinned links of functions are compared by their kind, function and program', () => {
  type Change = readonly [{ readonly kind?: string; readonly symbol?: string }, RegExp];
  const kinds: (readonly [ProgramSpec, readonly Change[]])[] = [];
  const add = (spec: ProgramSpec, ...others: readonly Change[]) => kinds.push([spec, others]);
  const on = target(process.arch, here.btf);
  if (here.btf && here.features.has({ ability: 'tp_btf' }))
    add(
      tpBtf('sched_process_exit', on, (b) => b.exit()),
      [
        { kind: 'raw_tracepoint' },
        /type is fentry\/fexit\/tp_btf in the kernel, and raw_tracepoint in the spec \(of its program\)/,
      ],
    );
  if (here.kprobePmu !== undefined && here.features.has({ attachType: 'perf_event' }))
    add(
      kprobe('do_nanosleep', on, (b) => b.exit()),
      [{ symbol: 'do_exit' }, /target is do_nanosleep in the kernel, and do_exit in the spec/],
      [{ kind: 'kretprobe' }, /kind of event is kprobe in the kernel, and kretprobe in the spec/],
      [{ symbol: 'do_nanosleep+16' }, /offset in the function is 0 in the kernel, and 16 in the spec/],
    );
  for (const [spec, others] of kinds) {
    const program = loadProgram(here, spec, assemble(spec.instructions), new Map());
    const link = attach(here, program);
    try {
      link.pin(pin('traced'));
      Link.open(here, spec, pin('traced')).close();
      for (const [change, says] of isReleased('6.6') || spec.attachment.kind === 'tp_btf' ? others : []) {
        const attachment = { ...spec.attachment, ...change } as Attachment;
        assert.throws(() => Link.open(here, { ...spec, attachment }, pin('traced')), says);
      }
    } finally {
      unpin(here, pin('traced'));
      link.close();
      program.close();
    }
  }
});

test.skipIf(cannotPin, 'a session creates and pins a map, and the next session continues with it', () => {
  const counts = pinned(
    hash('counts', { key: u32, value: u64, maxEntries: 8, entries: [[1, 10n]] }),
    pin('counts'),
  );
  const open = () => Session.open({ name: 'counter', programs: [], maps: [counts] }, { kernel: here });
  const first = open();
  assert.is(first.map(counts).lookup(1), 10n);
  first.map(counts).update(1, 11n);
  const second = open();
  assert.is(second.map(counts).lookup(1), 11n, 'initial entries are written once');
  first.close();
  second.close();
  const third = open();
  assert.is(third.map(counts).lookup(1), 11n);
  third.close();
  const other = pinned(hash('counts', { key: u32, value: struct({ n: u64 }), maxEntries: 8 }), pin('counts'));
  assert.throws(
    () => Session.open({ name: 'counter', programs: [], maps: [other] }, { kernel: here }),
    /the map pinned at .*counts is not that of the spec 'counts': value is of kind int u64 in the kernel, and struct in the schema/,
  );
  unpin(here, pin('counts'));
});

test.skipIf(cannotPin, 'a pinned program runs without its process, and is checked when it is opened', () => {
  const program = loadProgram(here, exit, assemble(exit.instructions), new Map());
  program.pin(pin('exit'));
  program.close();
  const opened = Program.open(here, exit, pin('exit'));
  assert.is(opened.run(new Uint8Array(64)), 3);
  assert.is(opened.info().id > 0, true);
  opened.close();
  const renamed = { ...exit, name: 'another' };
  assert.throws(
    () => Program.open(here, renamed, pin('exit')),
    /the program pinned at .*exit is not that of the spec 'another': name is sys_enter in the kernel, and another in the spec; change the spec, or remove the pin \(unpin\), load the program and pin it again/,
  );
  const kprobe = { ...exit, attachment: { kind: 'kprobe', symbol: 'x' } } as const;
  assert.throws(
    () => Program.open(here, kprobe, pin('exit')),
    (error: unknown) =>
      error instanceof ProgramMismatchError &&
      error.differences[0] ===
        'type is raw_tracepoint in the kernel, and kprobe/kretprobe/kprobe_multi/kretprobe_multi in the spec',
  );
  const changed = rawTracepoint('sys_enter', target(process.arch), (b) => b.exit(4));
  assert.throws(
    () => Program.open(here, changed, pin('exit')),
    /is not that of the spec 'sys_enter': tag of its instructions is [0-9a-f]{16} in the kernel, and [0-9a-f]{16} in the spec/,
  );
  assert.throws(() => Program.open(here, exit, pin('gone')), /gone: nothing is pinned here/);
  unpin(here, pin('exit'));
});

test.skipIf(cannotPin, 'a pinned link keeps its program attached until the pin is removed', async () => {
  const count = array('count', { value: u64 });
  const on = rawTracepoint('sys_enter', target(process.arch), (b) => {
    b.if(b.call(getCurrentPidTgid).rsh(32).ne(process.pid), () => b.exit());
    b.count(count, 0);
  });
  const map = BpfMap.create(here, count);
  const runs = (): bigint => map.lookup(0) ?? 0n;
  try {
    const program = loadProgram(
      here,
      on,
      assemble(on.instructions),
      new Map([[count, map as unknown as BpfMap]]),
    );
    const link = attach(here, program);
    link.pin(pin('link'));
    link.close();
    program.close();
    let before = runs();
    readdirSync('/proc/self/fd');
    assert.ok(runs() > before, 'still attached');
    const opened = Link.open(here, on, pin('link'));
    assert.is(opened.missedHits(), 0);
    const other = { ...on, attachment: { kind: 'raw_tracepoint', tracepoint: 'sys_exit' } } as const;
    assert.throws(
      () => Link.open(here, other, pin('link')),
      (error: unknown) =>
        error instanceof LinkMismatchError &&
        error.differences.join() === 'target is sys_enter in the kernel, and sys_exit in the spec',
    );
    const kprobe = { ...on, attachment: { kind: 'kprobe', symbol: 'x' } } as const;
    assert.throws(
      () => Link.open(here, kprobe, pin('link')),
      /the link pinned at .*link is not that of the spec 'sys_enter': type is raw_tracepoint in the kernel, and perf_event in the spec; change the spec, or remove the pin/,
    );
    const changed = rawTracepoint('sys_enter', target(process.arch), (b) => b.count(count, 0));
    assert.throws(
      () => Link.open(here, changed, pin('link')),
      /tag of its instructions is .* \(of its program\); change the spec/,
    );
    const listed = [...loadedLinks(here)].filter(({ target: name }) => name === 'sys_enter');
    assert.ok(listed.some(({ type }) => type === 'raw_tracepoint'));
    unpin(here, pin('link'));
    before = runs();
    assert.ok(runs() > before, 'the open link keeps it attached');
    opened.close();
    // The kernel releases a removed pin after a grace period of RCU.
    const isDetached = (): boolean => {
      const first = runs();
      return runs() === first;
    };
    for (const end = performance.now() + 10_000; !isDetached() && performance.now() < end; )
      await new Promise((resolve) => setTimeout(resolve, 20));
    assert.ok(isDetached(), 'detached');
  } finally {
    map.close();
  }
});

test.skipIf(needsRoot, 'the maps of all processes are listed', () => {
  const map = BpfMap.create(here, { ...spec, name: 'listed_map' }, { debug: true });
  try {
    const found = [...loadedMaps(here)].filter(({ name }) => name === 'listed_map');
    assert.is(found.length, 1);
    const { id, btfId, keyType, valueType, extra = 0, ...rest } = found[0] as (typeof found)[number];
    assert.equal(rest, {
      name: 'listed_map',
      type: MapType.hash,
      keySize: 4,
      valueSize: 24,
      maxEntries: 64,
      flags: 0,
    });
    assert.is(extra, 0);
    assert.ok(id > 0 && btfId > 0 && keyType > 0 && valueType > 0);
    const own = [...loadedBtfs(here)].find((btf) => btf.id === btfId);
    assert.is(own?.isKernel, false);
  } finally {
    map.close();
  }
});

test.skipIf(
  needsRoot || (here.btf === undefined && 'this kernel has no BTF'),
  'the BTF objects of the kernel are listed',
  () => {
    const all = [...loadedBtfs(here)];
    const ids = all.map(({ id }) => id);
    assert.equal(
      ids,
      [...ids].sort((a, b) => a - b),
    );
    // Names since Linux 5.11.
    if (all.some(({ isKernel }) => isKernel))
      assert.is(all.filter(({ name, isKernel }) => isKernel && name === 'vmlinux').length, 1);
    assert.ok(all.every(({ size }) => size > 0));
  },
);

test.run();
