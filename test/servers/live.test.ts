/**
 * The command, the traced kernel and servers together: percentiles of what Prometheus scrapes and
 * VictoriaMetrics gets agree with the latencies of the same connects, which another tracer shows one by one.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { exactQuantile } from '../cli/exporters/connects.ts';
import { suite } from '../harness.ts';
import { Peer, Server } from '../live/connects.ts';
import { noProbeHere, Tracer } from '../live/tracer.ts';
import { run } from '../vm/command.ts';
import { serverPrograms } from './packages.ts';
import { startPrometheus } from './prometheus.ts';
import { freePort, type ServerProcess, until } from './server.ts';
import { startVictoriaMetrics } from './victoria-metrics.ts';

const test = suite('servers/live', { seconds: 60 });

const { folder, missing } = await serverPrograms();

const HOST = '127.0.0.1';
const CONNECTS = 300;
/** The kernel skips a program that it is running already, which a packet may cause. */
const LEAST = 0.95 * CONNECTS;
/** All connects have ended, and been scraped and exported. */
const SETTLED_MS = 3500;
/**
 * The rate of the loopback device. A handshake has 1.7 kbit, and all begin at once: so they take from less
 * than a millisecond to half a second. Two tracers differ by microseconds.
 */
const RATE = '1mbit';

/** A process in a network of its own with a slow loopback device. */
async function slowNetwork(): Promise<Peer> {
  const peer = await Peer.start();
  await peer.ask('leaveNetwork');
  const inside = ['-t', String(peer.pid), '-n'];
  await run('nsenter', [...inside, 'ip', 'link', 'set', 'lo', 'up']);
  const shaper = ['tbf', 'rate', RATE, 'burst', '1600', 'latency', '5s'];
  await run('nsenter', [...inside, 'tc', 'qdisc', 'add', 'dev', 'lo', 'root', ...shaper]);
  return peer;
}

test.skipIf(missing || noProbeHere, 'percentiles of traced connects agree with the exact ones', async () => {
  const started: { stop(): unknown }[] = [];
  try {
    const network = await slowNetwork();
    started.push(network);
    const { port } = await network.ask('listen', HOST, CONNECTS);
    const beacon = await Server.start(HOST);
    started.push({ stop: () => beacon.close() });
    const victoria = await startVictoriaMetrics(folder);
    started.push(victoria);
    const metricsPort = await freePort();
    const exporter = Tracer.run([
      ...['--prometheus', '--listen', `${HOST}:${metricsPort}`, '--port', String(port)],
      ...['--otlp', `${victoria.url}/opentelemetry/v1/metrics`, '--interval', '1'],
    ]);
    started.push(exporter);
    await exporter.until('the URL', () => exporter.stderr.includes('/metrics\n'));
    const prometheus = await startPrometheus(folder, [`${HOST}:${metricsPort}`]);
    started.push(prometheus);
    const exact = await Tracer.startJson(['--port', `${beacon.port},${port}`], beacon, HOST);
    started.push(exact);

    for (let i = 0; i < CONNECTS; i++)
      await network.ask('connect', { address: HOST, port }, { nonBlocking: true });
    await sleep(SETTLED_MS);
    const latencies = exact
      .records()
      .filter(({ dport }) => dport === port)
      .map(({ lat_ms }) => lat_ms * 1e6);
    assert.ok(latencies.length >= LEAST, `${latencies.length} connects shown`);
    const median = exactQuantile(latencies, 0.5);
    assert.ok(median > 1e6, `half of the connects take up to ${median} ns: too short to compare tracers`);

    const selected = `port="${port}",result="established"`;
    const native = `tcp_connect_duration_seconds{${selected}}`;
    await untilCount(prometheus, `histogram_count(${native})`);
    const labels = `network_peer_port="${port}",tcpconnlat_result="established"`;
    const exponential = (suffix: string): string =>
      `system_network_tcp_handshake_duration_seconds_${suffix}{${labels}}`;
    await untilCount(victoria, exponential('count'));
    for (const quantile of [0.5, 0.9, 0.99]) {
      const expected = exactQuantile(latencies, quantile);
      const scraped = await prometheus.value(`histogram_quantile(${quantile}, ${native})`);
      assertNear(scraped, expected, 2, `Prometheus, ${quantile}`);
      const pushed = await victoria.value(`histogram_quantile(${quantile}, ${exponential('bucket')})`);
      assertNear(pushed, expected, 8, `VictoriaMetrics, ${quantile}`);
    }
  } finally {
    for (const each of started.reverse()) await each.stop();
  }
});

async function untilCount(server: ServerProcess, expression: string): Promise<void> {
  let last: unknown;
  await until(
    `${LEAST} of ${expression}`,
    async () => {
      const [first] = await server.query(expression);
      last = first;
      return Number(first?.value?.[1]) >= LEAST || undefined;
    },
    () => `${JSON.stringify(last)}\n${server.output}`,
  );
}

/** Checks that an estimate is at most a bucket away, and what two tracers differ by. */
function assertNear(estimate: number, exactNs: number, perOctave: number, what: string): void {
  const octaves = Math.abs(Math.log2((estimate * 1e9) / exactNs));
  assert.ok(octaves <= 1.05 / perOctave, `${what}: ${estimate} s, exactly ${exactNs / 1e9} s`);
}

test.run();
