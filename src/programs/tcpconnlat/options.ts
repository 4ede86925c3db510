/**
 * What becomes part of the programs.
 */

import type { Filter } from './filter.ts';

/**
 * How the kernel is watched. `kprobe` and `fentry` are the same functions, without and with types; `tp_btf`, `raw_tracepoint` and
 * `trace_event` the same tracepoint, with types, without, and by the record that needs none.
 */
export type Way = 'kprobe' | 'fentry' | 'tp_btf' | 'raw_tracepoint' | 'trace_event';

/** What the tool's programs are made by. What isn't asked for costs no instruction. */
export interface Options {
  readonly way: Way;
  /** Only connects that it takes; all if not given. */
  readonly filter?: Filter;
  /** Only sockets of this family; an IPv4-mapped connect is one of family 6. */
  readonly family?: 4 | 6;
  /** Only latencies of at least so many ns. */
  readonly minNs?: number;
  /** Whether the events' local port is wanted; it is one more read where the kernel is watched as a tracepoint. */
  readonly localPort?: boolean;
  /** Whether the user and the cgroup of who connects are wanted. */
  readonly who?: boolean;
  /**
   * Every connect when it ends, answered or not, with what the kernel knows of its end: all of them, or only the failures. If not given,
   * only those that were answered, without.
   */
  readonly outcome?: 'all' | 'failures';
  /** Connects in flight that there is room for; 10,240 if not given. */
  readonly maxAttempts?: number;
}
