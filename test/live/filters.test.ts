/**
 * Each filter of the command line in the kernel, with every probe: the connects that it selects and excludes.
 */
import * as assert from 'uvu/assert';
import { readArguments } from '../../src/cli/arguments.ts';
import type { ConnectRecord } from '../../src/cli/record.ts';
import { matches } from '../../src/cli/replay/selection.ts';
import { resolveFilter } from '../../src/cli/trace/filter.ts';
import type { Filter } from '../../src/programs/tcpconnlat/criteria.ts';
import type { Options, ProbeType } from '../../src/programs/tcpconnlat/options.ts';
import { inGuest, needsRoot, suite } from '../harness.ts';
import { inNetworkOf } from '../lab/network.ts';
import { CgroupTree } from './cgroup-tree.ts';
import { FullListener, loopback, noIPv6, Peer, Server, until } from './connects.ts';
import type { Connected, Kind } from './sockets.ts';
import { here, isTestedLess, PROBE_TYPES, sameForProbe, skipReason, Tracer } from './tracer.ts';
import { type Watch, watch } from './watch.ts';

/** An unused user id. */
const UID = 64_321;
/** A name of the maximum length. */
const COMM = 'tsbpf-filtered!';
const FEW_PAGES = 16;

/** Processes that connect. */
interface Peers {
  /** Without special properties. */
  readonly plain: Peer;
  /** With another user id and another name. */
  readonly user: Peer;
  /** In a cgroup. */
  readonly upper: Peer;
  /** In a nested cgroup. */
  readonly lower: Peer;
  /** In its own network namespace. */
  readonly apart: Peer;
}

interface Bench {
  readonly peers: Peers;
  /** A cgroup and a nested one. */
  readonly cgroups: { readonly outer: string; readonly inner: string; close(): void };
  readonly servers: readonly [Server, Server];
  /** The port on which `apart` listens in its network namespace. */
  readonly apartPort: number;
}

/**
 * Makes one connect of each kind. Names of IPv6 connects end in 6, names of connects to IPv4-mapped addresses
 * in m.
 */
async function connectAll({ peers, servers, apartPort }: Bench): Promise<Map<string, ConnectedBy>> {
  const [a, b] = servers.map(({ port }) => port) as [number, number];
  const made = new Map<string, ConnectedBy>();
  const make = async (name: string, peer: Peer, address: string, port: number, kind?: Kind) => {
    if (noIPv6 && address.includes(':')) return;
    made.set(name, { pid: peer.pid, connected: await peer.ask('connect', loopback(port, address), kind) });
  };
  await make('a', peers.plain, '127.0.0.1', a);
  await make('b', peers.plain, '127.0.0.1', b);
  await make('a2', peers.plain, '127.0.2.1', a);
  await make('a3', peers.plain, '127.0.2.3', a);
  await make('from', peers.plain, '127.0.0.1', a, { source: { address: '127.0.1.9', port: 0 } });
  await make('any', peers.plain, '0.0.0.0', a);
  await make('a6', peers.plain, '::1', a);
  await make('b6', peers.plain, '::1', b);
  await make('any6', peers.plain, '::', a);
  await make('am', peers.plain, '::ffff:127.0.0.1', a);
  await make('a2m', peers.plain, '::ffff:127.0.2.1', a);
  await make('fromm', peers.plain, '::ffff:127.0.0.1', a, {
    source: { address: '::ffff:127.0.1.9', port: 0 },
  });
  await make('user', peers.user, '127.0.0.1', a);
  await make('upper', peers.upper, '127.0.0.1', a);
  await make('lower', peers.lower, '127.0.0.1', a);
  await make('apart', peers.apart, '127.0.0.1', apartPort);
  for (const [name, { connected }] of made) assert.is(connected.error, '', name);
  return made;
}

interface ConnectedBy {
  readonly pid: number;
  readonly connected: Connected;
}

/** Excludes other processes of this machine, which may make many connects. A guest runs nothing else. */
function fence(): Filter {
  const pids = Object.values(bench.peers).map(({ pid }: Peer) => pid);
  return inGuest ? {} : { pid: { only: pids.map((pid) => [pid, pid]) } };
}

/** The options that the command derives from a command line, without the probe. */
function optionsFrom(args: readonly string[]): Omit<Options, 'probe'> {
  const request = readArguments(args, '');
  if (request.action !== 'trace') throw new Error(JSON.stringify(request));
  const { filter, outcome } = request.options;
  return { filter: { ...fence(), ...resolveFilter(filter, here) }, outcome };
}

const LOOPBACK4 = [
  'a',
  'b',
  'a2',
  'a3',
  'from',
  'any',
  'am',
  'a2m',
  'fromm',
  'user',
  'upper',
  'lower',
  'apart',
];
const LOOPBACK6 = ['a6', 'b6', 'any6'];
const EVERY = [...LOOPBACK4, ...LOOPBACK6];
const TO_B = ['b', 'b6'];
const except = (...left: string[]) => EVERY.filter((name) => !left.includes(name));

/** A command line, and the names of the connects that it shows. */
type Case = readonly [args: readonly string[], shown: readonly string[]];

/** Every filter, with the connects that it selects. */
function cases({ peers, cgroups, servers }: Bench): Case[] {
  const [a, b] = servers.map(({ port }) => port) as [number, number];
  const pid = (peer: Peer) => String(peer.pid);
  const processes = Object.values(peers).map(pid);
  return [
    [
      ['-p', pid(peers.user), '-p', `${pid(peers.upper)},${pid(peers.lower)}`],
      ['user', 'upper', 'lower'],
    ],
    [['--port', `1-2,${b},65535`], TO_B],
    [['--not-port', String(b)], except(...TO_B)],
    [
      ['--to', '127.0.2.0/24'],
      ['a2', 'a3', 'a2m'],
    ],
    [['--to', '127.0.0.1'], LOOPBACK4.filter((name) => !['a2', 'a3', 'a2m'].includes(name))],
    [['--not-to', '127.0.0.0/8'], LOOPBACK6],
    [['--to', '127.0.0.0/8', '--not-to', '127.0.2.0/24'], LOOPBACK4.filter((name) => !/^a[23]/.test(name))],
    [
      ['--from', '127.0.1.0/24'],
      ['from', 'fromm'],
    ],
    [['--not-from', '127.0.1.9'], except('from', 'fromm')],
    [['--uid', `1-2,${UID}`], ['user']],
    [['--not-uid', String(UID)], except('user')],
    [['--comm', COMM], ['user']],
    [['--not-comm', COMM], except('user')],
    [
      ['--cgroup', cgroups.outer],
      ['upper', 'lower'],
    ],
    [['--cgroup', cgroups.inner], ['lower']],
    [['--netns', pid(peers.apart)], ['apart']],
    [
      ['--outcome', '--to', '127.0.2.0/24', '--port', String(a)],
      ['a2', 'a3', 'a2m'],
    ],
    [
      ['--outcome', '--from', '127.0.1.0/24'],
      ['from', 'fromm'],
    ],
    [['--outcome', '--netns', pid(peers.apart)], ['apart']],
    [
      [
        ...['-p', processes.join(), '--port', String(a), '--to', '127.0.0.0/8', '--from', '127.0.0.0/16'],
        ...['--not-from', '127.0.1.9', '--uid', '0', '--not-comm', COMM, '--cgroup', cgroups.outer],
        ...['--not-port', '22', '--not-to', '127.0.2.0/24', '--not-uid', '1'],
      ],
      ['upper', 'lower'],
    ],
  ];
}

/** Values at their limits. The comparison does not depend on the probe or kernel. */
function limits({ peers, cgroups, servers, apartPort }: Bench): Case[] {
  const [a, b] = servers.map(({ port }) => port) as [number, number];
  const [lowest, highest] = [Math.min(a, b, apartPort), Math.max(a, b, apartPort)];
  const odd = Array.from({ length: 63 }, (_, i) => String(1 + 2 * i));
  return [
    [['-p', '1'], []],
    [['-p', String(peers.user.pid)], ['user']],
    [['--port', String(b)], TO_B],
    [['--to', '::/0'], LOOPBACK6],
    [
      ['--to', '::1', '--to', '127.0.2.3'],
      [...LOOPBACK6, 'a3'],
    ],
    [['--from', '::1'], LOOPBACK6],
    [['--comm', COMM.slice(0, -1)], []],
    [['--netns', `/proc/${process.pid}/ns/net`], except('apart')],
    [['--port', `${b}-${b}`], TO_B],
    [['--port', `${lowest}-${highest}`], EVERY],
    [['--port', `0-${lowest - 1},${highest + 1}-65535`, '--not-port', '1'], []],
    [['--port', [...odd, b].join()], TO_B],
    [['--port', '0-65535'], EVERY],
    [
      ['--port', '0-65535', '--not-port', String(a)],
      [...TO_B, 'apart'],
    ],
    [['--not-port', `0-2,${a},${b}`], ['apart']],
    [['--not-port', '1,3-5'], EVERY],
    [['--to', '127.0.0.0/8'], LOOPBACK4],
    [
      ['--to', '127.0.2.1'],
      ['a2', 'a2m'],
    ],
    [
      ['--to', '::ffff:127.0.2.1'],
      ['a2', 'a2m'],
    ],
    [
      ['--to', '127.0.2.0/31,127.0.2.3'],
      ['a2', 'a3', 'a2m'],
    ],
    [['--to', '0.0.0.0/0'], LOOPBACK4],
    [['--to', '::1'], LOOPBACK6],
    [['--to', '192.0.2.0/24,2001:db8::/32'], []],
    [
      ['--to', '127.0.0.0/8,127.0.2.3', '--not-to', '127.0.2.0/24'],
      LOOPBACK4.filter((name) => !/^a2/.test(name)),
    ],
    [['--not-to', '::/0'], LOOPBACK4],
    [['--not-to', '192.0.2.0/24,2001:db8::/32'], EVERY],
    [
      ['--from', '127.0.1.9'],
      ['from', 'fromm'],
    ],
    [['--from', '10.0.0.0/8'], []],
    [['--uid', String(UID)], ['user']],
    [['--uid', `${UID},4294967294`], ['user']],
    [['--uid', '0'], except('user')],
    [['--uid', 'root'], except('user')],
    [['--uid', '1-64320,64322-4294967294'], []],
    [['--not-uid', '0'], ['user']],
    [['--comm', 'nobody', '--comm', COMM, '--comm', 'n'], ['user']],
    [['--comm', COMM.slice(0, 8)], []],
    [['--not-comm', 'n', '--not-comm', COMM], except('user')],
    [
      ['--cgroup', cgroups.inner, '--cgroup', cgroups.outer],
      ['upper', 'lower'],
    ],
    [['--netns', String(peers.apart.pid), '--netns', String(process.pid)], EVERY],
  ];
}

const test = suite('live/filters', { seconds: 60 });
let bench: Bench;

test.before(async () => {
  if (needsRoot) return;
  const [plain, user, upper, lower, apart] = (await Promise.all(
    Array.from({ length: 5 }, () => Peer.start()),
  )) as [Peer, Peer, Peer, Peer, Peer];
  const any = noIPv6 ? '0.0.0.0' : '::';
  const servers = [await Server.start(any), await Server.start(any)] as const;
  const tree = CgroupTree.open();
  const name = `tsbpf-${process.pid}`;
  const cgroups = {
    outer: tree.put(upper.pid, name),
    inner: tree.put(lower.pid, `${name}/inner`),
    close: () => tree.close(),
  };
  await user.ask('rename', COMM);
  await user.ask('setUser', UID);
  await apart.ask('leaveNetwork');
  await inNetworkOf(apart, 'ip', 'link', 'set', 'lo', 'up');
  const { port: apartPort } = await apart.ask('listen', '127.0.0.1', 511);
  bench = { peers: { plain, user, upper, lower, apart }, cgroups, servers, apartPort };
});
test.after(async () => {
  if (!bench) return;
  await Promise.all([
    ...Object.values(bench.peers).map((peer: Peer) => peer.stop()),
    ...bench.servers.map((server) => server.close()),
  ]);
  bench.cgroups.close();
});

/** Opens the tool with the filter of a command line. */
function watchBy(probe: ProbeType, args: readonly string[], maxAttempts?: number): Watch {
  return watch({ probe, ...optionsFrom(args), maxAttempts }, { pagesPerCpu: FEW_PAGES });
}

/** Options that need data which only the kernel has. */
const KERNEL_ONLY = ['--uid', '--not-uid', '--cgroup', '--netns', '--outcome'];

/** Asserts that the kernel showed the records that the same filter selects from all records. */
function assertLikeRecords(
  args: readonly string[],
  shown: readonly ConnectRecord[],
  all: readonly ConnectRecord[],
): void {
  if (args.some((arg) => KERNEL_ONLY.includes(arg))) return;
  const request = readArguments(args, '');
  const { filter } = request.action === 'trace' ? request.options : { filter: {} };
  const own = (records: readonly ConnectRecord[]) =>
    records
      .filter(({ pid }) => Object.values(bench.peers).some((peer) => peer.pid === pid))
      .map(({ pid, lport }) => `${pid} ${lport}`)
      .sort();
  assert.equal(own(shown), own(all.filter((record) => matches(filter, record))), args.join(' '));
}

/**
 * Runs a tool for each command line, makes the connects once, and compares the shown connects with the
 * expected ones.
 */
/** The most watches at once: the kernel allows 38 fentry and fexit programs for a function. */
const MOST_WATCHES = 36;

async function check(probe: ProbeType, tried: readonly Case[]): Promise<void> {
  for (let first = 0; first < tried.length; first += MOST_WATCHES - 1)
    await checkAtOnce(probe, tried.slice(first, first + MOST_WATCHES - 1));
}

async function checkAtOnce(probe: ProbeType, tried: readonly Case[]): Promise<void> {
  const watched: Watch[] = [];
  try {
    const all: readonly Case[] = [[[], EVERY], ...tried];
    for (const [args] of all) watched.push(watchBy(probe, args));
    const made = await connectAll(bench);
    const nameOf = ({ pid, lport }: ConnectRecord) =>
      [...made].find(([, by]) => by.pid === pid && by.connected.localPort === lport)?.[0];
    const named = (tool?: Watch) => (tool?.records ?? []).map(nameOf).filter(Boolean).sort();
    await until('every connect', () => named(watched[0]).length === made.size);
    for (const [i, [args, shown]] of all.entries()) {
      const what = args.join(' ') || 'no filter';
      watched[i]?.detach();
      assert.equal(named(watched[i]), shown.filter((name) => made.has(name)).sort(), `${what}: shown`);
      assert.is(watched[i]?.losses(), 0, what);
      assertLikeRecords(args, watched[i]?.records ?? [], watched[0]?.records ?? []);
    }
  } finally {
    for (const tool of watched) tool.close();
  }
}

for (const probe of PROBE_TYPES) {
  const skip = skipReason(probe);
  const possible = (tried: readonly Case[]) =>
    tried.filter(([args]) => probe !== 'trace_event' || !args.includes('--netns'));

  test.skipIf(skip, `${probe}: filters select their connects, alone and combined`, () =>
    check(probe, possible(cases(bench))),
  );

  const testedLess = isTestedLess(probe) && 'the filters of its twin compare alike and run here';
  test.skipIf(
    skip || sameForProbe(probe) || testedLess,
    `${probe}: filters handle limits of their values`,
    () => check(probe, possible(limits(bench))),
  );

  test.skipIf(
    skip,
    `${probe}: an excluded connect takes no table entry and is not counted as lost`,
    async () => {
      const { peers, cgroups, servers } = bench;
      const [left, taken] = [peers.plain, peers.lower];
      const listener = await FullListener.start(peers.upper);
      const takes = [
        ['-p', String(taken.pid)],
        ['--cgroup', cgroups.inner],
      ];
      const takesNot = [
        ['--port', String(servers[0].port)],
        ['--not-to', '127.0.0.1'],
        ['--comm', COMM],
        ['--uid', String(UID)],
        ...(probe === 'trace_event' ? [] : [['--netns', String(peers.apart.pid)]]),
      ];
      const watched: Watch[] = [];
      try {
        for (const args of [[], ...takes, ...takesNot]) watched.push(watchBy(probe, args, 1));
        const state = () => watched.map((tool) => ({ inFlight: tool.attempts(), lost: tool.losses() }));
        const fds: number[] = [];
        for (let i = 0; i < 3; i++)
          fds.push((await left.ask('connect', loopback(listener.port), { nonBlocking: true })).fd);
        const nothing = { inFlight: 0, lost: 0 };
        const one = { inFlight: 1, lost: 0 };
        const rest = [...takes, ...takesNot].map(() => nothing);
        assert.equal(state(), [{ inFlight: 1, lost: 2 }, ...rest], 'three in flight, table size one');
        await left.ask('close', ...fds);
        await until('an empty table', () => state().every(({ inFlight }) => inFlight === 0));

        const { fd } = await taken.ask('connect', loopback(listener.port), { nonBlocking: true });
        assert.equal(state().slice(1), [...takes.map(() => one), ...takesNot.map(() => nothing)]);
        await taken.ask('close', fd);
      } finally {
        for (const tool of watched) tool.close();
        await listener.close();
      }
    },
  );
}

for (const probe of ['kprobe', 'fentry'] as const)
  test.skipIf(skipReason(probe), `${probe}: filters apply to connects without a route`, async () => {
    const { peers } = bench;
    const shown: Case[] = [
      [['--failed'], ['192.0.2.1', '192.0.2.2', '198.51.100.1']],
      [
        ['--failed', '--to', '192.0.2.0/24'],
        ['192.0.2.1', '192.0.2.2'],
      ],
      [['--failed', '--port', '80'], ['192.0.2.2']],
      [['--failed', '--from', '10.0.0.0/8'], []],
      [['--failed', '--not-from', '10.0.0.0/8', '--not-to', '192.0.2.0/24'], ['198.51.100.1']],
      [['--failed', '--netns', String(process.pid)], []],
    ];
    const watched: Watch[] = [];
    try {
      for (const [args] of shown) watched.push(watchBy(probe, args));
      for (const [address, port] of [
        ['192.0.2.1', 81],
        ['192.0.2.2', 80],
        ['198.51.100.1', 81],
      ] as const) {
        const { error } = await peers.apart.ask('connect', loopback(port, address));
        assert.is(error, 'ENETUNREACH');
      }
      for (const [i, [args, addresses]] of shown.entries()) {
        watched[i]?.detach();
        const mine = watched[i]?.records.filter(({ pid }) => pid === peers.apart.pid) ?? [];
        assert.equal(mine.map(({ daddr }) => daddr).sort(), addresses, args.join(' '));
      }
    } finally {
      for (const tool of watched) tool.close();
    }
  });

test.skipIf(needsRoot, 'the command combines filters', async () => {
  const { peers, servers } = bench;
  const tracer = await Tracer.start([
    ...['-L', '-p', `${peers.plain.pid},${peers.user.pid}`, '--port', String(servers[0].port)],
    ...['--to', '127.0.2.0/24', '--not-to', '127.0.2.3', '--not-comm', COMM],
  ]);
  const made = await connectAll(bench);
  // The last connect that the filters select.
  await tracer.until('a line', () => tracer.rows().length > (noIPv6 ? 0 : 1));
  assert.equal(await tracer.stop(), { code: 0, signal: null });
  assert.equal(
    tracer
      .rows()
      .map(({ LPORT }) => Number(LPORT))
      .sort(),
    ['a2', 'a2m'].flatMap((name) => made.get(name)?.connected.localPort ?? []).sort(),
  );
  assert.is(tracer.warnings, '');
});

test.run();
