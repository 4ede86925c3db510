/** Connects aggregated in user space, with exact latencies, for tests of the exporters. */
import { Latencies } from '../../../src/cli/aggregate/latencies.ts';
import type { Cell, Key, Snapshot } from '../../../src/cli/aggregate/snapshot.ts';

/** One connect. */
export interface Connect {
  readonly key: Key;
  readonly result: string;
  readonly latencyNs: number;
  readonly retransmits?: number;
}

/** The snapshot of an interval with these connects, which ends at `endMs` and takes a second. */
export function snapshotOf(connects: readonly Connect[], endMs = Date.now()): Snapshot {
  const rows = new Map<string, { key: Key; results: Map<string, Cell>; count: number }>();
  for (const { key, result, latencyNs, retransmits = 0 } of connects) {
    const id = JSON.stringify(key);
    const row = rows.get(id) ?? { key, results: new Map<string, Cell>(), count: 0 };
    const cell = row.results.get(result) ?? { latencies: new Latencies(), retransmits: 0 };
    cell.latencies.record(latencyNs);
    cell.retransmits += retransmits;
    row.count += 1;
    row.results.set(result, cell);
    rows.set(id, row);
  }
  const sorted = [...rows.values()].sort((a, b) => b.count - a.count);
  return { startMs: endMs - 1000, endMs, rows: sorted, slowest: [], failed: [], overflowed: 0, losses: [] };
}

/** Latencies as networks have them, by a generator with a seed: most about a median, some much longer. */
export function latenciesNs(count: number, medianNs: number, seed = 1): number[] {
  let state = seed;
  const uniform = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return (state + 1) / 2 ** 32;
  };
  const normal = (): number => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  return Array.from({ length: count }, () => Math.round(medianNs * Math.exp(0.8 * normal())));
}

/** The exact percentile: the smallest value that a share `quantile` of the values does not exceed. */
export function exactQuantile(values: readonly number[], quantile: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(quantile * sorted.length) - 1)] as number;
}
