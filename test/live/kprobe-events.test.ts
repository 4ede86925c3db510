/** Kprobes by tracefs: a mount namespace hides the perf PMU for kprobes from the command. */
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { tracefsRoot } from '../../src/loader/tracefs.ts';
import { needsRoot, suite } from '../harness.ts';
import { connectHere, NOWHERE, noIPv6, Peer, Server } from './connects.ts';
import { here, Tracer } from './tracer.ts';

const test = suite('live/kprobe-events', { seconds: 60 });

const PMU = '/sys/bus/event_source/devices/kprobe';
const root = needsRoot ? undefined : tracefsRoot(here);
const FILE = `${root}/kprobe_events`;
/** A probe that another tool created. */
const OTHERS = 'tsbpftest/by_hand';

function unavailable(): string | false {
  if (needsRoot) return needsRoot;
  if (!root || !existsSync(FILE)) return 'tracefs has no kprobe_events';
  try {
    execFileSync('unshare', ['-mpf', 'true']);
    return false;
  } catch {
    return 'unshare cannot create namespaces';
  }
}
const reason = unavailable();

const empty = mkdtempSync(join(tmpdir(), 'tsbpf-empty-'));
/** Runs a command in a mount namespace without the PMU for kprobes. */
const HIDDEN = existsSync(PMU)
  ? ['unshare', '-m', 'sh', '-c', `mount --bind ${empty} ${PMU} && exec "$@"`, 'sh']
  : [];
/** The same, in a PID namespace as well. */
const ELSEWHERE = ['unshare', '-pf', '--kill-child', '--mount-proc', ...HIDDEN];

/** The lines of `kprobe_events` that belong to tsbpf. */
function ours(): string[] {
  return readFileSync(FILE, 'utf8')
    .split('\n')
    .filter((text) => /^[pr]\d*:tsbpf_\d+_\d+\//.test(text));
}

function assertOthersUntouched(): void {
  assert.match(readFileSync(FILE, 'utf8'), new RegExp(`^p:${OTHERS} tcp_v4_connect$`, 'm'));
}

/** The tracers of all tests, started once: an emulated machine takes seconds to start one. */
interface Bench {
  readonly server: Server;
  /** In a network without routes. */
  readonly nowhere: Peer;
  /** Two tracers by tracefs, one of them in its own PID namespace. */
  readonly living: Tracer;
  readonly elsewhere: Tracer;
  /** The same by tracefs, ended by SIGKILL. */
  readonly killed: Tracer;
  /** Started after the SIGKILL; uses the PMU if the kernel has one. */
  readonly next: Tracer;
  /** The lines of tsbpf before the SIGKILL, after it, and after the next start. */
  readonly lines: Readonly<Record<'before' | 'after' | 'swept', readonly string[]>>;
}

let bench: Bench;
const running: Tracer[] = [];

async function start(under: readonly string[]): Promise<Tracer> {
  const tracer = await Tracer.start(['-L', '--probe', 'kprobe', '--outcome'], { under });
  running.push(tracer);
  return tracer;
}

async function openBench(): Promise<Bench> {
  const [server, nowhere, living, elsewhere, killed] = await Promise.all([
    Server.start(noIPv6 ? '0.0.0.0' : '::'),
    Peer.start(),
    start(HIDDEN),
    start(ELSEWHERE),
    start(HIDDEN),
  ]);
  await nowhere.ask('leaveNetwork');
  const before = ours();
  await killed.stop('SIGKILL');
  const after = ours();
  const next = await start([]);
  return { server, nowhere, living, elsewhere, killed, next, lines: { before, after, swept: ours() } };
}

test.before(async () => {
  if (reason) return;
  appendFileSync(FILE, `p:${OTHERS} tcp_v4_connect\n`);
  bench = await openBench();
});
test.after(async () => {
  rmdirSync(empty);
  await Promise.all(running.map((tracer) => tracer.stop('SIGKILL')));
  if (reason) return;
  appendFileSync(FILE, `-:${OTHERS}\n`);
  await Promise.all([bench?.nowhere.stop(), bench?.server.close()]);
});

/** The lines of one process. */
function linesOf({ pid }: Tracer, lines: readonly string[]): string[] {
  return lines.filter((line) => line.includes(`:tsbpf_${pid}_`));
}

test.skipIf(reason, 'a start deletes the probes that SIGKILL left, and none in use', () => {
  const { living, killed, next, lines } = bench;
  const { before, after, swept } = lines;
  // For each family the call and its return; the answer; the end of the socket.
  for (const tracer of [living, killed]) assert.is(linesOf(tracer, before).length, 6, before.join('\n'));
  assert.is(before.length, 18, 'includes another PID namespace');
  assert.equal(after, before, 'probes outlive the process');
  assert.equal(
    swept.filter((line) => !linesOf(next, swept).includes(line)),
    before.filter((line) => !linesOf(killed, before).includes(line)),
  );
  assertOthersUntouched();
});

/**
 * The rows for this test's connects without their latency; sorted, since rings of two CPUs are not read in
 * event order.
 */
function shown(tracer: Tracer): string[] {
  const pids = [process.pid, bench.nowhere.pid];
  return tracer
    .rows()
    .filter(({ PID }) => pids.includes(Number(PID)))
    .map(({ LPORT, IP, SADDR, DADDR, DPORT, RESULT }) => [LPORT, IP, SADDR, DADDR, DPORT, RESULT].join(' '))
    .sort();
}

test.skipIf(reason, 'tracefs and the PMU show the same connects, also without a route', async () => {
  const { server, nowhere, living, elsewhere, next } = bench;
  const addresses = noIPv6 ? ['127.0.0.1'] : ['127.0.0.1', '::1', '::ffff:127.0.0.1'];
  let made = 0;
  for (let round = 0; round < 20; round++)
    for (const address of addresses) {
      const { error } = await connectHere(round % 5 === 4 ? 1 : server.port, address);
      assert.is(error, round % 5 === 4 ? 'ECONNREFUSED' : '');
      made++;
    }
  for (const address of NOWHERE) {
    const { error } = await nowhere.ask('connect', { address, port: 9 });
    // A kernel without the address family gives another error, which is shown unchanged.
    const result = error === 'ENETUNREACH' ? 'unreachable' : error;
    const line = new RegExp(` ${address} 9 ${result}$`);
    await living.until(`${address}: ${result}`, () => shown(living).some((text) => line.test(text)));
    made++;
  }
  // Pids differ in another PID namespace.
  for (const tracer of [living, next]) await tracer.until('all connects', () => shown(tracer).length >= made);
  await elsewhere.until('all connects', () => elsewhere.rows().length >= made);
  assert.is(shown(living).length, made);
  assert.equal(shown(living), shown(next));
});

test.skipIf(reason, 'SIGINT leaves no probe behind', async () => {
  const { living, next } = bench;
  for (const tracer of [living, next]) {
    assert.equal(await tracer.stop('SIGINT'), { code: 0, signal: null });
    assert.is(tracer.warnings, '');
    assert.equal(linesOf(tracer, ours()), []);
  }
  assertOthersUntouched();
});

test.skipIf(reason, 'a start deletes the probes of an ended PID namespace', async () => {
  const { elsewhere } = bench;
  const left = ours();
  assert.is(left.length, 6, 'probes of the PID namespace');
  await elsewhere.stop('SIGKILL');
  const last = await start(HIDDEN);
  const now = ours();
  assert.is(now.length, 6);
  assert.equal(now, linesOf(last, now));
  await last.stop();
  assert.equal(ours(), []);
  assertOthersUntouched();
});

test.run();
