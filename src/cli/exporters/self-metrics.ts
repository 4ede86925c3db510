/**
 * What the exporters report about tcpconnlat itself, with the name, type and unit of each metric. Prometheus
 * and OTLP get the same metrics: `tcpconnlat_map_entries` of Prometheus is `tcpconnlat.map.entries` in OTLP.
 */
import { readdirSync } from 'node:fs';
import type { SeriesStore } from './series.ts';

/** A metric with its values. */
export interface SelfMetric {
  /** The name of Prometheus, with its unit. */
  readonly name: string;
  readonly help: string;
  /** A counter never decreases while the process runs. */
  readonly type: 'counter' | 'gauge';
  readonly values: readonly SelfValue[];
}

export interface SelfValue {
  readonly value: number;
  readonly labels?: Readonly<Record<string, string>>;
}

/** What a run knows about itself. */
export interface RunFacts {
  readonly programs: readonly { readonly name: string; readonly runs: number; readonly runNs: number }[];
  readonly maps: readonly { readonly name: string; readonly entries: number; readonly maxEntries: number }[];
  /** What no series counts, by cause, since the start. */
  readonly losses: readonly (readonly [count: number, cause: string])[];
}

/** Durations of something that happens repeatedly. */
export class Durations {
  count = 0;
  seconds = 0;

  /** Measures a call until its result has settled. */
  async measure<T>(work: () => Promise<T>): Promise<T> {
    const start = performance.now();
    try {
      return await work();
    } finally {
      this.count += 1;
      this.seconds += (performance.now() - start) / 1000;
    }
  }
}

/** The facts that self-metrics are made of. */
export interface SelfSources {
  readonly build: Readonly<Record<string, string>>;
  readonly facts: RunFacts;
  readonly store: SeriesStore;
  readonly reads: Durations;
  /** Scrapes before this one; absent without `--prometheus`. */
  readonly scrapes?: Durations;
  /** Exports by result; absent without `--otlp`. */
  readonly exports?: { readonly success: number; readonly failure: number };
}

const PREFIX = 'tcpconnlat_';

/** The metrics about a run. `store` is that of the exporter that reports them. */
export function selfMetrics({ build, facts, store, reads, scrapes, exports }: SelfSources): SelfMetric[] {
  const gauge = (name: string, help: string, ...values: SelfValue[]): SelfMetric => ({
    ...{ name: PREFIX + name, help, type: 'gauge', values },
  });
  const counter = (name: string, help: string, ...values: SelfValue[]): SelfMetric => ({
    ...{ name: PREFIX + name, help, type: 'counter', values },
  });
  const { programs, maps, losses } = facts;
  return [
    gauge('build_info', 'Version and probe type; the value is 1.', { value: 1, labels: build }),
    counter(
      'program_runs_total',
      'Runs of the eBPF programs while kernel.bpf_stats_enabled is 1.',
      ...programs.map(({ name, runs }) => ({ value: runs, labels: { program: name } })),
    ),
    counter(
      'program_run_seconds_total',
      'Time of these runs.',
      ...programs.map(({ name, runNs }) => ({ value: runNs / 1e9, labels: { program: name } })),
    ),
    gauge(
      'map_entries',
      'Entries in the maps that may become full.',
      ...maps.map(({ name, entries }) => ({ value: entries, labels: { map: name } })),
    ),
    gauge(
      'map_max_entries',
      'Capacity of these maps.',
      ...maps.map(({ name, maxEntries }) => ({ value: maxEntries, labels: { map: name } })),
    ),
    counter(
      'losses_total',
      'Connects and program runs that no series counts, by cause.',
      ...losses.map(([value, cause]) => ({ value, labels: { cause } })),
    ),
    counter(
      'other_connects_total',
      'Connects counted in a series "other", by the table that was full.',
      { value: store.overflowedInKernel, labels: { table: 'kernel' } },
      { value: store.overflowed, labels: { table: 'exporter' } },
    ),
    gauge('series', 'Exported series (destination and result, or as --by says).', { value: store.size }),
    gauge('series_limit', 'Most series that are exported.', { value: store.limit }),
    counter('dropped_series_total', 'Series without room, counted in "other".', { value: store.dropped }),
    counter('evicted_series_total', 'Idle series that new ones replaced.', { value: store.evicted }),
    ...durations('read', 'Readings of the tables in the kernel', reads, counter),
    ...(scrapes ? durations('scrape', 'Scrapes before this one', scrapes, counter) : []),
    ...(exports
      ? [
          counter(
            'otlp_exports_total',
            'Exports to the OTLP collector, by result; retries are not counted.',
            ...(['success', 'failure'] as const).map((result) => ({
              value: exports[result],
              labels: { result },
            })),
          ),
        ]
      : []),
  ];
}

function durations(
  name: string,
  what: string,
  { count, seconds }: Durations,
  counter: (name: string, help: string, value: SelfValue) => SelfMetric,
): SelfMetric[] {
  return [
    counter(`${name}s_total`, `${what}.`, { value: count }),
    counter(`${name}_duration_seconds_total`, `${what}: their duration.`, { value: seconds }),
  ];
}

/** The usual metrics of a process, as the client libraries of Prometheus name them. */
export function processMetrics(): SelfMetric[] {
  const { user, system } = process.cpuUsage();
  const metrics: SelfMetric[] = [
    {
      name: 'process_cpu_seconds_total',
      help: 'Total user and system CPU time spent in seconds.',
      type: 'counter',
      values: [{ value: (user + system) / 1e6 }],
    },
    {
      name: 'process_resident_memory_bytes',
      help: 'Resident memory size in bytes.',
      type: 'gauge',
      values: [{ value: process.memoryUsage.rss() }],
    },
    {
      name: 'process_start_time_seconds',
      help: 'Start time of the process since unix epoch in seconds.',
      type: 'gauge',
      values: [{ value: performance.timeOrigin / 1000 }],
    },
  ];
  const descriptors = openDescriptors();
  if (descriptors !== undefined)
    metrics.push({
      name: 'process_open_fds',
      help: 'Number of open file descriptors.',
      type: 'gauge',
      values: [{ value: descriptors }],
    });
  return metrics;
}

function openDescriptors(): number | undefined {
  try {
    return readdirSync('/proc/self/fd').length - 1; // without the one that reads the folder
  } catch {
    return undefined; // no /proc
  }
}
