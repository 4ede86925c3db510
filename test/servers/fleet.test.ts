/**
 * How servers pass the metrics on, as docs/fleet.md says: remote write 2.0 keeps native histograms, and
 * federation passes numbers, but no native histogram with custom buckets.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { exactQuantile, latenciesNs, snapshotOf } from '../cli/exporters/connects.ts';
import { suite } from '../harness.ts';
import { exporterOn } from './exporter.ts';
import { serverPrograms } from './packages.ts';
import { startPrometheus } from './prometheus.ts';
import { freePort, type ServerProcess, scratchFolder, until } from './server.ts';

const test = suite('servers/fleet', { seconds: 110 });

const { folder, missing } = await serverPrograms();

const LATENCIES = latenciesNs(5000, 2_000_000, 1);
const HISTOGRAM = 'tcp_connect_duration_seconds{result="established"}';
const P99 = 'destination:tcp_connect_duration_seconds:p99';
const SUM = 'destination:tcp_connect_duration_seconds:sum';

/** A file with the rules of the server that scrapes. */
function rules(): string {
  const file = join(scratchFolder(), 'rules.yml');
  const records = [
    { record: P99, expr: `histogram_quantile(0.99, sum by (destination) (${HISTOGRAM}))` },
    { record: SUM, expr: `sum by (destination) (${HISTOGRAM})` },
  ];
  writeFileSync(file, JSON.stringify({ groups: [{ name: 'fleet', rules: records }] })); // JSON is YAML
  return file;
}

const hostOf = ({ url }: ServerProcess): string => new URL(url).host;

test.skipIf(
  missing,
  'remote write keeps native histograms, and federation passes recorded numbers',
  async () => {
    const port = await freePort();
    const exporters = await exporterOn(port);
    const key = { dest: '192.0.2.1', port: '443' };
    const connects = LATENCIES.map((latencyNs) => ({ key, result: 'established', latencyNs }));
    const snapshots = [snapshotOf(connects)];
    exporters.start({
      read: () => snapshots.shift() ?? snapshotOf([]),
      facts: () => ({ programs: [], maps: [], losses: [] }),
      build: { version: '1' },
    });
    const servers: ServerProcess[] = [];
    const start = async (...args: Parameters<typeof startPrometheus>): Promise<ServerProcess> => {
      const server = await startPrometheus(...args);
      servers.push(server);
      return server;
    };
    try {
      const central = await start(folder, [], { args: ['--web.enable-remote-write-receiver'] });
      const local = await start(folder, [`127.0.0.1:${port}`], {
        rules: rules(),
        config: {
          remote_write: [
            {
              url: `${central.url}/api/v1/write`,
              protobuf_message: 'io.prometheus.write.v2.Request',
              send_native_histograms: true,
            },
          ],
        },
      });
      const federate = (name: string): Promise<ServerProcess> =>
        start(folder, [], {
          config: {
            scrape_configs: [
              {
                job_name: 'federate',
                honor_labels: true,
                metrics_path: '/federate',
                params: { 'match[]': [name] },
                static_configs: [{ targets: [hostOf(local)] }],
              },
            ],
          },
        });

      const query = `histogram_quantile(0.99, sum by (destination) (${HISTOGRAM}))`;
      const exact = exactQuantile(LATENCIES, 0.99) / 1e9;
      const estimate = await local.value(query);
      assert.ok(Math.abs(Math.log2(estimate / exact)) <= 1 / 2, `${estimate}, exactly ${exact}`);

      await until('the connects in the central server', async () => {
        const [first] = await central.query(`histogram_count(${HISTOGRAM})`);
        return Number(first?.value?.[1]) === LATENCIES.length;
      });
      assert.is(await central.value(query), estimate);

      const numbers = await federate(P99);
      assert.is(await numbers.value(P99), estimate);
      await until('the recorded histogram', async () => (await local.query(SUM)).length > 0);
      const histograms = await federate(SUM);
      assert.is(await histograms.value('up'), 0, 'docs/fleet.md says that this scrape fails');
    } finally {
      for (const server of servers) await server.stop();
      await exporters.close();
    }
  },
);

test.run();
