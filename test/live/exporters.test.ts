/**
 * The exporters of the command: scrapes and exports have every connect, from programs in the running kernel.
 * test/servers has the same with real servers.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { Collector } from '../cli/exporters/collector.ts';
import { type Sample, samplesIn } from '../cli/exporters/samples.ts';
import { inGuest, sameOnEveryKernel, suite } from '../harness.ts';
import { connectHere, Server } from './connects.ts';
import { COMMAND, noProbeHere, PROBE_TYPES_HERE, Tracer } from './tracer.ts';

const test = suite('live/exporters', { seconds: 90 });

const HOST = '127.0.0.1';
const CONNECTS = 'tcp_connects_total';

let server: Server;
/** A port without a listener. */
let closedPort = 0;
test.before(async () => {
  server = await Server.start(HOST);
  const other = await Server.start(HOST);
  closedPort = other.port;
  await other.close();
});
test.after(() => server?.close());

/** The exporter and the URL of its metrics. */
async function start(...args: readonly string[]): Promise<{ tracer: Tracer; url: string }> {
  const tracer = Tracer.run(['--prometheus', '--listen', `${HOST}:0`, '--port', ports(), ...args]);
  const url = await tracer.until('the URL', () => /http:\S+/.exec(tracer.stderr)?.[0]);
  return { tracer, url };
}

const ports = (): string => `${server.port},${closedPort}`;

async function scrape(url: string): Promise<Sample[]> {
  const response = await fetch(url);
  assert.is(response.status, 200);
  return samplesIn(await response.text());
}

async function connect(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await connectHere(server.port, HOST);
}

async function refused(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await connectHere(closedPort, HOST).catch(() => {});
}

/** The value of the only sample with this name and these labels. */
function valueIn(samples: readonly Sample[], name: string, labels: Record<string, string> = {}): number {
  const found = samples.filter(
    (sample) =>
      sample.name === name && Object.entries(labels).every(([label, text]) => sample.labels[label] === text),
  );
  assert.is(found.length, 1, `${name} ${JSON.stringify(labels)}: ${found.length} samples`);
  return (found[0] as Sample).value;
}

const sumOf = (samples: readonly Sample[], of: string): number =>
  samples.filter(({ name }) => name === of).reduce((sum, { value }) => sum + value, 0);

const total = (samples: readonly Sample[]): number => sumOf(samples, CONNECTS);

/** Checks that samples count `made` connects, except for runs that the kernel skipped, which are counted. */
function assertTotal(samples: readonly Sample[], made: number): void {
  const [counted, lost] = [total(samples), sumOf(samples, 'tcpconnlat_losses_total')];
  assert.ok(counted <= made && counted + lost >= made, `${counted} and ${lost} lost of ${made}`);
}

for (const probe of PROBE_TYPES_HERE)
  test(`${probe}: a scrape has all connects until then, by destination and result, and the end all`, async () => {
    const { tracer, url } = await start('--probe', probe);
    await connect(30);
    await refused(5);
    const samples = await scrape(url);
    const to = (port: number) => ({ destination: HOST, port: String(port) });
    assert.is(valueIn(samples, CONNECTS, { ...to(server.port), result: 'established' }), 30);
    // The record of the tracepoint does not say why a connect failed.
    const result = probe !== 'trace_event' && { result: 'refused' };
    assert.is(valueIn(samples, CONNECTS, { ...to(closedPort), ...result }), 5);
    const name = 'tcp_connect_duration_seconds';
    assert.is(valueIn(samples, `${name}_count`, to(server.port)), 30);
    assert.is(valueIn(samples, `${name}_bucket`, { ...to(server.port), le: '+Inf' }), 30);
    const sum = valueIn(samples, `${name}_sum`, to(server.port));
    assert.ok(sum > 30 * 1e-6 && sum < 30, `${sum} s`);
    assert.is(valueIn(samples, 'tcpconnlat_build_info', { probe }), 1);
    assert.is(valueIn(samples, 'tcpconnlat_map_max_entries', { map: 'attempts' }), 10_240);
    // Privileges are dropped before the first scrape.
    assert.match(readFileSync(`/proc/${tracer.pid}/status`, 'utf8'), /^Seccomp:\t2$/m);
    await connect(4);
    assert.equal(await tracer.stop(), { code: 0, signal: null });
    assert.is(tracer.stdout, '');
    assert.match(tracer.stderr, /^tcpconnlat: 39 connects$/m);
  });

test.skipIf(
  noProbeHere,
  'scrapes at the same time lose and repeat nothing, and counters only grow',
  async () => {
    const { tracer, url } = await start();
    const wanted = inGuest ? 100 : 400;
    let made = 0;
    let isDone = false;
    const connecting = (async () => {
      for (; made < wanted; made++) await connectHere(server.port, HOST);
      isDone = true;
    })();
    const scraping = Array.from({ length: 4 }, async () => {
      let before = 0;
      let count = 0;
      for (; !isDone; count++) {
        const least = made;
        const samples = await scrape(url);
        const now = total(samples);
        const lost = sumOf(samples, 'tcpconnlat_losses_total');
        assert.ok(now >= before && now + lost >= least, `${now} after ${before} with ${least} made`);
        before = now;
      }
      return count;
    });
    await connecting;
    const counts = await Promise.all(scraping);
    assertTotal(await scrape(url), wanted);
    const scrapes = valueIn(await scrape(url), 'tcpconnlat_scrapes_total');
    assert.is(scrapes, counts.reduce((a, b) => a + b) + 1);
    await tracer.stop();
  },
);

test.skipIf(noProbeHere || sameOnEveryKernel, 'keys are those of --by, and lines are limited', async () => {
  const { tracer, url } = await start('--by', 'comm,port', '--max-lines', '500', '--buckets', '4');
  await connect(3);
  const samples = await scrape(url);
  const of = samples.find(({ name }) => name === CONNECTS)?.labels;
  assert.equal(Object.keys(of ?? {}), ['port', 'comm', 'result']);
  assert.is(valueIn(samples, 'tcpconnlat_series_limit'), 3);
  assertTotal(samples, 3);
  await tracer.stop();
});

test.skipIf(
  noProbeHere || sameOnEveryKernel,
  'the pages are /metrics and /healthz, also for HEAD and with gzip',
  async () => {
    const { tracer, url } = await start();
    const health = await fetch(url.replace('/metrics', '/healthz'));
    assert.equal([health.status, await health.text()], [200, 'ok\n']);
    const head = await fetch(url, { method: 'HEAD' });
    assert.equal([head.status, await head.text()], [200, '']);
    assert.is(
      (await fetch(url, { headers: { 'Accept-Encoding': 'gzip' } })).headers.get('content-encoding'),
      'gzip',
    );
    assert.is((await fetch(url, { method: 'POST' })).status, 405);
    await tracer.stop();
  },
);

test.skipIf(
  noProbeHere || sameOnEveryKernel,
  'a port in use is reported before anything is attached',
  async () => {
    const other = createServer().listen(0, HOST);
    await new Promise((resolve) => other.once('listening', resolve));
    const { port } = other.address() as { port: number };
    const args = [COMMAND, '--prometheus', '--listen', `${HOST}:${port}`, '-v'];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    other.close();
    assert.is(status, 1);
    // With -v, the command would list what it attaches.
    assert.is(stdout, '');
    assert.is(
      stderr,
      `tcpconnlat: cannot listen on ${HOST}:${port}: the port is in use (ss -ltnp shows by which process); select another one with --listen\n`,
    );
  },
);

test.skipIf(noProbeHere || sameOnEveryKernel, 'the port is closed if tracing cannot begin', async () => {
  const args = [COMMAND, '--prometheus', '--listen', `${HOST}:0`, '--netns', '/nonexistent'];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 30_000 });
  assert.is(status, 2);
  assert.not.match(stderr, /http:/);
});

test.skipIf(noProbeHere, 'a collector gets every connect, the last ones at the end', async () => {
  const collector = await Collector.start();
  const tracer = Tracer.run(['--otlp', collector.url, '--interval', '0.5', '--port', ports()]);
  await tracer.until('an export', () => collector.received.length > 0);
  await connect(20);
  const before = collector.received.length;
  await tracer.until('two exports', () => collector.received.length > before + 1);
  await connect(7);
  assert.equal(await tracer.stop(), { code: 0, signal: null });
  const duration = collector.received
    .at(-1)
    ?.metrics.find(({ name }) => name === 'system.network.tcp.handshake.duration');
  assert.is(duration?.points.length, 1);
  assert.is(duration?.points[0]?.count, 27);
  assert.is(duration?.points[0]?.attributes['network.peer.address'], HOST);
  await collector.close();
});

test.skipIf(
  noProbeHere || sameOnEveryKernel,
  'the end of the run counts connects that no scrape has read',
  async () => {
    const { tracer } = await start();
    await connect(3);
    assert.equal(await tracer.stop(), { code: 0, signal: null });
    const counted = Number(/^tcpconnlat: (\d+) connects$/m.exec(tracer.stderr)?.[1]);
    assert.ok(counted <= 3 && counted + tracer.skipped >= 3, tracer.stderr);
  },
);

test.skipIf(noProbeHere, 'both exporters have the same counts', async () => {
  const collector = await Collector.start();
  const { tracer, url } = await start('--otlp', collector.url, '--interval', '60');
  await connect(11);
  assertTotal(await scrape(url), 11);
  await connect(2);
  await tracer.stop();
  const duration = collector.received[0]?.metrics.find(({ name }) => name.endsWith('handshake.duration'));
  assert.is(duration?.points[0]?.count, 13);
  await collector.close();
});

test.skipIf(
  noProbeHere || sameOnEveryKernel,
  'without a collector there is one warning, and the command ends in time',
  async () => {
    const collector = await Collector.start();
    const { url } = collector;
    await collector.close();
    const tracer = Tracer.run(['--otlp', url, '--interval', '0.2', '--port', ports()]);
    await tracer.until('the warning', () => tracer.stderr.includes('cannot send metrics'));
    await connect(3);
    await sleep(1000);
    const start = performance.now();
    assert.equal(await tracer.stop(), { code: 0, signal: null });
    const seconds = (performance.now() - start) / 1000;
    const lines = tracer.stderr.split('\n').filter((line) => line.includes(url));
    assert.is(lines.length, 2, tracer.stderr);
    assert.match(
      lines[0] ?? '',
      /cannot send metrics to \S+: connect ECONNREFUSED \S+; tries again every 0.2 s$/,
    );
    assert.match(lines[1] ?? '', /^tcpconnlat: 3 connects were not sent to /);
    assert.ok(seconds < 60, `${seconds} s`);
  },
);

test.run();
