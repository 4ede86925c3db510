/**
 * A record: one connect, as columns and JSON lines show it.
 */
import { errnoName } from '../loader/errno.ts';
import { AF_INET6, type ConnectEvent, outcomeOf } from '../programs/tcpconnlat.ts';
import { formatIPv4, formatIPv6 } from './address.ts';
import type { ContainerLookup } from './record/containers.ts';
import type { WallClock } from './record/wall-clock.ts';

interface OutcomeRecord {
  /** SYN retransmissions, if known. */
  readonly retransmits?: number;
  /** A `Result`, or the name of an error. */
  readonly result?: string;
  /** The name of the error, if there is one. */
  readonly errno?: string;
}

/** One connect. The fields have the names of the columns, in lower case. */
export interface ConnectRecord extends OutcomeRecord {
  /** When the connect was answered or ended, in seconds since the first line shown. */
  readonly time_s: number;
  /** The same as a time of day: ISO 8601 in UTC, with microseconds. */
  readonly time?: string;
  readonly pid: number;
  readonly comm: string;
  readonly uid?: number;
  /** The container id, 64 hexadecimal digits; absent outside of containers. */
  readonly container?: string;
  /** The uid of the pod; absent outside of pods. */
  readonly pod?: string;
  readonly ip: 4 | 6;
  readonly saddr: string;
  readonly lport: number;
  readonly daddr: string;
  readonly dport: number;
  /** The name of `daddr`, if it has one. */
  readonly host?: string;
  /** The name of `dport`, if it has one. */
  readonly service?: string;
  readonly lat_ms: number;
}

/** The options that add fields to a record. */
export type FieldOption = 'wall' | 'who' | 'resolve' | 'outcome';

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
  container: 'who',
  pod: 'who',
  ip: null,
  saddr: null,
  lport: null,
  daddr: null,
  dport: null,
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
export const RECORDED_OPTIONS = ['wall', 'who', 'outcome'] as const satisfies readonly FieldOption[];

const NAMES = Object.keys(FIELDS) as (keyof ConnectRecord)[];

/** The fields that one option adds. */
export function fieldsOf(option: FieldOption): (keyof ConnectRecord)[] {
  return NAMES.filter((name) => FIELDS[name] === option);
}

/** All fields that are shown with these options. */
export function fieldsShown(options: { readonly [K in FieldOption]?: unknown }): (keyof ConnectRecord)[] {
  return NAMES.filter((name) => {
    const option = FIELDS[name];
    return option === null || options[option];
  });
}

/** Sources of the fields that an event does not contain. */
export interface Sources {
  readonly wallClock?: WallClock;
  readonly containers?: ContainerLookup;
}

/** The address of a family that is not traced. */
const UNKNOWN_ADDRESS = new Uint8Array(16);

/** Returns a function that converts events to records. The first event has time 0. */
export function recordConverter({
  wallClock,
  containers,
}: Sources = {}): (event: ConnectEvent) => ConnectRecord {
  let firstNs: bigint | undefined;
  return (event) => {
    const { attempt, latencyNs, ports, v4, v6, family } = event;
    const endNs = attempt.startNs + BigInt(latencyNs);
    firstNs ??= endNs;
    const { task, user, cgroup } = attempt;
    const [ip, saddr, daddr] =
      family === AF_INET6
        ? ([6, formatIPv6(v6?.local ?? UNKNOWN_ADDRESS), formatIPv6(v6?.remote ?? UNKNOWN_ADDRESS)] as const)
        : ([4, formatIPv4(v4?.local ?? UNKNOWN_ADDRESS), formatIPv4(v4?.remote ?? UNKNOWN_ADDRESS)] as const);
    return {
      time_s: Number(endNs - firstNs) / 1e9,
      ...(wallClock && { time: wallClock(endNs) }),
      pid: task.pid,
      comm: attempt.comm,
      ...(user && { uid: user.uid }),
      ...(cgroup !== undefined && containers?.(cgroup, task.pid)),
      ip,
      saddr,
      lport: ports.local,
      daddr,
      dport: ports.remote,
      lat_ms: latencyNs / 1e6,
      ...outcomeRecord(event),
    };
  };
}

function outcomeRecord(event: ConnectEvent): OutcomeRecord {
  const outcome = outcomeOf(event);
  if (!outcome) return {};
  const { result, retransmits } = outcome;
  const errno = outcome.errno === undefined ? undefined : errnoName(outcome.errno);
  return {
    ...(retransmits !== undefined && { retransmits }),
    result: result === 'error' ? errno : result,
    ...(errno !== undefined && { errno }),
  };
}
