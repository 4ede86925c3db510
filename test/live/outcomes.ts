/**
 * Connects that end in every way there is, made on purpose: between two networks of their own, of which the far one answers as a
 * firewall makes it. Each has a port of its own, by which it is found again in what a tracer shows.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import type { ConnectRecord } from '../../src/cli/record.ts';
import type { ProbeType } from '../../src/programs/tcpconnlat.ts';
import { FAR, inNetworkOf, ipInNetworkOf, Link } from '../lab/network.ts';
import { IPPROTO_MPTCP, loopback, noMptcp, Peer, until } from './connects.ts';
import type { Endpoint, Kind } from './sockets.ts';
import { PROBE_TYPES_HERE } from './tracer.ts';
import { type Watch, watch } from './watch.ts';

/** What a tracer should show of a connect. */
export interface Expected {
  readonly result: string;
  readonly errno?: string;
}

/** One attempt, as it can be found again. */
export interface Made {
  readonly pid: number;
  readonly to: Endpoint;
}

export interface Case {
  readonly title: string;
  readonly expected: Expected;
  /** What is known by the state and the local port alone; if not given, no more than whether it was established. */
  readonly byRecord?: Expected;
  /** Whether the call fails before the socket begins to connect, which the tracepoint doesn't see. */
  readonly unrouted?: true;
  /** Whether its SYN is sent again. */
  readonly resent?: true;
  /** Why it can't be made here, or false. */
  readonly skip?: string | false;
  /** Makes it, and returns when it has begun. */
  readonly make: (stage: Stage) => Promise<Made>;
}

/** Ports of the far end, and what becomes of a SYN to them, in nft's words (man 8 nft). */
const FIREWALL = {
  reset: [2001, 'reject with tcp reset'],
  rejected: [2002, 'reject with icmpx type port-unreachable'],
  unreachable: [2003, 'reject with icmpx type host-unreachable'],
  prohibited: [2004, 'reject with icmpx type admin-prohibited'],
  ignored: [2005, 'reject with icmpx type host-unreachable'],
} as const;

/** From this port on every SYN to the far end is swallowed. */
const SWALLOWED = 3000;

/** An address that the near end has no route to, and some that it is told not to have one to. */
const NOWHERE = {
  none: '203.0.113.1',
  unreachable: '203.0.113.2',
  prohibit: '203.0.113.3',
  blackhole: '203.0.113.4',
  mapped: '::ffff:203.0.113.1',
  IPv6: '2001:db8:1::1',
} as const;

/** The only local port that the narrow network has. */
const ONLY_PORT = 40_000;

/** Why the connects can't be made on this machine, or false. */
export function noStage(): string | false {
  if (!['ip', 'nft', 'nsenter', 'ss'].every((name) => found(name)))
    return 'needs ip, ss (iproute2), nft (nftables) and nsenter (util-linux)';
  try {
    execFileSync('unshare', ['-n', 'nft', 'add table inet t; add chain inet t c; add rule inet t c reject']);
    return false;
  } catch {
    return 'this kernel has no nft, or lets nobody have networks of their own';
  }
}

function found(program: string): boolean {
  return [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin'].some((folder) =>
    existsSync(`${folder}/${program}`),
  );
}

/** The processes and networks in which the connects are made. */
export class Stage {
  /** What its processes are called, and no others on this machine. */
  readonly name = `stage-${process.pid}`;
  readonly near: Peer;
  readonly far: Peer;
  /** Alone in a network where there is one local port. */
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

  /** A further process in the network of one. */
  async beside({ pid }: Peer): Promise<Peer> {
    const peer = await Peer.start();
    this.#others.push(peer);
    await peer.ask('rename', this.name);
    await peer.ask('enterNetwork', pid);
    return peer;
  }

  /** A port of the far end that no other connect goes to, and that doesn't answer. */
  swallowed(): number {
    return this.#port++;
  }

  /** Begins a connect of the near end, which doesn't wait for what becomes of it. */
  async begin(to: Endpoint, kind: Kind = {}): Promise<Made & { readonly fd: number }> {
    const { fd } = await this.near.ask('connect', to, { nonBlocking: true, ...kind });
    return { pid: this.near.pid, to, fd };
  }

  /** Waits until a SYN is on its way from the near end to that port. */
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
    // Since Linux 6.5 the first SYNs are sent again without counting.
    await link.in(
      'near',
      'sh',
      '-c',
      'f=/proc/sys/net/ipv4/tcp_syn_linear_timeouts; [ ! -e $f ] || echo 0 >$f',
    );
    // Fast Open without a cookie, so that it needs no connect before.
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

/** To a port of the firewall's. */
const walled = (what: string, wall: keyof typeof FIREWALL, address: string, expected: Expected): Case => ({
  title: what,
  expected,
  make: (stage) => stage.begin({ address, port: FIREWALL[wall][0] }),
});

/** A call that fails before the socket begins to connect. */
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

/** A connect that isn't answered and then given up, by what `end` does. */
const givenUp = (
  title: string,
  result: 'aborted' | 'killed',
  end: (stage: Stage, made: Made & { readonly fd: number }) => Promise<unknown>,
  kind?: Kind,
): Case => ({
  title,
  expected: { result },
  make: async (stage) => {
    const made = await stage.begin({ address: FAR.IPv4, port: stage.swallowed() }, kind);
    await end(stage, made);
    return made;
  },
});

/** One socket that connects twice: `first` gives it after it has failed, and the second connect is accepted. */
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

/** The socket of a connect that fails at once. */
async function connectTo(stage: Stage, to: Endpoint): Promise<number> {
  const { fd, error } = await stage.near.ask('connect', to);
  if (error === '') throw new Error(`${to.address}:${to.port}: connected`);
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
      return stage.begin({ address, port });
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
      const made = await stage.begin({ address: FAR.IPv4, port });
      await until('a lost SYN', async () =>
        /packets [1-9]/.test(await link.in('far', 'nft', 'list chain inet outcomes late')),
      );
      await link.in('far', 'nft', 'flush chain inet outcomes late');
      return made;
    },
  },
  {
    title: 'a socket that connects to itself',
    expected: ESTABLISHED,
    make: async ({ near }) => {
      const { localPort } = await near.ask('connectToSelf', '127.0.0.1');
      return { pid: near.pid, to: loopback(localPort) };
    },
  },
  ...byFamily((family, address) => ({
    title: `refused: nobody listens, over ${family}`,
    expected: REFUSED,
    make: async (stage) => stage.begin({ address, port: await stage.far.ask('closedPort', address) }),
  })),
  {
    title: 'refused: nobody listens, an IPv4-mapped address',
    expected: REFUSED,
    make: async (stage) => {
      const port = await stage.far.ask('closedPort', FAR.IPv4);
      return stage.begin({ address: `::ffff:${FAR.IPv4}`, port });
    },
  },
  walled('refused by a firewall that resets', 'reset', FAR.IPv4, REFUSED),
  ...byFamily((family, address) =>
    walled(`refused by a firewall that says so by ICMP, over ${family}`, 'rejected', address, {
      result: 'rejected',
      errno: 'ECONNREFUSED',
    }),
  ),
  ...byFamily((family, address) =>
    walled(`ICMP says that the host is unreachable, over ${family}`, 'unreachable', address, {
      result: 'unreachable',
      errno: 'EHOSTUNREACH',
    }),
  ),
  walled('ICMP says that it is prohibited, over IPv4', 'prohibited', FAR.IPv4, {
    result: 'unreachable',
    errno: 'EHOSTUNREACH',
  }),
  walled('ICMP says that it is prohibited, over IPv6', 'prohibited', FAR.IPv6, {
    result: 'EACCES',
    errno: 'EACCES',
  }),
  ...byFamily((family, address) => ({
    title: `never answered, over ${family}`,
    expected: { result: 'timed-out', errno: 'ETIMEDOUT' },
    resent: true as const,
    make: (stage) => stage.begin({ address, port: stage.swallowed() }, { synRetries: 1 }),
  })),
  {
    title: 'not answered in the time that the application gives it (TCP_USER_TIMEOUT)',
    expected: { result: 'timed-out', errno: 'ETIMEDOUT' },
    resent: true,
    make: (stage) => stage.begin({ address: FAR.IPv4, port: stage.swallowed() }, { userTimeoutMs: 1500 }),
  },
  {
    title: 'TCP Fast Open: accepted, when the first data is sent',
    expected: ESTABLISHED,
    make: async (stage) => {
      const { port } = await stage.far.ask('listen', FAR.IPv4, 16);
      const made = await stage.begin({ address: FAR.IPv4, port }, { fastOpen: true });
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
    byRecord: NO_PORT,
    make: async ({ narrow }) => {
      const { port } = await narrow.ask('listen', '127.0.0.1', 16); // which takes the only one
      const { error } = await narrow.ask('connect', loopback(port));
      if (error !== 'EADDRNOTAVAIL') throw new Error(`no local port: ${error}`);
      return { pid: narrow.pid, to: loopback(port) };
    },
  },
  {
    title: 'the local port that it is bound to is taken, for that destination',
    expected: NO_PORT,
    make: async (stage) => {
      const { near } = stage;
      const first = await stage.beside(near);
      const { port } = await first.ask('listen', '127.0.0.1', 16);
      const source = loopback(await near.ask('closedPort', '127.0.0.2'));
      const errors = [];
      for (const peer of [first, near])
        errors.push((await peer.ask('connect', loopback(port), { source })).error);
      if (errors.join() !== ',EADDRNOTAVAIL') throw new Error(`a local port that is taken: ${errors}`);
      return { pid: near.pid, to: loopback(port) };
    },
  },
  givenUp('closed before an answer', 'aborted', ({ near }, { fd }) => near.ask('close', fd)),
  givenUp('shut down before an answer', 'aborted', ({ near }, { fd }) => near.ask('shutdown', fd)),
  givenUp('disconnected before an answer (AF_UNSPEC)', 'aborted', ({ near }, { fd }) =>
    near.ask('disconnect', fd),
  ),
  {
    title: 'closed after ICMP said that the host is unreachable, which the socket was too busy to hear',
    expected: { result: 'aborted', errno: 'EHOSTUNREACH' },
    make: async (stage) => {
      const made = await stage.begin({ address: FAR.IPv4, port: FIREWALL.ignored[0] });
      await stage.near.ask('close', made.fd);
      return made;
    },
  },
  {
    title: 'its process exits before an answer',
    expected: { result: 'aborted' },
    make: async (stage) => {
      const victim = await stage.beside(stage.near);
      const to = { address: FAR.IPv4, port: stage.swallowed() };
      await victim.ask('connect', to, { nonBlocking: true });
      await victim.ask('exit').catch(() => {});
      return { pid: victim.pid, to };
    },
  },
  {
    title: 'its process is killed in the middle of the call (SIGKILL)',
    expected: { result: 'killed' },
    make: async (stage) => {
      const victim = await stage.beside(stage.near);
      const to = { address: FAR.IPv4, port: stage.swallowed() };
      const call = victim.ask('connect', to).catch(() => {});
      await stage.inFlight(to.port);
      await victim.stop();
      await call;
      return { pid: victim.pid, to };
    },
  },
  {
    title: 'the socket is killed by an administrator (ss -K)',
    expected: { result: 'killed', errno: 'ECONNABORTED' },
    make: async (stage) => {
      const made = await stage.begin({ address: FAR.IPv4, port: stage.swallowed() });
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
      return stage.begin({ address: FAR.IPv4, port }, { protocol: IPPROTO_MPTCP });
    },
  },
  {
    title: 'MPTCP, refused',
    expected: REFUSED,
    skip: noMptcp,
    make: async (stage) => {
      const port = await stage.far.ask('closedPort', FAR.IPv4);
      return stage.begin({ address: FAR.IPv4, port }, { protocol: IPPROTO_MPTCP });
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
    const { fd } = await stage.begin({ address: FAR.IPv4, port: stage.swallowed() });
    await stage.near.ask('disconnect', fd);
    return fd;
  }),
  unrouted('no route, over IPv4', NOWHERE.none, 'ENETUNREACH', 4001),
  unrouted('no route, over IPv6', NOWHERE.IPv6, 'ENETUNREACH', 4002),
  unrouted('no route, an IPv4-mapped address', NOWHERE.mapped, 'ENETUNREACH', 4003),
  unrouted('a route of the kind unreachable', NOWHERE.unreachable, 'EHOSTUNREACH', 4004),
  unrouted('a route of the kind prohibit', NOWHERE.prohibit, 'EACCES', 4005),
  unrouted('a route of the kind blackhole', NOWHERE.blackhole, 'EINVAL', 4006),
];

/** What the programs of a way say of a case, as far as they see it. */
export function expectedBy(probe: ProbeType, { expected, byRecord, unrouted }: Case): Expected | undefined {
  if (unrouted && probe !== 'kprobe' && probe !== 'fentry') return undefined;
  if (probe !== 'trace_event' || expected.result === 'established') return expected;
  return byRecord ?? { result: 'failed' };
}

/** All that can be made here, made once, and what each way has seen of it. */
export interface Observed {
  readonly made: ReadonlyMap<Case, Made>;
  /** What a way says of a case when it is asked for all ends, or for failures: every line that there is. */
  seen(probe: ProbeType, outcome: 'all' | 'failures', of: Case): readonly ConnectRecord[];
  /** What a way has counted and not shown. */
  losses(probe: ProbeType): number;
}

/** What a way hides without --failed. */
export interface Hidden {
  /** Failures that the programs have counted and not sent; undefined if they count none. */
  readonly counted: number | undefined;
  /** Those that --failed shows, and that are not shown without. */
  readonly failures: readonly ConnectRecord[];
  /** Runs of the programs that the kernel has skipped. */
  readonly skipped: number;
}

/** Makes all connects while they are watched in these ways, with --failed and without; what each way hides. */
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
        const { result = 'established' } = expectedBy(probe, each) ?? {};
        const records = watches.get(probe)?.failed.records ?? [];
        return result === 'established' || records.some((record) => isOf(record, connect));
      });
    await until('the ends of all connects', () => probes.every(ended)).catch(() => {});
    // By functions a failure is counted when its socket is destroyed.
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

/** Makes all connects while they are watched in these ways at the same time. */
export async function observe(probes: readonly ProbeType[]): Promise<Observed> {
  const stage = await Stage.open();
  const watches = new Map<string, Watch>();
  try {
    for (const probe of probes)
      for (const outcome of ['all', 'failures'] as const)
        watches.set(`${probe} ${outcome}`, watch({ probe, outcome }));
    const made = await makeAll(stage);
    const seen: Observed['seen'] = (probe, outcome, of) => {
      const connect = made.get(of) ?? { pid: 0, to: loopback(0) };
      const records = watches.get(`${probe} ${outcome}`)?.records ?? [];
      return records.filter((record) => isOf(record, connect));
    };
    const whole = () =>
      probes.every((probe) =>
        [...made.keys()].every((each) => !expectedBy(probe, each) || seen(probe, 'all', each).length > 0),
      );
    await until('the ends of all connects', whole).catch(() => {}); // what is missing then is for others to say
    const losses = new Map(probes.map((probe) => [probe, watches.get(`${probe} all`)?.losses() ?? 0]));
    return { made, seen, losses: (probe) => losses.get(probe) ?? 0 };
  } finally {
    for (const each of watches.values()) each.close();
    await stage.close();
  }
}

/** Makes all connects that can be made here, one after the other. */
async function makeAll(stage: Stage): Promise<ReadonlyMap<Case, Made>> {
  const made = new Map<Case, Made>();
  for (const each of CASES) if (!each.skip) made.set(each, await each.make(stage));
  return made;
}

/** Whether a record is of a connect. */
function isOf({ pid, dport, daddr }: ConnectRecord, made: Made): boolean {
  return pid === made.pid && dport === made.to.port && daddr === made.to.address;
}

/** What tells one connect from another. */
function keyOf({ pid, saddr, lport, daddr, dport }: ConnectRecord): string {
  return [pid, saddr, lport, daddr, dport].join(' ');
}

/** What each way has shown of a case: the result, or why there is none. */
export interface OutcomeRow {
  readonly title: string;
  readonly results: Readonly<Record<string, string>>;
}

/** Makes all connects, and gives what each way that the kernel can be watched in says of them. */
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
