/**
 * By the tracepoint, which tells when a socket enters SYN_SENT and when it leaves it.
 */
import type { Builder } from '../../asm/builder/builder.ts';
import type { KernelPointer } from '../../asm/builder/kernel-pointer.ts';
import { u32, u64 } from '../../asm/layout.ts';
import type { Attempts, Look } from './attempts.ts';
import { lookAtEnd, unlessConnecting } from './endings.ts';
import type { Families } from './events.ts';
import type { Ends } from './filter.ts';
import {
  ECONNREFUSED,
  IPPROTO_TCP,
  TCP_CLOSE,
  TCP_ESTABLISHED,
  TCP_SYN_RECV,
  TCP_SYN_SENT,
} from './kernel.ts';
import type { Options } from './options.ts';
import { fromSocket, netnsOf, pathsOf, socketEnds } from './sockets.ts';

/** The tracepoint, whose format a target needs for the programs of `trace_event`. */
export const TRACEPOINT = { category: 'sock', name: 'inet_sock_set_state' } as const;

/** By its arguments: inet_sock_set_state(sk, oldstate, newstate). */
export function onState(options: Options, attempts: Attempts, families: Families) {
  const { localPort, outcome } = options;
  const paths = pathsOf(families);

  const onSynSent = (b: Builder) => {
    const sk = b.kernel('sock', b.keep(b.arg(0)));
    b.if(sk.fields({ protocol: 'sk_protocol' }).protocol.ne(IPPROTO_TCP), () => b.exit());
    const { port, remote, local } = attempts.filter.asks;
    const sock = (families.only || port || remote || local) && sk.fields(paths);
    if (sock && families.only) b.if(sock.family.ne(families.only), () => b.exit());
    attempts.begin(b, b.stack(u64, sk.value), () =>
      sock ? socketEnds(b, sk, sock) : { netns: () => netnsOf(b, sk) },
    );
    b.exit();
  };

  /** Takes addresses and ports from a socket that may be closed already: its local port is elsewhere then. */
  const fill = (b: Builder, sk: KernelPointer) => {
    const { sport } = localPort || outcome ? sk.cast('inet_sock').fields({ sport: 'inet_sport' }) : {};
    return fromSocket(b, sk.fields(paths), sport);
  };

  return (b: Builder) => {
    b.if(b.arg(2).eq(TCP_SYN_SENT), () => onSynSent(b));
    if (outcome) b.if(b.arg(2).eq(TCP_SYN_RECV), () => b.exit());
    const old = b.arg(1).as(u32).get();
    unlessConnecting(b, old, options, () => b.exit(old)); // any value will do, and this one is at hand
    b.keep(b.context);
    const sk = b.kernel('sock', b.keep(b.arg(0)));
    const onlyAnswered: Look = (_skip, fail) => {
      b.if(b.arg(2).eq(TCP_CLOSE), () => b.if(sk.fields({ err: 'sk_err' }).err.ne(ECONNREFUSED), fail));
      return fill(b, sk);
    };
    const state = () => b.arg(2).get().as(u32);
    const look = outcome ? lookAtEnd(b, options, { sk, state }, () => fill(b, sk)) : onlyAnswered;
    attempts.end(b, b.stack(u64, sk.value), look);
  };
}

/**
 * By its record, which has no error of the socket: a connect that was refused looks like one that was given up, and but for a look at
 * every end only those that were accepted are shown.
 */
export function onRecord(options: Options, attempts: Attempts, families: Families) {
  const { outcome } = options;
  return (b: Builder) => {
    b.if(b.field('newstate').eq(TCP_SYN_SENT), () => {
      b.if(b.field('protocol').ne(IPPROTO_TCP), () => b.exit());
      if (families.only) b.if(b.field('family').ne(families.only), () => b.exit());
      const { port, remote, local } = attempts.filter.asks;
      if (port || remote || local) b.keep(b.context);
      attempts.begin(b, b.stack(u64, b.field('skaddr')), () => recordEnds(b, families));
      b.exit();
    });
    if (outcome) b.if(b.field('newstate').eq(TCP_SYN_RECV), () => b.exit());
    unlessConnecting(b, b.field('oldstate'), options, () => b.exit());
    b.keep(b.context);
    attempts.end(b, b.stack(u64, b.field('skaddr')), (skip, fail) => {
      if (!outcome) b.if(b.field('newstate').eq(TCP_CLOSE), fail);
      if (outcome === 'failures') b.if(b.field('newstate').eq(TCP_ESTABLISHED), skip);
      return (event) => {
        if (outcome) {
          event.ended.state.set(b.field('newstate').as(u32));
          event.ended.retransmits.set(0);
        }
        event.ports.remote.set(b.field('dport'));
        event.ports.local.set(b.field('sport'));
        event.family.set(b.field('family'));
        for (const [addresses, suffix] of [
          [families.v4 ? event.v4 : undefined, ''],
          [families.v6 ? event.v6 : undefined, '_v6'],
        ] as const) {
          addresses?.remote.set(b.field(`daddr${suffix}`));
          addresses?.local.set(b.field(`saddr${suffix}`));
        }
      };
    });
  };
}

/** The ends, as far as the record has them. Addresses of IPv4 are among those of IPv6 too, as the IPv4-mapped ones. */
function recordEnds(b: Builder, families: Families): Ends {
  const suffix = families.v6 ? '_v6' : '';
  return {
    port: () => b.field('dport').get(),
    remote: () => b.field(`daddr${suffix}`),
    local: () => b.field(`saddr${suffix}`),
  };
}
