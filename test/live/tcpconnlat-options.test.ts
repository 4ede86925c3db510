/** What the options of the command leave out and how its lines look, by every way this kernel can be watched. */
import * as assert from 'uvu/assert';
import { suite } from '../harness.ts';
import { assertWithin, commOf, connectLate, loopback, noIPv6, Peer, Server } from './connects.ts';
import type { Connected } from './sockets.ts';
import { hidesRefused, refusalOf, Tracer, WAYS } from './tracer.ts';

for (const way of WAYS) {
  const refusal = refusalOf(way);
  const test = suite(`live/tcpconnlat-options ${way}`, { seconds: 60 });
  let bench: { readonly peer: Peer; readonly other: Peer; readonly server: Server };

  test.before(async () => {
    if (refusal) return;
    const [peer, other, server] = await Promise.all([
      Peer.start(),
      Peer.start(),
      Server.start(noIPv6 ? '0.0.0.0' : '::'),
    ]);
    bench = { peer, other, server };
  });
  test.after(async () => {
    if (bench) await Promise.all([bench.peer.stop(), bench.other.stop(), bench.server.close()]);
  });

  /** Traces by columns with the local port while `make` connects, and gives the rows of the bench's peers. */
  const traced = async (args: readonly string[], make: () => Promise<void>) => {
    const { peer, other } = bench;
    const tracer = await Tracer.start(['--probe', way, '-L', ...args]);
    try {
      await make();
    } finally {
      assert.equal(await tracer.stop(), { code: 0, signal: null });
    }
    const pids = [peer.pid, other.pid].map(String);
    return tracer.rows().filter(({ PID = '' }) => pids.includes(PID));
  };
  const lports = (rows: readonly Record<string, string>[]) => rows.map(({ LPORT }) => Number(LPORT)).sort();

  test.skipIf(refusal, '-p: the connects of another process are left out', async () => {
    const { peer, other, server } = bench;
    const made: number[] = [];
    const rows = await traced(['-p', String(peer.pid)], async () => {
      for (const each of [other, peer, other, peer]) {
        const { localPort } = await each.ask('connect', loopback(server.port));
        if (each === peer) made.push(localPort);
      }
    });
    assert.equal(lports(rows), made.sort());
    assert.ok(rows.every(({ PID }) => PID === String(peer.pid)));
  });

  for (const [option, wanted] of [
    ['-4', ['127.0.0.1']],
    ['-6', ['::1', '::ffff:127.0.0.1']],
  ] as const)
    test.skipIf(refusal || noIPv6, `${option}: only sockets of that family`, async () => {
      const { peer, other, server } = bench;
      const rows = await traced([option], async () => {
        for (const address of ['127.0.0.1', '::1', '::ffff:127.0.0.1']) {
          await peer.ask('connect', loopback(server.port, address));
          await peer.ask('connect', loopback(await other.ask('closedPort', address), address));
        }
      });
      assert.equal(
        rows.map(({ DADDR }) => DADDR ?? '').sort(),
        (hidesRefused(way) ? [...wanted] : [...wanted, ...wanted]).sort(),
        'accepted and refused',
      );
      assert.ok(rows.every(({ IP }) => IP === option.slice(1)));
    });

  test.skipIf(refusal, 'min_ms: what was quicker is left out', async () => {
    const { peer, other, server } = bench;
    let late: { port: number } | undefined;
    let quick: Connected | undefined;
    const rows = await traced(['500.5'], async () => {
      quick = await peer.ask('connect', loopback(server.port));
      late = await connectLate(peer, other);
    });
    if (!quick || quick.end - quick.begin > 500)
      throw new Error('this machine is too slow for a quick connect');
    assert.equal(
      rows.map(({ PID, DPORT }) => [PID, DPORT]),
      [[String(peer.pid), String(late?.port)]],
    );
    assert.ok(Number(rows[0]?.['LAT(ms)']) >= 900);
  });

  test.skipIf(refusal, 'the columns, with -t and -L and without', async () => {
    const { peer, server } = bench;
    for (const [args, header] of [
      [[], 'PID     COMM         IP SADDR            DADDR            DPORT LAT(ms)'],
      [['-tL'], 'TIME(s)  PID     COMM         IP SADDR            LPORT  DADDR            DPORT LAT(ms)'],
    ] as const) {
      const tracer = await Tracer.start(['--probe', way, '-p', String(peer.pid), ...args]);
      const connected = await peer.ask('connect', loopback(server.port));
      const [first, line = ''] = await tracer.until('a line', () => {
        const lines = tracer.lines();
        return lines.length > 1 ? lines : undefined;
      });
      await tracer.stop();
      assert.is(first, header);
      const latency = /\d+\.\d\d$/.exec(line)?.[0] ?? '';
      assertWithin(Number(latency), connected, 0.005);
      const texts: Record<string, string> = {
        'TIME(s)': '0.000',
        PID: String(peer.pid),
        COMM: commOf(peer.pid).slice(0, 12),
        IP: '4',
        SADDR: '127.0.0.1',
        LPORT: String(connected.localPort),
        DADDR: '127.0.0.1',
        DPORT: String(server.port),
        'LAT(ms)': latency,
      };
      // Each text begins where its title does.
      const titles = header.match(/\S+ */g) ?? [];
      assert.is(
        line,
        titles
          .map((title) => texts[title.trim()]?.padEnd(title.length))
          .join('')
          .trimEnd(),
      );
    }
  });

  test.run();
}
