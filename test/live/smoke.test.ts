/**
 * The command on the Node that runs this test, as users start it: with and without V8's code cache, in each
 * form of output. `npm run test:node` runs it on every supported major version.
 */
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readdir, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import * as assert from 'uvu/assert';
import { sameOnEveryKernel, suite } from '../harness.ts';
import { loopback, Peer, Server } from './connects.ts';
import { COMMAND, noProbeHere, Tracer } from './tracer.ts';

const test = suite('live/smoke', { seconds: 60 });
const skip = noProbeHere || sameOnEveryKernel;

const DIST = dirname(COMMAND);
const CACHE = `tcpconnlat.bundle.${process.version}-${process.arch}.cache`;

/** A copy of the package without code caches, as npm installs it. */
let installed = '';
let peer: Peer;
let server: Server;
test.before(async () => {
  installed = await mkdtemp(join(tmpdir(), 'tsbpf-smoke-'));
  const dist = join(installed, 'dist');
  await cp(DIST, dist, { recursive: true, filter: (file) => !file.endsWith('.cache') });
  await symlink(join(DIST, '../node_modules'), join(installed, 'node_modules'));
  [peer, server] = await Promise.all([Peer.start(), Server.start('127.0.0.1')]);
});
test.after(async () => {
  await Promise.all([peer.stop(), server.close()]);
  await rm(installed, { recursive: true, force: true });
});

for (const cached of [true, false])
  for (const options of [[], ['--json'], ['--outcome']])
    test.skipIf(
      skip,
      `Node ${process.version} ${cached ? 'with' : 'without'} a code cache: ${options.join() || 'plain'} shows a connect`,
      async () => {
        const folder = cached ? DIST : join(installed, 'dist');
        assert.is((await readdir(folder)).includes(CACHE), cached);
        const own = ['-p', String(peer.pid), ...options];
        const command = join(folder, 'tcpconnlat.cjs');
        const tracer = options.includes('--json')
          ? Tracer.run(own, { command })
          : await Tracer.start(own, { command });
        try {
          const shown = await tracer.until('the connect', async () => {
            await peer.ask('connect', loopback(server.port));
            return options.includes('--json') ? tracer.records()[0] : tracer.rows()[0];
          });
          assert.is(String('pid' in shown ? shown.pid : shown.PID), String(peer.pid));
          assert.is(String('pid' in shown ? shown.dport : shown.DPORT), String(server.port));
          assert.equal(await tracer.stop(), { code: 0, signal: null });
          // The command's own lines only: none of Node's, such as a deprecation.
          for (const line of tracer.stderr.trimEnd().split('\n'))
            assert.match(line, /^(tcpconnlat:| {2}) ?\S/);
        } finally {
          tracer.child.kill('SIGKILL');
        }
      },
    );

test.skipIf(
  sameOnEveryKernel,
  `Node ${process.version}: the library calls the kernel through koffi`,
  async () => {
    const script = `
    import { Kernel } from ${JSON.stringify(join(DIST, 'index.js'))};
    console.log(new Kernel().syscalls.memlock().soft);
  `;
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [
      '--input-type=module',
      '-e',
      script,
    ]);
    assert.match(stdout, /^\d+n\n$/);
    assert.is(stderr, '');
  },
);

test.run();
