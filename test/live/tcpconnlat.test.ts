/**
 * The command against real connects, by every way this kernel can be watched. What is shown is compared with what was done, by
 * whom and when. Others may connect meanwhile: only the connects of this test's processes are looked at, and all of those.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import type { ConnectRecord } from '../../src/cli/record.ts';
import type { Way } from '../../src/programs/tcpconnlat.ts';
import { needsRoot, suite } from '../harness.ts';
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
import { hidesRefused, refusalOf, Tracer, WAYS } from './tracer.ts';

/** What the tests of one way work with. */
interface Bench {
  /** Makes connects. */
  readonly peer: Peer;
  /** Another one, for what needs two. */
  readonly other: Peer;
  /** Accepts on all addresses, of both families where there are two. */
  readonly server: Server;
  /** For nothing but finding out whether the tracer is attached. */
  readonly beacon: Server;
  readonly tracer: Tracer;
}

/** Which of the tracer's records are this test's own, and which of those a test has asked for. */
class Claims {
  readonly #bench: Bench;
  readonly #claimed = new Set<number>();

  constructor(bench: Bench) {
    this.#bench = bench;
  }

  /** What the tests' processes have connected, and no test has claimed. */
  rest(): { readonly index: number; readonly record: ConnectRecord }[] {
    const { tracer, peer, other, beacon } = this.#bench;
    const pids = [process.pid, peer.pid, other.pid];
    return tracer
      .records()
      .map((record, index) => ({ index, record }))
      .filter(({ index, record: { pid, dport } }) => {
        return pids.includes(pid) && dport !== beacon.port && !this.#claimed.has(index);
      });
  }

  /** Waits until a connect to that port by that process is shown, and takes it. */
  async claim(pid: number, dport: number): Promise<ConnectRecord> {
    const { index, record } = await this.#bench.tracer.until(`${pid} to port ${dport}`, () =>
      this.rest().find(({ record }) => record.pid === pid && record.dport === dport),
    );
    this.#claimed.add(index);
    return record;
  }
}

async function openBench(way: Way): Promise<Bench> {
  const [peer, other] = await Promise.all([Peer.start(), Peer.start()]);
  const host = noIPv6 ? '127.0.0.1' : '::1';
  const [server, beacon] = await Promise.all([Server.start(noIPv6 ? '0.0.0.0' : '::'), Server.start(host)]);
  // IPv6 is attached last.
  const tracer = await Tracer.startJson(['--probe', way], beacon, host);
  return { peer, other, server, beacon, tracer };
}

async function closeBench({ peer, other, server, beacon, tracer }: Bench): Promise<void> {
  if (tracer.child.exitCode === null) await tracer.stop();
  await Promise.all([peer.stop(), other.stop(), server.close(), beacon.close()]);
}

/** What both ends of a connect by the peer are like. */
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

for (const way of WAYS) {
  const refusal = refusalOf(way);
  const noRefused = refusal || hidesRefused(way);
  const test = suite(`live/tcpconnlat ${way}`, { seconds: 60 });
  let bench: Bench;
  let claims: Claims;

  test.before(async () => {
    if (refusal) return;
    bench = await openBench(way);
    claims = new Claims(bench);
  });
  test.after(async () => {
    if (bench) await closeBench(bench);
  });

  // --- each connect once, as it was ---------------------------------------------------------------

  for (const [what, address, reason] of [
    ['IPv4', '127.0.0.1', false],
    ['IPv6', '::1', noIPv6],
    ['an IPv4-mapped address', '::ffff:127.0.0.1', noIPv6],
  ] as const) {
    test.skipIf(refusal || reason, `a connect over ${what} that is accepted`, async () => {
      const { peer, server } = bench;
      const connected = await peer.ask('connect', loopback(server.port, address));
      assert.is(connected.error, '');
      assertRecord(await claims.claim(peer.pid, server.port), peer, connected, address);
    });

    test.skipIf(
      noRefused || reason,
      `a connect over ${what} that is refused, with its local port`,
      async () => {
        const { peer, other } = bench;
        const port = await other.ask('closedPort', address);
        const connected = await peer.ask('connect', loopback(port, address));
        assert.is(connected.error, 'ECONNREFUSED');
        assertRecord(await claims.claim(peer.pid, port), peer, connected, address);
      },
    );
  }

  test.skipIf(noRefused, 'a refused connect of a socket that was bound before', async () => {
    const { peer, other } = bench;
    const port = await other.ask('closedPort', '127.0.0.1');
    const { boundPort } = await peer.ask('connect', loopback(port), { bound: true });
    assert.is((await claims.claim(peer.pid, port)).lport, boundPort);
  });

  test.skipIf(refusal, 'a non-blocking connect, accepted', async () => {
    const { server } = bench;
    const { localPort, ms } = await connectHere(server.port);
    const { pid, comm, lport, lat_ms } = await claims.claim(process.pid, server.port);
    assert.equal({ pid, comm, lport }, { pid: process.pid, comm: commOf(process.pid), lport: localPort });
    assert.ok(lat_ms > 0 && lat_ms <= ms, `${lat_ms} of ${ms} ms`);
  });

  test.skipIf(noRefused, 'a non-blocking connect, refused', async () => {
    const port = await bench.other.ask('closedPort', '127.0.0.1');
    const { error, ms } = await connectHere(port);
    assert.is(error, 'ECONNREFUSED');
    const { lat_ms, lport } = await claims.claim(process.pid, port);
    assert.ok(lat_ms > 0 && lat_ms <= ms, `${lat_ms} of ${ms} ms`);
    assert.ok(lport > 0);
  });

  for (const [what, protocol] of [
    ['accepted by one', IPPROTO_MPTCP],
    ['accepted by a socket of TCP', 0],
  ] as const)
    test.skipIf(refusal || noMptcp, `a connect of an MPTCP socket, ${what}, is one line`, async () => {
      const { peer, other } = bench;
      const { port } = await other.ask('listen', '127.0.0.1', 10, { protocol });
      const connected = await peer.ask('connect', loopback(port), { protocol: IPPROTO_MPTCP });
      assert.is(connected.error, '');
      assertRecord(await claims.claim(peer.pid, port), peer, connected, '127.0.0.1');
    });

  test.skipIf(refusal, 'a SYN that is answered late: its latency is that of the answer', async () => {
    const { peer, other } = bench;
    const { port, connected } = await connectLate(peer, other);
    await claims.claim(other.pid, port);
    const record = await claims.claim(peer.pid, port);
    assertRecord(record, peer, connected, '127.0.0.1');
    assert.ok(
      record.lat_ms >= 900,
      `${record.lat_ms} ms: a second, which the kernel's timer may begin early`,
    );
    assert.ok(
      connected.end - connected.begin - record.lat_ms < 500,
      `${record.lat_ms} ms of ${connected.end - connected.begin}: nearly all of the call is the wait`,
    );
  });

  test.skipIf(refusal, 'a socket that connects to itself', async () => {
    const { peer } = bench;
    const connected = await peer.ask('connectToSelf', '127.0.0.1');
    assert.is(connected.error, '');
    const record = await claims.claim(peer.pid, connected.localPort);
    assertRecord(record, peer, connected, '127.0.0.1');
    assert.is(record.lport, record.dport);
  });

  test.skipIf(noRefused, 'a socket that is refused and connects again is two lines', async () => {
    const { peer, other, server } = bench;
    const port = await other.ask('closedPort', '127.0.0.1');
    const first = await peer.ask('connect', loopback(port));
    const second = await peer.ask('connect', loopback(server.port), { fd: first.fd });
    assert.equal([first.error, second.error], ['ECONNREFUSED', '']);
    assertRecord(await claims.claim(peer.pid, port), peer, first, '127.0.0.1');
    assertRecord(await claims.claim(peer.pid, server.port), peer, second, '127.0.0.1');
  });

  test.skipIf(refusal, 'the name is that of the process, all 15 letters of it', async () => {
    const { other, server } = bench;
    await other.ask('rename', 'fifteen-letters');
    assert.is(commOf(other.pid), 'fifteen-letters');
    await other.ask('connect', loopback(server.port));
    assert.is((await claims.claim(other.pid, server.port)).comm, 'fifteen-letters');
  });

  test.skipIf(refusal, 'the times are those of the answers', async () => {
    const { peer, server } = bench;
    const first = await peer.ask('connect', loopback(server.port));
    await sleep(50);
    const second = await peer.ask('connect', loopback(server.port));
    const shown = [await claims.claim(peer.pid, server.port), await claims.claim(peer.pid, server.port)].map(
      ({ time_s }) => time_s * 1000,
    );
    const apart = (shown[1] ?? 0) - (shown[0] ?? 0);
    assert.ok(apart >= second.begin - first.end, `${apart} ms`);
    assert.ok(apart <= second.end - first.begin, `${apart} ms`);
  });

  test.skipIf(refusal, 'a burst of 200 connects: each once, with its ports', async () => {
    const { server } = bench;
    const made = await Promise.all(Array.from({ length: 200 }, () => connectHere(server.port)));
    const shown = [];
    for (const _ of made) shown.push((await claims.claim(process.pid, server.port)).lport);
    assert.equal(
      shown.sort((a, b) => a - b),
      made.map(({ localPort }) => localPort).sort((a, b) => a - b),
    );
  });

  test.skipIf(
    refusal || (!hidesRefused(way) && 'this way shows them'),
    'a refused connect is not shown, and the next one of its socket is',
    async () => {
      const { peer, other, server } = bench;
      const port = await other.ask('closedPort', '127.0.0.1');
      const first = await peer.ask('connect', loopback(port));
      const second = await peer.ask('connect', loopback(server.port), { fd: first.fd });
      assert.equal([first.error, second.error], ['ECONNREFUSED', '']);
      assertRecord(await claims.claim(peer.pid, server.port), peer, second, '127.0.0.1');
    },
  );

  // --- what is not shown: the last test looks for it ----------------------------------------------

  test.skipIf(refusal, 'UDP and raw sockets connect unseen', async () => {
    const { peer, server } = bench;
    for (const kind of [{ type: 'dgram' }, { type: 'raw', protocol: 253 }] as const)
      for (const address of noIPv6 ? ['127.0.0.1'] : ['127.0.0.1', '::1'])
        assert.is((await peer.ask('connect', loopback(server.port, address), kind)).error, '');
  });

  test.skipIf(refusal, 'a connect without a route is not shown', async () => {
    const nowhere = await Peer.start();
    try {
      await nowhere.ask('leaveNetwork');
      for (const address of NOWHERE) {
        const { error, fd } = await nowhere.ask('connect', { address, port: 9 });
        assert.match(error, /^(ENETUNREACH|EADDRNOTAVAIL)$/, `${address}, from a network without addresses`);
        await nowhere.ask('close', fd);
      }
      const { peer, server, tracer } = bench;
      await peer.ask('connect', loopback(server.port));
      await claims.claim(peer.pid, server.port);
      assert.equal(
        tracer.records().filter(({ pid }) => pid === nowhere.pid),
        [],
      );
    } finally {
      await nowhere.stop();
    }
  });

  test.skipIf(refusal, 'a connect that is given up before an answer is not shown', async () => {
    const { peer, other } = bench;
    const listener = await FullListener.start(other);
    await claims.claim(other.pid, listener.port);
    const { fd, error } = await peer.ask('connect', loopback(listener.port), { nonBlocking: true });
    assert.is(error, 'EINPROGRESS');
    await peer.ask('close', fd);
    await listener.close();
  });

  test.skipIf(
    refusal,
    'everything was shown once, nothing else, nothing lost, and the end is clean',
    async () => {
      const { tracer } = bench;
      const ended = await tracer.stop('SIGINT');
      assert.equal(ended, { code: 0, signal: null });
      assert.equal(
        claims.rest().map(({ record }) => record),
        [],
      );
      if (hidesRefused(way))
        assert.match(tracer.stderr, /^tcpconnlat: refused connects are not shown: .*\n$/);
      else assert.is(tracer.stderr, '');
    },
  );

  test.run();
}

const some = suite('live/tcpconnlat');

some.skipIf(needsRoot, 'this kernel can be watched', () => {
  assert.ok(
    WAYS.some((way) => refusalOf(way) === false),
    WAYS.map((way) => `${way}: ${refusalOf(way)}`).join('\n'),
  );
});

some.run();
