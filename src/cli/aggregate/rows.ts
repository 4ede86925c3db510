/**
 * Rows from the entries of a table: the result of each key's connects, the text of its parts, and one row for
 * all entries with the same text.
 */
import type { Static } from '@sinclair/typebox';
import { errnoName } from '../../loader/errno.ts';
import {
  type Aggregated,
  type AggregateKey,
  EMPTY,
  End,
  Scope,
} from '../../programs/tcpconnlat/aggregate.ts';
import {
  type ConnectEvent,
  outcomeOf,
  SS_UNCONNECTED,
  TCP_ESTABLISHED,
} from '../../programs/tcpconnlat/events.ts';
import { formatAddress } from '../address.ts';
import type { Caller } from '../record/caller.ts';
import { threadNameText } from '../thread-name.ts';
import type { By } from './by.ts';
import { Latencies, slotAllocator } from './latencies.ts';
import { type Cell, connectsOf, type Key, type KeyPart, type Row } from './snapshot.ts';
import type { WorkloadLookup } from './workloads.ts';

/** An entry of a table. */
export type Entry = readonly [AggregateKey, Static<typeof Aggregated>];

/** The rows of a table, and the connects that have no row of their own. */
export interface Rows {
  /** Sorted by number of connects, most first. */
  readonly rows: readonly Row[];
  /** Connects in the rows `other`. */
  readonly overflowed: number;
  /** Connects that the filter by unit, pod or namespace could not judge, because their key had no room. */
  readonly unknownCallers: number;
}

/** How rows are made. */
export interface RowOptions {
  readonly by: By;
  readonly knowsCauses: boolean;
  /** The name of a user. */
  readonly userName: (uid: number) => string;
  readonly workload?: WorkloadLookup | undefined;
  /** Whether a filter selects a caller. Default: all are selected. */
  readonly selects?: ((caller: Caller) => boolean) | undefined;
}

/** The text of a part that is not known. */
const UNKNOWN = '-';
/** The text of a part that a key without room does not have. */
export const OTHER = 'other';

type MutableRow = { readonly key: Key; readonly results: Map<string, Cell> };

/** Makes the rows of a table. Entries without connects have none. */
export function rowsOf(entries: Iterable<Entry>, options: RowOptions): Rows {
  const { workload, selects } = options;
  const rows = new Map<string, MutableRow>();
  const allocate = slotAllocator();
  const textsOf = textsBy(options);
  let [overflowed, unknownCallers] = [0, 0];
  for (const [key, value] of entries) {
    if (value.minNs === EMPTY.minNs) continue;
    const latencies = latenciesOf(value, allocate());
    const isComplete = key.scope === Scope.complete;
    let caller: Caller | undefined;
    if (isComplete && workload)
      caller = workload({ cgroup: key.cgroup ?? 0n, cgroups: key.cgroups ?? 0n, pid: value.pid });
    if (selects && !isComplete) {
      unknownCallers += latencies.count;
      continue;
    }
    if (selects && !selects(caller ?? {})) continue;
    if (!isComplete) overflowed += latencies.count;
    const texts = textsOf(key, caller ?? {});
    const id = texts.join('\0');
    let row = rows.get(id);
    if (row === undefined) {
      row = { key: namedKey(texts, options), results: new Map() };
      rows.set(id, row);
    }
    addTo(row, resultOf(key, options.knowsCauses), latencies, value.retransmits);
  }
  const sorted = [...rows.values()].map((row) => ({ row, connects: connectsOf(row) }));
  sorted.sort((a, b) => b.connects - a.connects);
  return { rows: sorted.map(({ row }) => row), overflowed, unknownCallers };
}

/** The key of one connect: what the programs put into a key, and the PID of the caller. */
export function keyOf(
  key: Omit<AggregateKey, 'end' | 'error' | 'scope'> & { readonly pid: number },
  options: RowOptions,
): Key {
  const { cgroup = 0n, cgroups = 0n, pid } = key;
  const caller = options.workload?.({ cgroup, cgroups, pid }) ?? {};
  return namedKey(textsBy(options)({ ...key, scope: Scope.complete }, caller), options);
}

function namedKey(texts: readonly string[], { by }: RowOptions): Key {
  return Object.fromEntries(by.parts.map((part, i) => [part, texts[i]]));
}

function addTo({ results }: MutableRow, result: string, latencies: Latencies, retransmits: number): void {
  const cell = results.get(result);
  if (cell === undefined) {
    results.set(result, { latencies, retransmits });
    return;
  }
  cell.latencies.add(latencies);
  cell.retransmits += retransmits;
}

/** The latencies of an entry, in `into`, which is all zeros. */
function latenciesOf(
  { sumNs, minNs, maxNs, slots }: Static<typeof Aggregated>,
  into: Float64Array<ArrayBuffer>,
): Latencies {
  const latencies = new Latencies(into);
  latencies.sumNs = sumNs;
  latencies.minNs = Number(minNs);
  latencies.maxNs = maxNs;
  // Halves of u64, because bigints allocate.
  const halves = new Uint32Array(slots.buffer, slots.byteOffset, slots.byteLength / 4);
  for (let slot = 0; slot < into.length; slot++) {
    const [low, high] = [halves[2 * slot] as number, halves[2 * slot + 1] as number];
    if ((low | high) === 0) continue;
    const count = low + high * 2 ** 32;
    into[slot] = count;
    latencies.count += count;
  }
  return latencies;
}

/** The result of a key's connects, by `outcomeOf`. */
export function resultOf({ end, error, scope }: AggregateKey, knowsCauses: boolean): string {
  if (scope === Scope.unknown) return 'failed';
  const has = (bit: number) => (end & bit) !== 0;
  const event = {
    ended: { state: has(End.established) ? TCP_ESTABLISHED : 0, retransmits: 0 },
    ports: { remote: 0, local: has(End.noPort) ? 0 : 1 },
    ...(knowsCauses && {
      cause: {
        error,
        softError: 0,
        segmentsIn: has(End.received) ? 1 : 0,
        segmentsOut: has(End.unsent) ? 0 : 1,
        socketState: has(End.unsent) ? SS_UNCONNECTED : 0,
        exitCode: has(End.killed) ? 9 : 0,
      },
    }),
  };
  const outcome = outcomeOf(event as ConnectEvent);
  if (outcome === undefined) throw new Error('an end has a result');
  return outcome.result === 'error' ? errnoName(outcome.errno ?? 0) : outcome.result;
}

type KeyOfTexts = Omit<AggregateKey, 'end' | 'error'>;

/** The text of each part of a complete key, and the port of others. */
const TEXTS: Readonly<Record<KeyPart, (key: KeyOfTexts, caller: Caller, options: RowOptions) => string>> = {
  dest: ({ address }) => (address ? formatAddress(addressOf(address)) : UNKNOWN),
  net: ({ address }, _, { by }) => (address ? networkText(addressOf(address), by.prefixes) : UNKNOWN),
  port: ({ scope, port }) => (scope <= Scope.port ? String(port) : OTHER),
  comm: ({ comm }) => threadNameText(comm ?? UNKNOWN),
  pod: (_, caller) => podText(caller),
  unit: (_, { unit, user_unit }) => user_unit ?? unit ?? UNKNOWN,
  container: (_, { container, container_name }) => container_name ?? container?.slice(0, SHORT_ID) ?? UNKNOWN,
  user: ({ uid }, _, { userName }) => userName(uid ?? 0),
};

/** Returns a function that makes the texts of the parts. */
function textsBy(options: RowOptions): (key: KeyOfTexts, caller: Caller) => string[] {
  const { parts } = options.by;
  return (key, caller) => {
    const isComplete = key.scope === Scope.complete;
    return parts.map((part) => (isComplete || part === 'port' ? TEXTS[part](key, caller, options) : OTHER));
  };
}

/** The characters of a container's ID that Docker shows. */
const SHORT_ID = 12;

function podText({ pod, pod_name, pod_namespace }: Caller): string {
  return pod_name === undefined ? (pod ?? UNKNOWN) : `${pod_namespace}/${pod_name}`;
}

const MAPPED = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff);

/** An IPv4-mapped address as an IPv4 address, so that a destination has one row. */
function addressOf(address: Uint8Array): Uint8Array {
  for (let i = 0; i < MAPPED.length; i++) if (address[i] !== MAPPED[i]) return address;
  return address.subarray(MAPPED.length);
}

function networkText(address: Uint8Array, { v4, v6 }: By['prefixes']): string {
  const prefix = address.length === 4 ? v4 : v6;
  const network = address.map((byte, i) => byte & (0xff00 >> Math.min(Math.max(prefix - 8 * i, 0), 8)));
  return `${formatAddress(network)}/${prefix}`;
}
