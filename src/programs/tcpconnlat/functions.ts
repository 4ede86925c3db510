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
import type { Target } from '../../asm/target.ts';
import {
  type Attempts,
  type Examine,
  examineEnd,
  type FillEvent,
  fillFromSocket,
  localAddress,
  networkNamespace,
  type Options,
  type ProgramSet,
  type SocketFields,
  socketPaths,
  unlessConnecting,
} from './attempts.ts';
import { AF_INET, type Families, TCP_SYN_RECV, TCP_SYN_SENT } from './events.ts';
import type { ConnectFilter, Endpoints } from './filter.ts';

type FunctionProbe = 'kprobe' | 'fentry';

/** The programs for answered connects, or, with `outcome`, for every end of a connect. */
export function functionPrograms(
  probe: FunctionProbe,
  options: Options,
  attempts: Attempts,
  families: Families,
  target: Target,
): ProgramSet {
  const { programs, maps } = options.outcome
    ? programsAtEnd(probe, options, attempts, families, target)
    : programsAtAnswer(probe, attempts, families, target);
  const onDestroy = destroyBody(attempts, families);
  return {
    programs: [
      { kprobe, fentry }[probe]('tcp_v4_destroy_sock', target, onDestroy, { name: 'tcp_destroy' }),
      ...programs,
    ],
    maps,
  };
}

// --- answered connects: the call begins an attempt, the first packet of the peer ends it ----------

function programsAtAnswer(
  probe: FunctionProbe,
  attempts: Attempts,
  families: Families,
  target: Target,
): ProgramSet {
  const at = { kprobe, fentry }[probe];
  const paths = socketPaths(families);
  const onConnect = (family: 4 | 6) => (b: Builder) => {
    if (!attempts.countsFailures) {
      attempts.begin(b, b.stack(u64, b.arg(0)), connectArguments(b, family, attempts.filter));
      return;
    }
    const sk = b.kernel('sock', b.keep(b.arg(0)));
    // tcp_v6_connect calls tcp_v4_connect for a mapped address: both calls belong to one attempt.
    const again = () => countFailure(b, attempts, sk, family === 4 ? AF_INET : undefined);
    attempts.begin(b, b.stack(u64, sk.value), connectArguments(b, family, attempts.filter), again);
  };
  const onPacket = (b: Builder) => {
    b.keep(b.context);
    const sk = b.kernel('sock', b.keep(b.arg(0)));
    const sock = sk.fields(paths);
    b.if(sock.state.ne(TCP_SYN_SENT), () => b.exit());
    attempts.end(b, b.stack(u64, sk.value), (skip, fail) => {
      // tcp_v4_connect connects mapped addresses too.
      if (families.only === AF_INET) b.if(sock.family.ne(AF_INET), skip);
      return examineAddresses(b, attempts.filter, sock)(skip, fail);
    });
  };
  return {
    programs: [
      at('tcp_rcv_state_process', target, onPacket, { name: 'tcp_rcv_state' }),
      ...(families.v4 ? [at('tcp_v4_connect', target, onConnect(4))] : []),
      ...(families.v6 ? [at('tcp_v6_connect', target, onConnect(6), { optional: families.v4 })] : []),
    ],
    maps: [],
  };
}

/** Removes an attempt that was never answered. */
function destroyBody(attempts: Attempts, families: Families): Body {
  return (b) => {
    if (!attempts.countsFailures) {
      b.delete(attempts.table, b.arg(0));
      return;
    }
    const sk = b.kernel('sock', b.keep(b.arg(0)));
    const failed = b.delete(attempts.table, sk).eq(0);
    b.if(failed, () => countFailure(b, attempts, sk, families.only));
  };
}

/** Counts an attempt that was never answered, if its socket is of `family`. */
function countFailure(b: Builder, attempts: Attempts, sk: KernelPointer, family: Families['only']): void {
  const count = () => attempts.countFailure(b);
  if (family) b.if(sk.fields({ family: '__sk_common.skc_family' }).family.eq(family), count);
  else count();
}

/** Checks the local address, which is known only now, and fills the event. */
function examineAddresses(b: Builder, filter: ConnectFilter, sock: SocketFields): Examine {
  return (skip) => {
    filter.endpoints(b, { local: () => localAddress(b, sock) }, skip);
    return fillFromSocket(sock);
  };
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

// --- every end: a state change ends an attempt, or the return of a call that failed before ---------

function programsAtEnd(
  probe: FunctionProbe,
  options: Options,
  attempts: Attempts,
  families: Families,
  target: Target,
): ProgramSet {
  const paths = socketPaths(families);
  // tcp_set_state(sk, newstate): the socket still has its old state.
  const onState = (b: Builder) => {
    b.keep(b.context);
    const state = () => b.arg(1).get().as(u32);
    for (const connecting of [TCP_SYN_SENT, TCP_SYN_RECV]) b.if(state().eq(connecting), () => b.exit());
    const sk = b.kernel('sock', b.keep(b.arg(0)));
    const sock = sk.fields(paths);
    unlessConnecting(b, sock.state, options, () => b.exit());
    const examine = examineEnd(
      b,
      options,
      attempts.typed,
      { sk, state },
      examineAddresses(b, attempts.filter, sock),
    );
    attempts.end(b, b.stack(u64, sk.value), examine);
  };
  const { programs, maps } = callPrograms(probe, attempts, families, target);
  return { programs: [{ kprobe, fentry }[probe]('tcp_set_state', target, onState), ...programs], maps };
}

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
      exitIfMapped(b, family);
      attempts.begin(b, call.socket, endpoints);
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
      attempts.begin(b, b.stack(u64, b.arg(0)), endpoints);
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
    const typed = { typed: attempts.typed.cast };
    const sockaddr = b.kernel('sockaddr', address);
    const destination =
      family === 4
        ? sockaddr.cast('sockaddr_in', typed).fields({ port: 'sin_port', address: 'sin_addr' })
        : sockaddr.cast('sockaddr_in6', typed).fields({ port: 'sin6_port', address: 'sin6_addr' });
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
