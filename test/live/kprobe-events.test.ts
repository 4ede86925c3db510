/**
 * Kprobes by way of tracefs: the perf PMU for them is hidden from the command, in a mount namespace of its own.
 */
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
/** A probe that somebody else has made. */
const OTHERS = 'tsbpftest/by_hand';

function lacking(): string | false {
  if (needsRoot) return needsRoot;
  if (!root || !existsSync(FILE)) return 'there is no kprobe_events in tracefs';
  try {
    execFileSync('unshare', ['-mpf', 'true']);
    return false;
  } catch {
    return 'no namespaces can be made by unshare';
  }
}
const reason = lacking();

const empty = mkdtempSync(join(tmpdir(), 'tsbpf-empty-'));
/** Runs a command in a mount namespace where there is no PMU for kprobes. */
const HIDDEN = existsSync(PMU)
  ? ['unshare', '-m', 'sh', '-c', `mount --bind ${empty} ${PMU} && exec "$@"`, 'sh']
  : [];
/** So too, and in a pid namespace too. */
const ELSEWHERE = ['unshare', '-pf', '--kill-child', '--mount-proc', ...HIDDEN];

/** The lines of `kprobe_events` that are ours. */
function ours(): string[] {
  return readFileSync(FILE, 'utf8')
    .split('\n')
    .filter((text) => /^[pr]\d*:tsbpf_\d+_\d+\//.test(text));
}

function assertOthersUntouched(): void {
  assert.match(readFileSync(FILE, 'utf8'), new RegExp(`^p:${OTHERS} tcp_v4_connect$`, 'm'));
}

/** The tracers of all tests: an emulated machine takes seconds to start one. */
interface Bench {
  readonly server: Server;
  /** In a network without routes. */
  readonly nowhere: Peer;
  /** Two by tracefs, of which one is in a pid namespace of its own. */
  readonly living: Tracer;
  readonly elsewhere: Tracer;
  /** Like the first, until it was ended by SIGKILL. */
  readonly killed: Tracer;
  /** Started after that: by the PMU, where there is one. */
  readonly next: Tracer;
  /** The lines that were ours before the SIGKILL, after it, and after the next start. */
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
function of({ pid }: Tracer, lines: readonly string[]): string[] {
  return lines.filter((line) => line.includes(`:tsbpf_${pid}_`));
}

test.skipIf(reason, 'what SIGKILL left is deleted by the next start, and nothing that is in use', () => {
  const { living, killed, next, lines } = bench;
  const { before, after, swept } = lines;
  // Of each family the call and its return; the answer; the end of the socket.
  for (const tracer of [living, killed]) assert.is(of(tracer, before).length, 6, before.join('\n'));
  assert.is(before.length, 18, 'those of another pid namespace too');
  assert.equal(after, before, 'they outlive the process');
  assert.equal(
    swept.filter((line) => !of(next, swept).includes(line)),
    before.filter((line) => !of(killed, before).includes(line)),
  );
  assertOthersUntouched();
});

/** What a tracer shows of our connects, but for their latency; sorted, since rings of two CPUs aren't read in the order of their events. */
function shown(tracer: Tracer): string[] {
  const pids = [process.pid, bench.nowhere.pid];
  return tracer
    .rows()
    .filter(({ PID }) => pids.includes(Number(PID)))
    .map(({ LPORT, IP, SADDR, DADDR, DPORT, RESULT }) => [LPORT, IP, SADDR, DADDR, DPORT, RESULT].join(' '))
    .sort();
}

test.skipIf(
  reason,
  'every connect shows as it does by the PMU, and by a return one without a route',
  async () => {
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
      // Where the family is absent there is another error, which shows as it is.
      const result = error === 'ENETUNREACH' ? 'unreachable' : error;
      const line = new RegExp(` ${address} 9 ${result}$`);
      await living.until(`${address}: ${result}`, () => shown(living).some((text) => line.test(text)));
      made++;
    }
    // Another pid namespace has other pids.
    for (const tracer of [living, next])
      await tracer.until('all connects', () => shown(tracer).length >= made);
    await elsewhere.until('all connects', () => elsewhere.rows().length >= made);
    assert.is(shown(living).length, made);
    assert.equal(shown(living), shown(next));
  },
);

test.skipIf(reason, 'SIGINT leaves no event behind', async () => {
  const { living, next } = bench;
  for (const tracer of [living, next]) {
    assert.equal(await tracer.stop('SIGINT'), { code: 0, signal: null });
    assert.is(tracer.complaints, '');
    assert.equal(of(tracer, ours()), []);
  }
  assertOthersUntouched();
});

test.skipIf(reason, 'what a pid namespace left that has ended is deleted too', async () => {
  const { elsewhere } = bench;
  const left = ours();
  assert.is(left.length, 6, 'of the one in a pid namespace');
  await elsewhere.stop('SIGKILL');
  const last = await start(HIDDEN);
  const now = ours();
  assert.is(now.length, 6);
  assert.equal(now, of(last, now));
  await last.stop();
  assert.equal(ours(), []);
  assertOthersUntouched();
});

test.run();
