/** The command as a process: start, end, cleanup, privileges and output. */
import { type SpawnOptions, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import * as assert from 'uvu/assert';
import { needsRoot, sameOnEveryKernel, slowness, suite } from '../harness.ts';
import { connectHere, exited, Server, until } from './connects.ts';
import { exists, programsOf } from './loaded.ts';
import { Pipe } from './pipe.ts';
import { COMMAND, here, Tracer } from './tracer.ts';

const test = suite('live/command', { seconds: 60 });

const PROJECT = fileURLToPath(new URL('../../../', import.meta.url));
const manifest = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8'));
/** The bundle that users install. */
const BUNDLE = join(PROJECT, manifest.bin.tcpconnlat);

let server: Server;
/** Shows whether a tracer is attached. */
let beacon: Server;
test.before(async () => {
  server = await Server.start('127.0.0.1');
  beacon = await Server.start('127.0.0.1');
});
test.after(async () => {
  await server.close();
  await beacon.close();
});

/** Selects the connects of this process. */
const OWN = ['-p', String(process.pid)];
const HEADER = /^PID +COMM +IP +SADDR +DADDR +DPORT +LAT\(ms\)$/;

/** Runs the command until it exits. */
function run(args: readonly string[], options: SpawnOptions = {}, script = COMMAND) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], {
    ...options,
    encoding: 'utf8',
    timeout: 30_000 * slowness,
  });
  return { status, stdout, stderr };
}

// --- cleanup ------------------------------------------------------------------------------------

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGKILL'] as const)
  test.skipIf(
    needsRoot || (!['SIGINT', 'SIGKILL'].includes(signal) && sameOnEveryKernel),
    `after ${signal} nothing stays attached`,
    async () => {
      const tracer = await Tracer.start(OWN);
      const ids = programsOf(tracer.pid);
      assert.ok(ids.length > 0);
      assert.ok(ids.every((id) => exists(here, id)));
      const ended = await tracer.stop(signal);
      assert.equal(ended, signal === 'SIGKILL' ? { code: null, signal } : { code: 0, signal: null });
      assert.is(tracer.warnings, '');
      await until('the end of the programs', () => !ids.some((id) => exists(here, id)));
    },
  );

// --- output -------------------------------------------------------------------------------------

test.skipIf(needsRoot, 'once the header is printed, every connect is shown', async () => {
  const tracer = await Tracer.start(OWN);
  await connectHere(server.port);
  await tracer.until('the connect', () => tracer.rows().length > 0);
  await tracer.stop();
  assert.match(tracer.lines()[0] ?? '', HEADER);
  assert.equal(
    tracer.rows().map(({ DPORT }) => DPORT),
    [String(server.port)],
  );
});

/** The command with its standard output in a pipe that the test reads. */
class Piped {
  readonly tracer: Tracer;
  readonly #pipe = new Pipe();

  constructor(args: readonly string[]) {
    this.tracer = Tracer.run(args, { stdout: this.#pipe.writer });
    this.#pipe.closeWriter();
  }

  /** All output so far. */
  read(): string {
    return this.#pipe.read();
  }

  close(): void {
    this.#pipe.close();
  }
}

test.skipIf(needsRoot || sameOnEveryKernel, 'lines reach a pipe as connects happen', async () => {
  const piped = new Piped(OWN);
  try {
    await piped.tracer.until('the header', () => piped.read().endsWith('LAT(ms)\n'));
    for (let i = 2; i <= 4; i++) {
      await connectHere(server.port);
      const start = performance.now();
      await piped.tracer.until('the line', () => piped.read().split('\n').length - 1 === i);
      // The line must not wait for the periodic sweep of the rings, once a second.
      const waited = performance.now() - start;
      assert.ok(waited < 500 * slowness, `after ${waited} ms`);
    }
    assert.equal(await piped.tracer.stop(), { code: 0, signal: null });
  } finally {
    piped.close();
  }
});

test.skipIf(
  needsRoot || sameOnEveryKernel,
  'when the reader closes the pipe, the command exits silently',
  async () => {
    const piped = new Piped(OWN);
    await piped.tracer.until('the header', () => piped.read().endsWith('LAT(ms)\n'));
    piped.close();
    await connectHere(server.port);
    assert.equal(await piped.tracer.ended(), { code: 0, signal: null });
    assert.is(piped.tracer.warnings, '');
  },
);

test.skipIf(
  needsRoot || sameOnEveryKernel,
  '| head -1 prints the header, and both processes exit with status 0',
  async () => {
    const script = `"$0" "$@" | head -1; echo "\${PIPESTATUS[*]}"`;
    const shell = spawn('bash', ['-c', script, process.execPath, COMMAND, '-q', ...OWN], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const output = ['', ''];
    for (const [i, stream] of [shell.stdout, shell.stderr].entries())
      stream.setEncoding('utf8').on('data', (text: string) => {
        output[i] += text;
      });
    await until('the end', async () => {
      await connectHere(server.port);
      return shell.exitCode !== null;
    });
    await exited(shell);
    const [header = '', status] = output[0]?.split('\n') ?? [];
    assert.match(header, HEADER);
    assert.is(status, '0 0');
    assert.is(output[1], '');
  },
);

test.skipIf(
  needsRoot || sameOnEveryKernel,
  'a reader that stops reading does not block the command or fill its memory: dropped lines are counted',
  async () => {
    const piped = new Piped([...OWN, '-L']);
    try {
      await piped.tracer.until('the header', () => piped.read().endsWith('LAT(ms)\n'));
      // More than a pipe's 64 KiB.
      const made = 1000;
      for (let i = 0; i < made; i += 50)
        await Promise.all(Array.from({ length: 50 }, () => connectHere(server.port)));
      const before = performance.now();
      assert.equal(await piped.tracer.stop('SIGINT'), { code: 0, signal: null });
      assert.ok(
        performance.now() - before < 5000 * slowness,
        'the command waits for the reader for too long',
      );
      const lines = piped.read().split('\n').length - 2;
      const dropped = Number(/^ +(\d+) lines dropped/m.exec(piped.tracer.stderr)?.[1]);
      assert.ok(lines > 100 && dropped > 0, `${lines} lines, ${dropped} dropped`);
      assert.is(lines + dropped, made);
    } finally {
      piped.close();
    }
  },
);

for (const [what, connects] of [
  ['a pipe for lines and messages', 1000], // more than its 64 KiB
  ['a socket', 4000], // more than its 208 KiB
] as const)
  test.skipIf(
    needsRoot || sameOnEveryKernel,
    `${what} that nobody reads does not delay the end`,
    async () => {
      const pipe = new Pipe();
      const stdio = what === 'a socket' ? 'pipe' : pipe.writer;
      const child = spawn(process.execPath, [COMMAND, ...OWN, '-L'], { stdio: ['ignore', stdio, stdio] });
      try {
        // Of a socket only the header is read.
        if (child.stdout) await once(child.stdout, 'data');
        else await until('the header', () => pipe.read().endsWith('LAT(ms)\n'));
        child.stdout?.pause();
        for (let i = 0; i < connects; i += 50)
          await Promise.all(Array.from({ length: 50 }, () => connectHere(server.port)));
        const before = performance.now();
        child.kill('SIGINT');
        assert.equal(await exited(child), { code: 0, signal: null });
        assert.ok(performance.now() - before < 5000 * slowness, 'the command waits for the reader');
      } finally {
        child.kill('SIGKILL');
        pipe.close();
      }
    },
  );

test.skipIf(needsRoot || sameOnEveryKernel, 'an output error ends the command', async () => {
  const full = openSync('/dev/full', 'w');
  const tracer = Tracer.run(OWN, { stdout: full });
  closeSync(full);
  assert.equal(await tracer.ended(), { code: 1, signal: null });
  assert.match(
    tracer.warnings,
    /^tcpconnlat: cannot write the output: ENOSPC: no space left on device, write\n$/,
  );
});

for (const args of [['--help'], ['--dry-run'], ['--json-schema'], ['--completion', 'bash']])
  test.skipIf(sameOnEveryKernel, `${args[0]} on a full disk prints one line and exits with status 1`, () => {
    const full = openSync('/dev/full', 'w');
    const { status, stderr } = run(args, { stdio: ['ignore', full, 'pipe'] });
    closeSync(full);
    assert.is(status, 1);
    assert.is(stderr, 'tcpconnlat: cannot write the output: ENOSPC: no space left on device, write\n');
  });

test.skipIf(
  needsRoot || sameOnEveryKernel,
  'if the limit on open files is too low, one line names the limit',
  async () => {
    // Node's version decides how many files Node itself opens.
    for (let limit = 40; ; limit--) {
      const under = ['sh', '-c', `ulimit -n ${limit} && exec "$@"`, 'sh'];
      const tracer = await Tracer.start([], { under }).catch((error: Error) => error.message);
      if (typeof tracer === 'string') {
        assert.match(
          tracer,
          /^the command ended: 1\ntcpconnlat: .*EMFILE \(too many open files\): .* \(ulimit -n\)\n$/,
        );
        return;
      }
      await tracer.stop();
    }
  },
);

/** Stops the command as Ctrl-Z does. */
async function stopped({ child, pid }: Tracer): Promise<void> {
  child.kill('SIGSTOP');
  await until('it to stop', () => /^State:\tT/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')));
}

const countsLosses = !needsRoot && Number.parseInt(here.release, 10) >= 6;
test.skipIf(
  needsRoot || (countsLosses ? false : 'this kernel does not count losses (6.0)'),
  'events lost to a full ring are counted: shown plus lost events are all events',
  async () => {
    const tracer = await Tracer.start([...OWN, '--pages', '1', '-L']);
    await stopped(tracer);
    // A page holds 39 events.
    const made = 100 + 45 * here.onlineCpus.length;
    for (let i = 0; i < made; i++) await connectHere(server.port);
    tracer.child.kill('SIGCONT');
    await tracer.until('the kept events', () => tracer.rows().length > 0);
    assert.equal(await tracer.stop(), { code: 0, signal: null });
    const lost = Number(/^ +(\d+) events lost/m.exec(tracer.stderr)?.[1]);
    assert.ok(lost > 0, tracer.stderr);
    assert.is(tracer.rows().length + lost, made);
  },
);

/** The calls of write(2) of a process so far. */
function writes({ pid }: Tracer): number {
  return Number(/^syscw: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'latin1'))?.[1]);
}

for (const [what, start] of [
  ['columns', () => Tracer.start(OWN)],
  ['JSON lines', () => Tracer.startJson(OWN, beacon, '127.0.0.1')],
] as const)
  test.skipIf(
    needsRoot || sameOnEveryKernel,
    `events that are read together are written together: ${what}`,
    async () => {
      const tracer = await start();
      await stopped(tracer);
      const [before, made] = [writes(tracer), 300];
      for (let i = 0; i < made; i++) await connectHere(server.port);
      const text = new RegExp(`\\b${server.port}\\b`);
      const lines = () => tracer.lines().filter((line) => text.test(line)).length;
      tracer.child.kill('SIGCONT');
      await tracer.until('all lines', () => lines() >= made);
      // Other writes are wake-ups of the event loop's threads.
      assert.ok(writes(tracer) - before < made / 5, `${writes(tracer) - before} writes`);
      assert.equal(await tracer.stop(), { code: 0, signal: null });
      assert.is(lines(), made);
    },
  );

test.skipIf(
  needsRoot || sameOnEveryKernel || (countsLosses ? false : 'this kernel does not count losses (6.0)'),
  'when the reader closes the pipe, losses so far are reported, without unread lines',
  async () => {
    const piped = new Piped([...OWN, '--pages', '1']);
    const { tracer } = piped;
    await tracer.until('the header', () => piped.read().endsWith('LAT(ms)\n'));
    await stopped(tracer);
    for (let i = 0; i < 100 + 45 * here.onlineCpus.length; i++) await connectHere(server.port);
    piped.close();
    tracer.child.kill('SIGCONT');
    assert.equal(await tracer.ended(), { code: 0, signal: null });
    assert.match(tracer.warnings, /^(tcpconnlat: \d+ events lost \(.*\n)? +\d+ events lost \(.*\n$/);
  },
);

test.skipIf(needsRoot, '-v prints the probe, maps and programs before the header', async () => {
  const tracer = await Tracer.start(['-v', ...OWN]);
  await tracer.stop();
  const { stdout } = tracer;
  assert.match(
    stdout,
    /^probe type: (kprobe \(the kernel has kprobes\)|(tp_btf|raw_tracepoint) \(the first probe type that this kernel supports\))\n/,
  );
  const marks = ['\nattached: ', '\nmap attempts: ', '\nmap events: ', '\nprogram ', '\n    0: ', '\nPID '];
  const places = marks.map((mark) => stdout.indexOf(mark));
  assert.ok(
    places.every((place, i) => place > (places[i - 1] ?? 0)),
    String(places),
  );
  assert.match(stdout, /^; .*tcpconnlat\S*\.[jt]s:\d+: /m, 'with source lines');
  assert.is(tracer.warnings, '');
});

test.skipIf(needsRoot || sameOnEveryKernel, '-v --json prints programs to stderr only', async () => {
  const tracer = Tracer.run(['-v', '--json', ...OWN]);
  await tracer.until('a line', async () => {
    await connectHere(server.port);
    return tracer.records().length > 0;
  });
  await tracer.stop();
  assert.match(tracer.stderr, /^probe type: [\s\S]*\nprogram /);
  for (const { pid, dport } of tracer.records()) assert.equal([pid, dport], [process.pid, server.port]);
});

// --- without tracing, and without root ----------------------------------------------------------

for (const args of [['--nonsense'], ['-4', '-6']])
  test.skipIf(
    sameOnEveryKernel,
    `tcpconnlat ${args.join(' ')} prints its usage to stderr and exits with status 2`,
    () => {
      const { status, stdout, stderr } = run(args);
      assert.is(status, 2);
      assert.is(stdout, '');
      assert.match(stderr, /^tcpconnlat: error: .*\nUsage: tcpconnlat .*\nTry 'tcpconnlat --help'\.\n$/);
    },
  );

for (const [args, message] of [
  [
    ['--cgroup', '/proc'],
    '--cgroup /proc: not a cgroup; use a directory below a cgroup2 mount, usually /sys/fs/cgroup',
  ],
  [
    ['--cgroup', '/nowhere'],
    '--cgroup /nowhere: cannot open it: ENOENT (no such file or directory); cgroups are the directories below a cgroup2 mount, usually /sys/fs/cgroup',
  ],
  [
    ['--netns', '/nowhere'],
    '--netns /nowhere: cannot open it: ENOENT (no such file or directory); lsns -t net lists the network namespaces and their processes',
  ],
  [
    ['--netns', '/proc/self/ns/uts'],
    '--netns /proc/self/ns/uts: a namespace of another type; use /proc/PID/ns/net or /run/netns/NAME',
  ],
  [['--netns', '4194304'], '--netns 4194304: no such process'],
] as const)
  test.skipIf(
    sameOnEveryKernel,
    `tcpconnlat ${args.join(' ')} prints one line and exits with status 2`,
    () => {
      for (const more of [[], ['--dry-run']])
        assert.equal(run([...args, ...more]), { status: 2, stdout: '', stderr: `tcpconnlat: ${message}\n` });
    },
  );

test.skipIf(sameOnEveryKernel, '--help prints to stdout and exits with status 0', () => {
  const { status, stdout, stderr } = run(['--help']);
  assert.equal({ status, stderr }, { status: 0, stderr: '' });
  assert.match(stdout, /^Usage: tcpconnlat /);
});

test.skipIf(sameOnEveryKernel, '--version works compiled and bundled', () => {
  const expected = { status: 0, stdout: `${manifest.version}\n`, stderr: '' };
  assert.equal(run(['--version']), expected);
  assert.equal(run(['--version'], {}, BUNDLE), expected);
});

test.skipIf(sameOnEveryKernel, '--json-schema prints JSON', () => {
  const { status, stdout, stderr } = run(['--json-schema']);
  assert.equal({ status, stderr }, { status: 0, stderr: '' });
  assert.is(JSON.parse(stdout).$schema, 'https://json-schema.org/draft/2020-12/schema');
});

/** Why a process cannot get its own namespaces, or false. */
function noNamespace(...options: string[]): string | false {
  return spawnSync('unshare', [...options, 'true']).status !== 0 && `unshare ${options.join(' ')} is refused`;
}

const ROOTLESS = ['-U', '-r'];
test.skipIf(
  sameOnEveryKernel || needsRoot || noNamespace(...ROOTLESS),
  'as root of a user namespace, one line explains the failure',
  async () => {
    const tracer = Tracer.run([], { under: ['unshare', ...ROOTLESS] });
    assert.equal(await tracer.ended(), { code: 1, signal: null });
    assert.match(
      tracer.stderr,
      /^tcpconnlat: .* EPERM .*: this process is in a user namespace .*run it as root on the host\n$/,
    );
  },
);

const PID_NAMESPACE = ['--pid', '--fork', '--kill-child', '--mount-proc'];
for (const [args, whose] of [
  [[], 'the output uses'],
  [OWN, 'the output and -p use'],
  [['-p', '4194303'], 'the output and -p use'],
] as const)
  test.skipIf(
    sameOnEveryKernel || needsRoot || noNamespace(...PID_NAMESPACE),
    `in a PID namespace, ${args[0] ? `with ${args.join(' ')}` : 'without -p'}, one line warns that PIDs are the host\u2019s`,
    async () => {
      const tracer = await Tracer.start(args, { under: ['unshare', ...PID_NAMESPACE] });
      if (args[1] !== '4194303') {
        await connectHere(server.port);
        await tracer.until('the connect', () => tracer.rows().some(({ PID }) => PID === String(process.pid)));
      }
      await tracer.stop('SIGKILL');
      const lines = tracer.warnings.split('\n').filter((line) => line.includes('PID'));
      assert.is(lines.length, 1, tracer.stderr);
      assert.ok(lines[0]?.includes(`${whose} the PIDs of the host`), lines[0]);
    },
  );

test.skipIf(needsRoot || sameOnEveryKernel, '-p warns about threads and missing processes only', async () => {
  const worker = new Worker('setTimeout(() => {}, 1e6)', { eval: true });
  const threads = readdirSync('/proc/self/task').map(Number);
  const thread = threads.find((each) => each !== process.pid);
  const tracer = await Tracer.start(['-p', `${process.pid},${thread},4194303`]);
  await connectHere(server.port);
  await tracer.until('the connect', () => tracer.rows().length > 0);
  await tracer.stop();
  await worker.terminate();
  assert.is(
    tracer.warnings,
    `tcpconnlat: -p ${thread}: this is a thread of process ${process.pid}; use -p ${process.pid}\n` +
      'tcpconnlat: -p 4194303: no such process; only a process that starts later can match\n',
  );
});

const NOBODY = { uid: 65_534, gid: 65_534, cwd: '/' };
const mayRead = `require('fs').readFileSync(${JSON.stringify(COMMAND)}); require(${JSON.stringify(join(PROJECT, 'package.json'))})`;
const noNobody =
  needsRoot ||
  (spawnSync(process.execPath, ['-e', mayRead], NOBODY).status !== 0 &&
    'the user nobody cannot read this build or run this Node');

const noBtf = here.btf === undefined && 'this kernel has no BTF';

for (const [who, options, probes, reason] of [
  ['this user', {}, ['kprobe', 'tp_btf', 'raw_tracepoint'], false],
  ['the user nobody', NOBODY, ['kprobe'], noNobody],
] as const)
  test.skipIf(
    reason || noBtf || sameOnEveryKernel,
    `--dry-run as ${who} prints the programs and loads nothing`,
    () => {
      for (const probe of probes) {
        const { status, stdout, stderr } = run(['--dry-run', '--probe', probe], options);
        assert.equal({ status, stderr }, { status: 0, stderr: '' });
        assert.ok(stdout.startsWith(`probe type: ${probe} (--probe ${probe})\n`), stdout.slice(0, 80));
        assert.match(stdout, /\nprogram \w+: .*, \d+ instructions\n[\s\S]*\(95\) exit\n\n$/);
        assert.not.match(stdout, /^PID +COMM /m);
      }
    },
  );

test.skipIf(
  noNobody || sameOnEveryKernel,
  'tracing as the user nobody fails with one line that names the missing capabilities',
  () => {
    for (const args of [[], ['--probe', 'tracepoint']]) {
      const { status, stdout, stderr } = run(args, NOBODY);
      assert.equal({ status, stdout }, { status: 1, stdout: '' });
      assert.match(stderr, /^tcpconnlat: .*lacks CAP_BPF and CAP_PERFMON .*run it as root\n$/);
    }
  },
);

test.skipIf(noBtf || sameOnEveryKernel, 'source lines in the bundle’s listing match the sources', () => {
  const { stdout } = run(['--dry-run', '--probe', 'kprobe'], {}, BUNDLE);
  const shown = [...stdout.matchAll(/^; (src\/programs\/\S+):(\d+): (.*)$/gm)];
  assert.ok(shown.length > 20, `${shown.length} source lines`);
  for (const [, file = '', line, text] of shown) {
    const source = readFileSync(join(PROJECT, file), 'utf8').split('\n');
    assert.is(text, source[Number(line) - 1]?.trim(), `${file}:${line}`);
  }
});

test.run();
