/**
 * Aggregates the connects of a run for its report, in bounded memory: by time and by destination, with the
 * slowest and the last failed connects.
 */
import { printable, truncate } from '../../asm/printable.ts';
import { formatAddress } from '../address.ts';
import { Latencies } from '../aggregate/latencies.ts';
import { isAnswer } from '../aggregate/snapshot.ts';
import { type ConnectRecord, type ConnectRow, recordOf } from '../record.ts';
import {
  type ConnectCells,
  type DestinationRow,
  type Latency,
  QUANTILES,
  type ReportData,
  type Totals,
} from './data.ts';
import { type Destination, Destinations, keyOfBytes, keyOfText } from './destinations.ts';
import { Latest, Ranking } from './ranking.ts';
import { TimeSlots } from './time-slots.ts';

/** Percentiles of few connects are noise. More slots than these have this many connects on average. */
const ENOUGH_SLOTS = 100;
const ENOUGH_CONNECTS = 30;
/** How many of the slowest connects, and of the failed ones, the page lists. */
const MAX_LISTED = 100;
/** The most results with a name of their own. A recording may contain any name of an error. */
const MAX_RESULTS = 24;
/** The longest text of a cell, in characters. */
const MAX_TEXT = 200;

/** The result of connects that were recorded without results: they were answered. */
const ANSWERED = 'answered';
const ESTABLISHED = 'established';
const OTHER = 'other';

/** The name of an address, and of a port. */
export interface Names {
  readonly host: (address: string) => string | undefined;
  readonly service: (port: number) => string | undefined;
}

interface Connect {
  readonly timeMs: number;
  readonly latencyNs: number;
  readonly result: string | undefined;
  readonly retransmits: number | undefined;
  readonly destination: Destination;
}

export class Collector {
  readonly #time = new TimeSlots();
  readonly #destinations: Destinations;
  readonly #answered = new Latencies();
  readonly #results = new Map<string, number>();
  readonly #slowest = new Ranking<ConnectCells>(MAX_LISTED);
  readonly #failed = new Latest<ConnectCells>(MAX_LISTED);
  #connects = 0;
  #retransmits = 0;

  constructor(destinations = new Destinations()) {
    this.#destinations = destinations;
    for (const result of [ESTABLISHED, 'refused', 'rejected', ANSWERED]) this.#results.set(result, 0);
  }

  /** The number of connects. */
  get connects(): number {
    return this.#connects;
  }

  /** The destinations so far, in any order. */
  get destinations(): Destination[] {
    return this.#destinations.list();
  }

  /** Includes a time in the range of the report, in ms since the epoch. */
  include(timeMs: number): void {
    this.#time.include(timeMs);
  }

  /** Adds a connect that ended at `timeMs`, in ms since the epoch. */
  addRow(row: ConnectRow, timeMs: number): void {
    const { latencyNs, result, retransmits, remote, dport } = row;
    const key = keyOfBytes(remote, dport);
    const destination = this.#destinations.at(key, () => formatAddress(remote), dport);
    this.#add({ timeMs, latencyNs, result, retransmits, destination }, () => recordOf(row));
  }

  /** The same for a record, which has endpoints unless it is pending. */
  addRecord(record: ConnectRecord, timeMs: number): void {
    const { lat_ms, result, retransmits, daddr = '', dport = 0 } = record;
    const destination = this.#destinations.at(keyOfText(daddr, dport), () => daddr, dport);
    const latencyNs = Math.round(lat_ms * 1e6);
    this.#add({ timeMs, latencyNs, result, retransmits, destination }, () => record);
  }

  #add({ timeMs, latencyNs, result, retransmits = 0, destination }: Connect, record: () => ConnectRecord) {
    const name = this.#nameOf(result);
    const slot = this.#time.at(timeMs);
    this.#connects += 1;
    destination.connects += 1;
    for (const results of [this.#results, slot.results, destination.results])
      results.set(name, (results.get(name) ?? 0) + 1);
    if (retransmits > 0) {
      this.#retransmits += retransmits;
      slot.retransmits += retransmits;
      destination.retransmits += retransmits;
    }
    if (result === undefined || isAnswer(result)) {
      this.#answered.record(latencyNs);
      slot.answered.record(latencyNs);
      destination.answered.record(latencyNs);
      if (this.#slowest.accepts(latencyNs)) this.#slowest.add(latencyNs, cellsOf(record(), timeMs));
    }
    if (isFailure(name)) this.#failed.add(cellsOf(record(), timeMs));
  }

  #nameOf(result = ANSWERED): string {
    return this.#results.has(result) || this.#results.size < MAX_RESULTS ? result : OTHER;
  }

  totals(): Totals {
    return {
      connects: this.#connects,
      answered: this.#answered.count,
      retransmits: this.#retransmits,
      results: ranked(this.#results),
      ...latencyOf(this.#answered),
    };
  }

  data(names?: Names): ReportData {
    this.#time.coarsen(ENOUGH_SLOTS, ENOUGH_CONNECTS, this.#connects);
    const slots = this.#time.slots();
    const latencies = slots.map((slot) => latencyOf(slot?.answered ?? NOTHING));
    const other = this.#destinations.other;
    return {
      startMs: slots.length > 0 ? this.#time.startMs : 0,
      widthMs: this.#time.widthMs,
      heat: slots.map((slot) => nonZero(slot?.answered.slots ?? [])),
      latency: {
        p50: latencies.map(({ p50 }) => p50),
        p90: latencies.map(({ p90 }) => p90),
        p99: latencies.map(({ p99 }) => p99),
        max: latencies.map(({ max }) => max),
      },
      results: ranked(this.#results).map(([name]) => ({
        name,
        counts: slots.map((slot) => slot?.results.get(name) ?? 0),
      })),
      destinations: this.#destinations.list().map((each) => rowOf(each, names)),
      otherDestinations: other.connects > 0 ? rowOf(other) : null,
      slowest: this.#slowest.things(),
      failed: this.#failed.things(),
    };
  }
}

const NOTHING = new Latencies();

function isFailure(result: string): boolean {
  return result !== ESTABLISHED && result !== ANSWERED;
}

function ranked(results: ReadonlyMap<string, number>): [string, number][] {
  return [...results].filter(([, count]) => count > 0).sort(([, a], [, b]) => b - a);
}

/** The first index with a count, and the counts from it to the last one that is not zero. */
function nonZero(counts: ArrayLike<number>): number[] {
  let end = counts.length;
  while (end > 0 && counts[end - 1] === 0) end -= 1;
  let first = 0;
  while (first < end && counts[first] === 0) first += 1;
  return first === end ? [] : [first, ...Array.from(counts).slice(first, end)];
}

function latencyOf(latencies: Latencies): Latency {
  const quantile = (q: number) => ms(latencies.quantileNs(q));
  return {
    p50: quantile(QUANTILES.p50),
    p90: quantile(QUANTILES.p90),
    p99: quantile(QUANTILES.p99),
    max: latencies.count > 0 ? ms(latencies.maxNs) : null,
  };
}

/** A latency in ms with four digits: the histogram is less precise. */
function ms(ns: number | undefined): number | null {
  return ns === undefined ? null : Number((ns / 1e6).toPrecision(4));
}

function rowOf(
  { address, port, connects, results, answered, retransmits }: Destination,
  names?: Names,
): DestinationRow {
  const host = names?.host(address);
  const service = names?.service(port);
  return {
    ...{ address, port },
    ...(host !== undefined && { host: text(host) }),
    ...(service !== undefined && { service: text(service) }),
    connects,
    failures: Object.fromEntries(ranked(results).filter(([result]) => isFailure(result))),
    retransmits,
    ...latencyOf(answered),
  };
}

function cellsOf(record: ConnectRecord, timeMs: number): ConnectCells {
  const { lat_ms, result, retransmits, saddr, lport, daddr, dport, requested_addr, requested_port } = record;
  const workload = workloadOf(record);
  return {
    timeMs: Math.round(timeMs * 1000) / 1000,
    latency: lat_ms,
    ...(result !== undefined && { result }),
    ...(retransmits !== undefined && { retransmits }),
    ...(saddr !== undefined && { from: endpoint(saddr, lport) }),
    ...(daddr !== undefined && { to: endpoint(daddr, dport) }),
    ...(requested_addr !== undefined && { requested: endpoint(requested_addr, requested_port) }),
    pid: record.pid,
    comm: text(record.comm),
    ...(record.uid !== undefined && { uid: record.uid }),
    ...(workload !== undefined && { workload: text(workload) }),
    ...(record.exe !== undefined && { exe: text(record.exe) }),
  };
}

function workloadOf(record: ConnectRecord): string | undefined {
  const { pod_namespace, pod_name, pod, container_name, container, unit, user_unit } = record;
  if (pod_name !== undefined) return `${pod_namespace}/${pod_name}`;
  return pod ?? container_name ?? container?.slice(0, 12) ?? user_unit ?? unit;
}

function endpoint(address: string, port: number | undefined): string {
  return text(`${address.includes(':') ? `[${address}]` : address}${port === undefined ? '' : `:${port}`}`);
}

/** Foreign text: short, and with escapes for characters that reorder or hide text. */
function text(foreign: string): string {
  return printable(truncate(foreign, MAX_TEXT));
}
