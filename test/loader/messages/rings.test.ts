/** The messages of rings, cgroups and namespaces, each provoked by its errno or option. */
import { perfEventArray, ringBuffer } from '../../../src/asm/events.ts';
import { struct, u32 } from '../../../src/asm/layout.ts';
import { hash } from '../../../src/asm/map.ts';
import { openCgroup } from '../../../src/loader/cgroup.ts';
import { Errno } from '../../../src/loader/errno.ts';
import { Kernel } from '../../../src/loader/kernel.ts';
import { BpfMap } from '../../../src/loader/map.ts';
import { networkNamespace } from '../../../src/loader/namespace.ts';
import type { PerfBufferOptions } from '../../../src/loader/perf-buffer/options.ts';
import { PerfBuffer } from '../../../src/loader/perf-buffer.ts';
import { RingBuffer } from '../../../src/loader/ring-buffer.ts';
import { suite } from '../../harness.ts';
import type { FakeSyscalls } from '../fake.ts';
import { answering, provokeAll, type Row } from './provoke.ts';

const test = suite('loader/messages/rings');

const UPDATE = 2;
const [NSFS, CGROUP2] = [0x6e736673, 0x63677270];
const Event = struct({ pid: u32 });

/** Opens a perf buffer with some options. */
const perf =
  (options: Partial<Record<keyof PerfBufferOptions, unknown>> = {}) =>
  (fake: FakeSyscalls) => {
    const kernel = new Kernel(fake);
    const map = BpfMap.create(kernel, perfEventArray('events', Event)) as unknown as BpfMap;
    const defaults = { pagesPerCpu: 8, sampleBytes: 4, onSample() {} };
    PerfBuffer.open(kernel, map, { ...defaults, ...options } as PerfBufferOptions);
  };

const ring =
  (flushMs = 1000, spec = ringBuffer('events', Event, { bytes: 4096 })) =>
  (fake: FakeSyscalls) => {
    const kernel = new Kernel(fake);
    const map = BpfMap.create(kernel, spec) as unknown as BpfMap;
    RingBuffer.open(kernel, map, { onSample() {}, flushMs });
  };

/** Fails the first wait of a ring after it has begun, and returns the error that is reported. */
const failingWait = (errno: number) => (fake: FakeSyscalls) => {
  const kernel = new Kernel(fake);
  const map = BpfMap.create(kernel, perfEventArray('events', Event)) as unknown as BpfMap;
  const errors: unknown[] = [];
  const options = { pagesPerCpu: 8, sampleBytes: 4, onSample() {} };
  const buffer = PerfBuffer.open(kernel, map, { ...options, onError: (error) => errors.push(error) });
  const [first] = fake.polls.values();
  first?.(errno);
  buffer.close();
  throw errors[0];
};

const perfOpen = (errno: number) => (fake: FakeSyscalls) => {
  fake.onPerfEventOpen = () => -errno;
};
const mapping = (errno: number) => (fake: FakeSyscalls) => {
  fake.onMmap = () => -errno;
};
const polling = (errno: number) => (fake: FakeSyscalls) => {
  fake.poll = () => -errno;
  fake.onMmap = (fd, length) => (fake.cpus.has(fd) ? undefined : new ArrayBuffer(length));
};
/** A path in a file system of this magic number, which cannot be opened. */
const denied = (magic: number, errno: number) => (fake: FakeSyscalls) => {
  fake.fileSystem = () => magic;
  fake.openFile = () => -errno;
};
const namespace = (fake: FakeSyscalls) => networkNamespace(new Kernel(fake), '/proc/1/ns/net');
const cgroup = (fake: FakeSyscalls) => openCgroup(new Kernel(fake), '/sys/fs/cgroup/a');

const option = (options: Partial<Record<keyof PerfBufferOptions, unknown>>, says: RegExp): Row => ({
  what: `the options ${JSON.stringify(options)}`,
  arrange: () => {},
  act: perf(options),
  says,
});

const ROWS: readonly Row[] = [
  ...[Errno.EINVAL, 2, Errno.EOPNOTSUPP].map((errno) => ({
    what: `a kernel without perf events for programs (errno ${errno})`,
    arrange: perfOpen(errno),
    act: perf(),
    says: /open the perf ring of CPU 0: perf_event_open: .*this kernel has no perf events for BPF programs \(Linux 4\.4 and later, CONFIG_PERF_EVENTS\)$/,
  })),
  {
    what: 'CPUs that are all offline',
    arrange: perfOpen(Errno.ENODEV),
    act: perf(),
    says: /open a perf ring on any CPU: .*ENODEV .*every CPU of \/sys\/devices\/system\/cpu\/online went offline meanwhile; try again$/,
  },
  {
    what: 'perf events that the kernel does not have',
    arrange: perfOpen(Errno.ENOSYS),
    act: perf(),
    says: /ENOSYS .*this kernel was built without the system call, or a container blocks it \(seccomp\)$/,
  },
  {
    what: 'perf events that a setting reserves',
    arrange: (fake) => {
      perfOpen(Errno.EACCES)(fake);
      fake.files.set('/proc/self/status', 'CapEff:\t000000c000000000\n'); // CAP_PERFMON, CAP_BPF
      fake.files.set('/proc/sys/kernel/perf_event_paranoid', '3\n');
    },
    act: perf(),
    says: /kernel\.perf_event_paranoid is 3, which reserves perf events for CAP_SYS_ADMIN; run this process as root, or lower the setting/,
  },
  {
    what: 'a perf ring beyond the limit of a user',
    arrange: (fake) => {
      mapping(Errno.EPERM)(fake);
      fake.files.set('/proc/sys/kernel/perf_event_mlock_kb', '516\n');
    },
    act: perf(),
    says: /map the perf ring of CPU 0, 36864 bytes: mmap: EPERM .*perf rings beyond kernel\.perf_event_mlock_kb \(now 516 KiB for each CPU\) need CAP_IPC_LOCK; use fewer pages, or raise the setting/,
  },
  {
    what: 'a perf ring without memory',
    arrange: mapping(Errno.ENOMEM),
    act: perf(),
    says: /ENOMEM .*no memory or address space is left; use fewer pages, or raise the limits \(memory\.max, ulimit -v/,
  },
  {
    what: 'a perf ring beyond the limit of locked memory',
    arrange: mapping(Errno.EAGAIN),
    act: perf(),
    says: /EAGAIN .*this process may not lock more memory; use fewer pages, or raise the limit \(ulimit -l\)$/,
  },
  {
    what: 'a perf event that the array refuses',
    arrange: answering(UPDATE, Errno.EINVAL),
    act: perf(),
    says: /update the map 'events': .*EINVAL .*the value must be the descriptor of an open perf event$/,
  },
  {
    what: 'too many watches',
    arrange: polling(Errno.ENOSPC),
    act: perf(),
    says: /wait for events of CPU 0: epoll_ctl: ENOSPC .*this user has reached its limit of watches; raise it \(sysctl fs\.epoll\.max_user_watches\)$/,
  },
  {
    what: 'a wait that fails later',
    arrange: () => {},
    act: failingWait(Errno.EBADF),
    says: /wait for events of CPU 0: epoll_wait: EBADF .*only the timer reads this ring from now on, up to a second late; open the session again$/,
  },
  {
    what: 'a system without /sys',
    arrange: (fake) => fake.files.delete('/sys/devices/system/cpu/online'),
    act: perf(),
    says: /read \/sys\/devices\/system\/cpu\/online: open: ENOENT .*mount sysfs: mount -t sysfs sysfs \/sys$/,
  },
  option({ pagesPerCpu: 3 }, /a perf ring cannot have 3 pages; use a power of two/),
  option(
    { sampleBytes: 1 << 20 },
    /a sample of 1048576 bytes .* does not fit a perf ring of 32768 bytes; use more pages/,
  ),
  option(
    { timestamp: 3, sampleBytes: 16 },
    /the timestamp of a sample cannot be at offset 3; use a multiple of 4 up to 8$/,
  ),
  option({ timestamp: 0 }, /a sample of 4 bytes has no timestamp, which has 8 bytes; omit timestamp$/),
  ...['sometimes', {}, null, 7].map((wakeup) =>
    option(
      { wakeup },
      /wakeup cannot be .*; use 'adaptive', \{ events \}, or \{ watermarkBytes, flushMs \}$/,
    ),
  ),
  option({ wakeup: { events: 0 } }, /events of a wake-up cannot be 0; use 1 to 4294967295$/),
  option(
    { wakeup: { watermarkBytes: 1 << 20, flushMs: 1 } },
    /watermarkBytes of a wake-up cannot be 1048576; use 1 to 32767$/,
  ),
  option({ wakeup: { flushMs: 0 } }, /flushMs of a wake-up cannot be 0; use 1 or more$/),
  {
    what: 'a ring buffer that is not one',
    arrange: () => {},
    act: ring(1000, hash('counts', { key: u32, value: u32, maxEntries: 8 }) as never),
    says: /map 'counts' is not a ring buffer but a hash; pass a map made by ringBuffer\(\)$/,
  },
  {
    what: 'a flush of a ring buffer without time',
    arrange: () => {},
    act: ring(0),
    says: /flushMs of the ring buffer 'events' cannot be 0; use 1 or more$/,
  },
  {
    what: 'a ring buffer smaller than a page',
    arrange: (fake) => {
      const auxv = Buffer.from(new BigUint64Array([6n, 65_536n]).buffer).toString('latin1');
      fake.files.set('/proc/self/auxv', auxv);
    },
    act: ring(),
    says: /the ring buffer 'events' has 4096 bytes, which is less than a page of this kernel: use bytes: 65536 or more$/,
  },
  {
    what: 'a ring buffer without memory',
    arrange: mapping(Errno.ENOMEM),
    act: ring(),
    says: /map the ring buffer 'events', 4096 bytes: mmap: ENOMEM .*use fewer bytes, or raise the limits/,
  },
  {
    what: 'too many watches for a ring buffer',
    arrange: polling(Errno.ENOSPC),
    act: ring(),
    says: /wait for events of the ring buffer 'events': epoll_ctl: ENOSPC .*fs\.epoll\.max_user_watches/,
  },
  {
    what: 'a namespace that does not exist',
    arrange: () => {},
    act: namespace,
    says: /^\/proc\/1\/ns\/net: cannot open it: ENOENT .*; lsns -t net lists the network namespaces and their processes$/,
  },
  {
    what: 'a namespace of a foreign process',
    arrange: denied(NSFS, Errno.EACCES),
    act: namespace,
    says: /EACCES \(permission denied\); run it as root, or with CAP_SYS_PTRACE$/,
  },
  {
    what: 'a cgroup that does not exist',
    arrange: () => {},
    act: cgroup,
    says: /ENOENT .*; cgroups are the directories below a cgroup2 mount, usually \/sys\/fs\/cgroup$/,
  },
  {
    what: 'a file of a cgroup',
    arrange: denied(CGROUP2, Errno.ENOTDIR),
    act: cgroup,
    says: /ENOTDIR .*; use the directory of the cgroup, not a file in it$/,
  },
  {
    what: 'a cgroup that denies it',
    arrange: denied(CGROUP2, Errno.EACCES),
    act: cgroup,
    says: /EACCES .*; run it as root, or with access to this directory$/,
  },
];

provokeAll(test, ROWS);

test.run();
