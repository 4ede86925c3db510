/**
 * Sends cumulative series to an OpenTelemetry collector: OTLP with protobuf over HTTP. The exponential
 * histograms have the kernel's buckets as they are.
 *
 * Every export contains all connects since the start, so a failed one loses nothing: the next one contains
 * it. That also bounds memory while the collector cannot be reached.
 *
 * Source: OpenTelemetry metrics data model; semantic conventions (docs/exporters.md lists the names that are
 * only proposed).
 */
import { type Attributes, type HrTime, ValueType } from '@opentelemetry/api';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import {
  defaultResource,
  detectResources,
  envDetector,
  type Resource,
  resourceFromAttributes,
} from '@opentelemetry/resources';
import {
  AggregationTemporality,
  type CollectionResult,
  type DataPoint,
  DataPointType,
  type ExponentialHistogram,
  MeterProvider,
  type MetricData,
  PeriodicExportingMetricReader,
  type PushMetricExporter,
} from '@opentelemetry/sdk-metrics';
import { BUCKET_COUNT, FIRST_BUCKET, SCALE, UNDERFLOW_SLOT } from '../../programs/latency-buckets.ts';
import type { Latencies } from '../aggregate/latencies.ts';
import type { Key, KeyPart } from '../aggregate/snapshot.ts';
import type { ResourceAttributes } from './resource.ts';
import type { SelfMetric } from './self-metrics.ts';
import { OTHER, partsOf, type Series, type SeriesStore } from './series.ts';

/** The most series in an export: the default cardinality limit of OpenTelemetry's SDKs. */
export const MAX_SERIES = 2000;
/** How long an export may take with its retries, in ms: the interval, within these limits. */
const [LEAST_EXPORT_MS, MOST_EXPORT_MS] = [2000, 10_000];
/** How long the last export at the end of a run may take. */
const LAST_EXPORT_MS = 5000;
/** The longest interval of a timer. The SDK's own timer is not used: it limits an export to the interval. */
const NEVER_MS = 2 ** 31 - 1;

/** A collector. */
export interface OtlpOptions {
  readonly url: string;
  readonly intervalMs: number;
  readonly resource: ResourceAttributes;
  /** The parts of the keys. */
  readonly by: readonly KeyPart[];
  /** Brings the store up to date; called before each export. */
  readonly refresh: () => Promise<void>;
  readonly self: () => readonly SelfMetric[];
  readonly warn: (text: string) => void;
}

/** Exports that have ended, with their retries. */
export interface ExportCounts {
  success: number;
  failure: number;
}

export interface OtlpExporter {
  readonly exports: ExportCounts;
  /** Sends the last state of the store, for up to 5 s. Returns the connects that the collector lacks. */
  close(): Promise<number>;
}

/** Sends the series of a store at each interval. */
export function openOtlp(store: SeriesStore, options: OtlpOptions): OtlpExporter {
  const { url, intervalMs, resource, by, refresh, self, warn } = options;
  const exports: ExportCounts = { success: 0, failure: 0 };
  const timeoutMillis = Math.min(MOST_EXPORT_MS, Math.max(LEAST_EXPORT_MS, intervalMs));
  const startMs = Date.now();
  /** The connects of the store in the export that is being sent, and in the last one that succeeded. */
  let sending = 0;
  let sent = 0;
  const exporter = reporting(
    new OTLPMetricExporter({ url, timeoutMillis, ...(!compressionIsSet() && { compression: GZIP }) }),
    { ...options, exports },
    () => {
      sent = sending;
    },
  );
  const producer = {
    async collect(): Promise<CollectionResult> {
      await refresh();
      sending = connectsIn(store);
      const metrics = [...seriesMetrics(store), ...ownMetrics(self(), startMs)];
      const scope = { name: 'tcpconnlat', version: resource['service.version'] };
      const resourceMetrics = { resource: provided, scopeMetrics: [{ scope, metrics }] };
      return { resourceMetrics, errors: [] };
    },
  };
  const provided = resourceOf(resource, by);
  const reader = new PeriodicExportingMetricReader({
    ...{ exporter, exportIntervalMillis: NEVER_MS, exportTimeoutMillis: 2 * timeoutMillis },
    metricProducers: [producer],
  });
  const provider = new MeterProvider({ resource: provided, readers: [reader] });
  let isBusy = false;
  const timer = setInterval(async () => {
    if (isBusy) return;
    isBusy = true;
    await reader.forceFlush().catch(() => {}); // `reporting` has warned
    isBusy = false;
  }, intervalMs);
  return {
    exports,
    async close() {
      clearInterval(timer);
      await provider.shutdown({ timeoutMillis: LAST_EXPORT_MS }).catch(() => {});
      const missing = connectsIn(store) - sent;
      if (missing > 0) warn(`${missing} connects were not sent to ${url}`);
      return missing;
    },
  };
}

/** `CompressionAlgorithm.GZIP` of a package that the SDK does not export. */
const GZIP = 'gzip' as NonNullable<ConstructorParameters<typeof OTLPMetricExporter>[0]>['compression'];

function compressionIsSet(): boolean {
  const { OTEL_EXPORTER_OTLP_COMPRESSION: all, OTEL_EXPORTER_OTLP_METRICS_COMPRESSION: metrics } =
    process.env;
  return Boolean(all ?? metrics);
}

function connectsIn(store: SeriesStore): number {
  let connects = 0;
  for (const { latencies } of store) connects += latencies.count;
  return connects;
}

/** Counts exports, and warns at the first one that fails and when they work again. */
function reporting(
  inner: OTLPMetricExporter,
  { url, intervalMs, exports, warn }: OtlpOptions & { exports: ExportCounts },
  onSent: () => void,
): PushMetricExporter {
  let failures = 0;
  return {
    export(metrics, done) {
      inner.export(metrics, (result) => {
        if (result.error) {
          exports.failure += 1;
          failures += 1;
          if (failures === 1)
            warn(
              `cannot send metrics to ${url}: ${reasonOf(result.error)}; tries again every ${intervalMs / 1000} s`,
            );
        } else {
          exports.success += 1;
          onSent();
          if (failures > 0) warn(`metrics are sent to ${url} again, after ${failures} failed exports`);
          failures = 0;
        }
        done(result);
      });
    },
    forceFlush: () => inner.forceFlush(),
    shutdown: () => inner.shutdown(),
    selectAggregationTemporality: (type) => inner.selectAggregationTemporality(type),
    selectAggregation: (type) => inner.selectAggregation(type),
  };
}

/** The message of an error; the code of an HTTP error is its status. */
function reasonOf(error: Error & { code?: unknown; data?: unknown }): string {
  const { code, data, message } = error;
  if (typeof code !== 'number') return message || String(code);
  const body = typeof data === 'string' && data.trim() !== '' ? ` (${data.trim().split('\n')[0]})` : '';
  return `HTTP status ${code} ${message}${body}`.slice(0, MAX_REASON);
}

const MAX_REASON = 200;

/** The resource, overridden by OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME, without names of `by`. */
function resourceOf(attributes: ResourceAttributes, by: readonly KeyPart[]): Resource {
  const used = new Set(by.map((part) => ATTRIBUTES[part]));
  const own = Object.fromEntries(Object.entries(attributes).filter(([name]) => !used.has(name)));
  return defaultResource()
    .merge(resourceFromAttributes(own))
    .merge(detectResources({ detectors: [envDetector] }));
}

/** The attribute of each part of a key. */
const ATTRIBUTES: { readonly [P in KeyPart]: string } = {
  dest: 'network.peer.address',
  net: 'tcpconnlat.network',
  port: 'network.peer.port',
  comm: 'thread.name',
  pod: 'k8s.pod.name',
  unit: 'systemd.unit.name',
  container: 'container.name',
  user: 'process.user.name',
};

/**
 * The values of `error.type` for results. An answer has none. A result that is not listed is an error of its
 * own, such as `ENOMEM`.
 */
const ERROR_TYPES: { readonly [result: string]: string | undefined } = {
  established: undefined,
  restored: undefined,
  rejected: 'refused',
  'timed-out': 'timed_out',
  'no-port': 'no_port',
  ECONNRESET: 'reset',
  failed: '_OTHER',
  [OTHER]: '_OTHER',
};

function attributesOf({ key, result }: Series): Attributes {
  const errorType = Object.hasOwn(ERROR_TYPES, result) ? ERROR_TYPES[result] : result;
  return {
    'network.tcp.handshake.role': 'client',
    ...keyAttributes(key),
    'tcpconnlat.result': result,
    ...(errorType !== undefined && { 'error.type': errorType }),
  };
}

/** A part that is not known, or is `other`, has no attribute. */
function keyAttributes(key: Key): Attributes {
  const attributes: Attributes = {};
  for (const [part, value] of partsOf(key)) {
    if (value === OTHER) attributes['otel.metric.overflow'] = true;
    else if (value !== '-') attributes[ATTRIBUTES[part]] = part === 'port' ? Number(value) : value;
  }
  return attributes;
}

function seriesMetrics(store: SeriesStore): MetricData[] {
  const endTime = hrTime(Date.now());
  const points = <T>(valueIn: (series: Series) => T): DataPoint<T>[] =>
    [...store].map((series) => ({
      startTime: hrTime(series.startMs),
      endTime,
      attributes: attributesOf(series),
      value: valueIn(series),
    }));
  return [
    {
      descriptor: {
        name: 'system.network.tcp.handshake.duration',
        description: 'Time from the SYN to the answer or failure of a connect.',
        unit: 's',
        valueType: ValueType.DOUBLE,
      },
      aggregationTemporality: AggregationTemporality.CUMULATIVE,
      dataPointType: DataPointType.EXPONENTIAL_HISTOGRAM,
      dataPoints: points(({ latencies }) => exponentialHistogram(latencies)),
    },
    {
      descriptor: {
        name: 'tcpconnlat.connect.retransmits',
        description: 'SYN retransmissions of these connects.',
        unit: '{segment}',
        valueType: ValueType.INT,
      },
      aggregationTemporality: AggregationTemporality.CUMULATIVE,
      dataPointType: DataPointType.SUM,
      isMonotonic: true,
      dataPoints: points(({ retransmits }) => retransmits),
    },
  ];
}

/**
 * The slots as buckets, without those before the first and after the last connect. Longer latencies than the
 * last bucket are in the next one, although some do not fit; `max` is exact.
 */
export function exponentialHistogram(latencies: Latencies): ExponentialHistogram {
  const { count, sumNs, minNs, maxNs, slots } = latencies;
  const buckets = [...slots.subarray(UNDERFLOW_SLOT + 1, BUCKET_COUNT + 2)];
  const first = buckets.findIndex((each) => each > 0);
  const last = buckets.findLastIndex((each) => each > 0);
  return {
    ...{ count, sum: sumNs / 1e9, min: minNs / 1e9, max: maxNs / 1e9 },
    scale: SCALE,
    zeroCount: slots[UNDERFLOW_SLOT] ?? 0,
    positive: {
      offset: first < 0 ? 0 : FIRST_BUCKET + first,
      bucketCounts: first < 0 ? [] : buckets.slice(first, last + 1),
    },
    negative: { offset: 0, bucketCounts: [] },
  };
}

/** `tcpconnlat_read_duration_seconds_total` becomes `tcpconnlat.read.duration` with the unit `s`. */
function ownMetrics(metrics: readonly SelfMetric[], startMs: number): MetricData[] {
  const endTime = hrTime(Date.now());
  return metrics.map(({ name, help, type, values }): MetricData => {
    const [, stem = name, unit] = /^(.*?)(?:_(seconds))?(?:_total)?$/.exec(name) ?? [];
    return {
      descriptor: {
        name: stem.replaceAll('_', '.'),
        description: help,
        unit: unit === 'seconds' ? 's' : '',
        valueType: ValueType.DOUBLE,
      },
      aggregationTemporality: AggregationTemporality.CUMULATIVE,
      ...(type === 'counter'
        ? { dataPointType: DataPointType.SUM, isMonotonic: true }
        : { dataPointType: DataPointType.GAUGE }),
      dataPoints: values.map(({ value, labels = {} }) => ({
        ...{ startTime: hrTime(startMs), endTime, attributes: { ...labels }, value },
      })),
    };
  });
}

function hrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.round((ms - seconds * 1000) * 1e6)];
}
