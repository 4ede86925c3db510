/**
 * The programs of `tp_btf`, `raw_tracepoint` and `trace_event`, attached to the tracepoint
 * sock:inet_sock_set_state. It fires when a socket enters SYN_SENT and when it leaves that state.
 */
import type { Builder } from '../../asm/builder/builder.ts';
import type { KernelPointer } from '../../asm/builder/kernel-pointer.ts';
import type { Value } from '../../asm/builder/value.ts';
import { u32, u64 } from '../../asm/layout.ts';
import {
  type Attempts,
  examineEnd,
  type FillEndpoints,
  type FillEvent,
  fillFromSocket,
  networkNamespace,
  socketEndpoints,
  socketPaths,
  tcpSock,
  untrusted,
} from './attempts.ts';
import { type Families, IPPROTO_TCP, TCP_ESTABLISHED, TCP_SYN_RECV, TCP_SYN_SENT } from './events.ts';
import type { Endpoints } from './filter.ts';
import { hasDetails, type Options } from './options.ts';
import type { RequestedInCall } from './requested.ts';

/** The body for `tp_btf` and `raw_tracepoint`, with the arguments (sk, oldstate, newstate). */
export function onState(
  options: Options,
  attempts: Attempts,
  families: Families,
  requested: RequestedInCall | undefined,
) {
  const { localPort, outcome, pending } = options;
  const paths = socketPaths(families);
  const { typed } = attempts;

  const onSynSent = (b: Builder) => {
    const sk = b.kernel('sock', b.keep(b.arg(0)));
    b.if(sk.fields({ protocol: 'sk_protocol' }).protocol.ne(IPPROTO_TCP), () => b.exit());
    const { port, remote, local } = attempts.filter.reads;
    const sock = (families.only || port || remote || local || pending) && sk.fields(paths);
    if (sock && families.only) b.if(sock.family.ne(families.only), () => b.exit());
    attempts.begin(
      b,
      b.stack(u64, sk.value),
      () => ({
        ...(sock && socketEndpoints(b, sock)),
        netns: () => networkNamespace(untrusted(sk, typed)),
      }),
      { ...(sock && { fill: fillFromSocket(sock) }), readRequested: requested?.reader(b) },
    );
    b.exit();
  };

  /** A socket may be closed already: its local port is then only in `inet_sport`. */
  const fill = (b: Builder, sk: KernelPointer, skip: () => void): FillEvent => {
    const withPort = localPort || outcome;
    if (withPort && typed.tcpSock)
      return (event, tcp = tcpSock(b, sk, typed, skip)) => {
        const { sport } = tcp.fields({ sport: 'inet_conn.icsk_inet.inet_sport' });
        fillFromSocket(sk.fields(paths), sport)(event);
      };
    const { sport } = withPort ? sk.cast('inet_sock').fields({ sport: 'inet_sport' }) : {};
    return fillFromSocket(sk.fields(paths), sport);
  };

  return (b: Builder) => {
    const state = b.keep(b.arg(2).as(u32));
    b.if(state.eq(TCP_SYN_SENT), () => onSynSent(b));
    const oldState = b.arg(1).as(u32).get();
    // The result does not matter; the old state is already in a register.
    attempts.exitUnlessConnecting(b, oldState, { result: oldState });
    exitInSynRecv(b, state);
    b.keep(b.context);
    if (typed.sock)
      b.if(oldState.eq(TCP_SYN_RECV), () =>
        attempts.exitIfAccepted(b, untrusted(b.kernel('sock', b.arg(0)), typed)),
      );
    const sk = b.kernel('sock', b.keep(b.arg(0)));
    attempts.end(b, b.stack(u64, sk.value), (skip, fail) =>
      examineEnd(b, options, typed, { sk, state }, { skip, fail }, () => fill(b, sk, skip)),
    );
  };
}

/** The attempt continues: the socket connects to itself, or to one that connects to it at the same time. */
function exitInSynRecv(b: Builder, state: Value): void {
  b.if(state.eq(TCP_SYN_RECV), () => b.exit());
}

/**
 * The body for `trace_event`. The record does not contain the error of the socket. With `readsSocket` the
 * programs read it from the socket, whose address the record contains. Otherwise a refused connect looks like
 * an abandoned one, and a restored one like an accepted one.
 */
export function onRecord(
  options: Options,
  attempts: Attempts,
  families: Families,
  readsSocket: boolean,
  requested: RequestedInCall | undefined,
) {
  const { outcome, pending } = options;
  return (b: Builder) => {
    const state = b.keep(b.field('newstate').as(u32));
    b.if(state.eq(TCP_SYN_SENT), () => {
      b.if(b.field('protocol').ne(IPPROTO_TCP), () => b.exit());
      if (families.only) b.if(b.field('family').ne(families.only), () => b.exit());
      const { port, remote, local } = attempts.filter.reads;
      if (port || remote || local || pending) b.keep(b.context);
      attempts.begin(b, b.stack(u64, b.field('skaddr')), () => recordEndpoints(b, families), {
        fill: fillFromRecord(b, families),
        readRequested: requested?.reader(b),
      });
      b.exit();
    });
    attempts.exitUnlessConnecting(b, b.field('oldstate').get());
    exitInSynRecv(b, state);
    b.keep(b.context);
    const address = b.keep(b.field('skaddr'));
    attempts.end(b, b.stack(u64, address), (skip, fail) => {
      const fill = () => fillFromRecord(b, families);
      if (readsSocket) {
        const change = { sk: b.kernel('sock', address), state };
        return examineEnd(b, options, attempts.typed, change, { skip, fail }, fill);
      }
      if (!outcome) b.if(state.ne(TCP_ESTABLISHED), fail);
      if (outcome === 'failures') b.if(state.eq(TCP_ESTABLISHED), skip);
      return (event) => {
        fill()(event);
        if (!hasDetails(options)) return;
        event.ended.state.set(state);
        event.ended.retransmits.set(0);
      };
    });
  };
}

/** Fills the addresses and ports of a connect from the record. */
function fillFromRecord(b: Builder, families: Families): FillEndpoints {
  return (memory) => {
    memory.ports.remote.set(b.field('dport'));
    memory.ports.local.set(b.field('sport'));
    memory.family.set(b.field('family'));
    for (const [addresses, suffix] of [
      [families.v4 ? memory.v4 : undefined, ''],
      [families.v6 ? memory.v6 : undefined, '_v6'],
    ] as const) {
      addresses?.remote.set(b.field(`daddr${suffix}`));
      addresses?.local.set(b.field(`saddr${suffix}`));
    }
  };
}

/** The endpoints in the record. The IPv6 fields also hold IPv4 addresses, as IPv4-mapped addresses. */
function recordEndpoints(b: Builder, families: Families): Endpoints {
  const suffix = families.v6 ? '_v6' : '';
  return {
    port: () => b.field('dport').get(),
    remote: () => b.field(`daddr${suffix}`),
    local: () => b.field(`saddr${suffix}`),
  };
}
