/** The tool by itself, without the command: its table of connects in flight, and its programs before the verifier. */
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import type { MapSpec } from '../../src/asm/map.ts';
import type { Target } from '../../src/asm/target.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { BpfMap } from '../../src/loader/map.ts';
import { loadProgram } from '../../src/loader/program.ts';
import { Session } from '../../src/loader/session.ts';
import { type ConnectEvent, type Options, tcpconnlat } from '../../src/programs/tcpconnlat.ts';
import { needsRoot, suite } from '../harness.ts';
import { BARS } from '../programs/bars.ts';
import { commOf, FullListener, loopback, NOWHERE, Peer, Server, until } from './connects.ts';
import { refusalOf, targetFor, WAYS } from './tracer.ts';

for (const way of WAYS) {
  const refusal = refusalOf(way);
  const test = suite(`live/tcpconnlat-table ${way}`, { seconds: 60 });

  test.skipIf(
    refusal,
    'a table that is full: what finds no room is counted, and it empties as sockets die',
    async () => {
      const [peer, other, server] = await Promise.all([
        Peer.start(),
        Peer.start(),
        Server.start('127.0.0.1'),
      ]);
      const seen: ConnectEvent[] = [];
      const kernel = new Kernel();
      const tool = tcpconnlat({ way, pid: peer.pid, maxAttempts: 2 }, targetFor(way, kernel));
      const session = Session.open(tool, { kernel, onEvent: (event) => seen.push(event) });
      try {
        const attempts = () => [...session.map(tool.attempts).entries()].map(([, attempt]) => attempt);
        const full = () => session.map(tool.counters).lookup(0)?.tableFull;
        const listener = await FullListener.start(other);
        const fds: number[] = [];
        for (let i = 0; i < 5; i++)
          fds.push((await peer.ask('connect', loopback(listener.port), { nonBlocking: true })).fd);
        assert.is(full(), 3);
        assert.equal(
          attempts().map(({ task, comm }) => [task.pid, comm]),
          Array.from({ length: 2 }, () => [peer.pid, commOf(peer.pid)]),
        );
        const { error } = await peer.ask('connect', loopback(server.port));
        assert.is(error, '', 'connects go on all the same');
        assert.is(full(), 4);

        await peer.ask('close', ...fds);
        await until('an empty table', () => attempts().length === 0);
        assert.equal(seen, []);
        const { localPort } = await peer.ask('connect', loopback(server.port));
        await until('the event', () => seen.length > 0);
        assert.equal(
          seen.map(({ ports }) => [ports.local, ports.remote]),
          [[localPort, server.port]],
        );
        assert.equal(attempts(), [], 'an answer is taken out too');
        assert.is(full(), 4);
        assert.is(session.missedRuns() ?? 0, 0);
      } finally {
        session.close();
        await Promise.all([peer.stop(), other.stop(), server.close()]);
      }
    },
  );

  test.skipIf(
    refusal,
    'connects without a route leave nothing in the table once their sockets are closed',
    async () => {
      const nowhere = await Peer.start();
      const kernel = new Kernel();
      const tool = tcpconnlat({ way, pid: nowhere.pid }, targetFor(way, kernel));
      const session = Session.open(tool, { kernel, onEvent: () => {} });
      try {
        await nowhere.ask('leaveNetwork');
        const fds: number[] = [];
        for (const address of NOWHERE) fds.push((await nowhere.ask('connect', { address, port: 9 })).fd);
        await nowhere.ask('close', ...fds);
        await until('an empty table', () => [...session.map(tool.attempts).keys()].length === 0);
      } finally {
        session.close();
        await nowhere.stop();
      }
    },
  );

  // Programs are checked and loaded also where the kernel has nothing to attach them to.
  const unloadable = way === 'kprobe' ? needsRoot : refusal;
  for (const { promise, check } of BARS.filter((bar) => bar.way === way))
    test.skipIf(unloadable, `with this kernel’s types ${promise}`, () => {
      check(targetFor(way, new Kernel()));
    });

  test.skipIf(unloadable, 'every combination of options passes the verifier', () => {
    const kernel = new Kernel();
    const on = targetFor(way, kernel);
    for (const pid of [undefined, 1])
      for (const family of [undefined, 4, 6] as const)
        for (const minNs of [undefined, 1_500_000, 2 ** 45])
          for (const localPort of [false, true]) loadAll({ way, pid, family, minNs, localPort }, kernel, on);
  });

  test.run();
}

function loadAll(options: Options, kernel: Kernel, on: Target): void {
  const tool = tcpconnlat(options, on);
  const maps = new Map<MapSpec, BpfMap>();
  try {
    for (const spec of tool.maps) maps.set(spec, BpfMap.create(kernel, spec));
    for (const spec of tool.programs) loadProgram(kernel, spec, assemble(spec.instructions), maps).close();
  } finally {
    for (const map of maps.values()) map.close();
  }
}
