/** A kernel without IPv6 (`ipv6.disable=1`): tracing IPv4 works as on others. */
import { existsSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { suite } from '../harness.ts';
import { loopback, Peer, Server } from '../live/connects.ts';
import { PROBE_TYPES, skipReason, Tracer } from '../live/tracer.ts';
import { outsideGuest } from './guest.ts';

const withIPv6 = existsSync('/proc/net/if_inet6') && 'this kernel has IPv6';

const test = suite('lab/without-ipv6', { seconds: 60 });

let peer: Peer;
let server: Server;

test.before(async () => {
  if (outsideGuest || withIPv6) return;
  [peer, server] = await Promise.all([Peer.start(), Server.start('127.0.0.1')]);
});
test.after(async () => {
  await Promise.all([peer?.stop(), server?.close()]);
});

for (const probe of PROBE_TYPES)
  test.skipIf(
    outsideGuest || withIPv6 || skipReason(probe),
    `--probe ${probe} shows IPv4 connects without warnings, with and without -4`,
    async () => {
      const tracers = await Promise.all(
        [[], ['-4']].map((options) => Tracer.start(['--probe', probe, '-L', ...options])),
      );
      try {
        const accepted = await peer.ask('connect', loopback(server.port));
        const port = await peer.ask('closedPort', '127.0.0.1');
        const refused = await peer.ask('connect', loopback(port));
        assert.equal([accepted.error, refused.error], ['', 'ECONNREFUSED']);
        for (const tracer of tracers) await tracer.until('both connects', () => tracer.rows().length >= 2);
        for (const how of await Promise.all(tracers.map((tracer) => tracer.stop())))
          assert.equal(how, { code: 0, signal: null });
        for (const tracer of tracers) {
          assert.equal(
            tracer.rows().map(({ IP, LPORT, DPORT }) => [IP, Number(LPORT), Number(DPORT)]),
            [
              ['4', accepted.localPort, server.port],
              ['4', refused.localPort, port],
            ],
          );
          assert.is(tracer.warnings, '');
        }
      } finally {
        for (const { child } of tracers) child.kill('SIGKILL');
      }
    },
  );

test.skipIf(outsideGuest || withIPv6, '-6 warns that there is nothing to show', async () => {
  const tracer = await Tracer.start(['-6']);
  try {
    await tracer.until('the warning', () => tracer.stderr !== '');
    assert.is(tracer.stderr, 'tcpconnlat: this kernel has no IPv6, so -6 shows no connects\n');
    assert.equal(await tracer.stop(), { code: 0, signal: null });
  } finally {
    tracer.child.kill('SIGKILL');
  }
});

test.run();
