/**
 * The options of the tool and what follows from them alone. Nothing here needs the builder, so that a command
 * can check its options without loading it.
 */
import type { Aggregate, AggregateContext } from './aggregate.ts';
import type { Filter } from './criteria.ts';

/**
 * The kind of hook that the programs attach to. `kprobe` and `fentry` use the same kernel functions, without
 * and with BTF. `tp_btf`, `raw_tracepoint` and `trace_event` use the same tracepoint: with BTF arguments,
 * with raw arguments, or with its record.
 */
export type ProbeType = 'kprobe' | 'fentry' | 'tp_btf' | 'raw_tracepoint' | 'trace_event';

/** The default capacity of the table of connects in flight. */
export const DEFAULT_MAX_ATTEMPTS = 10_240;

/** The options of the tool. An option that is off adds no instruction. */
export interface Options {
  readonly probe: ProbeType;
  /** Trace only connects that match. Default: all connects. */
  readonly filter?: Filter;
  /** Trace only this IP version. An IPv4-mapped connect belongs to 6. */
  readonly family?: 4 | 6;
  /** The lowest latency to send, in ns. */
  readonly minNs?: number;
  /** Whether events contain the local port; costs one read with `tp_btf` and `raw_tracepoint`. */
  readonly localPort?: boolean;
  /** Whether events contain the user and the cgroup of the caller. */
  readonly who?: boolean;
  /**
   * Whether events contain the address and port that the program asked for, which a cgroup program may have
   * rewritten. The filters `to` and `port` then apply to both destinations.
   */
  readonly requested?: boolean;
  /**
   * Send an event when a connect ends, answered or not, with the details of its end: for all connects, or
   * only for failed connects. Default: send an event only for answered connects, without details.
   */
  readonly outcome?: 'all' | 'failures';
  /**
   * Store the endpoints of each connect in the table of connects in flight, so that a connect can be shown
   * before it ends. Events have the details of the end, as with `outcome`.
   */
  readonly pending?: boolean;
  /** The capacity of the table of connects in flight. Default: 10,240. */
  readonly maxAttempts?: number;
  /**
   * Add each connect to the entry of its key when it ends, and send events of the slowest only. `outcome` is
   * then `all`.
   */
  readonly aggregate?: (context: AggregateContext) => Aggregate;
}

/** The tracepoint. The programs of `trace_event` need the format of its record in the target. */
export const TRACEPOINT = { category: 'sock', name: 'inet_sock_set_state' } as const;

/** Whether the programs run on functions of the kernel, and so at the call of connect. */
export function isFunctionProbe(probe: ProbeType): boolean {
  return probe === 'kprobe' || probe === 'fentry';
}

/**
 * Whether the programs count connects without a route that they do not send. A kprobe or fentry sees such an
 * attempt only when its socket is destroyed or connects again. By then its latency (`minNs`) and local
 * address (`filter.from`) are unknown.
 */
export function countsUnrouted({ probe, outcome, minNs, filter }: Options): boolean {
  return outcome === undefined && isFunctionProbe(probe) && !minNs && !filter?.from;
}

/** Whether events have the details of the end of a connect. */
export function hasDetails({ outcome, pending }: Options): boolean {
  return outcome !== undefined || pending === true;
}
