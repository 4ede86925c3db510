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
import { connectHere, NOWHERE, noIPv6, Peer, Server, until } from './connects.ts';
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

let server: Server;
const running: Tracer[] = [];

test.before(async () => {
  if (reason) return;
  server = await Server.start(noIPv6 ? '0.0.0.0' : '::');
  appendFileSync(FILE, `p:${OTHERS} tcp_v4_connect\n`);
});
test.after.each(async () => {
  await Promise.all(running.splice(0).map((tracer) => tracer.stop('SIGKILL')));
});
test.after(async () => {
  rmdirSync(empty);
  if (reason) return;
  appendFileSync(FILE, `-:${OTHERS}\n`);
  await server.close();
});

async function start(under: readonly string[], ...args: readonly string[]): Promise<Tracer> {
  const tracer = await Tracer.start(['-L', '--probe', 'kprobe', ...args], { under });
  running.push(tracer);
  return tracer;
}

/** The lines of `kprobe_events` that are ours, or those of one process of ours. */
function ours(pid: number | string = '\\d+'): string[] {
  const line = new RegExp(`^[pr]\\d*:tsbpf_${pid}_\\d+/`);
  return readFileSync(FILE, 'utf8')
    .split('\n')
    .filter((text) => line.test(text));
}

function assertOthersUntouched(): void {
  assert.match(readFileSync(FILE, 'utf8'), new RegExp(`^p:${OTHERS} tcp_v4_connect$`, 'm'));
}

/** What a tracer shows of our connects, but for their latency; sorted, since rings of two CPUs aren't read in the order of their events. */
function answered(tracer: Tracer): string[] {
  return tracer
    .rows()
    .filter(({ PID }) => Number(PID) === process.pid)
    .map(({ LPORT, IP, SADDR, DADDR, DPORT }) => [LPORT, IP, SADDR, DADDR, DPORT].join(' '))
    .sort();
}

test.skipIf(reason, 'every connect shows as it does by the PMU; SIGINT leaves no event behind', async () => {
  const byTracefs = await start(HIDDEN);
  assert.is(ours(byTracefs.pid).length, 4, readFileSync(FILE, 'utf8'));
  const other = await Tracer.start(['-L']);
  running.push(other);
  const addresses = noIPv6 ? ['127.0.0.1'] : ['127.0.0.1', '::1', '::ffff:127.0.0.1'];
  const ports: number[] = [];
  for (let round = 0; round < 20; round++)
    for (const address of addresses) {
      const { localPort, error } = await connectHere(round % 5 === 4 ? 1 : server.port, address);
      assert.is(error, round % 5 === 4 ? 'ECONNREFUSED' : '');
      ports.push(localPort);
    }
  for (const tracer of [byTracefs, other])
    await tracer.until('all connects', () => answered(tracer).length >= ports.length);
  assert.is(answered(byTracefs).length, 20 * addresses.length);
  assert.equal(answered(byTracefs), answered(other));
  assert.equal(await byTracefs.stop('SIGINT'), { code: 0, signal: null });
  assert.equal(ours(byTracefs.pid), []);
  assert.is(byTracefs.complaints, '');
  assertOthersUntouched();
});

test.skipIf(reason, 'returns of functions are events too: a connect without a route shows', async () => {
  const [tracer, nowhere] = await Promise.all([start(HIDDEN, '--outcome'), Peer.start()]);
  try {
    const returns = ours(tracer.pid).filter((line) => /^r\d*:.* tcp_v[46]_connect$/.test(line));
    assert.is(returns.length, 2, readFileSync(FILE, 'utf8'));
    await nowhere.ask('leaveNetwork');
    const results = new Map<string, string>();
    for (const address of NOWHERE) {
      const { error } = await nowhere.ask('connect', { address, port: 9 });
      results.set(address, error === 'ENETUNREACH' ? 'unreachable' : error);
    }
    await tracer.until('all connects', () => tracer.rows().length >= NOWHERE.length);
    const shown = tracer.rows().filter(({ PID }) => Number(PID) === nowhere.pid);
    // Those of two processors come in any order.
    assert.equal(
      shown.map(({ DADDR, DPORT, RETR, RESULT }) => [DADDR, DPORT, RETR, RESULT].join()).sort(),
      NOWHERE.map((address) => [address, '9', '0', results.get(address)].join()).sort(),
    );
    assert.equal(await tracer.stop(), { code: 0, signal: null });
    assert.equal(ours(tracer.pid), []);
  } finally {
    await nowhere.stop();
  }
});

test.skipIf(
  reason,
  'what SIGKILL left is deleted by the next start, and nothing that is in use',
  async () => {
    const living = await start(HIDDEN);
    const elsewhere = await start(ELSEWHERE);
    const killed = await start(HIDDEN);
    const before = ours();
    const left = ours(killed.pid);
    assert.is(left.length, 4);
    await killed.stop('SIGKILL');
    assert.equal(ours(), before, 'they outlive the process');

    const next = await start([]); // by the PMU where there is one
    const now = ours().filter((line) => !ours(next.pid).includes(line));
    assert.equal(
      now,
      before.filter((line) => !left.includes(line)),
      'those of another pid namespace too',
    );
    assertOthersUntouched();
    const { localPort } = await connectHere(server.port);
    for (const tracer of [living, elsewhere])
      await tracer.until('the connect', () => tracer.rows().some(({ LPORT }) => Number(LPORT) === localPort));

    await Promise.all([living, next].map((tracer) => tracer.stop()));
    await elsewhere.stop('SIGKILL');
    await until('the end of the other pid namespace', () => ours().length === 4);
    const last = await start(HIDDEN);
    assert.equal(ours(), ours(last.pid));
    await last.stop();
    assert.equal(ours(), []);
    assertOthersUntouched();
  },
);

test.run();
