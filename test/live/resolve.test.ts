/**
 * Names of destinations, from /etc/services and a name server of the test on 127.0.0.1, the only one
 * configured.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { NameServer } from '../cli/printer/name-server.ts';
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
const skip = noProbeHere || sameOnEveryKernel || taken;
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
  await Promise.all([server.close(), skip ? undefined : nameServer.close()]);
});

/** Starts a command with the test's files in /etc. */
const ownEtc = () => {
  const files = ['resolv.conf', 'hosts', 'services'].map((file) => join(folder, file));
  // A missing file cannot be a mount point, so a tmpfs replaces all of /etc; the command needs no other
  // files.
  const script = `mount -t tmpfs none /etc && cp ${files.join(' ')} /etc && exec "$0" "$@"`;
  return { under: ['unshare', '--mount', 'sh', '-c', script] };
};
/** Traces the connects of this process. */
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
/** The last shown name of each address. */
const destinationsOf = (tracer: Tracer) =>
  Object.fromEntries(tracer.rows().map(({ DADDR, DESTINATION }) => [DADDR, DESTINATION]));

test.skipIf(skip, 'destinations have names, and each name is requested once', async () => {
  const tracer = await start();
  // An answer may come too late for the first line; the next line has the name then.
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

test.skipIf(skip, 'a replay resolves names, too', async () => {
  const file = join(folder, 'recording');
  const tracer = await Tracer.start(['-p', String(process.pid), '--record', file]);
  await connectToAll();
  await tracer.stop();
  const again = Tracer.run(['--resolve', '--replay', file], ownEtc());
  assert.equal(await again.ended(), { code: 0, signal: null });
  assert.equal(destinationsOf(again), DESTINATIONS);
});

test.skipIf(skip, 'a silent name server delays a line only briefly, and the exit not at all', async () => {
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
    assert.ok(performance.now() - stopping < 1000 * slowness, 'pending requests must not delay the exit');
    assert.equal(
      tracer.rows().map(({ DESTINATION }) => DESTINATION),
      ['127.0.0.12:tsbpf-test', '127.0.0.13:tsbpf-test'],
      'waiting lines are shown without names',
    );
  } finally {
    nameServer.silent = false;
  }
});

test.run();
