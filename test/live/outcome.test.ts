/**
 * The outcomes of connects, traced at the same time by every available probe, and as the command prints them.
 */
import * as assert from 'uvu/assert';
import { inGuest, needsRoot, suite } from '../harness.ts';
import { loopback, NOWHERE, Peer, Server } from './connects.ts';
import { CASES, expectedWith, isAnswered, noStage, type Observed, observe } from './outcomes.ts';
import { PROBE_TYPES, PROBE_TYPES_HERE, skipReason, Tracer } from './tracer.ts';

const notHere = needsRoot || noStage();
let observed: Promise<Observed> | undefined;

for (const probe of PROBE_TYPES) {
  const skip = notHere || skipReason(probe);
  const seesCalls = probe === 'kprobe' || probe === 'fentry';
  const test = suite(`live/outcome ${probe}`, { seconds: 90 });
  let all: Observed;

  test.before(async () => {
    if (skip) return;
    observed ??= observe(PROBE_TYPES_HERE);
    all = await observed;
  });

  for (const each of CASES) {
    const expected = expectedWith(probe, each);
    const title = `${each.title}: ${expected?.result ?? 'not seen'}`;
    test.skipIf(skip || each.skip, title, () => {
      const records = all.seen(probe, 'all', each);
      assert.is(records.length, expected ? 1 : 0, JSON.stringify(records));
      const [record] = records;
      const failure = expected && expected.result !== 'established';
      assert.equal(
        all.seen(probe, 'failures', each).map(({ result }) => result),
        failure ? [expected.result] : [],
        'as failures',
      );
      assert.is(
        all.seen(probe, 'answers', each).length,
        expected && isAnswered(expected) ? 1 : 0,
        'without options',
      );
      if (!record) return;
      const { result, errno, retransmits, ip, lat_ms } = record;
      assert.equal({ result, errno }, { errno: undefined, ...expected });
      assert.is(ip, record.daddr?.includes(':') ? 6 : 4);
      assert.ok((retransmits ?? -1) >= (each.resent ? 1 : 0), `${retransmits} retransmits`);
      assert.ok(lat_ms > (each.resent === true ? 900 : 0), `${lat_ms} ms`);
    });
  }

  test.skipIf(skip, 'no events are lost', () => {
    assert.is(all.losses(probe), 0);
  });

  // The command works the same with every probe: on slow machines, which take seconds to start it, test the
  // first probe only.
  const noCommand =
    skipReason(probe) ||
    (inGuest && probe !== PROBE_TYPES_HERE[0] && 'in guests the command runs with one probe only');

  test.skipIf(
    noCommand,
    'the command prints outcomes after the plain columns, and each limit once',
    async () => {
      const [peer, server] = await Promise.all([Peer.start(), Server.start('127.0.0.1')]);
      const tracer = await Tracer.start(['--probe', probe, '-p', String(peer.pid), '--outcome']);
      try {
        const closed = await peer.ask('closedPort', '127.0.0.1');
        for (const port of [server.port, closed]) await peer.ask('connect', loopback(port));
        await tracer.until('both connects', () => tracer.rows().length >= 2);
        assert.equal(await tracer.stop(), { code: 0, signal: null });
        // In any order: connects that end on different CPUs are in different rings.
        assert.equal(
          new Map(tracer.rows().map(({ DPORT, RETR, RESULT }) => [Number(DPORT), [RETR, RESULT]])),
          new Map([
            [server.port, ['0', 'established']],
            [closed, ['0', 'refused']],
          ]),
        );
        assert.is(tracer.rows().length, 2);
        const unrouted = 'tcpconnlat: connects that fail before a SYN is sent .*\n';
        assert.match(tracer.warnings, new RegExp(`^${seesCalls ? '' : unrouted}$`));
      } finally {
        tracer.child.kill('SIGKILL');
        await Promise.all([peer.stop(), server.close()]);
      }
    },
  );

  test.skipIf(noCommand, '--failed shows failures only, also with a minimum time', async () => {
    const [peer, server] = await Promise.all([Peer.start(), Server.start('127.0.0.1')]);
    const args = ['--probe', probe, '-p', String(peer.pid), '--failed'];
    const [tracer, slow] = await Promise.all([Tracer.start(args), Tracer.start([...args, '5000'])]);
    try {
      const closed = await peer.ask('closedPort', '127.0.0.1');
      for (const port of [server.port, closed]) await peer.ask('connect', loopback(port));
      const expected = [['127.0.0.1', closed, 'refused']];
      await peer.ask('leaveNetwork');
      for (const address of seesCalls ? NOWHERE : []) {
        const { error } = await peer.ask('connect', { address, port: 9 });
        expected.push([address, 9, error === 'ENETUNREACH' ? 'unreachable' : error]);
      }
      await tracer.until('the failures', () => tracer.rows().length >= expected.length);
      await Promise.all([tracer.stop(), slow.stop()]);
      assert.equal(
        tracer.rows().map(({ DADDR, DPORT, RESULT }) => [DADDR, Number(DPORT), RESULT]),
        expected,
      );
      assert.equal(slow.rows(), []);
    } finally {
      for (const each of [tracer, slow]) each.child.kill('SIGKILL');
      await Promise.all([peer.stop(), server.close()]);
    }
  });

  test.run();
}
