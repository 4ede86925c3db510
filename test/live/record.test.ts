/** Recordings made of this kernel, and shown again. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Value } from '@sinclair/typebox/value';
import * as assert from 'uvu/assert';
import { headerSchema, recordSchema } from '../../src/cli/json.ts';
import { sameOnEveryKernel, slowness, suite } from '../harness.ts';
import { connectHere, loopback, Peer, Server, until } from './connects.ts';
import { COMMAND, here, hidesRefused, noWayHere, Tracer, WAYS_HERE } from './tracer.ts';

const test = suite('live/record', { seconds: 60 });

let folder = '';
let server: Server;
test.before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tsbpf-record-'));
  server = await Server.start('127.0.0.1');
});
test.after(async () => {
  rmSync(folder, { recursive: true });
  await server.close();
});

const OWN = ['-p', String(process.pid)];

/** Runs the command to its end. */
function run(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [COMMAND, ...args], {
    encoding: 'utf8',
    timeout: 30_000 * slowness,
  });
  return { status, stdout, stderr };
}

test.skipIf(noWayHere, 'what is recorded shows again as it was shown, under whichever options', async () => {
  const file = join(folder, 'all');
  const peer = await Peer.start();
  const [way = 'kprobe'] = WAYS_HERE;
  const options = ['--probe', way, '-tL', '--who', '--wall', '--outcome'];
  const tracer = await Tracer.start([...options, '--record', file]);
  const made: number[] = [];
  for (let i = 0; i < 3; i++) made.push((await peer.ask('connect', loopback(server.port))).localPort);
  await peer.ask('connect', loopback(await peer.ask('closedPort', '127.0.0.1')));
  assert.equal(await tracer.stop(), { code: 0, signal: null });
  await peer.stop();
  const [header, ...records] = readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

  assert.equal([...Value.Errors(headerSchema(), header)], []);
  assert.is(header.way, way);
  assert.is(header.kernel, here.release);
  assert.equal(header.options, [...options, '--record', file]);
  for (const record of records) assert.equal([...Value.Errors(recordSchema(), record)], []);
  const own = records.filter(({ pid }) => pid === peer.pid);
  assert.is(own.length, 4);
  // Rings of two CPUs aren't read in the order of their events.
  const lports = own.map(({ lport }) => lport);
  assert.ok(
    made.every((port) => lports.includes(port)),
    `${made} ${lports}`,
  );

  assert.equal(run('--replay', file, ...options.slice(2)), {
    status: 0,
    stdout: tracer.stdout,
    stderr: '',
  });
  const shown = run('--replay', file, '--json', '-p', String(peer.pid)).stdout;
  assert.equal(
    shown
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).lat_ms),
    own.filter(({ result }) => ['established', 'refused'].includes(result)).map(({ lat_ms }) => lat_ms),
    'without --outcome those that were answered, as far as that is known',
  );
  assert.is(shown.trimEnd().split('\n').length, hidesRefused(way) ? 3 : 4);
});

test.skipIf(
  noWayHere || sameOnEveryKernel,
  'everything is recorded that costs nothing: also what isn\u2019t shown',
  async () => {
    const file = join(folder, 'plain');
    const tracer = await Tracer.start(['-p', String(process.pid), '--record', file]);
    const { localPort } = await connectHere(server.port);
    await tracer.until('the line', () => tracer.rows().length > 0);
    await tracer.stop();
    const again = run('--replay', file, '--json', '--wall');
    assert.equal([again.status, again.stderr], [0, '']);
    const [record] = again.stdout.split('\n').map((line) => line && JSON.parse(line));
    assert.is(record.lport, localPort);
    assert.ok(Math.abs(Date.parse(record.time) - Date.now()) < 60_000);
    const lacking = run('--replay', file, '--who');
    assert.equal(
      [lacking.status, lacking.stderr],
      [0, `tcpconnlat: ${file} tells no uid, container, pod: it was recorded without --who\n`],
    );
  },
);

test.skipIf(
  noWayHere || sameOnEveryKernel,
  'a killed recorder leaves a recording that shows to its end',
  async () => {
    const file = join(folder, 'killed');
    const tracer = await Tracer.start([...OWN, '--record', file]);
    await connectHere(server.port);
    await tracer.until('the line', () => tracer.rows().length > 0);
    await tracer.stop('SIGKILL');
    const { status, stdout } = run('--replay', file, '--json');
    assert.is(status, 0);
    assert.is(stdout.split('\n').length, 2);
  },
);

test.skipIf(
  noWayHere || sameOnEveryKernel,
  'a full disk: one line that counts what is missing, and status 1',
  async () => {
    const disk = join(folder, 'disk');
    mkdirSync(disk);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4k', 'none', disk]);
    try {
      const file = join(disk, 'full');
      const tracer = await Tracer.start([...OWN, '--record', file]);
      await until('its end', async () => {
        await Promise.all(Array.from({ length: 10 }, () => connectHere(server.port)));
        return tracer.child.exitCode !== null;
      });
      assert.equal(await tracer.ended(), { code: 1, signal: null });
      const told =
        /^tcpconnlat: cannot write the recording \S+: ENOSPC: .*; (\d+) events are not in it\n$/.exec(
          tracer.complaints,
        );
      const whole = readFileSync(file, 'utf8').split('\n').length - 2;
      assert.ok(whole > 0 && Number(told?.[1]) > 0, tracer.stderr);
      assert.is(whole + Number(told?.[1]), tracer.rows().length, 'all are shown');
      const { status, stdout, stderr } = run('--replay', file, '--json');
      assert.is(stdout.split('\n').length - 1, whole);
      assert.equal([status, stderr], [2, `tcpconnlat: ${file}:${whole + 2}: it is cut off\n`]);
    } finally {
      execFileSync('umount', [disk]);
    }
  },
);

test.skipIf(
  noWayHere || sameOnEveryKernel,
  'a file that can\u2019t be written: one line, status 1, and nothing is traced',
  () => {
    const { status, stdout, stderr } = run('--record', '/nowhere/x');
    assert.equal([status, stdout], [1, '']);
    assert.match(stderr, /^tcpconnlat: cannot write the recording \/nowhere\/x: ENOENT: .*\n$/);
  },
);

test.skipIf(
  noWayHere || sameOnEveryKernel,
  'where tracing isn\u2019t possible an older recording is left alone',
  async () => {
    const file = join(folder, 'kept');
    const tracer = await Tracer.start([...OWN, '--record', file]);
    await tracer.stop();
    const { size } = statSync(file);
    assert.is(run('--record', file, '--btf', '/dev/null').status, 2);
    assert.is(statSync(file).size, size);
  },
);

test.run();
