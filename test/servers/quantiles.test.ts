/**
 * The exporters against the servers that read them: percentiles that Prometheus and VictoriaMetrics compute
 * agree with the exact ones of what was measured.
 */
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { Snapshot } from '../../src/cli/aggregate/snapshot.ts';
import { type Exporters, openExporters } from '../../src/cli/exporters.ts';
import { type Connect, exactQuantile, latenciesNs, snapshotOf } from '../cli/exporters/connects.ts';
import { suite } from '../harness.ts';
import { run } from '../vm/command.ts';
import { serverPrograms } from './packages.ts';
import { startPrometheus } from './prometheus.ts';
import { freePort, type ServerProcess, until } from './server.ts';
import { startVictoriaMetrics } from './victoria-metrics.ts';

const test = suite('servers/quantiles', { seconds: 60 });

const { folder, missing } = await serverPrograms();

const QUANTILES = [0.5, 0.9, 0.99];

const FAST = latenciesNs(6000, 300_000, 1);
const SLOW = latenciesNs(3000, 40_000_000, 2);
const connects = (dest: string, result: string, latencies: readonly number[]): Connect[] =>
  latencies.map((latencyNs) => ({ key: { dest, port: '443' }, result, latencyNs }));

/** The connects in several intervals. */
const SNAPSHOTS: readonly Snapshot[] = [
  snapshotOf(connects('192.0.2.1', 'established', FAST.slice(0, 2000))),
  snapshotOf([
    ...connects('192.0.2.1', 'established', FAST.slice(2000)),
    ...connects('192.0.2.2', 'established', SLOW),
    ...connects('192.0.2.2', 'timed-out', [127e9, 127.1e9, 130e9]),
  ]),
];

const CASES: readonly (readonly [dest: string, latencies: readonly number[]])[] = [
  ['192.0.2.1', FAST],
  ['192.0.2.2', SLOW],
];

async function exporting(options: { port?: number; otlp?: string }): Promise<Exporters> {
  const warnings: string[] = [];
  const exporters = await openExporters(
    {
      ...(options.port !== undefined && { listen: { address: '127.0.0.1', port: options.port } }),
      ...{ otlp: options.otlp, maxLines: 5000, buckets: 2, intervalMs: 500, by: ['dest', 'port'] },
    },
    { host: 'node-1', version: '1.2.3', warn: (text) => warnings.push(text) },
  );
  const left = [...SNAPSHOTS];
  exporters.start({
    read: () => left.shift() ?? snapshotOf([]),
    facts: () => ({ programs: [], maps: [], losses: [] }),
    build: { version: '1.2.3' },
  });
  return exporters;
}

/** Whether an estimate is within a bucket of `perOctave` per power of two of the exact value. */
function assertNear(estimate: number, exactNs: number, perOctave: number, what: string): void {
  const ratio = (estimate * 1e9) / exactNs;
  assert.ok(
    Math.abs(Math.log2(ratio)) <= 1 / perOctave,
    `${what}: ${estimate} s, exactly ${exactNs / 1e9} s`,
  );
}

test.skipIf(missing, 'Prometheus: native histograms made of classic buckets', async () => {
  const port = await freePort();
  const exporters = await exporting({ port });
  let prometheus: ServerProcess | undefined;
  try {
    const server = await startPrometheus(folder, [`127.0.0.1:${port}`]);
    prometheus = server;
    const of = (dest: string): string =>
      `tcp_connect_duration_seconds{destination="${dest}",port="443",result="established"}`;
    await until('all connects', async () => {
      const [first] = await server.query(`histogram_count(${of('192.0.2.1')})`);
      return Number(first?.value?.[1]) === FAST.length || undefined;
    });
    for (const [dest, latencies] of CASES) {
      assert.is(await server.value(`histogram_count(${of(dest)})`), latencies.length);
      const sum = latencies.reduce((a, b) => a + b) / 1e9;
      assert.ok(Math.abs((await server.value(`histogram_sum(${of(dest)})`)) / sum - 1) < 1e-9);
      for (const quantile of QUANTILES) {
        const exact = exactQuantile(latencies, quantile);
        const native = await server.value(`histogram_quantile(${quantile}, ${of(dest)})`);
        assertNear(native, exact, 2, `native histogram, ${dest}, ${quantile}`);
        const classic = await server.value(
          `histogram_quantile(${quantile}, ${of(dest).replace('{', '_bucket{')})`,
        );
        assertNear(classic, exact, 2, `classic histogram, ${dest}, ${quantile}`);
      }
    }
    const failures = 'sum(tcp_connects_total{result!="established"}) / sum(tcp_connects_total)';
    assert.is(await server.value(failures), 3 / (FAST.length + SLOW.length + 3));
    assert.is(await server.value('tcpconnlat_build_info{version="1.2.3"}'), 1);
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    const lint = await run(join(folder, 'usr/bin/promtool'), ['check', 'metrics'], {
      input: Buffer.from(text),
    });
    assert.is(lint.toString(), '');
  } finally {
    await prometheus?.stop();
    await exporters.close();
  }
});

test.skipIf(missing, 'VictoriaMetrics: exponential histograms over OTLP', async () => {
  const server = await startVictoriaMetrics(folder);
  const exporters = await exporting({ otlp: `${server.url}/opentelemetry/v1/metrics` });
  try {
    const name = 'system_network_tcp_handshake_duration_seconds';
    const of = (dest: string, suffix: string): string =>
      `${name}_${suffix}{network_peer_address="${dest}",tcpconnlat_result="established"}`;
    for (const [dest, latencies] of CASES) {
      await until(`the connects to ${dest}`, async () => {
        const [first] = await server.query(of(dest, 'count'));
        return Number(first?.value?.[1]) === latencies.length || undefined;
      });
      for (const quantile of QUANTILES) {
        const estimate = await server.value(`histogram_quantile(${quantile}, ${of(dest, 'bucket')})`);
        assertNear(estimate, exactQuantile(latencies, quantile), 8, `${dest}, ${quantile}`);
      }
    }
  } finally {
    await exporters.close();
    await server.stop();
  }
});

test.run();
