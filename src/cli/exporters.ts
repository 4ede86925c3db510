/**
 * Exports aggregated connects: to Prometheus, which scrapes them over HTTP, and to an OpenTelemetry
 * collector.
 *
 * Both have cumulative series of their own, since their limits differ. A scrape or an export first reads the
 * kernel's tables, so its numbers are current. Timed reads in between keep them from filling up.
 */
import type { Snapshot } from './aggregate/snapshot.ts';
import type { ExporterOptions } from './exporter-options.ts';
import { type HttpServer, listen, type Page } from './exporters/http-server.ts';
import type { OtlpExporter } from './exporters/otlp.ts';
import { resourceAttributes } from './exporters/resource.ts';
import { Durations, type RunFacts, type SelfSources, selfMetrics } from './exporters/self-metrics.ts';
import { SeriesStore } from './exporters/series.ts';

export interface Machine {
  readonly host: string;
  readonly version: string;
  readonly warn: (text: string) => void;
}

/** What the exporters read from a run that is attached. */
export interface Source {
  /** The connects since the last reading. */
  read(): Snapshot;
  facts(): RunFacts;
  /** Labels of the metric `tcpconnlat_build_info`. */
  readonly build: Readonly<Record<string, string>>;
}

export interface Exporters {
  /** Begins to export. `source` stays valid until `close`. */
  start(source: Source): void;
  /** Reads the last connects, sends them to the collector, and closes the port. Takes up to 6 s. */
  close(): Promise<void>;
}

/** How often the kernel's tables are read between scrapes and exports, in ms. */
const READ_MS = 10_000;

const STARTING: Page = { status: 503, contentType: 'text/plain; charset=utf-8', body: 'starting\n' };

/**
 * Opens the exporters before anything is attached.
 * @throws {ListenError} if the port is in use.
 */
export async function openExporters(options: ExporterOptions, machine: Machine): Promise<Exporters> {
  const { listen: where, otlp: url } = options;
  const prometheus = where && (await import('./exporters/prometheus.ts'));
  const otlp = url === undefined ? undefined : await import('./exporters/otlp.ts');
  const scraped = prometheus && new SeriesStore(prometheus.seriesIn(options.maxLines, options.buckets));
  const pushed = otlp && new SeriesStore(otlp.MAX_SERIES);
  const stores = [scraped, pushed].filter((store) => store !== undefined);
  const reads = new Durations();
  const scrapes = new Durations();
  let source: Source | undefined;
  let collector: OtlpExporter | undefined;
  let server: HttpServer | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;
  /** Why the last reading failed. */
  let failure: string | undefined;

  const refresh = async (): Promise<Source> => {
    if (!source) throw new Error('tracing has not begun');
    const of = source;
    try {
      const snapshot = await reads.measure(async () => of.read());
      for (const store of stores) store.add(snapshot);
      failure = undefined;
      return of;
    } catch (error) {
      const { message } = error as Error;
      if (message !== failure) machine.warn(`cannot read the aggregated connects: ${message}`);
      failure = message;
      throw error;
    }
  };
  const self = (store: SeriesStore, { build }: Source, more: Partial<SelfSources>) =>
    selfMetrics({ build, facts: (source as Source).facts(), store, reads, ...more });

  if (where && prometheus && scraped) {
    const metrics = async (): Promise<Page> => {
      if (!source) return STARTING;
      return scrapes.measure(async () => {
        const metrics = self(scraped, await refresh(), { scrapes, exports: collector?.exports });
        const body = await prometheus.metricsText(scraped, options.buckets, metrics);
        return { contentType: prometheus.CONTENT_TYPE, body };
      });
    };
    const healthz = (): Page =>
      source && failure === undefined
        ? { ...STARTING, status: 200, body: 'ok\n' }
        : { ...STARTING, body: `${failure ?? 'starting'}\n` };
    server = await listen(where, { '/metrics': metrics, '/healthz': healthz });
  }

  return {
    start(of) {
      source = of;
      timer = setInterval(() => refresh().catch(() => {}), READ_MS);
      if (otlp && pushed && url !== undefined)
        collector = otlp.openOtlp(pushed, {
          ...{ url, intervalMs: options.intervalMs, by: options.by, warn: machine.warn },
          resource: resourceAttributes(machine.host, machine.version),
          refresh: async () => {
            await refresh();
          },
          self: () => self(pushed, of, { exports: collector?.exports }),
        });
      if (server) machine.warn(`metrics: ${server.url}/metrics`);
    },
    async close() {
      if (closed) return;
      closed = true;
      clearInterval(timer);
      // The last export reads the connects, too. Its failure has been reported, as of any reading.
      const last = collector ? collector.close() : source && refresh().catch(() => {});
      await Promise.all([last, server?.close()]);
    },
  };
}
