/**
 * What became of an attempt to connect, from what the kernel knew when it ended.
 */
import type { ConnectEvent } from './events.ts';
import {
  EADDRNOTAVAIL,
  ECONNABORTED,
  ECONNREFUSED,
  EHOSTUNREACH,
  ENETUNREACH,
  ETIMEDOUT,
  EXIT_SIGNAL,
  SS_UNCONNECTED,
  TCP_ESTABLISHED,
} from './kernel.ts';

/** What a connect came to. */
export type Result =
  | 'established'
  /** By a reset. */
  | 'refused'
  /** By an ICMP message, as a firewall sends it. */
  | 'rejected'
  | 'timed-out'
  /** No route, or an ICMP message that says so. */
  | 'unreachable'
  /** No local port was free, or the one that the socket is bound to is in use for that destination. */
  | 'no-port'
  /** Given up by the application. */
  | 'aborted'
  /** Its process was killed by a signal, or its socket by an administrator (ss -K). */
  | 'killed'
  /** Not established, and the kernel was watched in a way that doesn't tell why. */
  | 'failed'
  /** By the error that `errno` names. */
  | 'error';

/** What became of a connect. */
export interface Outcome {
  readonly result: Result;
  /** The kernel's number of the error, where there is one; of what the application gave up, an error that was heard of before. */
  readonly errno?: number;
  /** How often the SYN was sent again, where that is known. */
  readonly retransmits?: number;
}

const BY_ERROR: { readonly [errno: number]: Result } = {
  [ENETUNREACH]: 'unreachable',
  [EHOSTUNREACH]: 'unreachable',
  [ETIMEDOUT]: 'timed-out',
  [ECONNABORTED]: 'killed',
};

/** What became of the connect; undefined where the programs weren't made to tell (`Options.outcome`). */
export function outcomeOf(event: ConnectEvent): Outcome | undefined {
  const { ended, cause } = event;
  if (!ended) return undefined;
  return cause ? { ...judge(event, cause), retransmits: ended.retransmits } : judgeByState(event);
}

type Cause = NonNullable<ConnectEvent['cause']>;

function judge(event: ConnectEvent, cause: Cause): Outcome {
  const { error, softError, segmentsIn, segmentsOut, socketState, exitCode } = cause;
  // A reset is a segment, and an ICMP message isn't.
  if (error === ECONNREFUSED) return { result: segmentsIn > 0 ? 'refused' : 'rejected', errno: error };
  if (error !== 0) return { result: BY_ERROR[error] ?? 'error', errno: error };
  const byState = judgeByState(event);
  if (byState.result !== 'failed') return byState;
  // The call itself has failed before a SYN left, and its error is nowhere but in its result. What is left is that the port is taken.
  if (socketState === SS_UNCONNECTED && segmentsOut === 0) return NO_PORT;
  const result = exitCode & EXIT_SIGNAL ? 'killed' : 'aborted';
  return softError === 0 ? { result } : { result, errno: softError };
}

const NO_PORT: Outcome = { result: 'no-port', errno: EADDRNOTAVAIL };

/** By the new state and the local port alone. */
function judgeByState({ ended, ports }: ConnectEvent): Outcome {
  if (ended?.state === TCP_ESTABLISHED) return { result: 'established' };
  return ports.local === 0 ? NO_PORT : { result: 'failed' };
}
