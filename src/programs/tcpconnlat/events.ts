/**
 * What the programs send and keep: the shapes of events, of connects in flight, and of counters.
 */
import type { Static, TOptional } from '@sinclair/typebox';
import {
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
import type { Options } from './options.ts';

/** A connect in flight. `task` is what bpf_get_current_pid_tgid returns. */
const ATTEMPT = { startNs: u64, task: struct({ tid: u32, pid: u32 }), comm: chars(16) };
/** Who makes it: what bpf_get_current_uid_gid returns, and the id of the cgroup (v2). */
const WHO = { user: struct({ uid: u32, gid: u32 }), cgroup: u64 };
/** With `WHO` where that is wanted. */
type Attempt = typeof ATTEMPT & { [K in keyof typeof WHO]: TOptional<(typeof WHO)[K]> };

const COUNTERS = { tableFull: u64n };
/** Connects that failed and were not sent, if the programs count those. */
const FAILED = { failed: u64n };
type Counters = typeof COUNTERS & { failed: TOptional<typeof u64n> };

/** What the programs count where no event can say it. */
export function countersOf(failures: boolean): StructSchema<Counters> {
  return struct({ ...COUNTERS, ...(failures && FAILED) } as Counters);
}

/** `remote` is of the byte order in which the kernel hands it over: that of the network in sockets, the machine's in records. */
const answer = (attempt: StructSchema<Attempt>, remote: typeof u16be | typeof u16) => ({
  attempt,
  /** Negative where the clocks of two CPUs disagree. */
  latencyNs: s64n,
  ports: struct({ remote, local: u16 }),
  family: u32,
});
/** The addresses of IPv4, as they lie in sockets too. */
export const V4 = struct({ remote: bytes(4), local: bytes(4) });
const V6 = struct({ remote: bytes(16), local: bytes(16) });

/** How an attempt ended, where that is wanted. */
const Ended = struct({
  /** The state that the socket went to (TCP_*); 0 where the call failed before it began to connect. */
  state: u32,
  /** How often its SYN was sent again; 0 where the kernel is watched by a record, which doesn't have it. */
  retransmits: u32,
});
/** Why it failed, as far as the kernel knows: see outcome.ts. All 0 where it didn't. */
const Cause = struct({
  /** The socket's error (sk_err), or that of the call. */
  error: s32,
  /** An error that was heard of and not acted upon (sk_err_soft). */
  softError: s32,
  /** Segments of TCP that the socket got, and sent. */
  segmentsIn: u32,
  segmentsOut: u32,
  /** Of what belongs to the descriptor (SS_*). This and the next are read where there is no error, and 0 elsewhere. */
  socketState: u32,
  /** The exit_code of the task that closed the socket, if it is exiting. */
  exitCode: u32,
});

/** With the addresses of the families that are traced, and the end as far as it is wanted and known. */
export type Answer = ReturnType<typeof answer> & {
  v4: TOptional<typeof V4>;
  v6: TOptional<typeof V6>;
  ended: TOptional<typeof Ended>;
  cause: TOptional<typeof Cause>;
};
/** An answered connect, or one that has ended otherwise. */
export type ConnectEvent = Static<StructSchema<Answer>>;

/** The families that are traced. */
export interface Families {
  /** Whether addresses of IPv4 are read, and those of IPv6. */
  readonly v4: boolean;
  readonly v6: boolean;
  /** The one that is wanted, if it is only one: its number (AF_INET, AF_INET6). */
  readonly only?: number;
}

/** The event of a tool that reads a socket, or the tracepoint's record; with who connects, and how it ended, where that is wanted. */
export function eventOf(
  { v4, v6 }: Families,
  from: 'socket' | 'record',
  { outcome: ended, who }: Pick<Options, 'outcome' | 'who'>,
): StructSchema<Answer> {
  const attempt = struct({ ...ATTEMPT, ...(who && WHO) } as Attempt);
  return struct({
    ...answer(attempt, from === 'record' ? u16 : u16be),
    ...(v4 && { v4: V4 }),
    ...(v6 && { v6: V6 }),
    ...(ended && { ended: Ended }),
    ...(ended && from === 'socket' && { cause: Cause }),
  } as Answer);
}
