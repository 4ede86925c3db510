/**
 * What the options leave out, by every way this kernel can be watched, all of them at once; and how the command's lines look
 * with them.
 */
import * as assert from 'uvu/assert';
import type { ConnectRecord } from '../../src/cli/record.ts';
import type { Options, Way } from '../../src/programs/tcpconnlat.ts';
import { sameOnEveryKernel, suite } from '../harness.ts';
import { assertWithin, commOf, connectLate, loopback, noIPv6, Peer, Server } from './connects.ts';
import type { Connected } from './sockets.ts';
import { hidesRefused, noWayHere, ofProcess, refusalOf, Tracer, WAYS, WAYS_HERE } from './tracer.ts';
import { type Watch, watch } from './watch.ts';

const test = suite('live/tcpconnlat-options', { seconds: 60 });
let bench: { readonly peer: Peer; readonly other: Peer; readonly server: Server };

test.before(async () => {
  if (noWayHere) return;
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

for (const way of WAYS)
  test.skipIf(refusalOf(way), `${way} is one of the ways that are compared here`, () => {
    assert.ok(WAYS_HERE.includes(way));
  });

/** Watches in every way while `make` connects, and gives what each way saw of the bench's peers. */
async function watched(
  options: Omit<Options, 'way'>,
  make: () => Promise<void>,
): Promise<readonly { readonly way: Way; readonly records: readonly ConnectRecord[] }[]> {
  const all: Watch[] = [];
  try {
    for (const way of WAYS_HERE) all.push(watch({ ...options, way }));
    await make();
    for (const { way, losses } of all) assert.is(losses(), 0, way);
  } finally {
    // What a ring still holds is read when it is closed, and an answer is in its ring before its connect returns.
    for (const each of all) each.close();
  }
  const pids = [bench.peer.pid, bench.other.pid];
  return all.map(({ way, records }) => ({ way, records: records.filter(({ pid }) => pids.includes(pid)) }));
}
const lports = (records: readonly { lport: number }[]) => records.map(({ lport }) => lport).sort();

test.skipIf(noWayHere, 'a process: the connects of another are left out', async () => {
  const { peer, other, server } = bench;
  const made: number[] = [];
  const seen = await watched({ filter: ofProcess(peer.pid) }, async () => {
    for (const each of [other, peer, other, peer]) {
      const { localPort } = await each.ask('connect', loopback(server.port));
      if (each === peer) made.push(localPort);
    }
  });
  for (const { way, records } of seen) {
    assert.equal(lports(records), made.sort(), way);
    assert.ok(records.every(({ pid }) => pid === peer.pid));
  }
});

for (const [family, wanted, outcome] of [
  [4, ['127.0.0.1']],
  [6, ['::1', '::ffff:127.0.0.1']],
  [4, ['127.0.0.1'], 'all'],
  [6, ['::1', '::ffff:127.0.0.1'], 'all'],
] as const)
  test.skipIf(
    noWayHere || noIPv6,
    `family ${family}: only sockets of that family${outcome ? ', at their ends too' : ''}`,
    async () => {
      const { peer, other, server } = bench;
      const seen = await watched({ family, outcome }, async () => {
        for (const address of ['127.0.0.1', '::1', '::ffff:127.0.0.1']) {
          await peer.ask('connect', loopback(server.port, address));
          await peer.ask('connect', loopback(await other.ask('closedPort', address), address));
        }
      });
      for (const { way, records } of seen) {
        assert.equal(
          records.map(({ daddr }) => daddr).sort(),
          (hidesRefused(way) && !outcome ? [...wanted] : [...wanted, ...wanted]).sort(),
          `${way}: accepted and refused`,
        );
        assert.ok(records.every(({ ip }) => ip === family));
      }
    },
  );

test.skipIf(noWayHere, 'a least latency: what was quicker is left out', async () => {
  const { peer, other, server } = bench;
  let late: { port: number } | undefined;
  let quick: Connected | undefined;
  const seen = await watched({ minNs: 500_500_000 }, async () => {
    quick = await peer.ask('connect', loopback(server.port));
    late = await connectLate(peer, other);
  });
  if (!quick || quick.end - quick.begin > 500)
    throw new Error('this machine is too slow for a quick connect');
  for (const { way, records } of seen) {
    assert.equal(
      records.map(({ pid, dport }) => [pid, dport]),
      [[peer.pid, late?.port]],
      way,
    );
    assert.ok((records[0]?.lat_ms ?? 0) >= 900);
  }
});

test.skipIf(
  noWayHere || sameOnEveryKernel,
  'the command has all of them: -p, -4 and -6, min_ms',
  async () => {
    const { peer, other, server } = bench;
    const only = ['-p', String(peer.pid)];
    const addresses = noIPv6 ? ['127.0.0.1'] : ['127.0.0.1', '::1'];
    const wanted = [
      { args: only, shown: addresses },
      { args: [...only, '-4'], shown: ['127.0.0.1'] },
      ...(noIPv6 ? [] : [{ args: [...only, '-6'], shown: ['::1'] }]),
      { args: [...only, '30000'], shown: [] },
    ];
    const tracers = await Promise.all(wanted.map(({ args }) => Tracer.start(args)));
    for (const address of addresses)
      for (const each of [other, peer]) await each.ask('connect', loopback(server.port, address));
    for (const [i, tracer] of tracers.entries()) {
      assert.equal(await tracer.stop(), { code: 0, signal: null });
      const rows = tracer.rows().filter(({ DPORT }) => DPORT === String(server.port));
      assert.equal(
        rows.map(({ PID, DADDR }) => [PID, DADDR]),
        wanted[i]?.shown.map((address) => [String(peer.pid), address]),
        wanted[i]?.args.join(' '),
      );
    }
  },
);

test.skipIf(noWayHere || sameOnEveryKernel, 'the columns, with -t and -L and without', async () => {
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
