/**
 * The text of `/metrics`: latency histograms with classic buckets, which Prometheus 3 converts to native
 * histograms (`convert_classic_histograms_to_nhcb`), and metrics about tcpconnlat itself.
 *
 * The kernel's buckets are 8 per octave; here neighbors are merged, so that counts stay exact.
 */
import { type Metric, Registry } from 'prom-client';
import { FIRST_BUCKET, SCALE, SLOT_COUNT } from '../../programs/latency-buckets.ts';
import type { Latencies } from '../aggregate/latencies.ts';
import type { KeyPart } from '../aggregate/snapshot.ts';
import type { BucketsPerOctave } from '../exporter-options.ts';
import { processMetrics, type SelfMetric } from './self-metrics.ts';
import { partsOf, type Series, type SeriesStore } from './series.ts';

/** The lowest boundary is 2^-18 s (4 us): a connect on the loopback device takes 5 us or more. */
const FIRST_OCTAVE = -18;

/** The name of a label for each part of a key. */
const LABELS: { readonly [P in KeyPart]: string } = {
  dest: 'destination',
  net: 'network',
  port: 'port',
  comm: 'comm',
  pod: 'pod',
  unit: 'unit',
  container: 'container',
  user: 'user',
};

const DURATION = 'tcp_connect_duration_seconds';
/** Lines that are left for metrics about tcpconnlat itself, with their comments. */
const OWN_LINES = 120;

export const CONTENT_TYPE = Registry.PROMETHEUS_CONTENT_TYPE;

/** The histogram boundaries as slots of the kernel's histogram, whose upper bounds they are. */
export function boundarySlots(perOctave: BucketsPerOctave): number[] {
  const step = 2 ** SCALE / perOctave;
  const first = FIRST_OCTAVE * 2 ** SCALE - FIRST_BUCKET;
  const slots: number[] = [];
  for (let slot = first; slot < SLOT_COUNT - 1; slot += step) slots.push(slot);
  return slots;
}

/** How many series fit into a number of lines. */
export function seriesIn(lines: number, perOctave: BucketsPerOctave): number {
  // The buckets with +Inf, sum and count; and two counters.
  const perSeries = boundarySlots(perOctave).length + 5;
  return Math.max(1, Math.floor((lines - OWN_LINES) / perSeries));
}

/** Renders the current series of a store, and `self`. */
export function metricsText(
  store: SeriesStore,
  perOctave: BucketsPerOctave,
  self: readonly SelfMetric[],
): Promise<string> {
  const registry = new Registry();
  const slots = boundarySlots(perOctave);
  const bounds = slots.map((slot) => 2 ** ((FIRST_BUCKET + slot) / 2 ** SCALE));
  const series = [...store].map((each) => ({ ...each, labels: labelsOf(each) }));
  register(registry, {
    name: DURATION,
    help: 'Latency of active TCP connects, from the SYN to the answer or failure, by result.',
    type: 'histogram',
    values: series.flatMap(({ latencies, labels }) => histogram(latencies, slots, bounds, labels)),
  });
  // The same as the count of the histogram, which has no series of its own if Prometheus converts it.
  register(registry, {
    name: 'tcp_connects_total',
    help: 'Active TCP connects that ended, by result.',
    type: 'counter',
    values: series.map(({ latencies, labels }) => ({ value: latencies.count, sharedLabels: labels })),
  });
  register(registry, {
    name: 'tcp_connect_retransmits_total',
    help: 'SYN retransmissions of these connects.',
    type: 'counter',
    values: series.map(({ retransmits, labels }) => ({ value: retransmits, sharedLabels: labels })),
  });
  for (const metric of [...self, ...processMetrics()]) register(registry, metric);
  return registry.metrics();
}

/** A metric whose values are not counted by prom-client. */
interface ReadyMetric {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly values: readonly ReadyValue[];
}

interface ReadyValue {
  readonly value: number;
  readonly metricName?: string;
  readonly labels?: Readonly<Record<string, string | number>>;
  /** Labels of several values, rendered once. */
  readonly sharedLabels?: Labels;
}

type Labels = Readonly<Record<string, string>>;

function register(registry: Registry, metric: ReadyMetric): void {
  registry.registerMetric({ ...metric, get: async () => metric } as unknown as Metric);
}

/** A part that is not known is an empty label, which Prometheus treats as absent. */
function labelsOf({ key, result }: Series): Labels {
  const labels = partsOf(key).map(([part, value]) => [LABELS[part], value === '-' ? '' : value]);
  return { ...Object.fromEntries(labels), result };
}

function histogram(
  { count, sumNs, slots: counts }: Latencies,
  slots: readonly number[],
  bounds: readonly number[],
  sharedLabels: Labels,
): ReadyValue[] {
  const values: ReadyValue[] = [];
  let below = 0;
  let next = 0;
  slots.forEach((slot, i) => {
    for (; next <= slot; next++) below += counts[next] ?? 0;
    values.push({
      ...{ metricName: `${DURATION}_bucket`, value: below },
      ...{ labels: { le: bounds[i] as number }, sharedLabels },
    });
  });
  return [
    ...values,
    { metricName: `${DURATION}_bucket`, value: count, labels: { le: '+Inf' }, sharedLabels },
    { metricName: `${DURATION}_sum`, value: sumNs / 1e9, sharedLabels },
    { metricName: `${DURATION}_count`, value: count, sharedLabels },
  ];
}
