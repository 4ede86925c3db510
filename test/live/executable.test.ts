/**
 * The single executable in a root that contains the C and C++ libraries and nothing else: it traces, prints
 * the source lines of its programs, loads its late parts, and reports folders that forbid native code.
 *
 * Outside of the lab, this builds it; in a guest it comes with the project (test/vm/image.ts).
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { buildExecutable, EXECUTABLES, executableName } from '../../executable/build.ts';
import { PLATFORMS } from '../../executable/contents.ts';
import { inGuest, noDownloads, suite } from '../harness.ts';
import { loopback, Peer, Server } from './connects.ts';
import { fillRoot } from './empty-root.ts';
import { noProbeHere, Tracer } from './tracer.ts';

const test = suite('live/executable', { seconds: 60 });

const platform = PLATFORMS.find((name) => name === `linux-${process.arch}`);
/** The executable that the lab has added to the project. */
const ready = platform && join(EXECUTABLES, executableName(platform));

function unavailable(): string | false {
  if (inGuest) return ready && existsSync(ready) ? false : 'the lab adds the executable for arm64 only';
  return noDownloads || (process.arch !== 'x64' && 'executables are built on x64');
}
const skip = noProbeHere || unavailable();

let scratch = '';
let root = '';
let executable = '';
let peer: Peer;
let server: Server;

test.before(async () => {
  if (skip || !platform) return;
  scratch = mkdtempSync(join(tmpdir(), 'tsbpf-executable-'));
  executable = inGuest ? (ready as string) : await buildExecutable(platform, scratch);
  root = join(scratch, 'root');
  fillRoot(root, [executable], { folders: ['proc', 'sys', 'tmp', 'dev/shm'], files: ['tcpconnlat'] });
  [peer, server] = await Promise.all([Peer.start(), Server.start('127.0.0.1')]);
});
test.after(async () => {
  await Promise.all([peer?.stop(), server?.close()]);
  if (scratch) rmSync(scratch, { recursive: true, force: true });
});

/**
 * The words that run a program in the root, without environment, in a mount namespace that ends with it.
 * `options` are those of its /tmp and /dev/shm.
 */
function inRoot(options: string): string[] {
  const script = [
    'mount -t proc proc "$0/proc"',
    'mount --rbind /sys "$0/sys"',
    `mount -t tmpfs -o ${options} tmpfs "$0/tmp"`,
    `mount -t tmpfs -o ${options} tmpfs "$0/dev/shm"`,
    'mount --bind "$1" "$0/tcpconnlat"',
    'shift',
    'exec env -i "$(command -v chroot)" "$0" "$@"',
  ].join(' && ');
  return ['unshare', '--mount', 'sh', '-c', script, root, executable];
}

function run(options: string, ...args: string[]) {
  const [file = '', ...words] = [...inRoot(options), '/tcpconnlat', ...args];
  const { status, stdout, stderr } = spawnSync(file, words, { encoding: 'utf8' });
  return { status, stdout, stderr };
}

test.skipIf(skip, 'it traces in a root without Node', async () => {
  const tracer = await Tracer.start(['-v', '--outcome', '-p', String(peer.pid)], {
    under: inRoot('nosuid'),
    command: '/tcpconnlat',
  });
  try {
    const row = await tracer.until('the connect', async () => {
      await peer.ask('connect', loopback(server.port));
      return tracer.rows()[0];
    });
    assert.equal([row.PID, row.DPORT], [String(peer.pid), String(server.port)]);
    assert.match(tracer.stdout, /^; src\/programs\/tcpconnlat\/\S+\.ts:\d+: \S/m);
    assert.equal(await tracer.stop(), { code: 0, signal: null });
  } finally {
    tracer.child.kill('SIGKILL');
  }
});

for (const args of [
  ['--diagnose'],
  ['--summary', '--duration', '0.1'],
  ['--report', '/tmp/report.html', '--duration', '0.1'],
  ['--prometheus', '--listen', '127.0.0.1:0', '--duration', '0.1'],
])
  test.skipIf(skip, `it loads the late part of ${args[0]}`, () => {
    const { status, stderr } = run('nosuid', ...args);
    assert.is(status, 0, stderr);
    assert.not.match(stderr, /cannot load/);
  });

test.skipIf(skip, 'it sends metrics with the HTTP client of its Node', async () => {
  const args = ['--otlp', 'http://127.0.0.1:1', '--interval', '0.5', '-p', String(peer.pid)];
  const exporter = Tracer.run(args, { under: inRoot('nosuid'), command: '/tcpconnlat' });
  await exporter.until('the refusal', async () => {
    await peer.ask('connect', loopback(server.port));
    return /cannot send metrics to \S+: connect ECONNREFUSED/.test(exporter.stderr);
  });
  assert.equal(await exporter.stop(), { code: 0, signal: null });
});

test.skipIf(skip, 'one folder that allows native code is enough, and one line reports that none does', () => {
  const { status, stdout, stderr } = run('noexec');
  assert.equal([status, stdout], [1, '']);
  assert.match(
    stderr,
    /^tcpconnlat: cannot load koffi, .* no folder takes one: \/dev\/shm \(mounted noexec\), \/tmp \(mounted noexec\), \/run \(ENOENT\), \/var\/tmp \(ENOENT\); mount a writable file system without noexec at \/tmp, or name a folder in TMPDIR\n$/,
  );
  mkdirSync(join(root, 'run'));
  try {
    assert.is(run('noexec', '--dry-run').status, 0);
  } finally {
    rmSync(join(root, 'run'), { recursive: true });
  }
});

test.run();
