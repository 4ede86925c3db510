/**
 * A Prometheus that scrapes a thousand exporters: its memory, its CPU time and its disk, with native
 * histograms and with classic ones. The exporters are simulated by one process (fleet-exporters.ts).
 */
import { once } from 'node:events';
import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { serverPrograms } from '../test/servers/packages.ts';
import { freePort, ServerProcess, scratchFolder } from '../test/servers/server.ts';
import { ms, type Row, sleep } from './measure.ts';
import { type Child, node, residentMb, usage } from './process.ts';

const MACHINES = 1000;
const INTERVAL_S = 15;
/** When the measuring begins, and how long it takes. */
const [WARM_S, MEASURED_S] = [45, 90];
const DAY_S = 86_400;
const MB = 1e6;

const FORMS = ['native', 'classic'] as const;
type Form = (typeof FORMS)[number];

const DURATION = 'tcp_connect_duration_seconds';
/** The 99th percentile by destination, over the whole fleet. */
const QUERIES: Record<Form, string> = {
  native: `histogram_quantile(0.99, sum by (destination) (rate(${DURATION}[1m])))`,
  classic: `histogram_quantile(0.99, sum by (destination, le) (rate(${DURATION}_bucket[1m])))`,
};

export async function fleet(): Promise<Row[]> {
  const { folder, missing } = await serverPrograms();
  if (missing) throw new Error(missing);
  const rows: Row[] = [];
  for (const form of FORMS) {
    const { child, port, text, gzip } = await startExporters();
    try {
      if (rows.length === 0)
        rows.push({
          measure: `fleet: a scrape of one machine`,
          figure: `${(text / 1000).toFixed(1)} kB`,
          reference: `with gzip ${(gzip / 1000).toFixed(1)} kB`,
        });
      rows.push(...(await measure(form, folder, port)));
    } finally {
      child.kill();
      await once(child, 'exit');
    }
  }
  return rows;
}

interface Simulation {
  readonly port: number;
  /** The mean bytes of a page, and compressed. */
  readonly text: number;
  readonly gzip: number;
}

async function startExporters(): Promise<Simulation & { readonly child: Child }> {
  const child = node(new URL('fleet-exporters.js', import.meta.url).pathname);
  const [line] = await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
  return { child, ...(JSON.parse(String(line)) as Simulation) };
}

async function startPrometheus(form: Form, programs: string, exporters: number, data: string) {
  const targets = Array.from({ length: MACHINES }, (_, i) => ({
    targets: [`127.0.0.1:${exporters}`],
    labels: { __metrics_path__: `/machine/${i}`, instance: `machine-${i}` },
  }));
  const native = { convert_classic_histograms_to_nhcb: true, always_scrape_classic_histograms: false };
  const config = {
    global: { scrape_interval: `${INTERVAL_S}s`, scrape_timeout: '10s' },
    scrape_configs: [{ job_name: 'tcpconnlat', ...(form === 'native' && native), static_configs: targets }],
  };
  const file = join(data, 'prometheus.yml');
  await writeFile(file, JSON.stringify(config)); // JSON is YAML
  const port = await freePort();
  const args = [
    `--config.file=${file}`,
    `--storage.tsdb.path=${data}`,
    `--web.listen-address=127.0.0.1:${port}`,
    '--web.enable-admin-api',
    '--enable-feature=native-histograms',
  ];
  return ServerProcess.start(join(programs, 'usr/bin/prometheus'), args, { port, ready: '/-/ready' });
}

async function measure(form: Form, programs: string, exporters: number): Promise<Row[]> {
  const data = scratchFolder();
  const server = await startPrometheus(form, programs, exporters, data);
  try {
    await sleep(WARM_S * 1000);
    const before = usage(server.pid).cpuMs;
    const samplesBefore = await ownMetric(server, 'prometheus_tsdb_head_samples_appended_total');
    await sleep(MEASURED_S * 1000);
    const cores = (usage(server.pid).cpuMs - before) / 1000 / MEASURED_S;
    const samples =
      ((await ownMetric(server, 'prometheus_tsdb_head_samples_appended_total')) - samplesBefore) / MEASURED_S;
    const memory = residentMb(server.pid);
    const up = await server.value('sum(up)');
    const series = await ownMetric(server, 'prometheus_tsdb_head_series');
    const begin = performance.now();
    const found = await server.query(QUERIES[form]);
    const queried = performance.now() - begin;
    const { bytes, scrapes } = await snapshotOf(server, data);
    const perScrape = bytes / scrapes;
    const name = `fleet, ${form} histograms`;
    return [
      {
        measure: `${name}: exporters scraped`,
        figure: `${up} of ${MACHINES}`,
        reference: `every ${INTERVAL_S} s`,
        met: up === MACHINES,
        bar: 'all',
      },
      {
        measure: `${name}: series in Prometheus`,
        figure: `${(series / 1e6).toFixed(3)} million`,
        reference: `${Math.round(series / MACHINES)} a machine`,
      },
      { measure: `${name}: samples`, figure: `${Math.round(samples)} per second` },
      { measure: `${name}: CPU of Prometheus`, figure: `${cores.toFixed(2)} cores` },
      {
        measure: `${name}: memory of Prometheus`,
        figure: `${Math.round(memory)} MB`,
        reference: `${((memory * MB) / series / 1000).toFixed(1)} kB a series`,
      },
      {
        measure: `${name}: disk, a scrape of one machine`,
        figure: `${Math.round(perScrape)} bytes`,
        reference: `${((perScrape * DAY_S) / 30 / MB).toFixed(1)} MB a day, every 30 s`,
      },
      {
        measure: `${name}: 99th percentile by destination`,
        figure: ms(queried),
        reference: `${found.length} destinations`,
      },
    ];
  } finally {
    await server.stop();
  }
}

/** A metric of Prometheus about itself. */
async function ownMetric(server: ServerProcess, name: string): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const values = [...text.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'gm'))];
  return values.reduce((sum, [, value]) => sum + Number(value), 0);
}

/** Has Prometheus write a block of its data, and returns its size and the number of scrapes in it. */
async function snapshotOf(server: ServerProcess, data: string): Promise<{ bytes: number; scrapes: number }> {
  const response = await fetch(`${server.url}/api/v1/admin/tsdb/snapshot`, { method: 'POST' });
  const { data: answer } = (await response.json()) as { data: { name: string } };
  const folder = join(data, 'snapshots', answer.name);
  let bytes = 0;
  let scrapes = 0;
  for (const block of await readdir(folder)) {
    const meta = JSON.parse(await readFile(join(folder, block, 'meta.json'), 'utf8'));
    scrapes += (meta.maxTime - meta.minTime) / 1000 / INTERVAL_S;
    for (const file of await readdir(join(folder, block), { recursive: true })) {
      const { size, isFile } = await fileOf(join(folder, block, file));
      if (isFile) bytes += size;
    }
  }
  return { bytes, scrapes: scrapes * MACHINES };
}

async function fileOf(path: string): Promise<{ size: number; isFile: boolean }> {
  const found = await stat(path);
  return { size: found.size, isFile: found.isFile() };
}
