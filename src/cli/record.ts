/**
 * A connect that was answered or has ended otherwise, as people and programs read it: one object, from which the columns and the JSON
 * lines are made.
 */
import { errnoName } from '../loader/errno.ts';
import { AF_INET6, type ConnectEvent, outcomeOf } from '../programs/tcpconnlat.ts';
import { formatIPv4, formatIPv6 } from './address.ts';

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
  return (event) => {
    const { attempt, latencyNs, ports, v4, v6, family } = event;
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
