/**
 * The command with real connects, with every available probe at the same time: each probe must show each
 * connect with the same data, compared with the calls and their times. Other processes may connect as well:
 * only the connects of this test's processes are checked, and all of those.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import type { ConnectRecord } from '../../src/cli/record.ts';
import type { ProbeType } from '../../src/programs/tcpconnlat/options.ts';
import { suite } from '../harness.ts';
import {
  assertWithin,
  commOf,
  connectHere,
  connectLate,
  FullListener,
  IPPROTO_MPTCP,
  loopback,
  NOWHERE,
  noIPv6,
  noMptcp,
  Peer,
  Server,
} from './connects.ts';
import type { Connected } from './sockets.ts';
import { noProbeHere, PROBE_TYPES, PROBE_TYPES_HERE, skipReason, Tracer } from './tracer.ts';

/** The setup shared by the tests. */
interface Bench {
  /** Makes connects. */
  readonly peer: Peer;
  /** A second peer, for tests that need two. */
  readonly other: Peer;
  /** Accepts on all addresses, of both families if available. */
  readonly server: Server;
  /** Shows whether the tracers are attached; not used otherwise. */
  readonly beacon: Server;
  readonly claims: readonly Claims[];
}

/** The records of one tracer that belong to this test, and which of them a test has claimed. */
class Claims {
  readonly probe: ProbeType;
  readonly tracer: Tracer;
  readonly #own: (record: ConnectRecord) => boolean;
  readonly #claimed = new Set<number>();

  constructor(probe: ProbeType, tracer: Tracer, own: (record: ConnectRecord) => boolean) {
    this.probe = probe;
    this.tracer = tracer;
    this.#own = own;
  }

  /** Records of the tests' processes that no test has claimed. */
  rest(): { readonly index: number; readonly record: ConnectRecord }[] {
    return this.tracer
      .records()
      .map((record, index) => ({ index, record }))
      .filter(({ index, record }) => this.#own(record) && !this.#claimed.has(index));
  }

  /** Waits until a connect to this port by this process is shown, and claims it. */
  async claim(pid: number, dport: number): Promise<ConnectRecord> {
    const { index, record } = await this.tracer.until(`${this.probe}: ${pid} to port ${dport}`, () =>
      this.rest().find(({ record }) => record.pid === pid && record.dport === dport),
    );
    this.#claimed.add(index);
    return record;
  }
}

async function openBench(): Promise<Bench> {
  const host = noIPv6 ? '127.0.0.1' : '::1';
  const [peer, other, server, beacon] = await Promise.all([
    Peer.start(),
    Peer.start(),
    Server.start(noIPv6 ? '0.0.0.0' : '::'),
    Server.start(host),
  ]);
  const pids = [process.pid, peer.pid, other.pid];
  const own = ({ pid, dport }: ConnectRecord) => pids.includes(pid) && dport !== beacon.port;
  const claims = await Promise.all(
    PROBE_TYPES_HERE.map(
      // IPv6 is attached last.
      async (probe) => new Claims(probe, await Tracer.startJson(['--probe', probe], beacon, host), own),
    ),
  );
  return { peer, other, server, beacon, claims };
}

async function closeBench({ peer, other, server, beacon, claims }: Bench): Promise<void> {
  await Promise.all(claims.map(({ tracer }) => tracer.child.exitCode ?? tracer.stop()));
  await Promise.all([peer.stop(), other.stop(), server.close(), beacon.close()]);
}

/** Asserts both ends of a connect by the peer. */
function assertRecord(record: ConnectRecord, peer: Peer, connected: Connected, address: string): void {
  const { pid, comm, ip, saddr, daddr, lport } = record;
  assert.equal(
    { pid, comm, ip, saddr, daddr, lport },
    {
      pid: peer.pid,
      comm: commOf(peer.pid),
      ip: address.includes(':') ? 6 : 4,
      saddr: address,
      daddr: address,
      lport: connected.localPort,
    },
  );
  assertWithin(record.lat_ms, connected);
}

const test = suite('live/tcpconnlat', { seconds: 60 });
let bench: Bench;

test.before(async () => {
  if (!noProbeHere) bench = await openBench();
});
test.after(async () => {
  if (bench) await closeBench(bench);
});

/** The record of a connect with each probe. */
async function shown(pid: number, dport: number): Promise<ConnectRecord[]> {
  return Promise.all(bench.claims.map((each) => each.claim(pid, dport)));
}

for (const probe of PROBE_TYPES)
  test.skipIf(skipReason(probe), `${probe} is compared here`, () => {
    assert.ok(bench.claims.some((claims) => claims.probe === probe));
  });

// --- each connect once, with its data -----------------------------------------------------------

for (const [what, address, reason] of [
  ['IPv4', '127.0.0.1', false],
  ['IPv6', '::1', noIPv6],
  ['an IPv4-mapped address', '::ffff:127.0.0.1', noIPv6],
] as const) {
  test.skipIf(noProbeHere || reason, `an accepted connect over ${what} is shown`, async () => {
    const { peer, server } = bench;
    const connected = await peer.ask('connect', loopback(server.port, address));
    assert.is(connected.error, '');
    for (const record of await shown(peer.pid, server.port)) assertRecord(record, peer, connected, address);
  });

  test.skipIf(
    noProbeHere || reason,
    `a refused connect over ${what} is shown with its local port`,
    async () => {
      const { peer, other } = bench;
      const port = await other.ask('closedPort', address);
      const connected = await peer.ask('connect', loopback(port, address));
      assert.is(connected.error, 'ECONNREFUSED');
      for (const record of await shown(peer.pid, port)) assertRecord(record, peer, connected, address);
    },
  );
}

test.skipIf(noProbeHere, 'a refused connect of a bound socket is shown with its port', async () => {
  const { peer, other } = bench;
  const port = await other.ask('closedPort', '127.0.0.1');
  const { boundPort } = await peer.ask('connect', loopback(port), { bound: true });
  for (const { lport } of await shown(peer.pid, port)) assert.is(lport, boundPort);
});

test.skipIf(noProbeHere, 'an accepted non-blocking connect is shown', async () => {
  const { server } = bench;
  const { localPort, ms } = await connectHere(server.port);
  for (const { pid, comm, lport, lat_ms } of await shown(process.pid, server.port)) {
    assert.equal({ pid, comm, lport }, { pid: process.pid, comm: commOf(process.pid), lport: localPort });
    assert.ok(lat_ms > 0 && lat_ms <= ms, `${lat_ms} of ${ms} ms`);
  }
});

test.skipIf(noProbeHere, 'a refused non-blocking connect is shown', async () => {
  const port = await bench.other.ask('closedPort', '127.0.0.1');
  const { error, ms } = await connectHere(port);
  assert.is(error, 'ECONNREFUSED');
  for (const { lat_ms, lport = 0 } of await shown(process.pid, port)) {
    assert.ok(lat_ms > 0 && lat_ms <= ms, `${lat_ms} of ${ms} ms`);
    assert.ok(lport > 0);
  }
});

for (const [what, protocol] of [
  ['accepted by an MPTCP socket', IPPROTO_MPTCP],
  ['accepted by a TCP socket', 0],
] as const)
  test.skipIf(noProbeHere || noMptcp, `an MPTCP connect ${what} is one line`, async () => {
    const { peer, other } = bench;
    const { port } = await other.ask('listen', '127.0.0.1', 10, { protocol });
    const connected = await peer.ask('connect', loopback(port), { protocol: IPPROTO_MPTCP });
    assert.is(connected.error, '');
    for (const record of await shown(peer.pid, port)) assertRecord(record, peer, connected, '127.0.0.1');
  });

test.skipIf(noProbeHere, 'a late answer counts into the latency', async () => {
  const { peer, other } = bench;
  const { port, connected } = await connectLate(peer, other);
  await shown(other.pid, port);
  for (const record of await shown(peer.pid, port)) {
    assertRecord(record, peer, connected, '127.0.0.1');
    assert.ok(
      record.lat_ms >= 900,
      `${record.lat_ms} ms: about one second, since the kernel's timer may start early`,
    );
    assert.ok(
      connected.end - connected.begin - record.lat_ms < 500,
      `${record.lat_ms} ms of ${connected.end - connected.begin}: the latency must be nearly all of the call`,
    );
  }
});

test.skipIf(noProbeHere, 'a socket that connects to itself is shown', async () => {
  const { peer } = bench;
  const connected = await peer.ask('connectToSelf', '127.0.0.1');
  assert.is(connected.error, '');
  for (const record of await shown(peer.pid, connected.localPort)) {
    assertRecord(record, peer, connected, '127.0.0.1');
    assert.is(record.lport, record.dport);
  }
});

test.skipIf(noProbeHere, 'a socket that is refused and connects again is shown twice', async () => {
  const { peer, other, server } = bench;
  const port = await other.ask('closedPort', '127.0.0.1');
  const first = await peer.ask('connect', loopback(port));
  const second = await peer.ask('connect', loopback(server.port), { fd: first.fd });
  assert.equal([first.error, second.error], ['ECONNREFUSED', '']);
  for (const record of await shown(peer.pid, port)) assertRecord(record, peer, first, '127.0.0.1');
  for (const record of await shown(peer.pid, server.port)) assertRecord(record, peer, second, '127.0.0.1');
});

test.skipIf(noProbeHere, 'a process name has up to 15 characters', async () => {
  const { other, server } = bench;
  await other.ask('rename', 'fifteen-letters');
  assert.is(commOf(other.pid), 'fifteen-letters');
  await other.ask('connect', loopback(server.port));
  for (const { comm } of await shown(other.pid, server.port)) assert.is(comm, 'fifteen-letters');
});

test.skipIf(noProbeHere, 'times are the times of the answers', async () => {
  const { peer, server } = bench;
  const first = await peer.ask('connect', loopback(server.port));
  await sleep(50);
  const second = await peer.ask('connect', loopback(server.port));
  const earlier = await shown(peer.pid, server.port);
  const later = await shown(peer.pid, server.port);
  for (const [i, { time_s }] of later.entries()) {
    const apart = (time_s - (earlier[i]?.time_s ?? Number.NaN)) * 1000;
    assert.ok(apart >= second.begin - first.end, `${apart} ms`);
    assert.ok(apart <= second.end - first.begin, `${apart} ms`);
  }
});

test.skipIf(noProbeHere, 'a burst of 200 connects is complete, without duplicates', async () => {
  const { server } = bench;
  const made = await Promise.all(Array.from({ length: 200 }, () => connectHere(server.port)));
  const ports: number[][] = [];
  for (const _ of made) ports.push((await shown(process.pid, server.port)).map(({ lport = 0 }) => lport));
  const ascending = (a = 0, b = 0) => a - b;
  for (const i of PROBE_TYPES_HERE.keys())
    assert.equal(
      ports.map((each) => each[i]).sort(ascending),
      made.map(({ localPort }) => localPort).sort(ascending),
    );
});

// --- connects that are not shown: the last test checks that -------------------------------------

test.skipIf(noProbeHere, 'connects of UDP and raw sockets are not shown', async () => {
  const { peer, server } = bench;
  for (const kind of [{ type: 'dgram' }, { type: 'raw', protocol: 253 }] as const)
    for (const address of noIPv6 ? ['127.0.0.1'] : ['127.0.0.1', '::1'])
      assert.is((await peer.ask('connect', loopback(server.port, address), kind)).error, '');
});

test.skipIf(noProbeHere, 'a connect without a route is not shown', async () => {
  const nowhere = await Peer.start();
  try {
    await nowhere.ask('leaveNetwork');
    for (const address of NOWHERE) {
      const { error, fd } = await nowhere.ask('connect', { address, port: 9 });
      assert.match(error, /^(ENETUNREACH|EADDRNOTAVAIL)$/, `${address}, from a network without addresses`);
      await nowhere.ask('close', fd);
    }
    const { peer, server, claims } = bench;
    await peer.ask('connect', loopback(server.port));
    await shown(peer.pid, server.port);
    for (const { tracer, probe } of claims)
      assert.equal(
        tracer.records().filter(({ pid }) => pid === nowhere.pid),
        [],
        probe,
      );
  } finally {
    await nowhere.stop();
  }
});

test.skipIf(noProbeHere, 'a connect that is closed before an answer is not shown', async () => {
  const { peer, other } = bench;
  const listener = await FullListener.start(other);
  await shown(other.pid, listener.port);
  const { fd, error } = await peer.ask('connect', loopback(listener.port), { nonBlocking: true });
  assert.is(error, 'EINPROGRESS');
  await peer.ask('close', fd);
  await listener.close();
});

test.skipIf(
  noProbeHere,
  'every connect was shown once, nothing was lost, and every tracer exits with status 0',
  async () => {
    for (const claims of bench.claims) {
      const { probe, tracer } = claims;
      assert.equal(await tracer.stop('SIGINT'), { code: 0, signal: null }, probe);
      assert.equal(
        claims.rest().map(({ record }) => record),
        [],
        probe,
      );
      // Skipped runs did not concern these connects: all of them were shown.
      const warnings = tracer.warnings;
      assert.is(warnings, '', probe);
    }
  },
);

test.run();
