/** Recordings of this kernel, and their replay. */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Value } from '@sinclair/typebox/value';
import * as assert from 'uvu/assert';
import { headerSchema, recordSchema } from '../../src/cli/json.ts';
import { fieldsOf } from '../../src/cli/record.ts';
import { needsRoot, sameOnEveryKernel, slowness, suite } from '../harness.ts';
import { withDisk } from '../small-disk.ts';
import { connectHere, loopback, Peer, Server, until } from './connects.ts';
import { COMMAND, here, noProbeHere, PROBE_TYPES_HERE, Tracer } from './tracer.ts';

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

/** Runs the command until it exits. */
function run(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [COMMAND, ...args], {
    encoding: 'utf8',
    timeout: 30_000 * slowness,
  });
  return { status, stdout, stderr };
}

test.skipIf(noProbeHere, 'a replay shows what the trace showed, and its options still apply', async () => {
  const file = join(folder, 'all');
  const peer = await Peer.start();
  const [probe = 'kprobe'] = PROBE_TYPES_HERE;
  const options = ['--probe', probe, '-tL', '--who', '--wall', '--outcome'];
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
  assert.is(header.way, probe);
  assert.is(header.kernel, here.release);
  assert.equal(header.options, [...options, '--record', file]);
  for (const record of records) assert.equal([...Value.Errors(recordSchema(), record)], []);
  const own = records.filter(({ pid }) => pid === peer.pid);
  assert.is(own.length, 4);
  // Rings of two CPUs are not read in event order.
  const lports = own.map(({ lport }) => lport);
  assert.ok(
    made.every((port) => lports.includes(port)),
    `${made} ${lports}`,
  );

  assert.equal(run('-q', '--replay', file, ...options.slice(2)), {
    status: 0,
    stdout: tracer.stdout,
    stderr: '',
  });
  const shown = run('-q', '--replay', file, '--json', '-p', String(peer.pid)).stdout;
  assert.equal(
    shown
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).lat_ms),
    own.filter(({ result }) => ['established', 'refused'].includes(result)).map(({ lat_ms }) => lat_ms),
    'without --outcome only answered connects',
  );
  assert.is(shown.trimEnd().split('\n').length, 4);
});

test.skipIf(noProbeHere || sameOnEveryKernel, 'a recording includes data that is not shown', async () => {
  const file = join(folder, 'plain');
  const tracer = await Tracer.start(['-p', String(process.pid), '--record', file]);
  const { localPort } = await connectHere(server.port);
  await tracer.until('the line', () => tracer.rows().length > 0);
  await tracer.stop();
  const again = run('-q', '--replay', file, '--json', '--wall');
  assert.equal([again.status, again.stderr], [0, '']);
  const [record] = again.stdout.split('\n').map((line) => line && JSON.parse(line));
  assert.is(record.lport, localPort);
  assert.ok(Math.abs(Date.parse(record.time) - Date.now()) < 60_000);
  const withoutWho = run('-q', '--replay', file, '--who');
  assert.equal(
    [withoutWho.status, withoutWho.stderr],
    [0, `tcpconnlat: ${file} was recorded without --who: it has no ${fieldsOf('who').join(', ')}\n`],
  );
});

test.skipIf(noProbeHere || sameOnEveryKernel, 'a killed recorder leaves a readable recording', async () => {
  const file = join(folder, 'killed');
  const tracer = await Tracer.start([...OWN, '--record', file]);
  await connectHere(server.port);
  await tracer.until('the line', () => tracer.rows().length > 0);
  await tracer.stop('SIGKILL');
  const { status, stdout } = run('-q', '--replay', file, '--json');
  assert.is(status, 0);
  assert.is(stdout.split('\n').length, 2);
});

test.skipIf(
  noProbeHere || sameOnEveryKernel,
  'on a full disk one line counts the missing events, and the status is 1',
  async () => {
    await withDisk(folder, 'size=4k', async (disk) => {
      const file = join(disk, 'full');
      const tracer = await Tracer.start([...OWN, '--record', file]);
      await until('its end', async () => {
        await Promise.all(Array.from({ length: 10 }, () => connectHere(server.port)));
        return tracer.child.exitCode !== null;
      });
      assert.equal(await tracer.ended(), { code: 1, signal: null });
      const message =
        /^tcpconnlat: cannot write the recording \S+: ENOSPC: .*; (\d+) events are missing from it\n$/.exec(
          tracer.warnings,
        );
      const whole = readFileSync(file, 'utf8').split('\n').length - 2;
      assert.ok(whole > 0 && Number(message?.[1]) > 0, tracer.stderr);
      assert.is(whole + Number(message?.[1]), tracer.rows().length, 'all events are shown');
      const { status, stdout, stderr } = run('-q', '--replay', file, '--json');
      assert.is(stdout.split('\n').length - 1, whole);
      assert.equal([status, stderr], [2, `tcpconnlat: ${file}:${whole + 2}: it is cut off\n`]);
    });
  },
);

test.skipIf(
  noProbeHere || sameOnEveryKernel,
  'if the file cannot be written, nothing is traced: one line, status 1',
  () => {
    const { status, stdout, stderr } = run('--record', '/nowhere/x');
    assert.equal([status, stdout], [1, '']);
    assert.match(stderr, /^tcpconnlat: cannot write the recording \/nowhere\/x: ENOENT: .*\n$/);
  },
);

test.skipIf(
  noProbeHere || sameOnEveryKernel,
  'if tracing fails, an older recording is not changed',
  async () => {
    const file = join(folder, 'kept');
    const tracer = await Tracer.start([...OWN, '--record', file]);
    await tracer.stop();
    const { size } = statSync(file);
    assert.is(run('--record', file, '--btf', '/dev/null').status, 2);
    assert.is(statSync(file).size, size);
  },
);

/** Makes a connect and waits until it is shown. */
async function connectShown(tracer: Tracer): Promise<void> {
  const before = tracer.rows().length;
  await connectHere(server.port);
  await tracer.until('the line', () => tracer.rows().length > before);
}

/** The tool in a recording's header, and the number of connects. */
function readRecording(file: string): readonly [string, number] {
  const [header = '', ...lines] = readFileSync(file, 'utf8').split('\n');
  return [JSON.parse(header).tsbpf, lines.length - 1];
}

for (const umask of ['0', '022', '777'])
  test.skipIf(
    noProbeHere || sameOnEveryKernel,
    `only the owner can read a recording, with umask ${umask}`,
    async () => {
      const file = join(folder, `umask-${umask}`);
      const under = ['sh', '-c', `umask ${umask}; exec "$@"`, 'sh'];
      const tracer = await Tracer.start([...OWN, '--record', file], { under });
      await tracer.stop();
      assert.is(statSync(file).mode & 0o777, 0o600);
      assert.is(tracer.warnings, '');
    },
  );

test.skipIf(
  noProbeHere || sameOnEveryKernel,
  'a readable older recording becomes private, with a message',
  async () => {
    const file = join(folder, 'public');
    writeFileSync(file, 'older');
    chmodSync(file, 0o644);
    const tracer = await Tracer.start([...OWN, '--record', file]);
    await tracer.stop();
    assert.is(statSync(file).mode & 0o777, 0o600);
    assert.is(tracer.warnings, `tcpconnlat: the mode of ${file} was 0644 and is now 0600\n`);
  },
);

test.skipIf(
  noProbeHere || sameOnEveryKernel,
  'a second recorder is refused, and a killed one leaves no lock',
  async () => {
    const file = join(folder, 'locked');
    symlinkSync('locked', join(folder, 'alias'));
    const first = await Tracer.start([...OWN, '--record', file]);
    for (const path of [file, join(folder, 'alias')])
      assert.equal(run('--record', path), {
        status: 1,
        stdout: '',
        stderr: `tcpconnlat: cannot write the recording ${path}: another process is recording to it (pid ${first.pid}); name another file\n`,
      });
    await connectShown(first);
    assert.equal(readRecording(file), ['tcpconnlat', 1]);
    await first.stop('SIGKILL');
    const second = await Tracer.start([...OWN, '--record', file]);
    await second.stop();
    assert.equal(readRecording(file), ['tcpconnlat', 0]);
  },
);

test.skipIf(
  noProbeHere || sameOnEveryKernel,
  'if several recorders start at once on one new file, one records and the others fail',
  async () => {
    const file = join(folder, 'raced');
    const tracers = Array.from({ length: 4 }, () => Tracer.run([...OWN, '--record', file]));
    const isOver = (tracer: Tracer) => tracer.child.exitCode !== null;
    await until('all but one to end', () => tracers.filter(isOver).length === 3);
    const [winner, ...more] = tracers.filter((tracer) => !isOver(tracer)) as [Tracer, ...Tracer[]];
    assert.equal(more, []);
    await winner.until('the header', () => winner.stdout.includes('LAT(ms)'));
    await connectShown(winner);
    for (const tracer of tracers.filter(isOver)) {
      assert.is((await tracer.ended()).code, 1);
      assert.is(
        tracer.warnings,
        `tcpconnlat: cannot write the recording ${file}: another process is recording to it (pid ${winner.pid}); name another file\n`,
      );
    }
    await winner.stop();
    assert.equal(readRecording(file), ['tcpconnlat', 1]);
  },
);

test.skipIf(
  noProbeHere || sameOnEveryKernel,
  'a recording in progress can be replayed up to its last complete line',
  async () => {
    const file = join(folder, 'under-way');
    const tracer = await Tracer.start([...OWN, '--record', file]);
    for (let count = 1; count <= 3; count++) {
      await connectShown(tracer);
      const { status, stdout, stderr } = run('--replay', file, '--json', '--quiet');
      assert.equal([status, stdout.split('\n').length - 1, stderr], [0, count, '']);
    }
    await tracer.stop();
  },
);

const failures: readonly (readonly [string, readonly string[], number])[] = [
  ['no BTF', ['--btf', '/dev/null'], 2],
  ['no such cgroup', ['--cgroup', '/nowhere'], 2],
  ['no such process', ['--netns', '4194304'], 2],
];
for (const [why, args, status] of failures)
  test.skipIf(
    noProbeHere || sameOnEveryKernel,
    `a failed start creates no file and keeps an older one: ${why}`,
    () => {
      const [fresh, old] = [join(folder, 'not-begun'), join(folder, 'older')];
      writeFileSync(old, 'older');
      chmodSync(old, 0o644);
      for (const file of [fresh, old]) assert.is(run('--record', file, ...args).status, status);
      assert.is(existsSync(fresh), false);
      assert.equal([readFileSync(old, 'utf8'), statSync(old).mode & 0o777], ['older', 0o644]);
    },
  );

test.skipIf(
  needsRoot || sameOnEveryKernel,
  'without tracing rights no file is created; an unwritable file is reported first',
  () => {
    const [own, others] = [join(folder, 'own'), join(folder, 'others')];
    for (const path of [own, others]) mkdirSync(path);
    chmodSync(folder, 0o755);
    chownSync(own, 65_534, 65_534);
    const asNobody = (file: string) =>
      spawnSync(process.execPath, [COMMAND, '--record', file], {
        uid: 65_534,
        gid: 65_534,
        encoding: 'utf8',
      });
    const untraced = asNobody(join(own, 'file'));
    assert.is(untraced.status, 1);
    assert.match(untraced.stderr, /lacks CAP_BPF and CAP_PERFMON/);
    assert.equal(readdirSync(own), []);
    const file = join(others, 'file');
    assert.equal(
      [asNobody(file).status, asNobody(file).stderr],
      [1, `tcpconnlat: cannot write the recording ${file}: EACCES: permission denied\n`],
    );
  },
);

test.skipIf(
  noProbeHere || sameOnEveryKernel,
  'a signal during the start leaves no file, the older file, or a complete first line',
  async () => {
    const [fresh, old] = [join(folder, 'interrupted'), join(folder, 'interrupted-old')];
    const begin = performance.now();
    await (await Tracer.start([...OWN, '--record', fresh])).stop();
    const startMs = performance.now() - begin;
    rmSync(fresh);
    const seen = new Set<string>();
    for (const signal of ['SIGTERM', 'SIGKILL'] as const)
      for (let part = 0.2; part <= 1.2; part += 0.12)
        for (const file of [fresh, old]) {
          writeFileSync(old, 'older', { mode: 0o600 });
          const tracer = Tracer.run([...OWN, '--record', file]);
          await sleep(part * startMs);
          const { code } = await tracer.stop(signal);
          const text = existsSync(file) ? readFileSync(file, 'utf8') : 'none';
          if (tracer.stderr.includes('stopped before tracing began'))
            assert.equal([code, text], [0, file === fresh ? 'none' : 'older']);
          else
            assert.match(text, file === fresh ? /^(none$|\{"tsbpf":.*\}\n)/ : /^(older$|\{"tsbpf":.*\}\n)/);
          seen.add(text.slice(0, 5));
          rmSync(fresh, { force: true });
        }
    assert.ok(seen.has('none') && seen.has('older'), [...seen].join(' '));
  },
);

/** Standard output or standard error is the file that the command records to. */
for (const [what, args, redirection] of [
  ['by its name', ['--record', '/dev/stdout'], ''],
  ['by its name, discarded', ['--record', '/dev/stdout'], '>/dev/null'],
  ['by its number', ['--record', '/dev/fd/1'], ''],
  ['by its process', ['--record', '/proc/self/fd/1'], ''],
  ['the standard error', ['--record', '/dev/stderr'], ''],
  ['as a file', ['--record', 'same'], '>same'],
  ['as a file that grows', ['--record', './same'], '>>same'],
  ['the standard error as a file', ['--record', 'same'], '2>same'],
] as const)
  test(`recording into the command\u2019s own output is refused: ${what}`, () => {
    const { status, stdout, stderr } = spawnSync(
      'sh',
      ['-c', `exec "$@" ${redirection}`, 'sh', process.execPath, COMMAND, ...args],
      { cwd: folder, encoding: 'utf8', timeout: 30_000 * slowness },
    );
    const errors = redirection.startsWith('2') ? readFileSync(join(folder, 'same'), 'utf8') : stderr;
    assert.equal(
      [status, stdout, errors],
      [
        2,
        '',
        `tcpconnlat: cannot write the recording ${args[1]}: it is the output of this command; name another file\n`,
      ],
    );
  });

test.skipIf(
  noProbeHere || sameOnEveryKernel,
  'a process substitution, a shell descriptor and /dev/null can be recorded to',
  async () => {
    const file = join(folder, 'substituted');
    const under = ['bash', '-c', `exec "$@" --record >(cat >${file})`, 'bash'];
    const tracer = await Tracer.start(OWN, { under });
    await connectShown(tracer);
    await tracer.stop();
    await until('the copy', () => existsSync(file) && readFileSync(file, 'utf8').split('\n').length === 3);
    assert.equal(readRecording(file), ['tcpconnlat', 1]);

    const third = await Tracer.start([...OWN, '--record', '/dev/fd/3'], {
      under: ['sh', '-c', `exec "$@" 3>${file}.3`, 'sh'],
    });
    await connectShown(third);
    await third.stop();
    assert.equal(readRecording(`${file}.3`), ['tcpconnlat', 1]);

    const discarded = await Tracer.start([...OWN, '--record', '/dev/null']);
    await discarded.stop();
    assert.is(discarded.warnings, '');
  },
);

test.skipIf(
  noProbeHere || sameOnEveryKernel,
  'in a sticky directory, links and files of other users are refused, independent of sysctls',
  async () => {
    const [shared, own] = [join(folder, 'shared'), join(folder, 'own-folder')];
    for (const path of [shared, own]) mkdirSync(path);
    chmodSync(folder, 0o755);
    chmodSync(shared, 0o1777);
    const victim = join(own, 'victim');
    writeFileSync(victim, 'precious', { mode: 0o600 });
    // The other user creates these.
    const plant = `ln -s ${victim} link; ln -s ${own}/new dangling; ln -s ${own} folder; echo theirs >file; mkfifo pipe; sleep 60 <>pipe >/dev/null 2>&1 & echo $!`;
    const planted = spawnSync('sh', ['-c', plant], {
      cwd: shared,
      uid: 65_534,
      gid: 65_534,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const holder = Number(planted.stdout);
    for (const name of ['link', 'dangling', 'folder/new', 'file', 'pipe']) {
      const path = join(shared, name);
      const { status, stdout, stderr } = run(...OWN, '--record', path);
      assert.equal([status, stdout], [1, ''], stderr);
      const [start, end] = [
        `tcpconnlat: cannot write the recording ${path}: `,
        ', in a sticky directory; name a file elsewhere\n',
      ];
      assert.ok(stderr.startsWith(start) && stderr.endsWith(`another user (uid 65534)${end}`), stderr);
    }
    process.kill(holder);
    assert.equal([readdirSync(own), readFileSync(victim, 'utf8')], [['victim'], 'precious']);
    assert.is(readFileSync(join(shared, 'file'), 'utf8'), 'theirs\n');

    // The user's own link is followed.
    for (const path of [join(shared, 'mine'), join(folder, 'mine')]) {
      symlinkSync(victim, path);
      const tracer = await Tracer.start([...OWN, '--record', path]);
      await tracer.stop();
      assert.equal(readRecording(victim), ['tcpconnlat', 0]);
    }
  },
);

test.skipIf(noProbeHere || sameOnEveryKernel, 'a full disk leaves no empty file', async () => {
  await withDisk(folder, 'size=4k', async (disk) => {
    writeFileSync(join(disk, 'full'), 'x'.repeat(4096));
    const { status, stderr } = run(...OWN, '--quiet', '--record', join(disk, 'new'));
    assert.is(status, 1);
    assert.match(stderr, /^tcpconnlat: cannot write the recording \S+new: ENOSPC: .*\n$/);
    assert.equal(readdirSync(disk), ['full']);
  });
});

test.run();
