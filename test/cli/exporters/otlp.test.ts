import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { Latencies } from '../../../src/cli/aggregate/latencies.ts';
import type { KeyPart } from '../../../src/cli/aggregate/snapshot.ts';
import { exponentialHistogram, type OtlpExporter, openOtlp } from '../../../src/cli/exporters/otlp.ts';
import { SeriesStore } from '../../../src/cli/exporters/series.ts';
import { upperBoundNs } from '../../../src/programs/latency-buckets.ts';
import { slowness, suite } from '../../harness.ts';
import { Collector } from './collector.ts';
import { type Connect, latenciesNs, snapshotOf } from './connects.ts';

const test = suite('cli/exporters/otlp', { seconds: 30 });

const DURATION = 'system.network.tcp.handshake.duration';

interface Opened {
  readonly store: SeriesStore;
  readonly warnings: string[];
  readonly exporter: OtlpExporter;
}

function open(url: string, { intervalMs = 100, by = ['dest', 'port'] as readonly KeyPart[] } = {}): Opened {
  const store = new SeriesStore(100);
  const warnings: string[] = [];
  const exporter = openOtlp(store, {
    ...{ url, intervalMs, by },
    resource: { 'service.name': 'tcpconnlat', 'host.name': 'node-1', 'k8s.pod.name': 'agent-x' },
    refresh: async () => {},
    self: () => [
      {
        ...{ name: 'tcpconnlat_program_run_seconds_total', help: 'x', type: 'counter' },
        values: [{ value: 1.5, labels: { program: 'tcp_connect' } }],
      },
    ],
    warn: (text) => warnings.push(text),
  });
  return { store, warnings, exporter };
}

async function until(what: string, condition: () => boolean): Promise<void> {
  for (let i = 0; i < 800 * slowness; i++) {
    if (condition()) return;
    await sleep(10);
  }
  throw new Error(`waited for ${what}`);
}

const connect = (result: string, latencyNs = 1e6): Connect => ({
  ...{ key: { dest: '192.0.2.1', port: '443' }, result, latencyNs, retransmits: 2 },
});

/** The bucket of the OpenTelemetry data model that a latency belongs to: (base^index, base^(index+1)]. */
function indexOf(latencyNs: number): number {
  return Math.ceil(Math.log2(latencyNs / 1e9) * 8) - 1;
}

test('an exponential histogram has the buckets of the data model, at scale 3', () => {
  const values = latenciesNs(2000, 3e6).filter((each) => {
    const exact = Math.log2(each / 1e9) * 8;
    return Math.abs(exact - Math.round(exact)) > 1e-9; // the expected index would depend on rounding
  });
  const latencies = new Latencies();
  for (const each of values) latencies.record(each);
  const { scale, count, sum, min, max, zeroCount, positive } = exponentialHistogram(latencies);
  assert.equal([scale, count, zeroCount], [3, values.length, 0]);
  assert.equal([min, max], [Math.min(...values) / 1e9, Math.max(...values) / 1e9]);
  assert.ok(Math.abs((sum ?? 0) * 1e9 - values.reduce((a, b) => a + b)) < 1);
  const expected = new Map<number, number>();
  for (const each of values) expected.set(indexOf(each), (expected.get(indexOf(each)) ?? 0) + 1);
  positive.bucketCounts.forEach((each, i) => {
    assert.is(each, expected.get(positive.offset + i) ?? 0, `bucket ${positive.offset + i}`);
  });
  assert.ok((positive.bucketCounts[0] ?? 0) > 0 && (positive.bucketCounts.at(-1) ?? 0) > 0);
});

test('latencies outside of the buckets are counted too', () => {
  const latencies = new Latencies();
  for (const each of [1, 500, 128e9, 131e9, 600e9]) latencies.record(each);
  const { count, zeroCount, positive } = exponentialHistogram(latencies);
  assert.is(count, 5);
  assert.is(zeroCount, 2);
  assert.equal(positive, { offset: 55, bucketCounts: [1, 2] });
  assert.is(upperBoundNs(216), 128e9);
  assert.equal(exponentialHistogram(new Latencies()).positive, { offset: 0, bucketCounts: [] });
});

test('the collector gets resource, attributes, histograms and metrics about the process', async () => {
  const collector = await Collector.start();
  const { store, exporter, warnings } = open(collector.url);
  try {
    store.add(snapshotOf([connect('established'), connect('timed-out', 127e9), connect('rejected')], 5000));
    await until('an export', () => collector.received.length > 0);
    const [first] = collector.received;
    assert.is(first?.path, '/v1/metrics');
    assert.is(first?.headers['content-type'], 'application/x-protobuf');
    assert.is(first?.headers['content-encoding'], 'gzip');
    const { 'service.name': service, 'host.name': host, 'k8s.pod.name': pod } = first?.resource ?? {};
    assert.equal([service, host, pod], ['tcpconnlat', 'node-1', 'agent-x']);
    const duration = first?.metrics.find(({ name }) => name === DURATION);
    assert.is(duration?.unit, 's');
    const common = {
      ...{ 'network.tcp.handshake.role': 'client', 'network.peer.address': '192.0.2.1' },
      'network.peer.port': 443,
    };
    assert.equal(
      duration?.points.map(({ attributes }) => attributes),
      [
        { ...common, 'tcpconnlat.result': 'established' },
        { ...common, 'tcpconnlat.result': 'timed-out', 'error.type': 'timed_out' },
        { ...common, 'tcpconnlat.result': 'rejected', 'error.type': 'refused' },
      ],
    );
    const [point] = duration?.points ?? [];
    assert.equal([point?.startNs, point?.scale, point?.count], [4_000_000_000n, 3, 1]);
    assert.equal([point?.sum, point?.min, point?.max], [0.001, 0.001, 0.001]);
    assert.equal([point?.offset, point?.bucketCounts], [indexOf(1e6), [1]]);
    const own = first?.metrics.find(({ name }) => name === 'tcpconnlat.program.run');
    assert.equal([own?.unit, own?.points[0]?.value], ['s', 1.5]);
    assert.equal(own?.points[0]?.attributes, { program: 'tcp_connect' });
    const retransmits = first?.metrics.find(({ name }) => name === 'tcpconnlat.connect.retransmits');
    assert.equal(
      retransmits?.points.map(({ value }) => value),
      [2, 2, 2],
    );
  } finally {
    await exporter.close();
    await collector.close();
  }
  assert.equal(warnings, []);
});

test('a key without a name has no attribute, and "other" is the overflow of the data model', async () => {
  const collector = await Collector.start();
  const { store, exporter } = open(collector.url, { by: ['pod', 'port'] });
  const key = (pod: string, port: string): Connect => ({
    ...{ key: { pod, port }, result: 'established', latencyNs: 1e6 },
  });
  try {
    store.add(
      snapshotOf([key('-', '80'), key('shop/cart', '80'), key('other', '80'), key('other', 'other')]),
    );
    await exporter.close();
    const { resource, metrics } = collector.received.at(-1) ?? {};
    const duration = metrics?.find(({ name }) => name === DURATION);
    const common = { 'network.tcp.handshake.role': 'client', 'tcpconnlat.result': 'established' };
    assert.equal(
      duration?.points.map(({ attributes }) => attributes),
      [
        { ...common, 'network.peer.port': 80 },
        { ...common, 'k8s.pod.name': 'shop/cart', 'network.peer.port': 80 },
        { ...common, 'otel.metric.overflow': true, 'network.peer.port': 80 },
        { ...common, 'otel.metric.overflow': true },
      ],
    );
    // The pod of tcpconnlat itself would have the same name.
    assert.is(resource?.['k8s.pod.name'], undefined);
  } finally {
    await collector.close();
  }
});

test('the last connects are sent at the end', async () => {
  const collector = await Collector.start();
  const { store, exporter } = open(collector.url, { intervalMs: 60_000 });
  store.add(snapshotOf([connect('established')]));
  assert.is(await exporter.close(), 0);
  assert.is(collector.received.length, 1);
  assert.equal(exporter.exports, { success: 1, failure: 0 });
  await collector.close();
});

test('a busy collector gets the export again', async () => {
  const collector = await Collector.start();
  collector.answers = [503, 429];
  const { store, exporter, warnings } = open(collector.url, { intervalMs: 8000 });
  store.add(snapshotOf([connect('established')]));
  assert.is(await exporter.close(), 0);
  assert.is(collector.requests, 3);
  assert.equal(warnings, []);
  await collector.close();
});

test('a rejected export is not repeated before the next interval, and reported once', async () => {
  const collector = await Collector.start();
  const { url } = collector;
  collector.answers = [404, 400, 404];
  const { store, exporter, warnings } = open(url);
  store.add(snapshotOf([connect('established')]));
  await until('success', () => collector.received.length > 0);
  await exporter.close();
  await collector.close();
  assert.is(
    warnings[0],
    `cannot send metrics to ${url}: HTTP status 404 Not Found (the reason); tries again every 0.1 s`,
  );
  // On a slow machine an export may also reach its time limit.
  assert.match(warnings[1] ?? '', /^metrics are sent to \S+ again, after \d+ failed exports$/);
  assert.is(warnings.length, 2);
  assert.ok(exporter.exports.failure >= 3);
});

test('while the collector cannot be reached there is one warning, and then it gets everything', async () => {
  const closed = await Collector.start();
  const { port, url } = closed;
  await closed.close();
  const { store, exporter, warnings } = open(url);
  for (let i = 0; i < 5; i++) {
    store.add(snapshotOf([connect('established')]));
    await until('failures', () => exporter.exports.failure > i);
  }
  assert.is(warnings.length, 1);
  assert.match(
    warnings[0] ?? '',
    /^cannot send metrics to \S+: connect ECONNREFUSED 127.0.0.1:\d+; tries again/,
  );
  const collector = await Collector.start(port);
  await until('an export', () => collector.received.length > 0);
  assert.is(await exporter.close(), 0);
  const duration = collector.received[0]?.metrics.find(({ name }) => name === DURATION);
  assert.is(duration?.points[0]?.count, 5);
  await collector.close();
});

test('exports do not pile up while the collector does not answer', async () => {
  const collector = await Collector.start();
  collector.answers = Array.from({ length: 100 }, () => 'hang');
  const { store, exporter, warnings } = open(collector.url, { intervalMs: 20 });
  store.add(snapshotOf([connect('established')]));
  await until('failures', () => exporter.exports.failure >= 2);
  // A request that reached its time limit may still be open here when the next one comes.
  assert.ok(collector.mostOpen <= 2, `${collector.mostOpen} requests at once`);
  assert.ok(collector.requests <= 8, `${collector.requests} requests`);
  assert.is(warnings.length, 1);
  collector.answers = [];
  await until('an export', () => collector.received.length > 0);
  await exporter.close();
  await collector.close();
});

test('an end without a collector takes a bounded time, and the missing connects are counted', async () => {
  const collector = await Collector.start();
  collector.answers = Array.from({ length: 10 }, () => 'hang');
  const { store, exporter, warnings } = open(collector.url, { intervalMs: 60_000 });
  store.add(snapshotOf([connect('established'), connect('refused')]));
  assert.is(await exporter.close(), 2);
  assert.equal(warnings, [`2 connects were not sent to ${collector.url}`]);
  // The export is repeated until its time limit, unless the process exits.
  collector.answers = [];
  collector.dropConnections();
  await until('an export', () => collector.received.length > 0);
  await collector.close();
});

test.run();
