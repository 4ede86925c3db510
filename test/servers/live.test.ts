/**
 * The command, traced kernel and servers together: what Prometheus scrapes and VictoriaMetrics gets agrees
 * with the latencies of the same connects, which another tracer shows one by one.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { exactQuantile } from '../cli/exporters/connects.ts';
import { suite } from '../harness.ts';
import { connectHere, Peer, Server } from '../live/connects.ts';
import { noProbeHere, Tracer } from '../live/tracer.ts';
import { serverPrograms } from './packages.ts';
import { startPrometheus } from './prometheus.ts';
import { freePort, until } from './server.ts';
import { startVictoriaMetrics } from './victoria-metrics.ts';

const test = suite('servers/live', { seconds: 60 });

const { folder, missing } = await serverPrograms();

const HOST = '127.0.0.1';
const FAST = 300;
const SLOW = 3;
/** Two tracers take their times one after the other, and the latency of a loopback connect is some 30 us. */
const OCTAVES = 0.3;

/** Connects whose first SYN is lost, because the listener's backlog is full. The second one comes after 1 s. */
async function slowConnects(
  count: number,
): Promise<{ port: number; connect: () => Promise<void>; stop(): void }> {
  const [listener, client] = await Promise.all([Peer.start(), Peer.start()]);
  const { fd, port } = await listener.ask('listen', HOST, 0);
  return {
    port,
    async connect() {
      const to = { address: HOST, port };
      for (let i = 0; i <= count; i++) await client.ask('connect', to, { nonBlocking: i > 0 });
      await sleep(200);
      // A connection that the client has may never reach the queue, so the last calls may wait forever.
      for (let i = 0; i <= count; i++) listener.ask('accept', fd).catch(() => {});
    },
    stop() {
      listener.stop();
      client.stop();
    },
  };
}

test.skipIf(missing || noProbeHere, 'percentiles of traced connects agree with the exact ones', async () => {
  const server = await Server.start(HOST);
  const slow = await slowConnects(SLOW);
  const beacon = await Server.start(HOST);
  const ports = `${server.port},${slow.port}`;
  const started: { stop(): unknown }[] = [
    { stop: () => server.close() },
    { stop: () => beacon.close() },
    slow,
  ];
  try {
    const [metricsPort, victoria] = [await freePort(), await startVictoriaMetrics(folder)];
    started.push(victoria);
    const exact = await Tracer.startJson(['--port', `${beacon.port},${ports}`], beacon, HOST);
    started.push(exact);
    const exporter = Tracer.run([
      ...['--prometheus', '--listen', `${HOST}:${metricsPort}`, '--port', ports],
      ...['--otlp', `${victoria.url}/opentelemetry/v1/metrics`, '--interval', '1'],
    ]);
    started.push(exporter);
    await exporter.until('the URL', () => exporter.stderr.includes('/metrics\n'));
    const prometheus = await startPrometheus(folder, [`${HOST}:${metricsPort}`]);
    started.push(prometheus);

    for (let i = 0; i < FAST; i++) await connectHere(server.port, HOST);
    await slow.connect();
    const of = (port: number): number[] =>
      exact
        .records()
        .filter(({ dport }) => dport === port)
        .map(({ lat_ms }) => lat_ms * 1e6);
    await exact.until('all lines', () => of(server.port).length === FAST);
    await exact.until('the slow lines', () => of(slow.port).length === SLOW + 1);

    const selected = `port="${server.port}",result="established"`;
    await until('all connects', async () => {
      const [count] = await prometheus.query(`tcp_connects_total{${selected}}`);
      return Number(count?.value?.[1]) === FAST || undefined;
    });
    assert.is(
      await prometheus.value(`tcp_connects_total{port="${slow.port}",result="established"}`),
      SLOW + 1,
    );
    const retransmits = await prometheus.value(`tcp_connect_retransmits_total{port="${slow.port}"}`);
    assert.ok(retransmits >= SLOW || retransmits === 0, `${retransmits} retransmissions`);

    const name = 'tcp_connect_duration_seconds';
    const otlpName = 'system_network_tcp_handshake_duration_seconds';
    for (const quantile of [0.5, 0.9, 0.99]) {
      const expected = exactQuantile(of(server.port), quantile);
      const native = await prometheus.value(`histogram_quantile(${quantile}, ${name}{${selected}})`);
      assertNear(native, expected, 1 / 2 + OCTAVES, `Prometheus, ${quantile}`);
      const labels = `network_peer_port="${server.port}",tcpconnlat_result="established"`;
      await until('all connects in VictoriaMetrics', async () => {
        const [count] = await victoria.query(`${otlpName}_count{${labels}}`);
        return Number(count?.value?.[1]) === FAST || undefined;
      });
      const otlp = await victoria.value(`histogram_quantile(${quantile}, ${otlpName}_bucket{${labels}})`);
      assertNear(otlp, expected, 1 / 8 + OCTAVES, `VictoriaMetrics, ${quantile}`);
    }
    const slowest = await prometheus.value(`histogram_quantile(0.9, ${name}{port="${slow.port}"})`);
    assertNear(slowest, exactQuantile(of(slow.port), 0.9), 1 / 2, 'a lost SYN');
    assert.ok(slowest > 0.7, `${slowest} s`);
  } finally {
    for (const each of started.reverse()) await each.stop();
  }
});

function assertNear(estimate: number, exactNs: number, octaves: number, what: string): void {
  const distance = Math.abs(Math.log2((estimate * 1e9) / exactNs));
  assert.ok(distance <= octaves, `${what}: ${estimate} s, exactly ${exactNs / 1e9} s`);
}

test.run();
