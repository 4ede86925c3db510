/** The messages of maps and pins, each provoked by its errno. */

import { perfEventArray, ringBuffer } from '../../../src/asm/events.ts';
import { struct, u32, u64 } from '../../../src/asm/layout.ts';
import { taskStorage } from '../../../src/asm/local-storage.ts';
import { array, cgroupArray, globals, hash, lpmTrie, type MapSpec } from '../../../src/asm/map.ts';
import { hashOfMaps } from '../../../src/asm/map-of-maps.ts';
import { bloomFilter, queue } from '../../../src/asm/queue.ts';
import { stackTrace } from '../../../src/asm/stack-trace.ts';
import { Errno } from '../../../src/loader/errno.ts';
import { Kernel } from '../../../src/loader/kernel.ts';
import { BpfMap, UpdateMode } from '../../../src/loader/map.ts';
import { BPF_FS_MAGIC, unpin } from '../../../src/loader/pin.ts';
import { suite } from '../../harness.ts';
import type { FakeSyscalls } from '../fake.ts';
import { answering, provokeAll, type Row } from './provoke.ts';

const test = suite('loader/messages/maps');

/** Commands of bpf(2). */
const [CREATE, LOOKUP, UPDATE, DELETE, NEXT, PIN, GET, INFO] = [0, 1, 2, 3, 4, 6, 7, 15];
const [FREEZE, READ, DRAIN, UPDATE_ALL] = [22, 24, 25, 26];

const counts = hash('counts', { key: u32, value: u64, maxEntries: 8 });
const slots = array('slots', { value: u64, maxEntries: 8 });
const trie = lpmTrie('nets', { key: struct({ length: u32, address: u32 }), value: u32, maxEntries: 8 });
const jobs = queue('jobs', { value: u32, maxEntries: 8 });
const seen = bloomFilter('seen', { value: u32, maxEntries: 8 });
const perTask = taskStorage('per_task', { value: u64 });
const stacks = stackTrace('stacks', { maxEntries: 8 });
const outer = hashOfMaps('outer', { key: u32, inner: counts, maxEntries: 8 });
const shared = globals('shared', struct({ calls: u64 }));
const rings = perfEventArray('events', struct({ pid: u32 }));

/** Creates a map, and does something with it. */
const using =
  <M extends MapSpec>(spec: M, work: (map: BpfMap<M>) => unknown) =>
  (fake: FakeSyscalls) =>
    work(BpfMap.create(new Kernel(fake), spec));
const creating = (spec: MapSpec) => using(spec, () => {});

const PATH = '/sys/fs/bpf/counts';
/** Answers a command with an errno, where `PATH` is a file of a bpffs. */
const inBpffs = (command: number, errno: number) => (fake: FakeSyscalls) => {
  fake.answers.set(command, () => -errno);
  for (const path of ['/sys/fs/bpf', PATH]) fake.fileSystems.set(path, BPF_FS_MAGIC);
};
const pinning = using(counts, (map) => map.pin(PATH));
const opening = (fake: FakeSyscalls) => BpfMap.open(new Kernel(fake), counts, PATH);
const unpinning = (fake: FakeSyscalls) => unpin(new Kernel(fake), PATH);
const removing = (errno: number) => (fake: FakeSyscalls) => {
  fake.fileSystems.set('/sys/fs/bpf', BPF_FS_MAGIC);
  fake.onRemove = () => -errno;
};
const mapping = (errno: number) => (fake: FakeSyscalls) => {
  fake.onMmap = () => -errno;
};
/** Refuses each entry, as a kernel without batches. */
const refusingEntries = (errno: number) => (fake: FakeSyscalls) => {
  for (const command of [UPDATE, DELETE]) fake.answers.set(command, () => -errno);
};

const ROWS: readonly Row[] = [
  // Creation.
  {
    what: 'a hash table that the kernel refuses',
    arrange: answering(CREATE, Errno.EINVAL),
    act: creating(counts),
    says: /create the map 'counts': bpf\(BPF_MAP_CREATE\): EINVAL .*hash, key 4 bytes, value 8 bytes, maxEntries 8, no flags: this kernel refuses a size; use smaller keys and values, or fewer entries \(maxEntries\)$/,
    not: /3\.19/,
  },
  {
    what: 'a map with flags that the kernel refuses',
    arrange: answering(CREATE, Errno.EINVAL),
    act: creating({ ...counts, flags: 1 }),
    says: /flags BPF_F_NO_PREALLOC: this kernel refuses a flag or a size; create it without flags; use smaller/,
  },
  {
    what: 'a hash table that is too large',
    arrange: answering(CREATE, Errno.E2BIG),
    act: creating(counts),
    says: /too large; it takes up to 1 MiB; key and value together have less than 4 MiB, and before Linux 5\.11 a key at most 512 bytes; use smaller/,
  },
  {
    what: 'an array that is too large',
    arrange: answering(CREATE, Errno.E2BIG),
    act: creating(slots),
    says: /key and value together have less than 4 MiB; use smaller/,
    not: /hash|512/,
  },
  {
    what: 'a hash table without memory',
    arrange: answering(CREATE, Errno.ENOMEM),
    act: creating(counts),
    says: /out of memory; use smaller keys and values, or fewer entries \(maxEntries\), set BPF_F_NO_PREALLOC, or raise the limit \(memory\.max\)$/,
  },
  {
    what: 'an array without memory',
    arrange: answering(CREATE, Errno.ENOMEM),
    act: creating(slots),
    says: /out of memory; use smaller keys and values, or fewer entries \(maxEntries\), or raise the limit \(memory\.max\)$/,
    not: /PREALLOC/,
  },
  {
    what: 'a ring buffer without memory',
    arrange: answering(CREATE, Errno.ENOMEM),
    act: creating(ringBuffer('ring', struct({ pid: u32 }), { bytes: 1 << 21 })),
    says: /ringBuffer, 2097152 bytes: it takes up to 2 MiB; .*out of memory; use fewer bytes, or raise the limit/,
    not: /maxEntries|PREALLOC/,
  },
  {
    what: 'a storage map without memory',
    arrange: answering(CREATE, Errno.ENOMEM),
    act: creating(perTask),
    says: /out of memory; use smaller values, or raise the limit/,
    not: /it takes|fewer entries/,
  },
  {
    what: 'a template of an inner map',
    arrange: answering(CREATE, Errno.ENOMEM),
    act: creating(outer),
    says: /create the map 'counts' as a template of 'outer': bpf\(BPF_MAP_CREATE\): ENOMEM/,
  },
  {
    what: 'a type that is too new',
    arrange: answering(CREATE, Errno.EINVAL),
    act: creating(seen),
    says: /this kernel has no bloomFilter maps \(Linux 5\.16 and later\): 'seen' is one/,
  },
  {
    what: 'freezing before Linux 5.2',
    arrange: answering(FREEZE, Errno.EINVAL),
    act: creating({ ...slots, frozen: true }),
    says: /freeze the map 'slots': .*EINVAL .*this kernel cannot freeze maps \(Linux 5\.2 and later\); create the map without frozen/,
  },
  {
    what: 'freezing a map that a process can write',
    arrange: answering(FREEZE, Errno.EBUSY),
    act: creating({ ...slots, frozen: true }),
    says: /EBUSY .*a process can write the map through a mapping, or has frozen it; close the mapping first$/,
  },
  {
    what: 'an initial cgroup that does not exist',
    arrange: () => {},
    act: creating(cgroupArray('services', ['/sys/fs/cgroup/gone'])),
    says: /gone: cannot open it: ENOENT .*; cgroups are the directories below a cgroup2 mount, usually \/sys\/fs\/cgroup/,
  },
  {
    what: 'an inner map that is not open',
    arrange: () => {},
    act: creating(hashOfMaps('outer', { key: u32, inner: counts, maxEntries: 8, maps: [[1, counts]] })),
    says: /map 'outer' contains the map 'counts', which is not open; create it first and pass it in maps/,
  },
  // Elements.
  {
    what: 'a full hash table',
    arrange: answering(UPDATE, Errno.E2BIG),
    act: using(counts, (map) => map.update(1, 1n)),
    says: /update the map 'counts': .*E2BIG .*the map is full \(maxEntries 8\); increase maxEntries, or delete entries$/,
    not: /index/,
  },
  {
    what: 'an index beyond an array',
    arrange: answering(UPDATE, Errno.E2BIG),
    act: using(slots, (map) => map.update(9, 1n)),
    says: /the index is beyond its 8 entries; use a smaller index, or increase maxEntries$/,
    not: /full/,
  },
  {
    what: 'an index beyond an array of a size that the loader chose',
    arrange: answering(UPDATE, Errno.E2BIG),
    act: using(rings, (map) => map.update(9, 1)),
    says: /the index is beyond the entries of the map; use/,
  },
  {
    what: 'a full trie',
    arrange: answering(UPDATE, Errno.ENOSPC),
    act: using(trie, (map) => map.update({ length: 8, address: 1 }, 1)),
    says: /ENOSPC .*the map is full \(maxEntries 8\); increase maxEntries$/,
  },
  {
    what: 'replacing a missing key',
    arrange: answering(UPDATE, Errno.ENOENT),
    act: using(counts, (map) => map.update(1, 1n, UpdateMode.replace)),
    says: /ENOENT .*the map does not have this key; use UpdateMode\.any or create$/,
  },
  {
    what: 'creating a present key',
    arrange: answering(UPDATE, Errno.EEXIST),
    act: using(counts, (map) => map.update(1, 1n, UpdateMode.create)),
    says: /EEXIST .*the map has this key; use UpdateMode\.any or replace$/,
  },
  {
    what: 'a locked bucket',
    arrange: answering(UPDATE, Errno.EBUSY),
    act: using(counts, (map) => map.update(1, 1n)),
    says: /EBUSY .*a program that interrupted this call holds the lock that it needs; try again$/,
  },
  {
    what: 'a read of a map type that only programs read',
    arrange: answering(LOOKUP, Errno.ENOTSUPP),
    act: using(rings, (map) => map.lookup(0)),
    says: /this kernel does not let processes do this with maps of type perfEventArray; let a program do it$/,
  },
  {
    what: 'a value that is not a perf event',
    arrange: answering(UPDATE, Errno.EINVAL),
    act: using(rings, (map) => map.update(0, 1)),
    says: /EINVAL .*the value must be the descriptor of an open perf event$/,
  },
  {
    what: 'a deleted index',
    arrange: answering(DELETE, Errno.EINVAL),
    act: using(slots, (map) => map.delete(1)),
    says: /the keys of an array are indices, which cannot be deleted; update the entry to zero$/,
  },
  {
    what: 'a write to a frozen map',
    arrange: answering(UPDATE, Errno.EPERM),
    act: using({ ...slots, frozen: true }, (map) => map.update(0, 1n)),
    says: /EPERM .*the map is frozen: its content never changes$/,
    not: /policy/,
  },
  {
    what: 'a descriptor that other code has closed',
    arrange: answering(LOOKUP, Errno.EBADF),
    act: using(counts, (map) => map.lookup(1)),
    says: /EBADF .*other code of this process has closed the descriptor; only its owner may close it$/,
  },
  {
    what: 'an inner map of other sizes',
    arrange: answering(UPDATE, Errno.EINVAL),
    act: (fake) => using(outer, (map) => map.update(1, BpfMap.create(new Kernel(fake), counts)))(fake),
    says: /an inner map must have the type, sizes and flags of 'counts', and, if it is an array or before Linux 5\.10, its maxEntries$/,
  },
  {
    what: 'a number instead of an inner map',
    arrange: () => {},
    act: using(outer, (map) => map.update(1, 1 as never)),
    says: /map 'outer' contains maps; pass an open BpfMap, not 1/,
  },
  {
    what: 'a stack that a process adds',
    arrange: answering(UPDATE, Errno.EINVAL),
    act: using(stacks, (map) => map.update(1, Array(127).fill(0n))),
    says: /only programs add stacks, with b\.stackId$/,
  },
  {
    what: 'memory that runs out while a stack is updated',
    arrange: answering(UPDATE, Errno.ENOMEM),
    act: using(stacks, (map) => map.update(1, Array(127).fill(0n))),
    says: /ENOMEM .*out of memory; free some/,
    not: /b\.stackId/,
  },
  {
    what: 'a key that is not a pidfd',
    arrange: answering(LOOKUP, Errno.EBADF),
    act: using(perTask, (map) => map.lookup(1)),
    says: /EBADF .*the key must be a pidfd, as openProcess opens it$/,
  },
  {
    what: 'a storage of a process that has exited',
    arrange: answering(LOOKUP, Errno.ESRCH),
    act: using(perTask, (map) => map.lookup(1)),
    says: /ESRCH .*the process of this pidfd has exited, and the kernel has freed its value$/,
  },
  {
    what: 'the keys of a storage',
    arrange: answering(NEXT, Errno.ENOTSUPP),
    act: using(perTask, (map) => [...map.keys()]),
    says: /the kernel does not list the values of a storage map; look up each owner$/,
  },
  {
    what: 'a prefix that is longer than its address',
    arrange: () => {},
    act: using(trie, (map) => map.lookup({ length: 33, address: 1 })),
    says: /the key of the map 'nets' is a prefix of 33 bits, but it has 32 bits after its length/,
  },
  {
    what: 'a closed map',
    arrange: () => {},
    act: using(counts, (map) => [map.close(), map.lookup(1)]),
    says: /the map 'counts' was used after it was closed$/,
  },
  // Batches.
  {
    what: 'a refused entry of many',
    arrange: refusingEntries(Errno.E2BIG),
    act: using(counts, (map) => map.updateMany([[7, 1n]])),
    says: /E2BIG .*entry 0 \(key 7\) failed, 0 were updated before: the map is full \(maxEntries 8\)/,
  },
  {
    what: 'a refused deletion of many',
    arrange: refusingEntries(Errno.EBUSY),
    act: using(counts, (map) => map.deleteMany([7])),
    says: /delete from the map 'counts': .*EBUSY .*entry 0 \(key 7\) failed, 0 were deleted before: .*try again/,
  },
  {
    what: 'an entry that does not fit the schema',
    arrange: () => {},
    act: using(counts, (map) =>
      map.updateMany([
        [1, 1n],
        [2, -1n],
      ]),
    ),
    says: /entry 1: value: -1 does not fit in u64 \(0 to 18446744073709551615\)/,
  },
  {
    what: 'memory that the kernel cannot read',
    arrange: answering(UPDATE_ALL, Errno.EFAULT),
    act: using(counts, (map) => map.updateMany([[1, 1n]])),
    says: /EFAULT .*the kernel cannot access the memory of this call; this is a defect, please report it/,
  },
  {
    what: 'a read without memory',
    arrange: answering(READ, Errno.ENOMEM),
    act: using(counts, (map) => [...map.entries()]),
    says: /cannot read the map 'counts': bpf\(BPF_MAP_LOOKUP_BATCH\): ENOMEM .*out of memory; free some/,
  },
  {
    what: 'a drain without memory',
    arrange: answering(DRAIN, Errno.ENOMEM),
    act: using(counts, (map) => map.drain()),
    says: /cannot drain the map 'counts': bpf\(BPF_MAP_LOOKUP_AND_DELETE_BATCH\): ENOMEM .*0 were drained before: .*free some/,
  },
  {
    what: 'a clear without memory',
    arrange: answering(DRAIN, Errno.ENOMEM),
    act: using(counts, (map) => map.clear()),
    says: /cannot clear the map 'counts': bpf\(BPF_MAP_LOOKUP_AND_DELETE_BATCH\): ENOMEM .*0 were deleted before: .*free some/,
  },
  {
    what: 'a drain of an array',
    arrange: () => {},
    act: using(slots, (map) => map.drain()),
    says: /the keys of the map 'slots' are indices, which cannot be deleted; update the entries to zero instead/,
  },
  // Maps without keys.
  {
    what: 'a full queue',
    arrange: answering(UPDATE, Errno.E2BIG),
    act: using(jobs, (map) => map.push(1)),
    says: /push a value to the map 'jobs': .*its 8 entries are in use; pop values, or drop the oldest with UpdateMode\.replace$/,
  },
  {
    what: 'a mode that a queue does not have',
    arrange: answering(UPDATE, Errno.EINVAL),
    act: using(jobs, (map) => map.push(1, UpdateMode.create)),
    says: /EINVAL .*a queue or stack takes only UpdateMode\.any and replace$/,
  },
  {
    what: 'a bloom filter that refuses a value',
    arrange: answering(UPDATE, Errno.EOPNOTSUPP),
    act: using(seen, (map) => map.add(1)),
    says: /cannot add a value to the map 'seen': .*this kernel does not let processes do this with maps of type bloomFilter/,
    not: /push|pop/,
  },
  {
    what: 'a question that a bloom filter does not answer',
    arrange: answering(LOOKUP, Errno.ENOMEM),
    act: using(seen, (map) => map.has(1)),
    says: /cannot look for a value in the map 'seen': bpf\(BPF_MAP_LOOKUP_ELEM\): ENOMEM/,
    not: /peek/,
  },
  {
    what: 'a key of a queue',
    arrange: () => {},
    act: using(jobs, (map) => map.lookup(1 as never)),
    says: /map 'jobs': a queue or stack has no keys; use push, pop and peek/,
  },
  {
    what: 'a queue operation of a hash table',
    arrange: () => {},
    act: using(counts, (map) => map.push(1 as never)),
    says: /push\(\) needs a map made by queue\(\) or stack\(\); the map 'counts' is a hash/,
  },
  // Views.
  {
    what: 'a view of a frozen map',
    arrange: mapping(Errno.EPERM),
    act: using(shared, (map) => map.view),
    says: /map the map 'shared', 4096 bytes: mmap: EPERM .*the map is frozen, and a view can write; read it with lookup$/,
  },
  {
    what: 'a view without memory',
    arrange: mapping(Errno.ENOMEM),
    act: using(shared, (map) => map.view),
    says: /ENOMEM .*no memory or address space is left; raise the limits \(memory\.max, ulimit -v, sysctl vm\.max_map_count\)$/,
  },
  {
    what: 'a view beyond the limit of locked memory',
    arrange: mapping(Errno.EAGAIN),
    act: using(shared, (map) => map.view),
    says: /EAGAIN .*this process may not lock more memory; raise the limit \(ulimit -l\)$/,
  },
  {
    what: 'a view of a hash table',
    arrange: () => {},
    act: using(counts, (map) => map.view),
    says: /map 'counts' has no view; use lookup, or create the map with globals\(\)/,
  },
  // Pins.
  {
    what: 'a pin at a path that exists',
    arrange: inBpffs(PIN, Errno.EEXIST),
    act: pinning,
    says: /pin the map 'counts' at \/sys\/fs\/bpf\/counts: .*EEXIST .*this path exists; remove it \(unpin\) or use another one/,
  },
  {
    what: 'a pin in a read-only file system',
    arrange: inBpffs(PIN, Errno.EROFS),
    act: pinning,
    says: /EROFS .*the file system is mounted read-only; remount it read-write/,
  },
  {
    what: 'a pin below a file',
    arrange: inBpffs(PIN, Errno.ENOTDIR),
    act: pinning,
    says: /ENOTDIR .*a part of the path is a file; use a directory of the bpffs/,
  },
  {
    what: 'a pin of a map that the kernel refuses',
    arrange: inBpffs(PIN, Errno.EINVAL),
    act: pinning,
    says: /EINVAL/,
    not: /link/,
  },
  {
    what: 'a pin in a directory that denies it',
    arrange: (fake) => {
      inBpffs(PIN, Errno.EACCES)(fake);
      fake.files.set('/proc/self/status', 'CapEff:\t000000c000000000\n'); // CAP_PERFMON, CAP_BPF
    },
    act: pinning,
    says: /EACCES .*the permissions of the path deny it \(ls -l\), and this process lacks CAP_DAC_OVERRIDE; run it as root/,
    not: /policy/,
  },
  {
    what: 'an empty path',
    arrange: answering(PIN, Errno.ENOENT),
    act: using(counts, (map) => map.pin('')),
    says: /^'': an empty path; mount one \(mount -t bpf bpf \/sys\/fs\/bpf\) and use a path in it/,
  },
  {
    what: 'a file of a bpffs that is no pin',
    arrange: inBpffs(GET, Errno.EACCES),
    act: opening,
    says: /open the map pinned at \/sys\/fs\/bpf\/counts: .*EACCES .*its permissions deny it \(ls -l\), or it is no pin \(the kernel has files of its own in a bpffs, such as maps\.debug\)/,
    not: /policy|lockdown/,
  },
  {
    what: 'a path where nothing is pinned',
    arrange: inBpffs(GET, Errno.ENOENT),
    act: opening,
    says: /counts: nothing is pinned here; bpftool -f map, prog and link list the pins/,
  },
  {
    what: 'a pinned map that the kernel does not describe',
    arrange: (fake) => {
      fake.answers.set(INFO, () => -Errno.ENOMEM);
    },
    act: opening,
    says: /read the kernel's information about the map pinned at \/sys\/fs\/bpf\/counts: .*ENOMEM .*free some/,
  },
  {
    what: 'a pin that this process may not remove',
    arrange: removing(Errno.EACCES),
    act: unpinning,
    says: /remove the pin \/sys\/fs\/bpf\/counts: unlink: EACCES \(permission denied\): this needs write access to \/sys\/fs\/bpf; run it as root$/,
  },
];

provokeAll(test, ROWS);

test.run();
