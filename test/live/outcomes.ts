/**
 * Connects with every outcome, made on purpose between two networks of the test. A firewall answers for the
 * far network. Each connect has its own port, by which its records are found.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import type { ConnectRecord } from '../../src/cli/record.ts';
import type { ProbeType } from '../../src/programs/tcpconnlat/options.ts';
import { FAR, inNetworkOf, ipInNetworkOf, Link, NEAR } from '../lab/network.ts';
import { IPPROTO_MPTCP, loopback, noMptcp, Peer, until } from './connects.ts';
import type { Endpoint, Kind } from './sockets.ts';
import { PROBE_TYPES_HERE } from './tracer.ts';
import { type Watch, watch } from './watch.ts';

/** The expected record of a connect. */
export interface Expected {
  readonly result: string;
  readonly errno?: string;
}

/** One attempt and the data that identifies its records. */
export interface Made {
  readonly pid: number;
  readonly to: Endpoint;
}

export interface Case {
  readonly title: string;
  readonly expected: Expected;
  /** Whether the call fails before the socket starts to connect, which tracepoints do not see. */
  readonly unrouted?: true;
  /** Whether its SYN is retransmitted: after a second, or at once. */
  readonly resent?: true | 'at once';
  /** Why the connect cannot be made here, or false. */
  readonly skip?: string | false;
  /** Starts the connect; returns once it has begun. */
  readonly make: (stage: Stage) => Promise<Made>;
}

/** Ports of the far end, and the firewall's verdict on SYNs to them (man 8 nft). */
const FIREWALL = {
  reset: [2001, 'reject with tcp reset'],
  rejected: [2002, 'reject with icmpx type port-unreachable'],
  unreachable: [2003, 'reject with icmpx type host-unreachable'],
  prohibited: [2004, 'reject with icmpx type admin-prohibited'],
  ignored: [2005, 'reject with icmpx type host-unreachable'],
} as const;

/** From this port on, the far end drops every SYN. */
const SWALLOWED = 3000;

/**
 * Addresses without a usable route from the near end: no route at all, and routes of the kinds that refuse.
 */
const NOWHERE = {
  none: '203.0.113.1',
  unreachable: '203.0.113.2',
  prohibit: '203.0.113.3',
  blackhole: '203.0.113.4',
  mapped: '::ffff:203.0.113.1',
  IPv6: '2001:db8:1::1',
} as const;

/** The only local port in the narrow network. */
const ONLY_PORT = 40_000;

/** Why the connects cannot be made on this machine, or false. */
export function noStage(): string | false {
  if (!['ip', 'nft', 'nsenter', 'ss'].every((name) => found(name)))
    return 'needs ip, ss (iproute2), nft (nftables) and nsenter (util-linux)';
  try {
    execFileSync('unshare', ['-n', 'nft', 'add table inet t; add chain inet t c; add rule inet t c reject']);
    return false;
  } catch {
    return 'nft is unavailable in network namespaces';
  }
}

function found(program: string): boolean {
  return [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin'].some((folder) =>
    existsSync(`${folder}/${program}`),
  );
}

/** The processes and networks of the connects. */
export class Stage {
  /** The name of the stage's processes, unique on this machine. */
  readonly name = `stage-${process.pid}`;
  readonly near: Peer;
  readonly far: Peer;
  /** Alone in a network with one local port. */
  readonly narrow: Peer;
  readonly link: Link;
  readonly #others: Peer[] = [];
  #port = SWALLOWED;

  private constructor(near: Peer, far: Peer, narrow: Peer, link: Link) {
    this.near = near;
    this.far = far;
    this.narrow = narrow;
    this.link = link;
  }

  static async open(): Promise<Stage> {
    const [near, far, narrow] = await Promise.all([Peer.start(), Peer.start(), Peer.start()]);
    const stage = new Stage(near, far, narrow, await Link.between(near, far));
    await stage.#setUp();
    return stage;
  }

  async close(): Promise<void> {
    await Promise.all([this.near, this.far, this.narrow, ...this.#others].map((peer) => peer.stop()));
  }

  /** Starts another process in the network of `pid`. */
  async startBeside({ pid }: Peer): Promise<Peer> {
    const peer = await Peer.start();
    this.#others.push(peer);
    await peer.ask('rename', this.name);
    await peer.ask('enterNetwork', pid);
    return peer;
  }

  /** Allocates a port of the far end that never answers. */
  swallowed(): number {
    return this.#port++;
  }

  /** Starts a non-blocking connect at the near end. */
  async start(to: Endpoint, kind: Kind = {}): Promise<Made & { readonly fd: number }> {
    const { fd } = await this.near.ask('connect', to, { nonBlocking: true, ...kind });
    return { pid: this.near.pid, to, fd };
  }

  /** Waits until the near end has sent a SYN to this port. */
  async inFlight(port: number): Promise<void> {
    const line = new RegExp(`:${port.toString(16).toUpperCase().padStart(4, '0')} 02 `);
    await until('a SYN', () => line.test(readFileSync(`/proc/${this.near.pid}/net/tcp`, 'utf8')));
  }

  async #setUp(): Promise<void> {
    const { link, near, far, narrow } = this;
    await Promise.all([near, far, narrow].map((peer) => peer.ask('rename', this.name)));
    const rules = Object.values(FIREWALL).map(([port, verdict]) => `tcp dport ${port} ${verdict}`);
    await link.in(
      'far',
      'nft',
      [
        'add table inet outcomes',
        'add chain inet outcomes in { type filter hook input priority 0; }',
        'add chain inet outcomes late',
        'add rule inet outcomes in jump late',
        ...rules.map((rule) => `add rule inet outcomes in ${rule}`),
        `add rule inet outcomes in tcp dport ${SWALLOWED}-${SWALLOWED + 999} drop`,
      ].join('\n'),
    );
    // Since Linux 6.5 the first retransmits are linear and do not count.
    await link.in(
      'near',
      'sh',
      '-c',
      'f=/proc/sys/net/ipv4/tcp_syn_linear_timeouts; [ ! -e $f ] || echo 0 >$f',
    );
    // Fast Open without a cookie, so that it works on the first connect.
    await link.in('near', 'sysctl', '-qw', 'net.ipv4.tcp_fastopen=5');
    const kinds = ['unreachable', 'prohibit', 'blackhole'] as const;
    await ipInNetworkOf(this.near, ...kinds.map((kind) => `route add ${kind} ${NOWHERE[kind]}`));
    await narrow.ask('leaveNetwork');
    await inNetworkOf(narrow, 'ip', 'link', 'set', 'lo', 'up');
    await inNetworkOf(narrow, 'sysctl', '-qw', `net.ipv4.ip_local_port_range=${ONLY_PORT} ${ONLY_PORT}`);
  }
}

const FAMILIES = Object.entries(FAR);
const byFamily = (one: (family: string, address: string) => Case): Case[] =>
  FAMILIES.map(([family, address]) => one(family, address));

/** A connect to a port that the firewall rejects. */
const walled = (what: string, wall: keyof typeof FIREWALL, address: string, expected: Expected): Case => ({
  title: what,
  expected,
  make: (stage) => stage.start({ address, port: FIREWALL[wall][0] }),
});

/** A call that fails before the socket starts to connect. */
const unrouted = (title: string, address: string, errno: string, port: number): Case => ({
  title,
  expected: { result: errno.endsWith('UNREACH') ? 'unreachable' : errno, errno },
  unrouted: true,
  make: async (stage) => {
    const { error } = await stage.near.ask('connect', { address, port });
    if (error !== errno) throw new Error(`${title}: ${error}`);
    return { pid: stage.near.pid, to: { address, port } };
  },
});

/** An unanswered connect that `end` aborts. */
const givenUp = (
  title: string,
  result: 'aborted' | 'killed',
  end: (stage: Stage, made: Made & { readonly fd: number }) => Promise<unknown>,
  kind?: Kind,
): Case => ({
  title,
  expected: { result },
  make: async (stage) => {
    const made = await stage.start({ address: FAR.IPv4, port: stage.swallowed() }, kind);
    await end(stage, made);
    return made;
  },
});

/** One socket that connects twice: `first` returns it after a failure, and the second connect is accepted. */
const again = (before: string, then: string, first: (stage: Stage) => Promise<number>): Case => ({
  title: `${before}, and then by the same socket ${then}`,
  expected: ESTABLISHED,
  make: async (stage) => {
    const fd = await first(stage);
    const { port } = await stage.far.ask('listen', FAR.IPv4, 16);
    const address = then.includes('mapped') ? `::ffff:${FAR.IPv4}` : FAR.IPv4;
    await stage.near.ask('connect', { address, port }, { fd });
    return { pid: stage.near.pid, to: { address, port } };
  },
});

/** The socket of a connect that fails immediately. */
async function connectTo(stage: Stage, to: Endpoint): Promise<number> {
  const { fd, error } = await stage.near.ask('connect', to);
  if (error === '') throw new Error(`${to.address}:${to.port}: unexpectedly connected`);
  return fd;
}

const ESTABLISHED: Expected = { result: 'established' };
const REFUSED: Expected = { result: 'refused', errno: 'ECONNREFUSED' };
const NO_PORT: Expected = { result: 'no-port', errno: 'EADDRNOTAVAIL' };

export const CASES: readonly Case[] = [
  ...byFamily((family, address) => ({
    title: `accepted, over ${family}`,
    expected: ESTABLISHED,
    make: async (stage) => {
      const { port } = await stage.far.ask('listen', address, 16);
      return stage.start({ address, port });
    },
  })),
  {
    title: 'accepted after the first SYN was lost',
    expected: ESTABLISHED,
    resent: true,
    make: async (stage) => {
      const { link, far } = stage;
      const { port } = await far.ask('listen', FAR.IPv4, 16);
      await link.in('far', 'nft', `add rule inet outcomes late tcp dport ${port} counter drop`);
      const made = await stage.start({ address: FAR.IPv4, port });
      await until('a lost SYN', async () =>
        /packets [1-9]/.test(await link.in('far', 'nft', 'list chain inet outcomes late')),
      );
      await link.in('far', 'nft', 'flush chain inet outcomes late');
      return made;
    },
  },
  {
    title: 'accepted after the remote host denied the first SYN with a challenge ACK',
    expected: ESTABLISHED,
    resent: 'at once',
    make: async (stage) => {
      // The remote host still has a connection of the same ports, which this host has forgotten.
      const { port } = await stage.far.ask('listen', FAR.IPv4, 16);
      const to = { address: FAR.IPv4, port };
      const other = await stage.startBeside(stage.near);
      const { fd, localPort } = await other.ask('connect', to, { source: { address: NEAR.IPv4, port: 0 } });
      await other.ask('vanish', fd);
      const source = { address: NEAR.IPv4, port: localPort };
      const { error } = await stage.near.ask('connect', to, { source });
      if (error !== '') throw new Error(`after a challenge ACK: ${error}`);
      return { pid: stage.near.pid, to };
    },
  },
  ...byFamily((family, address) => ({
    title: `restored without a packet (TCP_REPAIR), over ${family}`,
    expected: { result: 'restored' },
    make: (stage) => stage.start({ address, port: stage.swallowed() }, { repair: true }),
  })),
  {
    title: 'a socket that connects to itself',
    expected: ESTABLISHED,
    make: async ({ near }) => {
      const { localPort } = await near.ask('connectToSelf', '127.0.0.1');
      return { pid: near.pid, to: loopback(localPort) };
    },
  },
  ...byFamily((family, address) => ({
    title: `refused: no listener, over ${family}`,
    expected: REFUSED,
    make: async (stage) => stage.start({ address, port: await stage.far.ask('closedPort', address) }),
  })),
  {
    title: 'refused: no listener, an IPv4-mapped address',
    expected: REFUSED,
    make: async (stage) => {
      const port = await stage.far.ask('closedPort', FAR.IPv4);
      return stage.start({ address: `::ffff:${FAR.IPv4}`, port });
    },
  },
  walled('refused by a firewall with a reset', 'reset', FAR.IPv4, REFUSED),
  ...byFamily((family, address) =>
    walled(`refused by a firewall with ICMP, over ${family}`, 'rejected', address, {
      result: 'rejected',
      errno: 'ECONNREFUSED',
    }),
  ),
  ...byFamily((family, address) =>
    walled(`ICMP host unreachable, over ${family}`, 'unreachable', address, {
      result: 'unreachable',
      errno: 'EHOSTUNREACH',
    }),
  ),
  walled('ICMP administratively prohibited, over IPv4', 'prohibited', FAR.IPv4, {
    result: 'unreachable',
    errno: 'EHOSTUNREACH',
  }),
  walled('ICMP administratively prohibited, over IPv6', 'prohibited', FAR.IPv6, {
    result: 'EACCES',
    errno: 'EACCES',
  }),
  ...byFamily((family, address) => ({
    title: `never answered, over ${family}`,
    expected: { result: 'timed-out', errno: 'ETIMEDOUT' },
    resent: true as const,
    make: (stage) => stage.start({ address, port: stage.swallowed() }, { synRetries: 1 }),
  })),
  {
    title: 'not answered within TCP_USER_TIMEOUT',
    expected: { result: 'timed-out', errno: 'ETIMEDOUT' },
    resent: true,
    make: (stage) => stage.start({ address: FAR.IPv4, port: stage.swallowed() }, { userTimeoutMs: 1500 }),
  },
  {
    title: 'TCP Fast Open: accepted when data is sent',
    expected: ESTABLISHED,
    make: async (stage) => {
      const { port } = await stage.far.ask('listen', FAR.IPv4, 16);
      const made = await stage.start({ address: FAR.IPv4, port }, { fastOpen: true });
      await stage.near.ask('send', made.fd);
      return made;
    },
  },
  givenUp(
    'TCP Fast Open: closed before data is sent',
    'aborted',
    ({ near }, { fd }) => near.ask('close', fd),
    { fastOpen: true },
  ),
  {
    title: 'no local port is free',
    expected: NO_PORT,
    make: async ({ narrow }) => {
      const { port } = await narrow.ask('listen', '127.0.0.1', 16); // takes the only port
      const { error } = await narrow.ask('connect', loopback(port));
      if (error !== 'EADDRNOTAVAIL') throw new Error(`no local port: ${error}`);
      return { pid: narrow.pid, to: loopback(port) };
    },
  },
  {
    title: 'the bound local port is in use for the same destination',
    expected: NO_PORT,
    make: async (stage) => {
      const { near } = stage;
      const first = await stage.startBeside(near);
      const { port } = await first.ask('listen', '127.0.0.1', 16);
      const source = loopback(await near.ask('closedPort', '127.0.0.2'));
      const errors = [];
      for (const peer of [first, near])
        errors.push((await peer.ask('connect', loopback(port), { source })).error);
      if (errors.join() !== ',EADDRNOTAVAIL') throw new Error(`local port in use: ${errors}`);
      return { pid: near.pid, to: loopback(port) };
    },
  },
  givenUp('closed before an answer', 'aborted', ({ near }, { fd }) => near.ask('close', fd)),
  givenUp('shut down before an answer', 'aborted', ({ near }, { fd }) => near.ask('shutdown', fd)),
  givenUp('disconnected before an answer (AF_UNSPEC)', 'aborted', ({ near }, { fd }) =>
    near.ask('disconnect', fd),
  ),
  {
    title: 'closed after an ICMP host unreachable that the busy socket has not processed',
    expected: { result: 'aborted', errno: 'EHOSTUNREACH' },
    make: async (stage) => {
      const made = await stage.start({ address: FAR.IPv4, port: FIREWALL.ignored[0] });
      await stage.near.ask('close', made.fd);
      return made;
    },
  },
  {
    title: 'the process exits before an answer',
    expected: { result: 'aborted' },
    make: async (stage) => {
      const victim = await stage.startBeside(stage.near);
      const to = { address: FAR.IPv4, port: stage.swallowed() };
      await victim.ask('connect', to, { nonBlocking: true });
      await victim.ask('exit').catch(() => {});
      return { pid: victim.pid, to };
    },
  },
  {
    title: 'the process is killed during the call (SIGKILL)',
    expected: { result: 'killed' },
    make: async (stage) => {
      const victim = await stage.startBeside(stage.near);
      const to = { address: FAR.IPv4, port: stage.swallowed() };
      const call = victim.ask('connect', to).catch(() => {});
      await stage.inFlight(to.port);
      await victim.stop();
      await call;
      return { pid: victim.pid, to };
    },
  },
  {
    title: 'an administrator kills the socket (ss -K)',
    expected: { result: 'killed', errno: 'ECONNABORTED' },
    make: async (stage) => {
      const made = await stage.start({ address: FAR.IPv4, port: stage.swallowed() });
      await stage.link.in('near', 'ss', '-K', '-tn', 'dport', '=', String(made.to.port));
      return made;
    },
  },
  {
    title: 'MPTCP, accepted',
    expected: ESTABLISHED,
    skip: noMptcp,
    make: async (stage) => {
      const { port } = await stage.far.ask('listen', FAR.IPv4, 16, { protocol: IPPROTO_MPTCP });
      return stage.start({ address: FAR.IPv4, port }, { protocol: IPPROTO_MPTCP });
    },
  },
  {
    title: 'MPTCP, refused',
    expected: REFUSED,
    skip: noMptcp,
    make: async (stage) => {
      const port = await stage.far.ask('closedPort', FAR.IPv4);
      return stage.start({ address: FAR.IPv4, port }, { protocol: IPPROTO_MPTCP });
    },
  },
  {
    ...givenUp('MPTCP, closed before an answer', 'aborted', ({ near }, { fd }) => near.ask('close', fd), {
      protocol: IPPROTO_MPTCP,
    }),
    skip: noMptcp,
  },
  again('no route', 'accepted', (stage) => connectTo(stage, { address: NOWHERE.none, port: 4007 })),
  again('no route', 'accepted, by IPv4-mapped addresses', (stage) =>
    connectTo(stage, { address: NOWHERE.mapped, port: 4008 }),
  ),
  again('refused', 'accepted', async (stage) =>
    connectTo(stage, { address: FAR.IPv4, port: await stage.far.ask('closedPort', FAR.IPv4) }),
  ),
  again('given up (AF_UNSPEC)', 'accepted', async (stage) => {
    const { fd } = await stage.start({ address: FAR.IPv4, port: stage.swallowed() });
    await stage.near.ask('disconnect', fd);
    return fd;
  }),
  unrouted('no route, over IPv4', NOWHERE.none, 'ENETUNREACH', 4001),
  unrouted('no route, over IPv6', NOWHERE.IPv6, 'ENETUNREACH', 4002),
  unrouted('no route, an IPv4-mapped address', NOWHERE.mapped, 'ENETUNREACH', 4003),
  unrouted('an unreachable route', NOWHERE.unreachable, 'EHOSTUNREACH', 4004),
  unrouted('a prohibit route', NOWHERE.prohibit, 'EACCES', 4005),
  unrouted('a blackhole route', NOWHERE.blackhole, 'EINVAL', 4006),
];

/** The expected result of a case with a probe; undefined if the probe does not see the connect. */
export function expectedWith(probe: ProbeType, { expected, unrouted }: Case): Expected | undefined {
  return unrouted && probe !== 'kprobe' && probe !== 'fentry' ? undefined : expected;
}

/** Whether a connect is answered, so that it is shown without options. */
export function isAnswered({ result, errno }: Expected): boolean {
  return result === 'established' || errno === 'ECONNREFUSED';
}

/** The runs of each probe: with --outcome, with --failed, and without options. */
const RUNS = { all: { outcome: 'all' }, failures: { outcome: 'failures' }, answers: {} } as const;
type RunKind = keyof typeof RUNS;

/** All cases that work here, made once, and the records of each probe. */
export interface Observed {
  readonly made: ReadonlyMap<Case, Made>;
  /** The records of a case with a probe, from a run for all outcomes, for failures only, or for answers. */
  seen(probe: ProbeType, run: RunKind, of: Case): readonly ConnectRecord[];
  /** The number of events that the probe lost. */
  losses(probe: ProbeType): number;
}

/** Failures that a probe hides without --failed. */
export interface Hidden {
  /** Failures that the programs counted and did not send; undefined if they do not count. */
  readonly counted: number | undefined;
  /** Failures that only --failed shows. */
  readonly failures: readonly ConnectRecord[];
  /** Program runs that the kernel skipped. */
  readonly skipped: number;
}

/** Makes all connects while every probe traces, with and without --failed; returns what each probe hides. */
export async function observeHidden(probes: readonly ProbeType[]): Promise<ReadonlyMap<ProbeType, Hidden>> {
  const stage = await Stage.open();
  const filter = { comm: { only: [stage.name] } };
  const watches = new Map<ProbeType, { readonly plain: Watch; readonly failed: Watch }>();
  const hiddenBy = (probe: ProbeType): Hidden => {
    const { plain, failed } = watches.get(probe) ?? {};
    const shown = new Set(plain?.records.map(keyOf));
    return {
      counted: plain?.failed(),
      failures: failed?.records.filter((record) => !shown.has(keyOf(record))) ?? [],
      skipped: (plain?.skipped() ?? 0) + (failed?.skipped() ?? 0),
    };
  };
  try {
    for (const probe of probes)
      watches.set(probe, {
        plain: watch({ probe, filter }),
        failed: watch({ probe, filter, outcome: 'failures' }),
      });
    const made = await makeAll(stage);
    const ended = (probe: ProbeType) =>
      [...made].every(([each, connect]) => {
        const { result = 'established' } = expectedWith(probe, each) ?? {};
        const records = watches.get(probe)?.failed.records ?? [];
        return result === 'established' || records.some((record) => isOf(record, connect));
      });
    await until('the ends of all connects', () => probes.every(ended)).catch(() => {});
    // kprobe and fentry count a failure when its socket is destroyed.
    await stage.close();
    const agree = () =>
      probes.every((probe) => {
        const { counted, failures } = hiddenBy(probe);
        return counted === failures.length;
      });
    await until('the count of all failures', agree).catch(() => {});
    return new Map(probes.map((probe) => [probe, hiddenBy(probe)]));
  } finally {
    for (const { plain, failed } of watches.values()) for (const each of [plain, failed]) each.close();
    await stage.close();
  }
}

/** Makes all connects while every probe traces them. */
export async function observe(probes: readonly ProbeType[]): Promise<Observed> {
  const stage = await Stage.open();
  const watches = new Map<string, Watch>();
  try {
    for (const probe of probes)
      for (const [run, options] of Object.entries(RUNS))
        watches.set(`${probe} ${run}`, watch({ probe, ...options }));
    const made = await makeAll(stage);
    const seen: Observed['seen'] = (probe, run, of) => {
      const connect = made.get(of) ?? { pid: 0, to: loopback(0) };
      const records = watches.get(`${probe} ${run}`)?.records ?? [];
      return records.filter((record) => isOf(record, connect));
    };
    const whole = () =>
      probes.every((probe) =>
        [...made.keys()].every((each) => !expectedWith(probe, each) || seen(probe, 'all', each).length > 0),
      );
    await until('the ends of all connects', whole).catch(() => {}); // the tests report missing records
    const losses = new Map(probes.map((probe) => [probe, watches.get(`${probe} all`)?.losses() ?? 0]));
    return { made, seen, losses: (probe) => losses.get(probe) ?? 0 };
  } finally {
    for (const each of watches.values()) each.close();
    await stage.close();
  }
}

/** Makes all connects that work here, one after the other. */
async function makeAll(stage: Stage): Promise<ReadonlyMap<Case, Made>> {
  const made = new Map<Case, Made>();
  for (const each of CASES) if (!each.skip) made.set(each, await each.make(stage));
  return made;
}

/** Whether a record belongs to a connect. */
function isOf({ pid, dport, daddr }: ConnectRecord, made: Made): boolean {
  return pid === made.pid && dport === made.to.port && daddr === made.to.address;
}

/** Identifies a connect. */
function keyOf({ pid, saddr, lport, daddr, dport }: ConnectRecord): string {
  return [pid, saddr, lport, daddr, dport].join(' ');
}

/** The result of a case with each probe. */
export interface OutcomeRow {
  readonly title: string;
  readonly results: Readonly<Record<string, string>>;
}

/** Makes all connects and returns the results of each available probe. */
export async function outcomeTable(): Promise<OutcomeRow[]> {
  const { made, seen } = await observe(PROBE_TYPES_HERE);
  return [...made.keys()].map((each) => ({
    title: each.title,
    results: Object.fromEntries(
      PROBE_TYPES_HERE.map((probe) => [
        probe,
        seen(probe, 'all', each)
          .map(({ result }) => result)
          .join(', ') || 'not seen',
      ]),
    ),
  }));
}
