/** The command that the build of this machine makes needs no builder and no rare part for common runs. */
import { cp, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import * as assert from 'uvu/assert';
import { sameOnEveryKernel, suite } from '../harness.ts';
import { loopback, Peer, Server } from './connects.ts';
import { COMMAND, noProbeHere, Tracer } from './tracer.ts';

const test = suite('live/prebuilt', { seconds: 60 });

const DIST = dirname(COMMAND);

/** A copy of the command without the builder and the rare part. */
let folder = '';
let peer: Peer;
let server: Server;
test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tsbpf-prebuilt-'));
  const filter = (file: string) => !/^tcpconnlat\.(builder|rare)\./.test(basename(file));
  await cp(DIST, join(folder, 'dist'), { recursive: true, filter });
  await symlink(join(DIST, '../node_modules'), join(folder, 'node_modules'));
  [peer, server] = await Promise.all([Peer.start(), Server.start('127.0.0.1')]);
});
test.after(async () => {
  await Promise.all([peer.stop(), server.close()]);
  await rm(folder, { recursive: true, force: true });
});

// The build ran on another kernel than that of a guest.
const skip = noProbeHere || sameOnEveryKernel;

for (const args of [[], ['--outcome'], ['--failed'], ['--who']])
  test.skipIf(
    skip,
    `${args.join() || 'a plain run'} shows connects without the builder and the rare part`,
    async () => {
      const tracer = await Tracer.start(args, { command: join(folder, 'dist/tcpconnlat.cjs') });
      try {
        const port = args.includes('--failed') ? 1 : server.port;
        const row = await tracer.until('the connect', async () => {
          await peer.ask('connect', { ...loopback(server.port), port }).catch(() => undefined);
          return tracer.rows().find(({ PID, DPORT }) => PID === String(peer.pid) && DPORT === String(port));
        });
        assert.ok(row);
        assert.equal(await tracer.stop(), { code: 0, signal: null });
      } finally {
        await tracer.stop();
      }
    },
  );

test.skipIf(skip, 'programs for other options need it', async () => {
  const tracer = Tracer.run(['--port', '443'], { command: join(folder, 'dist/tcpconnlat.cjs') });
  assert.equal(await tracer.ended(), { code: 1, signal: null });
  assert.match(tracer.stderr, /cannot load its own code: .*tcpconnlat\.rare\.cjs/);
});

test.run();
