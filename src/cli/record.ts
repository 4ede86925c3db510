/**
 * A record: one connect, as columns and JSON lines show it.
 */
import { errnoName } from '../loader/errno.ts';
import { AF_INET6, type ConnectEvent, outcomeOf, type Result } from '../programs/tcpconnlat/events.ts';
import { formatAddress } from './address.ts';
import type { Caller, CallerLookup } from './record/caller.ts';
import type { WallClock } from './record/wall-clock.ts';
import { threadNameText } from './thread-name.ts';

interface OutcomeRecord {
  /** SYN retransmissions, if known. */
  readonly retransmits?: number;
  /** A `Result`, or the name of an error. */
  readonly result?: string;
  /** The name of the error, if there is one. */
  readonly errno?: string;
}

/** One connect. The fields have the names of the columns, in lower case. */
export interface ConnectRecord extends OutcomeRecord, Caller {
  /** When the connect was answered or ended, or was seen waiting, in seconds since the first line shown. */
  readonly time_s: number;
  /** The same as a time of day: ISO 8601 in UTC, with microseconds. */
  readonly time?: string;
  readonly pid: number;
  /** The text of the thread's name (`threadNameText`). */
  readonly comm: string;
  readonly uid?: number;
  // What a connect in flight may lack: see `pendingRecordOf`.
  readonly ip?: 4 | 6;
  readonly saddr?: string;
  readonly lport?: number;
  readonly daddr?: string;
  readonly dport?: number;
  /** The address that the program passed to connect, and the port; absent if they are not known. */
  readonly requested_addr?: string;
  readonly requested_port?: number;
  /** The name of `daddr`, if it has one. */
  readonly host?: string;
  /** The name of `dport`, if it has one. */
  readonly service?: string;
  readonly lat_ms: number;
}

/** The options that add fields to a record. */
export type FieldOption = 'wall' | 'who' | 'requested' | 'resolve' | 'outcome';

/**
 * Every field in the order of a JSON line, with the option that adds it: null for fields that are always
 * present.
 */
export const FIELDS: { readonly [K in keyof Required<ConnectRecord>]: FieldOption | null } = {
  time_s: null,
  time: 'wall',
  pid: null,
  comm: null,
  uid: 'who',
  unit: 'who',
  user_unit: 'who',
  container: 'who',
  container_name: 'who',
  pod: 'who',
  pod_name: 'who',
  pod_namespace: 'who',
  exe: 'who',
  ppid: 'who',
  parent: 'who',
  cmdline: 'who',
  ip: null,
  saddr: null,
  lport: null,
  daddr: null,
  dport: null,
  requested_addr: 'requested',
  requested_port: 'requested',
  host: 'resolve',
  service: 'resolve',
  lat_ms: null,
  retransmits: 'outcome',
  result: 'outcome',
  errno: 'outcome',
};

/**
 * The options whose fields a recording contains. Names are not recorded: they are looked up when the
 * recording is shown.
 */
export const RECORDED_OPTIONS = [
  'wall',
  'who',
  'requested',
  'outcome',
] as const satisfies readonly FieldOption[];

const NAMES = Object.keys(FIELDS) as (keyof ConnectRecord)[];

/** The fields that one option adds. */
export function fieldsOf(option: FieldOption): (keyof ConnectRecord)[] {
  return NAMES.filter((name) => FIELDS[name] === option);
}

/** The options that decide which fields are shown. */
export interface FieldOptions extends Partial<Record<FieldOption, unknown>> {
  readonly pendingMs?: number;
}

/** Whether lines have the fields of `outcome`. */
export function hasResults({ outcome, pendingMs }: FieldOptions): boolean {
  return Boolean(outcome) || pendingMs !== undefined;
}

/** The results that are shown without an option for outcomes. */
const ANSWERED: readonly Result[] = ['established', 'refused', 'rejected'];

/**
 * Whether a connect that ended with `result` is shown. Programs that send no results send answered connects.
 */
export function showsResult(outcome: 'all' | 'failures' | undefined, result: string | undefined): boolean {
  if (outcome === 'all') return true;
  if (outcome === 'failures') return result !== undefined && result !== 'established';
  return result === undefined || ANSWERED.includes(result as Result);
}

/** All fields that are shown with these options. */
export function fieldsShown(options: FieldOptions): (keyof ConnectRecord)[] {
  return NAMES.filter((name) => {
    const option = FIELDS[name];
    return option === null || options[option] || (option === 'outcome' && hasResults(options));
  });
}

/** Sources of the fields that an event does not contain. */
export interface Sources {
  readonly wallClock?: WallClock;
  readonly callers?: CallerLookup;
}

/** The caller of which nothing is known. */
const UNKNOWN_CALLER: Caller = {};
/** The addresses of a family that is not traced. */
const UNKNOWN = { 4: new Uint8Array(4), 6: new Uint8Array(16) } as const;

/**
 * What is known about one connect, before it is text: the fields of a `ConnectRecord` as numbers and bytes.
 * The reader uses one row for all events; a row is valid until the next event.
 */
export interface ConnectRow {
  /** Returns the time of the answer or end in ns since the first event. */
  readonly timeNs: () => number;
  /** The time of day. */
  readonly time: string | undefined;
  readonly pid: number;
  /** The thread's name, with lone surrogates for bytes that are not UTF-8. */
  readonly comm: string;
  readonly uid: number | undefined;
  /** The same object for all connects of one caller. */
  readonly caller: Caller;
  readonly ip: 4 | 6;
  readonly local: Uint8Array;
  readonly lport: number;
  readonly remote: Uint8Array;
  readonly dport: number;
  /** The requested address, 4 or 16 bytes as `remote`, and port. */
  readonly requested: Uint8Array | undefined;
  readonly requestedPort: number | undefined;
  readonly latencyNs: number;
  readonly retransmits: number | undefined;
  readonly result: string | undefined;
  readonly errno: string | undefined;
}

/** Writable fields, for the reader. */
type Row = { -readonly [K in keyof ConnectRow]: ConnectRow[K] };

/** Returns a function that reads an event into a row. The first event has time 0. */
export function rowReader({ wallClock, callers }: Sources = {}): (event: ConnectEvent) => ConnectRow {
  let firstNs: bigint | undefined;
  let startNs = 0n;
  const row: Row = {
    // One subtraction of bigints, because each of them allocates.
    timeNs: () => Number(startNs - (firstNs as bigint)) + row.latencyNs,
    ...{ time: undefined, pid: 0, comm: '', uid: undefined, caller: UNKNOWN_CALLER },
    ...{ ip: 4, local: UNKNOWN[4], lport: 0, remote: UNKNOWN[4], dport: 0, latencyNs: 0 },
    ...{ requested: undefined, requestedPort: undefined },
    ...{ retransmits: undefined, result: undefined, errno: undefined },
  };
  return (event) => {
    const { attempt, ports, v4, v6 } = event;
    const { task, user } = attempt;
    row.latencyNs = event.latencyNs;
    startNs = attempt.startNs;
    firstNs ??= startNs + BigInt(row.latencyNs);
    row.time = wallClock?.(startNs + BigInt(row.latencyNs));
    row.pid = task.pid;
    row.comm = attempt.comm;
    row.uid = user?.uid;
    row.caller = callers?.(attempt) ?? UNKNOWN_CALLER;
    row.ip = event.family === AF_INET6 ? 6 : 4;
    row.local = (row.ip === 6 ? v6?.local : v4?.local) ?? UNKNOWN[row.ip];
    row.remote = (row.ip === 6 ? v6?.remote : v4?.remote) ?? UNKNOWN[row.ip];
    row.lport = ports.local;
    row.dport = ports.remote;
    if (attempt.requested) setRequested(row, attempt.requested);
    if (event.ended) setOutcome(row, event);
    return row;
  };
}

/** An IPv4 address is IPv4-mapped. */
function setRequested(
  row: Row,
  { address, port, family }: NonNullable<ConnectEvent['attempt']['requested']>,
) {
  const isKnown = family !== 0;
  row.requested = isKnown ? address.subarray(row.ip === 4 ? 12 : 0) : undefined;
  row.requestedPort = isKnown ? port : undefined;
}

function setOutcome(row: Row, event: ConnectEvent): void {
  const outcome = outcomeOf(event);
  const errno = outcome?.errno === undefined ? undefined : errnoName(outcome.errno);
  row.retransmits = outcome?.retransmits;
  row.result = outcome?.result === 'error' ? errno : outcome?.result;
  row.errno = errno;
}

/** The record of a row, which stays valid. */
export function recordOf(row: ConnectRow): ConnectRecord {
  const { time, pid, comm, uid, caller, ip, local, lport, remote, dport } = row;
  const { requested, requestedPort, retransmits, result, errno } = row;
  return {
    time_s: row.timeNs() / 1e9,
    ...(time !== undefined && { time }),
    ...{ pid, comm: threadNameText(comm) },
    ...(uid !== undefined && { uid }),
    ...caller,
    ...{ ip, saddr: formatAddress(local), lport, daddr: formatAddress(remote), dport },
    ...(requested !== undefined && {
      requested_addr: formatAddress(requested),
      requested_port: requestedPort,
    }),
    lat_ms: row.latencyNs / 1e6,
    ...(retransmits !== undefined && { retransmits }),
    ...(result !== undefined && { result }),
    ...(errno !== undefined && { errno }),
  };
}

/** The result of a connect in flight. */
export const PENDING = 'pending' satisfies Result;

/**
 * The record of a connect in flight. It has no local port, unless the socket was bound to one before. It has
 * no endpoints if its event has none (`pendingEvent`).
 */
export function pendingRecordOf(row: ConnectRow, hasEndpoints: boolean): ConnectRecord {
  const { ip, saddr, lport, daddr, dport, retransmits: _, errno: __, ...known } = recordOf(row);
  // The requested address has the form of the socket's family.
  const { requested_addr, requested_port, ...rest } = known;
  const requested = requested_addr !== undefined && { requested_addr, requested_port };
  return {
    ...rest,
    ...(hasEndpoints && { ip, saddr, daddr, dport, ...requested }),
    ...(lport !== 0 && { lport }),
    result: PENDING,
  };
}
