/**
 * Options that select connects, with every available probe at the same time; and the output columns of the
 * command.
 */
import * as assert from 'uvu/assert';
import type { ConnectRecord } from '../../src/cli/record.ts';
import type { Options, ProbeType } from '../../src/programs/tcpconnlat/options.ts';
import { sameOnEveryKernel, suite } from '../harness.ts';
import { assertWithin, commOf, connectLate, loopback, noIPv6, Peer, Server } from './connects.ts';
import type { Connected } from './sockets.ts';
import { noProbeHere, ofProcess, PROBE_TYPES, PROBE_TYPES_HERE, skipReason, Tracer } from './tracer.ts';
import { type Watch, watch } from './watch.ts';

const test = suite('live/tcpconnlat-options', { seconds: 60 });
let bench: { readonly peer: Peer; readonly other: Peer; readonly server: Server };

test.before(async () => {
  if (noProbeHere) return;
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

for (const probe of PROBE_TYPES)
  test.skipIf(skipReason(probe), `${probe} is compared here`, () => {
    assert.ok(PROBE_TYPES_HERE.includes(probe));
  });

/** Traces with every available probe while `make` connects; returns the records of the test's peers. */
async function watched(
  options: Omit<Options, 'probe'>,
  make: () => Promise<void>,
): Promise<readonly { readonly probe: ProbeType; readonly records: readonly ConnectRecord[] }[]> {
  const all: Watch[] = [];
  try {
    for (const probe of PROBE_TYPES_HERE) all.push(watch({ ...options, probe }));
    await make();
    for (const { probe, losses } of all) assert.is(losses(), 0, probe);
  } finally {
    // Closing reads the rest of the rings, and an answer is in its ring before its connect returns.
    for (const each of all) each.close();
  }
  const pids = [bench.peer.pid, bench.other.pid];
  return all.map(({ probe, records }) => ({
    probe,
    records: records.filter(({ pid }) => pids.includes(pid)),
  }));
}
const lports = (records: readonly { lport?: number }[]) => records.map(({ lport }) => lport).sort();

test.skipIf(noProbeHere, '-p excludes the connects of other processes', async () => {
  const { peer, other, server } = bench;
  const made: number[] = [];
  const seen = await watched({ filter: ofProcess(peer.pid) }, async () => {
    for (const each of [other, peer, other, peer]) {
      const { localPort } = await each.ask('connect', loopback(server.port));
      if (each === peer) made.push(localPort);
    }
  });
  for (const { probe, records } of seen) {
    assert.equal(lports(records), made.sort(), probe);
    assert.ok(records.every(({ pid }) => pid === peer.pid));
  }
});

for (const [family, expected, outcome] of [
  [4, ['127.0.0.1']],
  [6, ['::1', '::ffff:127.0.0.1']],
  [4, ['127.0.0.1'], 'all'],
  [6, ['::1', '::ffff:127.0.0.1'], 'all'],
] as const)
  test.skipIf(
    noProbeHere || noIPv6,
    `family ${family} selects only sockets of that family${outcome ? ', with outcomes too' : ''}`,
    async () => {
      const { peer, other, server } = bench;
      const seen = await watched({ family, outcome }, async () => {
        for (const address of ['127.0.0.1', '::1', '::ffff:127.0.0.1']) {
          await peer.ask('connect', loopback(server.port, address));
          await peer.ask('connect', loopback(await other.ask('closedPort', address), address));
        }
      });
      for (const { probe, records } of seen) {
        assert.equal(
          records.map(({ daddr }) => daddr).sort(),
          [...expected, ...expected].sort(),
          `${probe}: accepted and refused`,
        );
        assert.ok(records.every(({ ip }) => ip === family));
      }
    },
  );

test.skipIf(noProbeHere, 'a minimum latency excludes faster connects', async () => {
  const { peer, other, server } = bench;
  let late: { port: number } | undefined;
  let quick: Connected | undefined;
  const seen = await watched({ minNs: 500_500_000 }, async () => {
    quick = await peer.ask('connect', loopback(server.port));
    late = await connectLate(peer, other);
  });
  if (!quick || quick.end - quick.begin > 500)
    throw new Error('this machine is too slow for a quick connect');
  for (const { probe, records } of seen) {
    assert.equal(
      records.map(({ pid, dport }) => [pid, dport]),
      [[peer.pid, late?.port]],
      probe,
    );
    assert.ok((records[0]?.lat_ms ?? 0) >= 900);
  }
});

test.skipIf(noProbeHere || sameOnEveryKernel, 'the command supports -p, -4, -6 and min_ms', async () => {
  const { peer, other, server } = bench;
  const only = ['-p', String(peer.pid)];
  const addresses = noIPv6 ? ['127.0.0.1'] : ['127.0.0.1', '::1'];
  const expected = [
    { args: only, shown: addresses },
    { args: [...only, '-4'], shown: ['127.0.0.1'] },
    ...(noIPv6 ? [] : [{ args: [...only, '-6'], shown: ['::1'] }]),
    { args: [...only, '30000'], shown: [] },
  ];
  const tracers = await Promise.all(expected.map(({ args }) => Tracer.start(args)));
  for (const address of addresses)
    for (const each of [other, peer]) await each.ask('connect', loopback(server.port, address));
  for (const [i, tracer] of tracers.entries()) {
    assert.equal(await tracer.stop(), { code: 0, signal: null });
    const rows = tracer.rows().filter(({ DPORT }) => DPORT === String(server.port));
    assert.equal(
      rows.map(({ PID, DADDR }) => [PID, DADDR]),
      expected[i]?.shown.map((address) => [String(peer.pid), address]),
      expected[i]?.args.join(' '),
    );
  }
});

test.skipIf(noProbeHere || sameOnEveryKernel, 'columns are right with and without -t and -L', async () => {
  const { peer, server } = bench;
  for (const [args, header] of [
    [[], 'PID     COMM         IP SADDR            DADDR            DPORT LAT(ms)'],
    [['-tL'], 'TIME(s)  PID     COMM         IP SADDR            LPORT  DADDR            DPORT LAT(ms)'],
  ] as const) {
    const tracer = await Tracer.start(['-p', String(peer.pid), ...args]);
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
    // Each value begins below its title.
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
