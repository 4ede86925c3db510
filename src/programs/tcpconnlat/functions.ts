/**
 * The programs of `kprobe` and `fentry`, attached to kernel functions. The first argument of each function is
 * the socket.
 */
import type { Builder } from '../../asm/builder/builder.ts';
import type { KernelPointer } from '../../asm/builder/kernel-pointer.ts';
import type { Place } from '../../asm/builder/place.ts';
import { getCurrentPidTgid, probeReadKernel } from '../../asm/helpers.ts';
import { type Body, fentry, fexit, kprobe, kretprobe } from '../../asm/hooks.ts';
import { bytes, s32, struct, u16, u16be, u32, u64 } from '../../asm/layout.ts';
import { hash } from '../../asm/map.ts';
import type { ProgramSpec } from '../../asm/program.ts';
import type { Target } from '../../asm/target.ts';
import {
  type Attempts,
  examineEnd,
  type FillEvent,
  fillFromSocket,
  localAddress,
  networkNamespace,
  type ProgramSet,
  type SocketFields,
  socketPaths,
} from './attempts.ts';
import { AF_INET, type Families, TCP_CLOSE, TCP_ESTABLISHED, TCP_FIN_WAIT1, TCP_SYN_SENT } from './events.ts';
import type { ConnectFilter, Endpoints } from './filter.ts';
import { countsUnrouted, type Options } from './options.ts';
import { destinationIn, type RequestedAtFunctions, requestedAtFunctions } from './requested.ts';

type FunctionProbe = 'kprobe' | 'fentry';

/**
 * The programs: a connect function begins an attempt, a change of state ends it. With `outcome`, the return
 * of a call that failed before any change of state ends it, too.
 */
export function functionPrograms(
  probe: FunctionProbe,
  options: Options,
  attempts: Attempts,
  families: Families,
  target: Target,
): ProgramSet {
  const at = { kprobe, fentry }[probe];
  const requested = requestedAtFunctions(probe, options, attempts, families, target);
  const { programs, maps } = options.outcome
    ? callPrograms(probe, attempts, families, target, requested)
    : { programs: connectPrograms(probe, options, attempts, families, target, requested), maps: [] };
  return {
    programs: [
      at('tcp_v4_destroy_sock', target, destroyBody(options, attempts, families), { name: 'tcp_destroy' }),
      at('tcp_set_state', target, stateBody(options, attempts, families)),
      ...(requested?.programs ?? []),
      ...programs,
    ],
    maps: [...maps, ...(requested?.maps ?? [])],
  };
}

/**
 * The body for tcp_set_state(sk, newstate): the socket still has its old state. Three states end an attempt.
 * SYN_RECV, after a simultaneous open, does not.
 */
function stateBody(options: Options, attempts: Attempts, families: Families): Body {
  return (b) => {
    const state = b.keep(b.arg(1).as(u32));
    b.block((ends) => {
      b.if(state.eq(TCP_ESTABLISHED), ends);
      b.if(state.eq(TCP_CLOSE), ends);
      if (options.pending) b.if(state.eq(TCP_SYN_SENT), () => storeEndpoints(b, options, attempts, families));
      b.if(state.ne(TCP_FIN_WAIT1), () => b.exit());
    });
    b.keep(b.context);
    const sk = b.kernel('sock', b.keep(b.arg(0)));
    const sock = sk.fields(socketPaths(families));
    const inSynRecv = attempts.typed.sock ? () => attempts.exitIfAccepted(b, sk) : undefined;
    attempts.exitUnlessConnecting(b, sock.state.get(), { inSynRecv });
    attempts.end(b, b.stack(u64, sk.value), (skip, fail) => {
      matchEndpoints(b, options, attempts, families, sock, skip);
      return examineEnd(b, options, attempts.typed, { sk, state }, { skip, fail }, () =>
        fillFromSocket(sock),
      );
    });
  };
}

/**
 * Stores the endpoints of a socket that enters SYN_SENT: it has its route, and mostly no local port yet. The
 * end of an attempt applies the same filters, but the table must not have connects that do not match.
 */
function storeEndpoints(b: Builder, options: Options, attempts: Attempts, families: Families): void {
  const sk = b.kernel('sock', b.keep(b.arg(0)));
  const socket = b.stack(u64, sk.value);
  b.lookup(attempts.table.hash, socket, {
    missing: () => b.exit(),
    found: (entry) => {
      const attempt = b.keep(entry);
      const sock = sk.fields(socketPaths(families));
      matchEndpoints(b, options, attempts, families, sock, () => {
        attempts.table.remove(b, socket);
        b.exit();
      });
      fillFromSocket(sock)(attempt);
      b.exit();
    },
  });
}

/** The filters of function probes that need the socket and its route. */
function matchEndpoints(
  b: Builder,
  { outcome }: Options,
  { filter }: Attempts,
  families: Families,
  sock: SocketFields,
  reject: () => void,
): void {
  // Without `outcome`, tcp_v4_connect begins attempts of mapped addresses, too.
  if (!outcome && families.only === AF_INET) b.if(sock.family.ne(AF_INET), reject);
  filter.endpoints(b, { local: () => localAddress(b, sock) }, reject);
}

/** The programs that begin an attempt at the call. */
function connectPrograms(
  probe: FunctionProbe,
  options: Options,
  attempts: Attempts,
  families: Families,
  target: Target,
  requested: RequestedAtFunctions | undefined,
): readonly ProgramSpec[] {
  const at = { kprobe, fentry }[probe];
  const onConnect = (family: 4 | 6) => (b: Builder) => {
    const sk = countsUnrouted(options) ? b.kernel('sock', b.keep(b.arg(0))) : undefined;
    const socket = b.stack(u64, sk ? sk.value : b.arg(0));
    const endpoints = connectArguments(b, family, attempts.filter);
    const readRequested = requested?.reader(b, family, socket);
    if (requested) exitIfMapped(b, family);
    // tcp_v6_connect calls tcp_v4_connect for a mapped address: both calls belong to one attempt.
    const again = sk && (() => countFailure(b, attempts, sk, family === 4 ? AF_INET : undefined));
    attempts.begin(b, socket, endpoints, { again, readRequested });
  };
  return [
    ...(families.v4 ? [at('tcp_v4_connect', target, onConnect(4))] : []),
    ...(families.v6 ? [at('tcp_v6_connect', target, onConnect(6), { optional: families.v4 })] : []),
  ];
}

/** Removes an attempt that failed before any change of state. */
function destroyBody(options: Options, attempts: Attempts, families: Families): Body {
  return (b) => {
    if (!countsUnrouted(options)) {
      attempts.table.remove(b, b.stack(u64, b.arg(0)));
      return;
    }
    const sk = b.kernel('sock', b.keep(b.arg(0)));
    const failed = b.delete(attempts.table.hash, sk).eq(0);
    b.if(failed, () => countFailure(b, attempts, sk, families.only));
  };
}

/** Counts an attempt that failed before any change of state, if its socket is of `family`. */
function countFailure(b: Builder, attempts: Attempts, sk: KernelPointer, family: Families['only']): void {
  const count = () => attempts.countFailure(b);
  if (family) b.if(sk.fields({ family: '__sk_common.skc_family' }).family.eq(family), count);
  else count();
}

/**
 * The beginning of sockaddr_in and sockaddr_in6 (include/uapi/linux/in.h, in6.h). The kernel has copied it
 * from user space.
 */
const SocketAddress = {
  4: struct({ family: u16, port: u16be, address: bytes(4) }),
  6: struct({ family: u16, port: u16be, flowinfo: u32, address: bytes(16) }),
};

/**
 * The endpoints in the arguments of tcp_v4_connect(sk, uaddr, addr_len) and tcp_v6_connect. There is no route
 * yet, and so no local address. Keeps the arguments that the filter reads; call it before any helper call,
 * and the result after them.
 */
function connectArguments(b: Builder, family: 4 | 6, { reads }: ConnectFilter): () => Endpoints {
  const sk = reads.netns && b.kernel('sock', b.keep(b.arg(0)));
  const uaddr = (reads.port || reads.remote) && b.keep(b.arg(1));
  return () => {
    const netns = sk ? { netns: () => networkNamespace(sk) } : {};
    if (!uaddr) return netns;
    const remote = b.stack<(typeof SocketAddress)[4 | 6]>(SocketAddress[family]);
    b.call(probeReadKernel, remote, uaddr);
    return { ...netns, port: () => remote.port.get(), remote: () => remote.address };
  };
}

// --- calls, which may fail before any change of state ----------------------------------------------

/**
 * A call of tcp_v4_connect or tcp_v6_connect that has not returned: the socket, its `struct sockaddr`, and 4
 * or 6.
 */
const Call = struct({ socket: u64, address: u64, family: u64 });

/**
 * The capacity for concurrent calls, more than a kretprobe can follow. If a return is missed, the next call
 * of the same thread replaces the entry.
 */
const MAX_CALLS = 1024;

/** The programs at the entry and at the return of both functions, the returns first. */
function callPrograms(
  probe: FunctionProbe,
  attempts: Attempts,
  families: Families,
  target: Target,
  requested: RequestedAtFunctions | undefined,
): ProgramSet {
  const calls = hash('calls', { key: u64, value: Call, maxEntries: MAX_CALLS });

  /** A kretprobe has no access to the arguments, so the kprobe stores them. */
  const kprobeBodies = (family: 4 | 6): CallBodies => ({
    entry: (b) => {
      const call = b.stack(Call);
      call.socket.set(b.arg(0));
      call.address.set(b.arg(1));
      call.family.set(family);
      const endpoints = connectArguments(b, family, attempts.filter);
      const readRequested = requested?.reader(b, family, call.socket);
      exitIfMapped(b, family);
      attempts.begin(b, call.socket, endpoints, { readRequested });
      attempts.insert(b, calls, b.call(getCurrentPidTgid), call);
    },
    exit: (b) => {
      b.keep(b.context);
      const caller = b.stack(u64, b.call(getCurrentPidTgid));
      const call = b.stack(Call);
      b.lookup(calls, caller, { missing: () => b.exit(), found: (entry) => call.set(entry) });
      b.if(call.family.ne(family), () => b.exit()); // the outer call, for a mapped address
      b.delete(calls, caller);
      endFailedCall(b, attempts, families, family, call.socket, call.address);
    },
  });

  const fentryBodies = (family: 4 | 6): CallBodies => ({
    entry: (b) => {
      const endpoints = connectArguments(b, family, attempts.filter);
      exitIfMapped(b, family);
      const socket = b.stack(u64, b.arg(0));
      const readRequested = requested?.reader(b, family, socket);
      attempts.begin(b, socket, endpoints, { readRequested });
    },
    exit: (b) => {
      exitIfMapped(b, family);
      b.keep(b.context);
      endFailedCall(b, attempts, families, family, b.arg(0), b.arg(1));
    },
  });

  const [atEntry, atReturn, bodies, maps] =
    probe === 'kprobe'
      ? ([kprobe, kretprobe, kprobeBodies, [calls]] as const)
      : ([fentry, fexit, fentryBodies, []] as const);
  const traced = [...(families.v4 ? [4 as const] : []), ...(families.v6 ? [6 as const] : [])];
  const programs = traced.map((family) => {
    const symbol = `tcp_v${family}_connect`;
    const optional = family === 6 && families.v4;
    const { entry, exit } = bodies(family);
    return {
      entry: atEntry(symbol, target, entry, { optional }),
      exit: atReturn(symbol, target, exit, { optional, name: `tcp_v${family}_return` }),
    };
  });
  return { programs: [...programs.map(({ exit }) => exit), ...programs.map(({ entry }) => entry)], maps };
}

interface CallBodies {
  readonly entry: Body;
  readonly exit: Body;
}

/**
 * tcp_v6_connect calls tcp_v4_connect for a mapped address: both calls belong to one attempt, which the outer
 * call begins.
 */
function exitIfMapped(b: Builder, family: 4 | 6): void {
  if (family === 6) return;
  const sock = b.kernel('sock', b.arg(0)).fields({ family: '__sk_common.skc_family' });
  b.if(sock.family.ne(AF_INET), () => b.exit());
}

/** The layout of `skc_portpair`. */
const Ports = struct({ remote: u16be, local: u16 });

/** Ends the attempt of a call that failed, unless a state change has ended it already. */
function endFailedCall(
  b: Builder,
  attempts: Attempts,
  families: Families,
  family: 4 | 6,
  socket: Place,
  address: Place,
): void {
  b.if(b.retval.as(s32).eq(0), () => b.exit());
  const sk = b.keep(b.kernel('sock', socket));
  const fill: FillEvent = (event) => {
    const sock = sk.fields(socketPaths(families));
    fillFromSocket(sock)(event);
    // The socket does not contain the destination: take it from the argument of the call.
    const ports = b.stack(Ports);
    ports.set(sock.ports);
    const destination = destinationIn(b.kernel('sockaddr', address), family, attempts.typed);
    ports.remote.set(destination.port);
    event.ports.set(ports);
    (family === 4 ? event.v4 : event.v6).remote.set(destination.address);
    event.ended.set(0);
    event.cause.set(0);
    event.cause.error.set(b.retval.as(u64).get().neg().as(s32));
  };
  attempts.end(b, b.stack(u64, sk.value), (skip) => {
    // A socket that was not bound has no local address.
    const paths = socketPaths({ v4: family === 4, v6: family === 6 });
    attempts.filter.endpoints(b, { local: () => localAddress(b, sk.fields(paths)) }, skip);
    return fill;
  });
}
