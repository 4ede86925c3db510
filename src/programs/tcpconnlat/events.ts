/**
 * The events that the programs send, and the outcome of a connect that an event describes.
 *
 * The programs send raw facts. `outcomeOf` judges them here, so tests of it need no kernel.
 */
import type { Static, TOptional } from '@sinclair/typebox';
import {
  arrayOf,
  bytes,
  chars,
  type StructSchema,
  s32,
  s64n,
  struct,
  u16,
  u16be,
  u32,
  u64,
  u64n,
} from '../../asm/layout.ts';

// --- schemas -------------------------------------------------------------------------------------

/** A connect in flight. `task` is the result of bpf_get_current_pid_tgid. */
const ATTEMPT = { startNs: u64, task: struct({ tid: u32, pid: u32 }), comm: chars(16) };
/** The caller of connect: the result of bpf_get_current_uid_gid, and the cgroup v2 id. */
const WHO = { user: struct({ uid: u32, gid: u32 }), cgroup: u64 };
/**
 * Distinguishes the program that the caller runs, and its cgroups, from all others with the same PID. These
 * values are for comparisons.
 */
export const Process = struct({
  /** When the process started (`start_boottime` of its main thread), in ns. */
  startNs: u64,
  /** The address of its `css_set`: other cgroups, of either version, have another one. */
  cgroups: u64,
  /** `self_exec_id`, which every execve increments. */
  execs: u64,
});
const PROCESS = { process: Process };
/** The address and port in the call of connect, an IPv4 address as IPv4-mapped; family 0 if not known. */
export const Requested = struct({ address: bytes(16), port: u32, family: u32 });
const REQUESTED = { requested: Requested };
/** Present if the options ask for them. */
type OfCaller = typeof WHO & typeof PROCESS & typeof REQUESTED;
type Attempt = typeof ATTEMPT & {
  [K in keyof OfCaller]: TOptional<OfCaller[K]>;
};

/** The number of counters of failed updates: one per errno below it, except that 0 counts all others. */
const COUNTED_ERRNOS = 128;
const COUNTERS = {
  failedUpdates: arrayOf(u64n, COUNTED_ERRNOS),
};
/** Connects that failed and were not sent. */
const FAILED = { failed: u64n };
/** Connects that were faster than `minNs`, and not sent. */
const BELOW_MIN = { belowMin: u64n };
type Counters = typeof COUNTERS & { [K in 'failed' | 'belowMin']: TOptional<typeof u64n> };

/**
 * The counters of the programs: connects that were not traced because an update of a table failed, by errno,
 * unsent failures if `failures` is set, and fast connects if `belowMin` is set.
 */
export function countersOf({
  failures,
  belowMin,
}: {
  readonly failures: boolean;
  readonly belowMin: boolean;
}): StructSchema<Counters> {
  return struct({ ...COUNTERS, ...(failures && FAILED), ...(belowMin && BELOW_MIN) } as Counters);
}

const base = (attempt: StructSchema<Attempt>) => ({
  attempt,
  /** When the attempt ended: `startNs` plus `latencyNs`. It orders the events. */
  endNs: u64 as TOptional<typeof u64>,
  /** Negative if the clocks of two CPUs disagree. */
  latencyNs: s64n,
});
/** IPv4 addresses, in the order of `skc_addrpair`. */
export const V4 = struct({ remote: bytes(4), local: bytes(4) });
const V6 = struct({ remote: bytes(16), local: bytes(16) });
/** `remotePort` is `u16be` if ports come from a socket, and `u16` if they come from a tracepoint record. */
const endpoints = (remotePort: typeof u16be | typeof u16) => ({
  ports: struct({ remote: remotePort, local: u16 }),
  family: u32,
});
/** The endpoints of a connect. Addresses are present for the traced families. */
export type EndpointFields = ReturnType<typeof endpoints> & {
  v4: TOptional<typeof V4>;
  v6: TOptional<typeof V6>;
};
/** An entry of the table of connects in flight. `family` is 0 until the socket enters SYN_SENT. */
export type EntryFields = Attempt & { [K in keyof EndpointFields]: TOptional<EndpointFields[K]> };

/** How an attempt ended. Present if `outcome` is set. */
const Ended = struct({
  /** The new state of the socket (TCP_*); 0 if the call failed before the socket began to connect. */
  state: u32,
  /** SYN retransmissions; 0 if the programs read a tracepoint record only, which does not contain them. */
  retransmits: u32,
});
/** Why an attempt failed, as far as the kernel knows. All but `segmentsIn` are zero if it did not fail. */
const Cause = struct({
  /** The error of the socket (sk_err), or of the call. */
  error: s32,
  /** An error that the kernel received but did not act on (sk_err_soft). */
  softError: s32,
  /** TCP segments received. */
  segmentsIn: u32,
  /** TCP segments sent. */
  segmentsOut: u32,
  /** The state of `struct socket` (SS_*). Like `exitCode`, it is read only if `error` is 0. */
  socketState: u32,
  /** The exit_code of the task that closed the socket, if that task is exiting. */
  exitCode: u32,
});

/** The fields of an event. `ended` and `cause` are present if the options ask for details. */
export type EventFields = ReturnType<typeof base> &
  EndpointFields & {
    ended: TOptional<typeof Ended>;
    cause: TOptional<typeof Cause>;
  };
/** A connect that was answered, or that ended without an answer. */
export type ConnectEvent = Static<StructSchema<EventFields>>;
/** The facts about a connect that are known at its begin. */
export type ConnectAttempt = ConnectEvent['attempt'];

/**
 * The connect of an entry of the table, as an event without an end: its latency is the wait until `nowNs`
 * (CLOCK_MONOTONIC). If the table has no endpoints, `family` is 0. Undefined if the socket has not entered
 * SYN_SENT: the call found no route, or is looking for one.
 */
export function pendingEvent(
  { ports, family, v4, v6, ...attempt }: Static<StructSchema<EntryFields>>,
  nowNs: bigint,
): ConnectEvent | undefined {
  if (family === 0) return undefined;
  const latencyNs = Number(nowNs - attempt.startNs);
  return { attempt, latencyNs, ports: ports ?? { remote: 0, local: 0 }, family: family ?? 0, v4, v6 };
}

/** The IP versions that are traced. */
export interface Families {
  /** Whether IPv4 addresses are read. */
  readonly v4: boolean;
  /** Whether IPv6 addresses are read. */
  readonly v6: boolean;
  /** AF_INET or AF_INET6 if only one family is traced. */
  readonly only?: number;
}

/**
 * What the programs read when an attempt ends: the socket, the record of the tracepoint, or both. With both,
 * addresses and ports come from the record.
 */
export type Source = 'socket' | 'record' | 'both';

/** The options that add fields to events. */
interface EventOptions {
  /** Whether events have `ended` and `cause`. */
  readonly details?: boolean;
  readonly who?: boolean | undefined;
  readonly process?: boolean;
  readonly requested?: boolean | undefined;
}

/** The schema of the events, with the fields that the options ask for and that the programs can read. */
export function eventOf(
  { v4, v6 }: Families,
  source: Source,
  { details = false, who = false, process = false, requested = false }: EventOptions,
): StructSchema<EventFields> {
  const attempt = struct({
    ...ATTEMPT,
    ...(who && WHO),
    ...(process && PROCESS),
    ...(requested && REQUESTED),
  } as Attempt);
  return struct({
    ...base(attempt),
    ...endpoints(source === 'socket' ? u16be : u16),
    ...(v4 && { v4: V4 }),
    ...(v6 && { v6: V6 }),
    ...(details && { ended: Ended }),
    ...(details && source !== 'record' && { cause: Cause }),
  } as EventFields);
}

/** The schema of the table of connects in flight. With `pending`, its entries have endpoints. */
export function entryOf(Event: StructSchema<EventFields>, pending: boolean): StructSchema<EntryFields> {
  const { attempt, ports, family, v4, v6 } = Event.properties;
  const fields = { ...attempt.properties, ports, family, ...(v4 && { v4 }), ...(v6 && { v6 }) };
  return (pending ? struct(fields) : attempt) as StructSchema<EntryFields>;
}

// --- outcome -------------------------------------------------------------------------------------

/** The result of a connect. */
export type Result =
  /** Answered by a SYN-ACK. */
  | 'established'
  /** Refused by a reset. */
  | 'refused'
  /** Refused by an ICMP message, typically sent by a firewall. */
  | 'rejected'
  | 'timed-out'
  /** No route, or an ICMP message that says so. */
  | 'unreachable'
  /** No local port was free, or the bound port is already in use for that destination. */
  | 'no-port'
  /** Given up by the application. */
  | 'aborted'
  /** A signal killed the process, or an administrator destroyed the socket (ss -K). */
  | 'killed'
  /** Established without a packet (TCP_REPAIR), as CRIU restores connections. */
  | 'restored'
  /** Not established; this probe type does not see why. */
  | 'failed'
  /** Not answered yet. */
  | 'pending'
  /** Failed with the error in `errno`. */
  | 'error';

/** The result of a connect with its details. */
export interface Outcome {
  readonly result: Result;
  /** The kernel's error number, if there is one. For `aborted`, an error that was received before. */
  readonly errno?: number;
  /** SYN retransmissions, if known. */
  readonly retransmits?: number;
}

/** The outcome of a connect; undefined if the programs were made without `outcome`. */
export function outcomeOf(event: ConnectEvent): Outcome | undefined {
  const { ended, cause } = event;
  if (!ended) return undefined;
  if (!cause) return judgeByState(event);
  // Without a spread, which takes longer than everything else here: this runs for every event.
  const { result, errno } = judge(event, cause);
  const { retransmits } = ended;
  return errno === undefined ? { result, retransmits } : { result, errno, retransmits };
}

function judge(event: ConnectEvent, cause: NonNullable<ConnectEvent['cause']>): Outcome {
  const { error, softError, segmentsIn, segmentsOut, socketState, exitCode } = cause;
  // A reset is a TCP segment, an ICMP message is not.
  if (error === ECONNREFUSED) return { result: segmentsIn > 0 ? 'refused' : 'rejected', errno: error };
  if (error !== 0) return { result: RESULT_OF_ERROR[error] ?? 'error', errno: error };
  const byState = judgeByState(event);
  if (byState.result === 'established' && segmentsIn === 0) return { result: 'restored' };
  if (byState.result !== 'failed') return byState;
  // The call failed before a SYN was sent, and only its return value has the error: the port is in use.
  if (socketState === SS_UNCONNECTED && segmentsOut === 0) return NO_PORT;
  const result = exitCode & EXIT_SIGNAL ? 'killed' : 'aborted';
  return softError === 0 ? { result } : { result, errno: softError };
}

/** Judges by the new state and the local port alone. */
function judgeByState({ ended, ports }: ConnectEvent): Outcome {
  if (ended?.state === TCP_ESTABLISHED) return { result: 'established' };
  return ports.local === 0 ? NO_PORT : { result: 'failed' };
}

// --- kernel constants ----------------------------------------------------------------------------

/** include/linux/socket.h */
export const AF_INET = 2;
export const AF_INET6 = 10;
/** include/uapi/linux/in.h */
export const IPPROTO_TCP = 6;
/** include/net/tcp_states.h */
export const TCP_ESTABLISHED = 1;
export const TCP_SYN_SENT = 2;
export const TCP_SYN_RECV = 3;
export const TCP_FIN_WAIT1 = 4;
export const TCP_CLOSE = 7;
/** enum socket_state, include/uapi/linux/net.h: before the first connect, and after a failed connect. */
export const SS_UNCONNECTED = 1;
/** include/linux/sched.h: the task is exiting. */
export const PF_EXITING = 4;
/** The task is a worker of io_uring, or a thread of the kernel. */
export const PF_IO_WORKER = 0x10;
export const PF_KTHREAD = 0x20_0000;
/** The signal that ended a task, as part of its exit_code (man 2 wait, WTERMSIG). */
export const EXIT_SIGNAL = 0x7f;
/** include/uapi/asm-generic/errno-base.h */
export const EEXIST = 17;
/** include/uapi/asm-generic/errno.h */
const EADDRNOTAVAIL = 99;
export const ENETUNREACH = 101;
const ECONNABORTED = 103;
export const ETIMEDOUT = 110;
export const ECONNREFUSED = 111;
export const EHOSTUNREACH = 113;

const RESULT_OF_ERROR: { readonly [errno: number]: Result } = {
  [ENETUNREACH]: 'unreachable',
  [EHOSTUNREACH]: 'unreachable',
  [ETIMEDOUT]: 'timed-out',
  [ECONNABORTED]: 'killed',
};
const NO_PORT: Outcome = { result: 'no-port', errno: EADDRNOTAVAIL };
