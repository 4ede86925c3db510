/** A run loads the programs that an earlier run of root has built, and builds them again if it cannot. */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
} from 'node:fs';
import { cp, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import * as assert from 'uvu/assert';
import { slowness, suite } from '../harness.ts';
import { loopback, Peer, Server } from './connects.ts';
import { COMMAND, here, noProbeHere, Tracer } from './tracer.ts';

const test = suite('live/program-cache', { seconds: 90 });

const skip = noProbeHere || (here.buildId === undefined && 'this kernel does not tell its build ID');

/** Options for which the build has no programs. */
const ARGS = ['--lport', '--not-port', '1'];

let folder = '';
/** A copy of the command without the builder and the rare part. */
let withoutBuilder = '';
let peer: Peer;
let server: Server;
test.before(async () => {
  if (skip) return;
  folder = await mkdtemp(join(tmpdir(), 'tsbpf-cache-'));
  const filter = (file: string) => !/^(tcpconnlat\.(builder|rare)\.|executable$)/.test(basename(file));
  await cp(dirname(COMMAND), join(folder, 'dist'), { recursive: true, filter });
  await symlink(join(dirname(COMMAND), '../node_modules'), join(folder, 'node_modules'));
  withoutBuilder = join(folder, 'dist/tcpconnlat.cjs');
  [peer, server] = await Promise.all([Peer.start(), Server.start('127.0.0.1')]);
});
test.after(async () => {
  if (skip) return;
  await Promise.all([peer.stop(), server.close()]);
  await rm(folder, { recursive: true, force: true });
});

/** Runs `work` with a directory that does not exist, as the cache of the commands. */
async function withCache(work: (directory: string) => Promise<void>): Promise<void> {
  const before = process.env.TCPCONNLAT_CACHE;
  const directory = join(folder, 'cache');
  process.env.TCPCONNLAT_CACHE = directory;
  try {
    await work(directory);
  } finally {
    process.env.TCPCONNLAT_CACHE = before;
    await rm(directory, { recursive: true, force: true });
  }
}

/** Shows a connect, and returns what the tracer printed to stderr. */
async function shows(args: readonly string[], command = COMMAND): Promise<string> {
  const tracer = await Tracer.start(args, { command });
  try {
    await tracer.until('the connect', async () => {
      await peer.ask('connect', loopback(server.port));
      return tracer
        .rows()
        .find(({ PID, DPORT }) => PID === String(peer.pid) && DPORT === String(server.port));
    });
    assert.equal(await tracer.stop(), { code: 0, signal: null });
    return tracer.warnings;
  } finally {
    await tracer.stop();
  }
}

/** A run without the builder ends because it needs it. */
async function needsBuilder(args: readonly string[]): Promise<void> {
  const tracer = Tracer.run(args, { command: withoutBuilder });
  assert.equal(await tracer.ended(), { code: 1, signal: null });
  assert.match(tracer.stderr, /cannot load its own code: .*tcpconnlat\.rare\.cjs/);
}

/** The path of the only file in the cache. */
function only(directory: string): string {
  const names = readdirSync(directory);
  assert.is(names.length, 1);
  return join(directory, names[0] as string);
}

test.skipIf(skip, 'the second run needs no builder, and runs with other options do', () =>
  withCache(async (directory) => {
    await needsBuilder(ARGS);
    assert.not(existsSync(directory), 'a run that fails keeps nothing');
    assert.is(await shows(ARGS), '');
    assert.is(await shows(ARGS, withoutBuilder), '');
    await needsBuilder([...ARGS, '--outcome']);
    await needsBuilder(['--lport', '--not-port', '2']);
    assert.is(readdirSync(directory).length, 1);
  }),
);

test.skipIf(skip, 'a file or directory that others may have written is not used', () =>
  withCache(async (directory) => {
    await shows(ARGS);
    const file = only(directory);
    for (const [spoil, mend] of [
      [() => chmodSync(file, 0o606), () => chmodSync(file, 0o600)],
      [() => chownSync(file, 65534, 65534), () => chownSync(file, 0, 0)],
      [() => chmodSync(directory, 0o777), () => chmodSync(directory, 0o700)],
      [() => chownSync(directory, 65534, 65534), () => chownSync(directory, 0, 0)],
      [
        () => {
          renameSync(directory, `${directory}.real`);
          symlinkSync(`${directory}.real`, directory);
        },
        () => renameSync(`${directory}.real`, directory),
      ],
    ] as const) {
      spoil();
      await needsBuilder(ARGS);
      if (existsSync(`${directory}.real`)) await rm(directory);
      mend();
      await shows(ARGS, withoutBuilder);
    }
  }),
);

test.skipIf(skip, 'programs that the kernel rejects are built again and replaced', () =>
  withCache(async (directory) => {
    await shows(ARGS);
    const file = only(directory);
    const whole = readFileSync(file);
    const content = whole.subarray(0, whole.length / 2).toString();
    // BPF_EXIT as the first instruction: r0 has no value.
    const changed = Buffer.from(content.replace(/"code":"[^"]{11}/g, '"code":"lQAAAAAAAAA'));
    assert.not(changed.equals(Buffer.from(content)));
    await writeFile(file, Buffer.concat([changed, Buffer.from(changed).reverse()]));
    await needsBuilder(ARGS);
    assert.is(await shows(ARGS), '');
    assert.ok(readFileSync(only(directory)).equals(whole));
  }),
);

test.skipIf(
  skip,
  'a directory that cannot be written is no error, and -v and --diagnose say what they use',
  () =>
    withCache(async (directory) => {
      const output = (...args: string[]) => {
        const words = [COMMAND, ...args];
        const limit = { encoding: 'utf8', timeout: 60_000 * slowness } as const;
        const { status, stdout, stderr } = spawnSync(process.execPath, words, limit);
        assert.is(status, 0, stderr);
        return stdout;
      };
      const verbose = () => output(...ARGS, '-v', '--quiet', '--duration', '0.1');
      assert.match(
        verbose(),
        `\nprograms: built, to show their source lines (program cache: ${directory}, does`,
      );
      assert.not(existsSync(directory), '-v writes no cache');
      await shows(ARGS);
      assert.match(verbose(), `(program cache: ${directory}, 1 of at most 32 files)\n`);
      const diagnosis = output(...ARGS, '--diagnose');
      assert.match(diagnosis, new RegExp(`^program cache +${directory}, 1 of at most 32 files$`, 'm'));
      assert.match(diagnosis, /^\w+ +works: .* \(programs from the cache\)$/m);
      process.env.TCPCONNLAT_CACHE = '/proc/tcpconnlat';
      assert.is(await shows(ARGS), '');
      process.env.TCPCONNLAT_CACHE = '';
      await needsBuilder(ARGS);
      assert.match(verbose(), '(program cache: none, TCPCONNLAT_CACHE is empty)\n');
    }),
);

test.run();
