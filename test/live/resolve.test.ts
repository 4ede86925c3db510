/** Names of destinations, from /etc/services and a name server of the test's own on 127.0.0.1, which is the only one that is asked. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { NameServer } from '../cli/show/name-server.ts';
import { sameOnEveryKernel, slowness, suite } from '../harness.ts';
import { connectHere, Server } from './connects.ts';
import { noProbeHere, Tracer } from './tracer.ts';

const test = suite('live/resolve', { seconds: 60 });

const DNS_PORT = 53;
const NAMES = {
  '9.0.0.127.in-addr.arpa': 'db1.example',
  '10.0.0.127.in-addr.arpa': 'db2.example',
};
const names =
  noProbeHere || sameOnEveryKernel
    ? undefined
    : await NameServer.start(NAMES, DNS_PORT).catch((error: NodeJS.ErrnoException) => error.code);
const taken = typeof names === 'string' && `port ${DNS_PORT} of 127.0.0.1: ${names}`;
const refusal = noProbeHere || sameOnEveryKernel || taken;
const nameServer = names as NameServer;

let folder = '';
let server: Server;
test.before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tsbpf-resolve-'));
  writeFileSync(join(folder, 'resolv.conf'), 'nameserver 127.0.0.1\n');
  writeFileSync(join(folder, 'hosts'), '127.0.0.1 localhost\n');
  server = await Server.start('0.0.0.0');
  writeFileSync(join(folder, 'services'), `tsbpf-test ${server.port}/tcp\n`);
});
test.after(async () => {
  rmSync(folder, { recursive: true });
  await Promise.all([server.close(), refusal ? undefined : nameServer.close()]);
});

/** Where a command starts so that the files in /etc are those of the test. */
const ownEtc = () => {
  const files = ['resolv.conf', 'hosts', 'services'].map((file) => join(folder, file));
  // A file that isn't there can't be mounted upon: a tmpfs in the place of /etc, which needs no more.
  const script = `mount -t tmpfs none /etc && cp ${files.join(' ')} /etc && exec "$0" "$@"`;
  return { under: ['unshare', '--mount', 'sh', '-c', script] };
};
/** Traces this process's connects. */
const start = (...args: string[]) =>
  Tracer.start(['--resolve', '-p', String(process.pid), ...args], ownEtc());

const DESTINATIONS = {
  '127.0.0.9': 'db1.example:tsbpf-test',
  '127.0.0.10': 'db2.example:tsbpf-test',
  '127.0.0.11': '127.0.0.11:tsbpf-test',
};

const connectToAll = async () => {
  for (const host of Object.keys(DESTINATIONS)) await connectHere(server.port, host);
};
/** What each address is called in its last line. */
const destinationsOf = (tracer: Tracer) =>
  Object.fromEntries(tracer.rows().map(({ DADDR, DESTINATION }) => [DADDR, DESTINATION]));

test.skipIf(refusal, 'a destination has its names; each is asked for once', async () => {
  const tracer = await start();
  // An answer may come too late for the first line, and serves the next one.
  await tracer.until('the names', async () => {
    const lines = tracer.rows().length + 3;
    await connectToAll();
    await tracer.until('the lines', () => tracer.rows().length === lines);
    const { '127.0.0.9': first, '127.0.0.10': second } = destinationsOf(tracer);
    return first?.startsWith('db1.') && second?.startsWith('db2.');
  });
  await tracer.stop();
  assert.equal(destinationsOf(tracer), DESTINATIONS);
  assert.equal(nameServer.questions.splice(0).sort(), [
    '10.0.0.127.in-addr.arpa',
    '11.0.0.127.in-addr.arpa',
    '9.0.0.127.in-addr.arpa',
  ]);
});

test.skipIf(refusal, 'and so does that of a recording, when it is shown', async () => {
  const file = join(folder, 'recording');
  const tracer = await Tracer.start(['-p', String(process.pid), '--record', file]);
  await connectToAll();
  await tracer.stop();
  const again = Tracer.run(['--resolve', '--replay', file], ownEtc());
  assert.equal(await again.ended(), { code: 0, signal: null });
  assert.equal(destinationsOf(again), DESTINATIONS);
});

test.skipIf(
  refusal,
  'a name server that doesn\u2019t answer delays a line for a moment, and its end not at all',
  async () => {
    nameServer.silent = true;
    try {
      const tracer = await start();
      const begin = performance.now();
      await connectHere(server.port, '127.0.0.12');
      await tracer.until('the line', () => tracer.rows().length === 1);
      const waited = performance.now() - begin;
      assert.ok(waited > 200 && waited < 1500 * slowness, `${waited} ms`);
      await connectHere(server.port, '127.0.0.13');
      const stopping = performance.now();
      assert.equal(await tracer.stop('SIGINT'), { code: 0, signal: null });
      assert.ok(performance.now() - stopping < 1000 * slowness, 'though questions are under way');
      assert.equal(
        tracer.rows().map(({ DESTINATION }) => DESTINATION),
        ['127.0.0.12:tsbpf-test', '127.0.0.13:tsbpf-test'],
        'what waited for its name is shown without',
      );
    } finally {
      nameServer.silent = false;
    }
  },
);

test.run();
