/** What ends a run besides a signal, and the size of the table of connects in flight. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { sameOnEveryKernel, slowness, suite } from '../harness.ts';
import { connectHere, FullListener, loopback, Peer, Server } from './connects.ts';
import { Pipe } from './pipe.ts';
import { noProbeHere, Tracer } from './tracer.ts';

const test = suite('live/run-limits', { seconds: 60 });

let server: Server;
test.before(async () => {
  server = await Server.start('127.0.0.1');
});
test.after(() => server.close());

/** Selects the connects of this process. */
const OWN = ['-p', String(process.pid)];

async function connectMany(count: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, () => connectHere(server.port)));
}

/** A count in the summary; 0 if it has none. */
function counted({ summary }: Tracer, what: RegExp): number {
  return Number(new RegExp(`(\\d+) ${what.source}`).exec(summary)?.[1] ?? 0);
}

// --- duration ------------------------------------------------------------------------------------

test.skipIf(noProbeHere, '-d ends the run with status 0 and a summary, after this time', async () => {
  const tracer = await Tracer.start([...OWN, '-d', '0.8']);
  const start = performance.now();
  await connectHere(server.port);
  assert.equal(await tracer.ended(), { code: 0, signal: null });
  const took = performance.now() - start;
  assert.ok(took > 600 && took < 800 + 5000 * slowness, `${took} ms`);
  assert.is(tracer.rows().length, 1);
  assert.match(tracer.summary, /^1 connect shown/);
  assert.is(tracer.warnings, '');
});

test.skipIf(noProbeHere || sameOnEveryKernel, 'a signal ends a run with -d and -n at once', async () => {
  const tracer = await Tracer.start([...OWN, '-d', '1000', '-n', '1000']);
  const start = performance.now();
  assert.equal(await tracer.stop('SIGINT'), { code: 0, signal: null });
  assert.ok(performance.now() - start < 5000 * slowness);
});

// --- count ---------------------------------------------------------------------------------------

for (const options of [[], ['--json'], ['--resolve']])
  test.skipIf(
    noProbeHere || (options.length > 0 && sameOnEveryKernel),
    `-n shows exactly so many connects ${options.join('')}, and counts the others`,
    async () => {
      const tracer = Tracer.run([...OWN, '-n', '5', ...options]);
      let made = 0;
      while (tracer.child.exitCode === null) {
        await connectMany(10);
        made += 10;
      }
      assert.equal(await tracer.ended(), { code: 0, signal: null });
      const lines = tracer.lines().length - (options[0] === '--json' ? 0 : 1);
      assert.is(lines, 5, tracer.stdout);
      assert.match(tracer.summary, /^5 connects shown/);
      assert.ok(counted(tracer, /came after the last line/) <= made - 5, tracer.summary);
    },
  );

test.skipIf(noProbeHere || sameOnEveryKernel, 'shown and surplus connects are all connects', async () => {
  const tracer = await Tracer.start([...OWN, '-n', '3']);
  tracer.child.kill('SIGSTOP');
  await connectMany(20);
  tracer.child.kill('SIGCONT');
  await tracer.ended();
  assert.is(tracer.rows().length, 3);
  assert.is(counted(tracer, /came after the last line/), 17, tracer.stderr);
});

test.skipIf(
  noProbeHere || sameOnEveryKernel,
  '-n waits for a slow reader, and a signal ends that',
  async () => {
    const pipe = new Pipe();
    const tracer = Tracer.run([...OWN, '-n', '2', '-L'], { stdout: pipe.writer });
    try {
      await tracer.until('the header', () => pipe.read().endsWith('LAT(ms)\n'));
      pipe.fill();
      await connectMany(4);
      await new Promise((resolve) => setTimeout(resolve, 1000 * slowness));
      assert.is(tracer.child.exitCode, null);
      const text = pipe.read(); // makes room
      assert.ok(text.length > 0);
      pipe.closeWriter();
      assert.equal(await tracer.ended(), { code: 0, signal: null });
      assert.match(tracer.summary, /^2 connects shown/);
      assert.is(
        pipe
          .read()
          .split('\n')
          .filter((line) => line.includes('127.0.0.1')).length,
        2,
      );
    } finally {
      tracer.child.kill('SIGKILL');
      pipe.close();
    }
  },
);

test.skipIf(noProbeHere || sameOnEveryKernel, 'a recording has the connects of -n', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'tsbpf-limits-'));
  try {
    const file = join(folder, 'few.jsonl');
    const tracer = await Tracer.start([...OWN, '-n', '3', '--record', file]);
    tracer.child.kill('SIGSTOP');
    await connectMany(9);
    tracer.child.kill('SIGCONT');
    assert.equal(await tracer.ended(), { code: 0, signal: null });
    assert.is(readFileSync(file, 'utf8').split('\n').length - 1, 1 + 3);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

// --- the table of connects in flight -------------------------------------------------------------

test.skipIf(
  noProbeHere,
  '--max-connects sizes the table; the message about a full table names it',
  async () => {
    const [peer, listening] = await Promise.all([Peer.start(), Peer.start()]);
    const full = await FullListener.start(listening);
    const tracer = await Tracer.start(['-p', String(peer.pid), '--max-connects', '2']);
    try {
      for (let i = 0; i < 5; i++) await peer.ask('connect', loopback(full.port), { nonBlocking: true });
      await tracer.until('the report', () =>
        tracer.stderr.includes('3 connects not traced (too many in flight; increase --max-connects)\n'),
      );
      assert.equal(await tracer.stop(), { code: 0, signal: null });
      assert.is(counted(tracer, /not answered yet/), 2, tracer.stderr);
    } finally {
      tracer.child.kill('SIGKILL');
      await Promise.all([peer.stop(), listening.stop()]);
    }
  },
);

// --- the summary ---------------------------------------------------------------------------------

/** The sum of the connects in a summary: the shown ones, and those of each cause. */
function accountedFor(stderr: string): number {
  const lines = stderr
    .split('\n')
    .filter((line) => /^(tcpconnlat: \d+ (failed )?connects?| +\d+) /.test(line));
  return lines
    .filter((line) => !/ ended: | program runs | shown out of order | shown as pending/.test(line))
    .reduce((sum, line) => sum + Number(/\d+/.exec(line)?.[0]), 0);
}

const CAUSES: readonly (readonly [options: readonly string[], cause: RegExp])[] = [
  [[], /failed, not shown/],
  [['60000'], /\d+ below min_ms/],
  [['--outcome'], /12 ended: /],
  [['--outcome', '60000'], /below min_ms/],
  [['-n', '2'], /came after the last line/],
  [['--max-connects', '1'], /connects not traced/],
];

for (const [options, cause] of CAUSES)
  test.skipIf(
    noProbeHere || (options.length > 0 && sameOnEveryKernel),
    `with ${options.join(' ') || 'no option'} every connect is in one count of the summary`,
    async () => {
      const [peer, listening] = await Promise.all([Peer.start(), Peer.start()]);
      const full = await FullListener.start(listening);
      const args = ['--probe', 'tracepoint', '-p', String(peer.pid), ...options];
      const tracer = await Tracer.start(args);
      try {
        tracer.child.kill('SIGSTOP');
        const aborted: number[] = [];
        for (const end of ['closed', 'open'])
          for (let i = 0; i < 2; i++) {
            const { fd } = await peer.ask('connect', loopback(full.port), { nonBlocking: true });
            if (end === 'closed') aborted.push(fd);
          }
        await peer.ask('close', ...aborted);
        for (let i = 0; i < 5; i++) await peer.ask('connect', loopback(server.port));
        const closed = await peer.ask('closedPort', '127.0.0.1');
        for (let i = 0; i < 5; i++) await peer.ask('connect', loopback(closed));
        tracer.child.kill('SIGCONT');
        if (options[0] === '-n') await tracer.ended();
        else await tracer.stop();
        assert.match(tracer.stderr, cause);
        assert.is(accountedFor(tracer.stderr), 14, tracer.stderr);
      } finally {
        tracer.child.kill('SIGKILL');
        await Promise.all([peer.stop(), listening.stop()]);
      }
    },
  );

test.run();
