/**
 * The data of a report's page: what its script reads as JSON. Texts are printable. Latencies are in ms,
 * times in ms since the epoch.
 */

/** The percentiles that the page shows. */
export const QUANTILES = { p50: 0.5, p90: 0.9, p99: 0.99 } as const;
export type Quantile = keyof typeof QUANTILES;

/** Latencies of answered connects; null if there are none. */
export type Latency = { readonly [Q in Quantile | 'max']: number | null };

export interface ReportData {
  /** When the first time slot begins, and the width of a slot. */
  readonly startMs: number;
  readonly widthMs: number;
  /**
   * For each time slot, the answered connects by latency: the first slot of the histogram
   * (latency-buckets.ts) with connects, and the numbers of connects from it on. Empty without connects.
   */
  readonly heat: readonly (readonly number[])[];
  /** For each time slot. */
  readonly latency: { readonly [Q in keyof Latency]: readonly (number | null)[] };
  /** The results, by number of connects; `counts` has one for each time slot. */
  readonly results: readonly { readonly name: string; readonly counts: readonly number[] }[];
  /** By number of connects, most first. */
  readonly destinations: readonly DestinationRow[];
  /** Connects to destinations that are not in the list. */
  readonly otherDestinations: DestinationRow | null;
  /** The slowest answered connects, slowest first. */
  readonly slowest: readonly ConnectCells[];
  /** The last connects that were not established, last one first. */
  readonly failed: readonly ConnectCells[];
}

/** The connects to one destination. */
export interface DestinationRow extends Latency {
  readonly address: string;
  readonly port: number;
  readonly host?: string;
  readonly service?: string;
  readonly connects: number;
  /** The connects that were not established, by result. */
  readonly failures: Readonly<Record<string, number>>;
  readonly retransmits: number;
}

/** One connect. What is not known is absent. */
export interface ConnectCells {
  readonly timeMs: number;
  readonly latency: number;
  readonly result?: string;
  readonly retransmits?: number;
  readonly from?: string;
  readonly to?: string;
  readonly requested?: string;
  readonly pid: number;
  readonly comm: string;
  readonly uid?: number;
  /** The pod, the container or the unit. */
  readonly workload?: string;
  readonly exe?: string;
}

/** The numbers of a whole run. */
export interface Totals extends Latency {
  readonly connects: number;
  readonly answered: number;
  readonly retransmits: number;
  /** By number of connects, most first. */
  readonly results: readonly (readonly [result: string, count: number])[];
}

/** The element ids that the page's document and its script share. */
export const IDS = {
  data: 'data',
  charts: 'charts',
  destinations: 'destinations',
  slowest: 'slowest',
  failed: 'failed',
} as const;
