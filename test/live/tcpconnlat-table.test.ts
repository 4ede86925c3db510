/** tcpconnlat without the command: its table of connects in flight, and its programs in the verifier. */
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { s32 } from '../../src/asm/layout.ts';
import type { MapSpec } from '../../src/asm/map.ts';
import type { Target } from '../../src/asm/target.ts';
import { Errno } from '../../src/loader/errno.ts';
import { loadProgram } from '../../src/loader/load.ts';
import { BpfMap } from '../../src/loader/map.ts';
import { Session } from '../../src/loader/session.ts';
import { attemptsOf } from '../../src/programs/tcpconnlat/attempts.ts';
import { type ConnectEvent, eventOf } from '../../src/programs/tcpconnlat/events.ts';
import { connectFilter } from '../../src/programs/tcpconnlat/filter.ts';
import type { Options } from '../../src/programs/tcpconnlat/options.ts';
import { tcpconnlat } from '../../src/programs/tcpconnlat.ts';
import { inGuest, needsRoot, suite } from '../harness.ts';
import { BARS } from '../programs/bars.ts';
import { commOf, FullListener, loopback, NOWHERE, Peer, Server, until } from './connects.ts';
import { cannotRun, withProgram } from './run-program.ts';
import { here, noProbeHere, ofProcess, PROBE_TYPES, skipReason, targetFor } from './tracer.ts';

const { E2BIG, EBUSY, EDEADLK } = Errno;

/** The setup shared by the tests. */
let bench: {
  readonly peer: Peer;
  readonly other: Peer;
  /** In a network without routes. */
  readonly nowhere: Peer;
  readonly server: Server;
};

const test = suite('live/tcpconnlat-table', { seconds: 60 });

test.before(async () => {
  if (noProbeHere) return;
  const [peer, other, nowhere, server] = await Promise.all([
    Peer.start(),
    Peer.start(),
    Peer.start(),
    Server.start('127.0.0.1'),
  ]);
  await nowhere.ask('leaveNetwork');
  bench = { peer, other, nowhere, server };
});
test.after(async () => {
  if (!bench) return;
  await Promise.all([bench.peer, bench.other, bench.nowhere].map((each) => each.stop()));
  await bench.server.close();
});

/** The lab loads a selection that covers every option, and checks it more closely. */
const loadedByLab = inGuest && 'lab/programs loads the programs on this kernel';

test.skipIf(cannotRun, 'failed updates of the table are counted by errno', () => {
  const Event = eventOf({ v4: true, v6: false }, 'socket', {});
  const reads = { tcpSock: false, segments: true, task: false, registers: false };
  const typed = { ...reads, sock: false, cast: false };
  const attempts = attemptsOf({ probe: 'raw_tracepoint' }, Event, connectFilter({}, false), typed);
  const { counters } = attempts;
  withProgram(
    [counters],
    (b) => attempts.countFailedUpdate(b, b.arg(0).as(s32).get()),
    ({ run, map }) => {
      const failures = [E2BIG, EBUSY, EBUSY, EDEADLK, 1, 127, 128, 4095, 4095];
      for (const errno of failures) run(BigInt.asUintN(32, BigInt(-errno)));
      const { failedUpdates = [], failed } = map(counters).lookup(0) ?? {};
      const counted = failedUpdates.flatMap((count, errno) => (count > 0 ? [[errno, count]] : []));
      assert.equal(counted, [
        [0, 3],
        [1, 1],
        [E2BIG, 1],
        [EBUSY, 2],
        [EDEADLK, 1],
        [127, 1],
      ]);
      assert.is(failed, 0);
    },
  );
});

for (const probe of PROBE_TYPES) {
  const skip = skipReason(probe);

  test.skipIf(
    skip,
    `${probe}: connects beyond a full table are counted, and entries are freed with their sockets`,
    async () => {
      const { peer, other, server } = bench;
      const seen: ConnectEvent[] = [];
      const tool = tcpconnlat({ probe, filter: ofProcess(peer.pid), maxAttempts: 2 }, targetFor(probe));
      const session = Session.open(tool, { kernel: here, onEvent: (event) => seen.push(event) });
      try {
        const attempts = () => [...session.map(tool.attempts).entries()].map(([, attempt]) => attempt);
        const full = () => {
          const { failedUpdates = [] } = session.map(tool.counters).lookup(0) ?? {};
          const others = failedUpdates.filter((_, errno) => errno !== E2BIG);
          assert.ok(
            others.every((count) => count === 0),
            `other errors: ${failedUpdates}`,
          );
          return failedUpdates[E2BIG];
        };
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
        assert.is(error, '', 'the connect itself succeeds');
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
        assert.equal(attempts(), [], 'an answer removes its entry');
        assert.is(full(), 4);
      } finally {
        session.close();
      }
    },
  );

  test.skipIf(skip, `${probe}: connects without a route leave no table entry after close`, async () => {
    const { nowhere } = bench;
    const tool = tcpconnlat({ probe, filter: ofProcess(nowhere.pid) }, targetFor(probe));
    const session = Session.open(tool, { kernel: here, onEvent: () => {} });
    try {
      const fds: number[] = [];
      for (const address of NOWHERE) fds.push((await nowhere.ask('connect', { address, port: 9 })).fd);
      await nowhere.ask('close', ...fds);
      await until('an empty table', () => [...session.map(tool.attempts).keys()].length === 0);
    } finally {
      session.close();
    }
  });

  // Programs are checked and loaded even if the kernel cannot attach them.
  const unloadable = probe === 'kprobe' ? needsRoot : skip;
  for (const { promise, check } of BARS.filter((bar) => bar.probe === probe))
    test.skipIf(unloadable, `${probe}: ${promise} (this kernel’s BTF)`, () => {
      check(targetFor(probe));
    });

  test.skipIf(unloadable || loadedByLab, `${probe}: every combination of options passes the verifier`, () => {
    const on = targetFor(probe);
    for (const filter of [undefined, ofProcess(1)])
      for (const family of [undefined, 4, 6] as const)
        for (const minNs of [undefined, 1_500_000, 2 ** 45])
          for (const localPort of [false, true]) loadAll({ probe, filter, family, minNs, localPort }, on);
    for (const outcome of ['all', 'failures'] as const)
      for (const family of [undefined, 4, 6] as const)
        loadAll({ probe, filter: ofProcess(1), family, minNs: 1_500_000, outcome }, on);
  });
}

function loadAll(options: Options, on: Target): void {
  const tool = tcpconnlat(options, on);
  const maps = new Map<MapSpec, BpfMap>();
  try {
    for (const spec of tool.maps) maps.set(spec, BpfMap.create(here, spec));
    for (const spec of tool.programs) loadProgram(here, spec, assemble(spec.instructions), maps).close();
  } finally {
    for (const map of maps.values()) map.close();
  }
}

test.run();
