/**
 * An answered connect as people and programs read it: one object, from which the columns and the JSON lines are made.
 */
import { AF_INET6, type ConnectEvent } from '../programs/tcpconnlat.ts';
import { formatIPv4, formatIPv6 } from './address.ts';

/** A line of output. The names are those of the columns in lower case. */
export interface ConnectRecord {
  /** When the answer came: seconds since the first answer shown. */
  readonly time_s: number;
  readonly pid: number;
  readonly comm: string;
  readonly ip: 4 | 6;
  readonly saddr: string;
  readonly lport: number;
  readonly daddr: string;
  readonly dport: number;
  readonly lat_ms: number;
}

/** The address of a family that isn't traced. */
const NOWHERE = new Uint8Array(16);

/** Turns events into records; the first event that it is given is at time 0. */
export function recorder(): (event: ConnectEvent) => ConnectRecord {
  let firstNs: bigint | undefined;
  return ({ attempt, latencyNs, ports, v4, v6, family }) => {
    const endNs = attempt.startNs + BigInt(latencyNs);
    firstNs ??= endNs;
    const [ip, saddr, daddr] =
      family === AF_INET6
        ? ([6, formatIPv6(v6?.local ?? NOWHERE), formatIPv6(v6?.remote ?? NOWHERE)] as const)
        : ([4, formatIPv4(v4?.local ?? NOWHERE), formatIPv4(v4?.remote ?? NOWHERE)] as const);
    return {
      time_s: Number(endNs - firstNs) / 1e9,
      pid: attempt.task.pid,
      comm: attempt.comm,
      ip,
      saddr,
      lport: ports.local,
      daddr,
      dport: ports.remote,
      lat_ms: latencyNs / 1e6,
    };
  };
}
