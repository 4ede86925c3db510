/**
 * What the exporter costs on one machine: the single executable with --prometheus, scraped every 15 s, while
 * nothing connects, and at two rates of connects.
 */
import { spawn } from 'node:child_process';
import { buildExecutable } from '../executable/build.ts';
import { freePort, until } from '../test/servers/server.ts';
import { withScratch } from '../test/vm/cache.ts';
import { median, ms, type Row, sleep } from './measure.ts';
import { type Child, pidOf, residentMb, stop, usage } from './process.ts';
import { Worker } from './worker.ts';

const RATES = [0, 100, 10_000];
const SECONDS = 60;
const INTERVAL_S = 15;
/** The share of a CPU that it may take at any of these rates, in percent. */
const BAR = 1;

export function exporter(): Promise<Row[]> {
  return withScratch(async (scratch) => {
    const file = await buildExecutable('linux-x64', scratch);
    const port = await freePort();
    const child: Child = spawn(file, ['--prometheus', '--listen', `127.0.0.1:${port}`], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const { worker } = await Worker.start('connector.js');
    const url = `http://127.0.0.1:${port}`;
    try {
      await until('the exporter', async () => (await fetch(`${url}/healthz`)).ok);
      const rows: Row[] = [];
      for (const rate of RATES) rows.push(await measure(url, child, worker, rate));
      rows.push({
        measure: 'exporter: resident memory',
        figure: `${residentMb(pidOf(child)).toFixed(1)} MB`,
      });
      return rows;
    } finally {
      worker.end();
      await stop(child);
    }
  });
}

async function measure(url: string, child: Child, worker: Worker, rate: number): Promise<Row> {
  const before = usage(pidOf(child)).cpuMs;
  const work = rate > 0 ? worker.work(`${rate * SECONDS} ${rate}`) : sleep(SECONDS * 1000);
  const durations: number[] = [];
  for (let time = 0; time < SECONDS; time += INTERVAL_S) {
    await sleep(INTERVAL_S * 1000);
    const begin = performance.now();
    await (await fetch(`${url}/metrics`)).text();
    durations.push(performance.now() - begin);
  }
  await work;
  const percent = (usage(pidOf(child)).cpuMs - before) / SECONDS / 10;
  return {
    measure: `exporter: CPU at ${rate} connects per second`,
    figure: `${percent.toFixed(2)} %`,
    reference: `a scrape: ${ms(median(durations))}`,
    bar: `${BAR} %`,
    met: percent <= BAR,
  };
}
