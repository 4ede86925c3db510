/**
 * Connects in flight behind a silent firewall: shown once while they wait, and listed at the end, by every
 * available probe.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { isFunctionProbe, type ProbeType } from '../../src/programs/tcpconnlat/options.ts';
import { inGuest, needsRoot, sameOnEveryKernel, slowness, suite } from '../harness.ts';
import { FAR, NEAR } from '../lab/network.ts';
import { noStage, Stage } from './outcomes.ts';
import { noProbeHere, ofProcess, PROBE_TYPES, skipReason, Tracer } from './tracer.ts';
import { watch } from './watch.ts';

const notHere = needsRoot || noStage();
const NO_ROUTE = '203.0.113.1';
const BOUND_PORT = 45_001;
/** The time after which connects are shown here, in s. */
const AFTER = inGuest ? 2 : 1.5 * slowness;

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** The cells that identify a connect in flight. */
const waiting = ({ PID, IP, SADDR, LPORT, DADDR, DPORT, RETR, RESULT }: Record<string, string>) =>
  [PID, IP, SADDR, LPORT, DADDR, DPORT, RETR, RESULT].join(' ');

/** The networks of all suites: opened by the first test, closed by the last suite. */
let stage: Stage;
const openStage = async (): Promise<void> => {
  if (!notHere) stage ??= await Stage.open();
};

/** Runs that show no connect from `NEAR`, of which two wait at the end. */
interface SilentRuns {
  readonly tracers: readonly Tracer[];
  /** Ends them, and checks which connects they have. */
  check(): Promise<void>;
  close(): void;
}

/**
 * Runs with a lowest latency that no connect has, and for another source address. In guests, the programs run
 * in this process if they decide, because a command takes seconds to start. With kprobe and fentry, the
 * command compares the source addresses of connects in flight.
 */
function silentRuns(probe: ProbeType, args: readonly string[], pid: number): SilentRuns {
  const commandChecksFrom = !inGuest || isFunctionProbe(probe);
  const elsewhere = commandChecksFrom && Tracer.run([...args, '--from', '127.0.0.0/8']);
  const slow = !inGuest && Tracer.run([...args, '600000']);
  const tracers = [elsewhere, slow].filter((each) => each !== false);
  const programs = { probe, pending: true, filter: ofProcess(pid) };
  const slowHere = !slow && watch({ ...programs, minNs: 6e11 });
  const from = [{ address: Uint8Array.of(127, 0, 0, 0), prefix: 8 }];
  const elsewhereHere =
    !elsewhere && watch({ ...programs, filter: { ...programs.filter, from: { only: from } } });
  const watches = [slowHere, elsewhereHere].filter((each) => each !== false);
  return {
    tracers,
    async check() {
      for (const each of tracers) await each.stop();
      for (const { records } of watches) assert.equal(records, []);
      for (const each of tracers) assert.equal(each.records(), []);
      if (elsewhere) assert.not.match(elsewhere.summary, /not answered yet|pending/);
      if (slow) assert.match(slow.summary, / 2 not answered yet$/m);
      if (elsewhereHere) assert.is(elsewhereHere.attempts(), 0);
      if (slowHere) assert.is(slowHere.attempts(), 2);
    },
    close() {
      for (const each of tracers) each.child.kill('SIGKILL');
      for (const each of watches) each.close();
    },
  };
}

for (const probe of PROBE_TYPES) {
  const skip = notHere || skipReason(probe);
  const test = suite(`live/pending ${probe}`, { seconds: 90 });
  test.before(openStage);

  test.skipIf(skip, 'a connect that waits is shown once, and again at the end', async () => {
    const { near } = stage;
    const tracer = await Tracer.start([
      '--probe',
      probe,
      '-p',
      String(near.pid),
      '-L',
      '--outcome',
      '--pending-after',
      String(AFTER),
    ]);
    try {
      const targets = [FAR.IPv4, FAR.IPv6, `::ffff:${FAR.IPv4}`].map((address) => ({
        address,
        port: stage.swallowed(),
      }));
      const made: { fd: number; port: string }[] = [];
      for (const [i, to] of targets.entries()) {
        // The second socket has its port before it connects.
        const source = i === 1 ? { source: { address: NEAR.IPv6, port: BOUND_PORT } } : {};
        const { fd } = await near.ask('connect', to, { nonBlocking: true, ...source });
        made.push({ fd, port: i === 1 ? String(BOUND_PORT) : '-' });
      }
      // None of these waits: one without a route whose socket stays open, an aborted one, a refused one.
      await near.ask('connect', { address: NO_ROUTE, port: 9 });
      const aborted = await stage.start({ address: FAR.IPv4, port: stage.swallowed() });
      await near.ask('close', aborted.fd);
      await near.ask('connect', { address: FAR.IPv4, port: 2001 });
      const expected = targets.map(({ address, port }, i) => {
        const mapped = address.startsWith('::ffff');
        const saddr = i === 0 ? NEAR.IPv4 : mapped ? `::ffff:${NEAR.IPv4}` : NEAR.IPv6;
        return `${near.pid} ${i === 0 ? 4 : 6} ${saddr} ${made[i]?.port} ${address} ${port} - pending`;
      });
      const pending = () => tracer.rows().filter(({ RESULT }) => RESULT === 'pending');
      await tracer.until('the connects that wait', () => pending().length >= 3);
      await sleep(300);
      assert.equal(pending().map(waiting), expected);
      for (const row of pending()) {
        const ms = Number(row['LAT(ms)']);
        assert.ok(ms >= AFTER * 1000 && ms < AFTER * 1000 + 2000 * slowness, `${ms} ms`);
        assert.is(row.COMM, stage.name.slice(0, 12));
      }
      await near.ask('close', made[0]?.fd as number);
      await tracer.until('its end', () =>
        tracer.rows().some(({ DPORT, RESULT }) => DPORT === String(targets[0]?.port) && RESULT === 'aborted'),
      );
      assert.equal(await tracer.stop('SIGINT'), { code: 0, signal: null });
      assert.equal(pending().slice(3).map(waiting), expected.slice(1), 'the list at the end');
      assert.match(tracer.summary, /^ +5 shown as pending\n +2 not answered yet$/m);
      assert.not.match(tracer.summary, /ended:.*pending/);
      for (const { fd } of made.slice(1)) await near.ask('close', fd);
    } finally {
      tracer.child.kill('SIGKILL');
    }
  });

  test.skipIf(skip, 'without an end to show, only the lines of waiting connects come', async () => {
    const { near } = stage;
    const args = ['--probe', probe, '-p', String(near.pid), '--pending-after', '0.2', '--json', '-v'];
    const tracer = Tracer.run([...args, '--from', NEAR.IPv4, '-4']);
    const silent = silentRuns(probe, args, near.pid);
    try {
      // With -v and --json, stderr says when the programs are attached.
      for (const each of [tracer, ...silent.tracers])
        await each.until('the programs', () => /^seccomp: /m.test(each.stderr));
      const port = stage.swallowed();
      await tracer.until('a connect that waits', async () => {
        const { fd } = await stage.start({ address: FAR.IPv4, port });
        await sleep(700);
        await near.ask('close', fd);
        return tracer.records().length > 0;
      });
      for (const { saddr, daddr, dport, result, lport, retransmits, lat_ms } of tracer.records()) {
        assert.equal(
          { saddr, daddr, dport, result },
          { saddr: NEAR.IPv4, daddr: FAR.IPv4, dport: port, result: 'pending' },
        );
        assert.equal([lport, retransmits], [undefined, undefined]);
        assert.ok(lat_ms >= 200);
      }
      const waits = [
        await near.ask('connect', { address: `::ffff:${FAR.IPv4}`, port }, { nonBlocking: true }),
        await near.ask('connect', { address: FAR.IPv4, port }, { nonBlocking: true }),
      ];
      await sleep(600);
      await tracer.stop();
      assert.ok(
        tracer.records().every(({ ip }) => ip === 4),
        'no mapped connect',
      );
      assert.match(tracer.summary, /^ +1 not answered yet$/m);
      await silent.check();
      await near.ask('close', ...waits.map(({ fd }) => fd));
    } finally {
      tracer.child.kill('SIGKILL');
      silent.close();
    }
  });

  test.run();
}

const test = suite('live/pending', { seconds: 60 });
test.before(openStage);
test.after(async () => {
  if (!notHere) await stage.close();
});

test.skipIf(
  notHere || noProbeHere,
  '--outcome alone lists who waits, without addresses; a replay shows the same',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tsbpf-pending-'));
    const file = join(folder, 'waits.jsonl');
    const { near } = stage;
    const tracer = await Tracer.start(['-p', String(near.pid), '--outcome', '-L', '--record', file]);
    try {
      await stage.start({ address: FAR.IPv4, port: stage.swallowed() });
      await tracer.stop();
      const [row, ...others] = tracer.rows();
      assert.is(others.length, 0);
      assert.is(waiting(row ?? {}), `${near.pid} - - - - - - pending`);
      assert.match(tracer.summary, /^ +1 not answered yet \(--pending shows their addresses\)$/m);
      const [header = '', line = ''] = readFileSync(file, 'utf8').split('\n');
      assert.equal(JSON.parse(header).fields, ['time', 'retransmits', 'result', 'errno']);
      const { result, daddr, pid } = JSON.parse(line);
      assert.equal([result, daddr, pid], ['pending', undefined, near.pid]);
      // A replay does not depend on the kernel.
      for (const option of inGuest ? [] : ['--outcome', '--pending']) {
        const replay = Tracer.run(['--replay', file, option, '-L']);
        await replay.ended();
        assert.equal(replay.rows(), tracer.rows());
      }
    } finally {
      tracer.child.kill('SIGKILL');
      rmSync(folder, { recursive: true });
    }
  },
);

test.skipIf(
  notHere || noProbeHere || sameOnEveryKernel,
  'the list comes at the end of -d and -n, which counts no connect that waits',
  async () => {
    const { near } = stage;
    const { port } = await stage.far.ask('listen', FAR.IPv4, 8);
    for (const limit of [
      ['-d', '2'],
      ['-n', '1'],
    ]) {
      const tracer = await Tracer.start([
        '-p',
        String(near.pid),
        '--pending-after',
        '0.3',
        '--who',
        '-t',
        '--wall',
        '--resolve',
        ...limit,
      ]);
      try {
        const { fd } = await stage.start({ address: FAR.IPv4, port: stage.swallowed() });
        await tracer.until('it', () => tracer.rows().length > 0);
        await near.ask('connect', { address: FAR.IPv4, port });
        await tracer.ended();
        assert.equal(
          tracer.rows().map(({ RESULT, UID }) => [RESULT, UID]),
          ['pending', 'established', 'pending'].map((result) => [result, '0']),
        );
        assert.match(tracer.summary, /^1 connect shown\n +2 shown as pending\n +1 not answered yet/);
        await near.ask('close', fd);
      } finally {
        tracer.child.kill('SIGKILL');
      }
    }
  },
);

test.run();
