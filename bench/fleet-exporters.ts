/**
 * The exporters of a simulated fleet, in one process: `fleet-exporters.js MACHINES`. Prints its port. The
 * path `/machine/N` has the metrics of machine N, rendered by the code of the real exporter. Their counters
 * grow with time.
 *
 * Machines of the same profile have the same numbers: each profile is rendered once per step and kept
 * compressed, so that this process costs little next to the server that scrapes it.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { Latencies } from '../src/cli/aggregate/latencies.ts';
import type { Row, Snapshot } from '../src/cli/aggregate/snapshot.ts';
import { CONTENT_TYPE, metricsText, seriesIn } from '../src/cli/exporters/prometheus.ts';
import { Durations, selfMetrics } from '../src/cli/exporters/self-metrics.ts';
import { SeriesStore } from '../src/cli/exporters/series.ts';

/** Destinations of each machine, of a larger number in the fleet. */
export const DESTINATIONS = 20;
const POOL = 200;
/** Destinations of a machine with failing connects: each is one more series. */
const FAILING = 4;
const PROFILES = 10;
/** A step is a state of the counters; its duration in ms. */
const STEP_MS = 5000;
const STEPS = 120;
const CONNECTS_PER_STEP = 50;
const MAX_LINES = 5000;
const BUCKETS = 2;

/** A reproducible generator of numbers from 0 to 1 (mulberry32). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The connects of a step: latencies of a destination spread around its own median, from 0.1 to 30 ms. */
function snapshot(profile: number, random: () => number): Snapshot {
  const rows: Row[] = [];
  for (let i = 0; i < DESTINATIONS; i++) {
    const index = (profile * 17 + i * 7) % POOL;
    const median = 1e5 * 300 ** (index / POOL);
    const established = new Latencies();
    for (let n = 0; n < CONNECTS_PER_STEP; n++)
      established.record(median * Math.exp(random() + random() - 1) * (random() < 0.005 ? 30 : 1));
    const results = new Map([['established', { latencies: established, retransmits: 0 }]]);
    if (i < FAILING) {
      const refused = new Latencies();
      refused.record(median);
      results.set('refused', { latencies: refused, retransmits: 0 });
    }
    rows.push({ key: { dest: `10.0.${index >> 8}.${index & 255}`, port: '443' }, results });
  }
  return { startMs: 0, endMs: 1, rows, slowest: [], failed: [], overflowed: 0, losses: [] };
}

/** The pages of a profile, one for each step. */
async function pages(profile: number): Promise<Page[]> {
  const random = generator(profile + 1);
  const store = new SeriesStore(seriesIn(MAX_LINES, BUCKETS));
  const facts = {
    programs: [
      { name: 'begin', runs: 1, runNs: 1 },
      { name: 'end', runs: 1, runNs: 1 },
    ],
    maps: [
      { name: 'attempts', entries: 10, maxEntries: 10_240 },
      { name: 'keys', entries: 24, maxEntries: 10_240 },
    ],
    losses: [[0, 'the table of connects in flight was full']] as const,
  };
  const [reads, scrapes] = [new Durations(), new Durations()];
  const list: Page[] = [];
  for (let step = 0; step < STEPS; step++) {
    store.add(snapshot(profile, random));
    const self = selfMetrics({ build: { version: '0.1.0', probe: 'fentry' }, facts, store, reads, scrapes });
    const text = await metricsText(store, BUCKETS, self);
    list.push({ text: text.length, gzip: gzipSync(text, { level: 6 }) });
  }
  return list;
}

interface Page {
  /** The length of the text, in bytes. */
  readonly text: number;
  readonly gzip: Buffer;
}

const profiles = await Promise.all(Array.from({ length: PROFILES }, (_, i) => pages(i)));
const start = performance.now();
const server = createServer((request, response) => {
  const machine = Number(request.url?.split('/').at(-1));
  const step = Math.min(STEPS - 1, Math.floor((performance.now() - start) / STEP_MS));
  const page = profiles[machine % PROFILES]?.[step] as Page;
  response.writeHead(200, {
    'Content-Type': CONTENT_TYPE,
    'Content-Encoding': 'gzip',
    'Content-Length': page.gzip.length,
  });
  response.end(page.gzip);
});
server.listen(0, '127.0.0.1', () => {
  const sizes = profiles.map((list) => list.at(-1) as Page);
  const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  console.log(
    JSON.stringify({
      port: (server.address() as AddressInfo).port,
      text: mean(sizes.map(({ text }) => text)),
      gzip: mean(sizes.map(({ gzip }) => gzip.length)),
    }),
  );
});
