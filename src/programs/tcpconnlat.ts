/**
 * tcpconnlat: every active TCP connect, from its SYN to the answer.
 *
 * The kernel is watched in one of two ways. By functions (kprobe, fentry): `tcp_v4_connect` and `tcp_v6_connect` begin an attempt, the
 * first packet that `tcp_rcv_state_process` takes for a connecting socket answers it, and `tcp_v4_destroy_sock` (of
 * both families) clears away what was never answered. As a tracepoint: `inet_sock_set_state` tells when a socket
 * enters SYN_SENT and when it leaves it; a reset leaves it for CLOSE with ECONNREFUSED. Its record (trace_event) has no such
 * error: there a connect that was refused looks like one that was given up, and only those that were accepted are shown.
 */
import type { Static, TOptional } from '@sinclair/typebox';
import type { Builder } from '../asm/builder/builder.ts';
import type { Memory } from '../asm/builder/memory.ts';
import type { Place } from '../asm/builder/place.ts';
import { getCurrentComm, getCurrentPidTgid, ktimeGetNs } from '../asm/helpers.ts';
import { fentry, kprobe, rawTracepoint, tpBtf, tracepoint } from '../asm/hooks.ts';
import { bytes, chars, type StructSchema, s64n, struct, u16, u16be, u32, u64, u64n } from '../asm/layout.ts';
import { arrayMap, hash, perfEventArray } from '../asm/map.ts';
import type { ProgramSpec } from '../asm/program.ts';
import { kernelTypes, type Target } from '../asm/target.ts';

/**
 * How the kernel is watched. `kprobe` and `fentry` are the same functions, without and with types; `tp_btf`, `raw_tracepoint` and
 * `trace_event` the same tracepoint, with types, without, and by the record that needs none.
 */
export type Way = 'kprobe' | 'fentry' | 'tp_btf' | 'raw_tracepoint' | 'trace_event';

/** The tracepoint, whose format a target needs for the programs of `trace_event`. */
export const TRACEPOINT = { category: 'sock', name: 'inet_sock_set_state' } as const;

/** What becomes part of the programs. */
export interface Options {
  readonly way: Way;
  /** Only connects of this process (its thread group id). */
  readonly pid?: number;
  /** Only sockets of this family; an IPv4-mapped connect is one of family 6. */
  readonly family?: 4 | 6;
  /** Only latencies of at least so many ns. */
  readonly minNs?: number;
  /** Whether the events' local port is wanted; it is one more read where the kernel is watched as a tracepoint. */
  readonly localPort?: boolean;
  /** Connects in flight that there is room for; 10,240 if not given. */
  readonly maxAttempts?: number;
}

/** include/linux/socket.h */
const AF_INET = 2;
export const AF_INET6 = 10;
/** include/uapi/linux/in.h */
const IPPROTO_TCP = 6;
/** include/net/tcp_states.h */
const TCP_SYN_SENT = 2;
const TCP_CLOSE = 7;
/** include/uapi/asm-generic/errno.h */
const ECONNREFUSED = 111;

/** A connect in flight. `task` is what bpf_get_current_pid_tgid returns. */
const Attempt = struct({ startNs: u64, task: struct({ tid: u32, pid: u32 }), comm: chars(16) });

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
type Answer = ReturnType<typeof answer> & { v4: TOptional<typeof V4>; v6: TOptional<typeof V6> };
/** An answered connect. */
export type ConnectEvent = Static<StructSchema<Answer>>;

/** What the programs count where no event can say it. */
const Counters = struct({ tableFull: u64n });

/**
 * The programs and maps for these options. Throws NoKernelTypes or NoSuchField where the target lacks what they read, RangeError
 * where it lacks the tracepoint's format.
 */
export function tcpconnlat(options: Options, target: Target) {
  const { way, pid, family, minNs, localPort, maxAttempts = 10_240 } = options;
  const onlyFamily = family && (family === 4 ? AF_INET : AF_INET6);
  const withV4 = family !== 6;
  const byRecord = way === 'trace_event';
  const withV6 = family !== 4 && (byRecord || kernelTypes(target).has('sock', '__sk_common.skc_v6_daddr'));

  const attempts = hash('attempts', { key: u64, value: Attempt, maxEntries: maxAttempts });
  const counters = arrayMap('counters', { value: Counters });
  const events = perfEventArray('events');
  const shape = answer(byRecord ? u16 : u16be);
  const Event = struct({ ...shape, ...(withV4 && { v4: V4 }), ...(withV6 && { v6: V6 }) } as Answer);

  /** All within the first bytes of a socket: read together by one probe. */
  const paths = {
    state: '__sk_common.skc_state',
    family: '__sk_common.skc_family',
    ports: '__sk_common.skc_portpair',
    ...(withV4 && { v4: '__sk_common.skc_addrpair' }),
    ...(withV6 && { v6Remote: '__sk_common.skc_v6_daddr', v6Local: '__sk_common.skc_v6_rcv_saddr' }),
  };

  /** Notes that the current process begins to connect `socket`. */
  const begin = (b: Builder, socket: Place) => {
    const attempt = b.stack(Attempt);
    const task = b.call(getCurrentPidTgid);
    b.set(attempt.task, task);
    if (pid !== undefined) b.if(task.rsh(32).ne(pid), () => b.exit());
    attempt.startNs.set(b.call(ktimeGetNs));
    b.call(getCurrentComm, attempt.comm);
    const failed = b.update(attempts, socket, attempt);
    b.if(failed.ne(0), () => b.global(counters).tableFull.atomicAdd(1));
  };

  /** Sends what became of the attempt to connect `socket`, unless `look` skips it, and forgets it. `look` gives what fills the event. */
  const end = (b: Builder, socket: Place, look: (skip: () => void) => Fill) =>
    b.lookup(attempts, socket, {
      missing: () => b.exit(),
      found: (entry) => {
        const attempt = b.keep(entry);
        b.block((skip) => {
          const fill = look(skip);
          const event = b.stack(Event);
          const latency = b.call(ktimeGetNs).sub(attempt.startNs);
          if (minNs) b.if(latency.lt(minNs), skip);
          event.latencyNs.set(latency);
          b.set(event.attempt, attempt);
          fill(event);
          b.output(events, event);
        });
        b.delete(attempts, socket);
      },
    });

  /** Takes addresses and ports from a socket. `sport` holds the local port of one that is closed already. */
  const fromSocket =
    (b: Builder, sock: Fields, sport?: Place): Fill =>
    (event) => {
      b.set(event.ports, sock.ports);
      if (sport) event.ports.local.set(sport.get().toBe(16));
      event.family.set(sock.family);
      if (sock.v4) b.set(event.v4, sock.v4);
      if (sock.v6Remote) event.v6.remote.set(sock.v6Remote);
      if (sock.v6Local) event.v6.local.set(sock.v6Local);
    };

  // By functions. The first argument of each of them is the socket.

  const onConnect = (b: Builder) => begin(b, b.stack(u64, b.arg(0)));

  const onPacket = (b: Builder) => {
    b.keep(b.context);
    const sk = b.kernel('sock', b.keep(b.arg(0)));
    const sock = sk.fields(paths);
    b.if(sock.state.ne(TCP_SYN_SENT), () => b.exit());
    end(b, b.stack(u64, sk.value), (skip) => {
      if (family === 4) b.if(sock.family.ne(AF_INET), skip); // tcp_v4_connect connects mapped addresses too
      return fromSocket(b, sock);
    });
  };

  const onDestroy = (b: Builder) => {
    b.delete(attempts, b.arg(0));
  };

  // As a tracepoint: inet_sock_set_state(sk, oldstate, newstate).

  const onState = (b: Builder) => {
    b.if(b.arg(2).eq(TCP_SYN_SENT), () => onSynSent(b));
    const old = b.value(b.arg(1));
    b.if(old.ne(TCP_SYN_SENT), () => b.exit(old)); // any value will do, and this one is at hand
    b.keep(b.context);
    const sk = b.kernel('sock', b.keep(b.arg(0)));
    end(b, b.stack(u64, sk.value), (skip) => {
      b.if(b.arg(2).eq(TCP_CLOSE), () => b.if(sk.fields({ err: 'sk_err' }).err.ne(ECONNREFUSED), skip));
      const { sport } = localPort ? sk.cast('inet_sock').fields({ sport: 'inet_sport' }) : {};
      return fromSocket(b, sk.fields(paths), sport);
    });
  };

  const onSynSent = (b: Builder) => {
    const sk = b.kernel('sock', b.keep(b.arg(0)));
    b.if(sk.fields({ protocol: 'sk_protocol' }).protocol.ne(IPPROTO_TCP), () => b.exit());
    if (onlyFamily) b.if(sk.fields(paths).family.ne(onlyFamily), () => b.exit());
    begin(b, b.stack(u64, sk.value));
    b.exit();
  };

  // By the tracepoint's record.

  const onRecord = (b: Builder) => {
    b.if(b.field('newstate').eq(TCP_SYN_SENT), () => {
      b.if(b.field('protocol').ne(IPPROTO_TCP), () => b.exit());
      if (onlyFamily) b.if(b.field('family').ne(onlyFamily), () => b.exit());
      begin(b, b.stack(u64, b.field('skaddr')));
      b.exit();
    });
    b.if(b.field('oldstate').ne(TCP_SYN_SENT), () => b.exit());
    b.keep(b.context);
    end(b, b.stack(u64, b.field('skaddr')), (skip) => {
      b.if(b.field('newstate').eq(TCP_CLOSE), skip);
      return (event) => {
        event.ports.remote.set(b.field('dport'));
        event.ports.local.set(b.field('sport'));
        event.family.set(b.field('family'));
        for (const [addresses, suffix] of [
          [withV4 ? event.v4 : undefined, ''],
          [withV6 ? event.v6 : undefined, '_v6'],
        ] as const) {
          addresses?.remote.set(b.field(`daddr${suffix}`));
          addresses?.local.set(b.field(`saddr${suffix}`));
        }
      };
    });
  };

  const name = 'inet_sock_state';
  const byFunctions = (at: typeof kprobe | typeof fentry) => [
    at('tcp_v4_destroy_sock', target, onDestroy, { name: 'tcp_destroy' }),
    at('tcp_rcv_state_process', target, onPacket, { name: 'tcp_rcv_state' }),
    ...(withV4 ? [at('tcp_v4_connect', target, onConnect)] : []),
    ...(withV6 ? [at('tcp_v6_connect', target, onConnect, { optional: withV4 })] : []),
  ];
  const programs: Record<Way, () => ProgramSpec[]> = {
    kprobe: () => byFunctions(kprobe),
    fentry: () => byFunctions(fentry),
    tp_btf: () => [tpBtf(TRACEPOINT.name, target, onState, { name })],
    raw_tracepoint: () => [rawTracepoint(TRACEPOINT.name, target, onState, { name })],
    trace_event: () => [tracepoint(TRACEPOINT.category, TRACEPOINT.name, target, onRecord, { name })],
  };
  return {
    name: 'tcpconnlat',
    way,
    programs: programs[way](),
    maps: [attempts, counters, events],
    events: { map: events, schema: Event },
    counters,
    attempts,
    /** Whether connects that were refused are shown, besides those that were accepted. */
    showsRefused: !byRecord,
  };
}

/** Writes addresses and ports. */
type Fill = (event: Memory<StructSchema<Answer>>) => void;

/** Where they are read in a socket. */
interface Fields {
  readonly ports: Place;
  readonly family: Place;
  readonly [optional: string]: Place | undefined;
}
