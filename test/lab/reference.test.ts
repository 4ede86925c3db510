/**
 * tcpconnlat of libbpf-tools and every available probe trace the same connects at the same time and must show
 * the same. The connects: a burst of a few hundred from several processes, over both families and mapped
 * addresses, accepted and refused, blocking and non-blocking.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import * as assert from 'uvu/assert';
import type { ProbeType } from '../../src/programs/tcpconnlat/options.ts';
import { noSteadyClock, slowness, suite } from '../harness.ts';
import {
  connectHere,
  exited,
  IPPROTO_MPTCP,
  loopback,
  noIPv6,
  noMptcp,
  Peer,
  Server,
  until,
} from '../live/connects.ts';
import { isReleased } from '../live/release.ts';
import { noProbeHere, PROBE_TYPES, PROBE_TYPES_HERE, skipReason, Tracer } from '../live/tracer.ts';
import { outsideGuest } from './guest.ts';

const FOLDER = '/usr/lib/libbpf-tools';
const noReference = !existsSync(FOLDER) && 'this guest has no libbpf-tools';

/** Connects of each kind: by each process that connects sequentially, and by this one, concurrently. */
const EACH = 20;
const AT_ONCE = 60;

/**
 * How far two latencies of one connect may differ, ms, at the 90th and the 99th percentile. The tools print
 * hundredths, and all put their own probes on the same functions, so that each also measures the others. The
 * kernel rarely runs another process between the probes of two tools.
 */
const BOUNDS: readonly (readonly [share: number, ms: number])[] = [
  [0.9, 0.05],
  [0.99, 15],
];

/**
 * The share of connects that each tool must show. The kernel skips a program that is already running on its
 * CPU, and a kprobe that is hit while another one (of any tool) is handled there. This is rare on hardware.
 * With the programs of five tools on the same functions, an emulated CPU misses up to one connect in a
 * hundred, with the reference as well. tcpconnlat reports its skipped runs, and no more connects may be
 * missing.
 */
const SHARE = 0.97;

/**
 * How many connects may be missing. Before Linux 6.7 the kernel does not count skipped kprobes, so only a
 * small number can be required. Other skipped programs are counted since 5.12.
 */
function mayMiss(probe: ProbeType, skipped: number, made: number): number {
  return probe === 'kprobe' && !isReleased('6.7') ? made * (1 - SHARE) : skipped;
}

/** Waits until each tool has shown all connects, or no tool has shown a new one for a while. */
async function settled(counts: () => number[], made: number): Promise<void> {
  let last = '';
  let since = performance.now();
  await until('the connects', () => {
    const now = counts();
    if (now.join() !== last) since = performance.now();
    last = now.join();
    return now.every((count) => count >= made) || performance.now() - since > 1250 * slowness;
  });
}

/** The reference tool, tracing. */
class Reference {
  readonly #child: ChildProcess;
  #stdout = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
    });
  }

  /** Starts the reference and waits for its header, printed after it has attached. */
  static async start(): Promise<Reference> {
    const env = { ...process.env, LD_LIBRARY_PATH: FOLDER };
    const command = ['-oL', `${FOLDER}/tcpconnlat`, '-L'];
    const reference = new Reference(spawn('stdbuf', command, { env, stdio: ['ignore', 'pipe', 'inherit'] }));
    await until("the reference's header", () => reference.#stdout.includes('LAT(ms)'));
    return reference;
  }

  /** Its rows, by column name. */
  rows(): Row[] {
    const [header = '', ...lines] = this.#stdout.split('\n').slice(0, -1);
    const names = header.trim().split(/ +/);
    return lines.map((line) =>
      Object.fromEntries(
        line
          .trim()
          .split(/ +/)
          .map((text, i) => [names[i], text]),
      ),
    );
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGINT');
    await exited(this.#child);
  }
}

type Row = Record<string, string>;

/** A connect without its latency. Both tools show 12 characters of the command. */
function identity({ PID, COMM, IP, SADDR, LPORT, DADDR, DPORT }: Row): string {
  return [PID, COMM?.slice(0, 12), IP, SADDR, LPORT, DADDR, DPORT].join(' ');
}

const latency = (row: Row): number => Number(row['LAT(ms)']);

const ADDRESSES = noIPv6 ? ['127.0.0.1'] : ['127.0.0.1', '::1', '::ffff:127.0.0.1'];

/** Sequential connects of every kind. */
async function oneByOne(peer: Peer, server: Server): Promise<number> {
  const asked: Promise<unknown>[] = [];
  for (const address of ADDRESSES) {
    const closed = await peer.ask('closedPort', address);
    for (let i = 0; i < EACH; i++) {
      asked.push(peer.ask('connect', loopback(server.port, address)));
      asked.push(peer.ask('connect', loopback(closed, address)));
      asked.push(peer.ask('connect', loopback(server.port, address), { nonBlocking: true }));
    }
  }
  return (await Promise.all(asked)).length;
}

async function allAtOnce(server: Server, closed: number): Promise<number> {
  const asked = ADDRESSES.flatMap((address) =>
    Array.from({ length: AT_ONCE }, (_, i) => connectHere(i % 4 ? server.port : closed, address)),
  );
  return (await Promise.all(asked)).length;
}

const skip = outsideGuest || noReference || noProbeHere;
const test = suite('lab/reference', { seconds: 90 });

for (const probe of PROBE_TYPES)
  test.skipIf(outsideGuest || noReference || skipReason(probe), `${probe} is compared`, () => {
    assert.ok(PROBE_TYPES_HERE.includes(probe));
  });

/** The burst, as the tools have shown it. Latencies in ms, by connect. */
interface Burst {
  readonly made: number;
  readonly theirs: ReadonlyMap<string, number>;
  readonly ours: readonly {
    readonly probe: ProbeType;
    readonly shown: ReadonlyMap<string, number>;
    /** Program runs that the kernel skipped, as tcpconnlat reports them. */
    readonly skipped: number;
    /** Its other warnings. */
    readonly warnings: string;
  }[];
}

let burst: Promise<Burst> | undefined;

/** The burst, made once for all tests. */
function theBurst(): Promise<Burst> {
  burst ??= makeBurst();
  return burst;
}

async function makeBurst(): Promise<Burst> {
  const peers = await Promise.all([Peer.start(), Peer.start()]);
  const [one, other] = peers as [Peer, Peer];
  const server = await Server.start(noIPv6 ? '127.0.0.1' : '::');
  const probes = PROBE_TYPES_HERE;
  const [reference, ...tracers] = await Promise.all([
    Reference.start(),
    ...probes.map((probe) => Tracer.start(['--probe', probe, '-L'])),
  ]);
  try {
    await one.ask('rename', 'a-long-command');
    const closed = await other.ask('closedPort', ADDRESSES.at(-1) as string);
    const counts = await Promise.all([
      ...[one, other].map((peer) => oneByOne(peer, server)),
      allAtOnce(server, closed),
    ]);
    let made = counts.reduce((sum, count) => sum + count, 0);
    if (!noMptcp) {
      await one.ask('connect', loopback(server.port), { protocol: IPPROTO_MPTCP });
      made++;
    }
    const pids = [process.pid, one.pid, other.pid].map(String);
    const mine = (tool: { rows(): readonly Row[] }) =>
      tool.rows().filter(({ PID = '' }) => pids.includes(PID));
    const latencies = (tool: { rows(): readonly Row[] }) =>
      new Map(mine(tool).map((row) => [identity(row), latency(row)]));
    await settled(() => [reference, ...tracers].map((each) => mine(each).length), made);
    await reference.stop();
    const ours = [];
    for (const [i, tracer] of tracers.entries()) {
      assert.equal(await tracer.stop(), { code: 0, signal: null });
      const { skipped, warnings } = tracer;
      ours.push({ probe: probes[i] as ProbeType, shown: latencies(tracer), skipped, warnings });
    }
    return { made, theirs: latencies(reference), ours };
  } finally {
    for (const tracer of tracers) tracer.child.kill('SIGKILL');
    await reference.stop();
    await Promise.all([...peers.map((peer) => peer.stop()), server.close()]);
  }
}

test.skipIf(skip, 'a burst of connects is shown identically', async () => {
  const { made, theirs, ours } = await theBurst();
  assert.ok(theirs.size >= made * SHARE, `theirs: ${theirs.size} of ${made}`);
  for (const { probe, shown, skipped, warnings } of ours) {
    assert.is(warnings, '', `${probe}: no other losses`);
    const missing = made - shown.size;
    assert.ok(missing <= mayMiss(probe, skipped, made), `${probe}: ${missing} missing, ${skipped} reported`);
    assert.ok(shown.size >= made * SHARE, `${probe}: ${shown.size} of ${made}`);
    const all = new Set([...shown.keys(), ...theirs.keys()]);
    assert.ok(all.size <= made, `${probe}: the two show ${all.size} connects of ${made}`);
  }
});

test.skipIf(skip || noSteadyClock, 'the latencies of a burst of connects are similar', async () => {
  const { theirs, ours } = await theBurst();
  for (const { probe, shown } of ours) {
    const both = [...theirs].filter(([key]) => shown.has(key));
    const apart = both.map(([key, ms]) => Math.abs(ms - (shown.get(key) as number)));
    apart.sort((a, b) => a - b);
    for (const [share, ms] of BOUNDS) {
      const found = apart[Math.floor(apart.length * share)] ?? Number.NaN;
      assert.ok(found <= ms, `${probe}: ${share * 100}% of the latencies differ by up to ${found} ms`);
    }
  }
});

test.run();
