/**
 * What the programs send and keep: the shapes of events, of connects in flight, and of counters.
 */
import type { Static, TOptional } from '@sinclair/typebox';
import {
  bytes,
  chars,
  type StructSchema,
  s64n,
  struct,
  u16,
  u16be,
  u32,
  u64,
  u64n,
} from '../../asm/layout.ts';

/** A connect in flight. `task` is what bpf_get_current_pid_tgid returns. */
export const Attempt = struct({ startNs: u64, task: struct({ tid: u32, pid: u32 }), comm: chars(16) });

/** What the programs count where no event can say it. */
export const Counters = struct({ tableFull: u64n });

/** `remote` is of the byte order in which the kernel hands it over: that of the network in sockets, the machine's in records. */
const answer = (remote: typeof u16be | typeof u16) => ({
  attempt: Attempt,
  /** Negative where the clocks of two CPUs disagree. */
  latencyNs: s64n,
  ports: struct({ remote, local: u16 }),
  family: u32,
});
const V4 = struct({ remote: bytes(4), local: bytes(4) });
const V6 = struct({ remote: bytes(16), local: bytes(16) });

/** With the addresses of the families that are traced. */
export type Answer = ReturnType<typeof answer> & { v4: TOptional<typeof V4>; v6: TOptional<typeof V6> };
/** An answered connect. */
export type ConnectEvent = Static<StructSchema<Answer>>;

/** The families that are traced. */
export interface Families {
  /** Whether addresses of IPv4 are read, and those of IPv6. */
  readonly v4: boolean;
  readonly v6: boolean;
  /** The one that is wanted, if it is only one: its number (AF_INET, AF_INET6). */
  readonly only?: number;
}

/** The event of a tool, with `ports` from a socket or from the tracepoint's record. */
export function eventOf({ v4, v6 }: Families, ports: 'socket' | 'record'): StructSchema<Answer> {
  const shape = answer(ports === 'record' ? u16 : u16be);
  return struct({ ...shape, ...(v4 && { v4: V4 }), ...(v6 && { v6: V6 }) } as Answer);
}
