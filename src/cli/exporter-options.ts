/** The options of exporters. */
import type { KeyPart } from './aggregate/snapshot.ts';

/** An address and a port to listen on. An empty address means all addresses of the machine. */
export interface ListenAddress {
  readonly address: string;
  readonly port: number;
}

export const DEFAULT_LISTEN: ListenAddress = { address: '127.0.0.1', port: 9435 };

/** The values of `--buckets`: buckets per octave, divisors of those in the kernel. */
export const BUCKETS_PER_OCTAVE = [1, 2, 4, 8] as const;
export type BucketsPerOctave = (typeof BUCKETS_PER_OCTAVE)[number];

export const DEFAULT_BUCKETS: BucketsPerOctave = 2;
export const DEFAULT_MAX_LINES = 5000;
/** The interval of exports to a collector, in ms. */
export const DEFAULT_EXPORT_MS = 60_000;

export interface ExporterOptions {
  /** Serve metrics for Prometheus there. */
  readonly listen?: ListenAddress;
  /** The most lines of a scrape. */
  readonly maxLines: number;
  readonly buckets: BucketsPerOctave;
  /** The URL of an OpenTelemetry collector. */
  readonly otlp?: string;
  /** The interval of exports to the collector, in ms. */
  readonly intervalMs: number;
  readonly by: readonly KeyPart[];
}

/** `ADDRESS:PORT`, with brackets around IPv6 addresses. */
export function hostAndPort({ address, port }: ListenAddress): string {
  return `${address.includes(':') ? `[${address}]` : address || '*'}:${port}`;
}
