/**
 * A connect that was answered or has ended otherwise, as people and programs read it: one object, from which the columns and the JSON
 * lines are made.
 */
import { errnoName } from '../loader/errno.ts';
import { AF_INET6, type ConnectEvent, outcomeOf } from '../programs/tcpconnlat.ts';
import { formatIPv4, formatIPv6 } from './address.ts';
import type { Containers } from './record/containers.ts';
import type { WallClock } from './record/wall-clock.ts';

/** What became of the connect, where that was asked for. */
interface OutcomeRecord {
  /** How often the SYN was sent again, where that is known. */
  readonly retransmits?: number;
  /** One of the words of `Result`, or the name of an error. */
  readonly result?: string;
  /** The name of the error, where there is one. */
  readonly errno?: string;
}

/** A line of output. The names are those of the columns in lower case. */
export interface ConnectRecord extends OutcomeRecord {
  /** When it ended, which mostly is when the answer came: seconds since the first line shown. */
  readonly time_s: number;
  /** The same as a time of day: ISO 8601 in UTC, with microseconds. */
  readonly time?: string;
  readonly pid: number;
  readonly comm: string;
  readonly uid?: number;
  /** The container's id, 64 hexadecimal digits; absent outside of containers. */
  readonly container?: string;
  /** The uid of its pod; absent outside of pods. */
  readonly pod?: string;
  readonly ip: 4 | 6;
  readonly saddr: string;
  readonly lport: number;
  readonly daddr: string;
  readonly dport: number;
  /** The name of `daddr`, where it has one. */
  readonly host?: string;
  /** The name of `dport`, where it has one. */
  readonly service?: string;
  readonly lat_ms: number;
}

/** Options that show more of a record than there is to see without. */
export type Showing = 'wall' | 'who' | 'resolve' | 'outcome';

/** Every field in the order of a JSON line, and the option that shows it: null where none is needed. */
export const FIELDS: { readonly [K in keyof Required<ConnectRecord>]: Showing | null } = {
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

/** Those of the options that a recording has to be made with. Names are none of what was seen, and are looked up when it is shown. */
export const RECORDED = ['wall', 'who', 'outcome'] as const satisfies readonly Showing[];

const NAMES = Object.keys(FIELDS) as (keyof ConnectRecord)[];

/** The fields that one option shows. */
export function fieldsOf(option: Showing): (keyof ConnectRecord)[] {
  return NAMES.filter((name) => FIELDS[name] === option);
}

/** The fields that are shown with these options. */
export function fieldsShown(options: { readonly [K in Showing]?: unknown }): (keyof ConnectRecord)[] {
  return NAMES.filter((name) => {
    const option = FIELDS[name];
    return option === null || options[option];
  });
}

/** What is asked to tell more of an event than it holds. */
export interface Sources {
  readonly wallClock?: WallClock;
  readonly containers?: Containers;
}

/** The address of a family that isn't traced. */
const NOWHERE = new Uint8Array(16);

/** Turns events into records; the first event that it is given is at time 0. */
export function recorder({ wallClock, containers }: Sources = {}): (event: ConnectEvent) => ConnectRecord {
  let firstNs: bigint | undefined;
  return (event) => {
    const { attempt, latencyNs, ports, v4, v6, family } = event;
    const endNs = attempt.startNs + BigInt(latencyNs);
    firstNs ??= endNs;
    const { task, user, cgroup } = attempt;
    const [ip, saddr, daddr] =
      family === AF_INET6
        ? ([6, formatIPv6(v6?.local ?? NOWHERE), formatIPv6(v6?.remote ?? NOWHERE)] as const)
        : ([4, formatIPv4(v4?.local ?? NOWHERE), formatIPv4(v4?.remote ?? NOWHERE)] as const);
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
