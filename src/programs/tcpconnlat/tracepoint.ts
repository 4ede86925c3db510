/**
 * By the tracepoint, which tells when a socket enters SYN_SENT and when it leaves it.
 */
import type { Builder } from '../../asm/builder/builder.ts';
import { u64 } from '../../asm/layout.ts';
import type { Attempts } from './attempts.ts';
import type { Families } from './events.ts';
import { ECONNREFUSED, IPPROTO_TCP, TCP_CLOSE, TCP_SYN_SENT } from './kernel.ts';
import { fromSocket, pathsOf } from './sockets.ts';

/** The tracepoint, whose format a target needs for the programs of `trace_event`. */
export const TRACEPOINT = { category: 'sock', name: 'inet_sock_set_state' } as const;

/** By its arguments: inet_sock_set_state(sk, oldstate, newstate). `localPort` is whether the event's is wanted. */
export function onState(attempts: Attempts, families: Families, localPort = false) {
  const paths = pathsOf(families);

  const onSynSent = (b: Builder) => {
    const sk = b.kernel('sock', b.keep(b.arg(0)));
    b.if(sk.fields({ protocol: 'sk_protocol' }).protocol.ne(IPPROTO_TCP), () => b.exit());
    if (families.only) b.if(sk.fields(paths).family.ne(families.only), () => b.exit());
    attempts.begin(b, b.stack(u64, sk.value));
    b.exit();
  };

  return (b: Builder) => {
    b.if(b.arg(2).eq(TCP_SYN_SENT), () => onSynSent(b));
    const old = b.value(b.arg(1));
    b.if(old.ne(TCP_SYN_SENT), () => b.exit(old)); // any value will do, and this one is at hand
    b.keep(b.context);
    const sk = b.kernel('sock', b.keep(b.arg(0)));
    attempts.end(b, b.stack(u64, sk.value), (skip) => {
      b.if(b.arg(2).eq(TCP_CLOSE), () => b.if(sk.fields({ err: 'sk_err' }).err.ne(ECONNREFUSED), skip));
      const { sport } = localPort ? sk.cast('inet_sock').fields({ sport: 'inet_sport' }) : {};
      return fromSocket(b, sk.fields(paths), sport);
    });
  };
}

/**
 * By its record, which has no error of the socket: a connect that was refused looks like one that was given up, and only those
 * that were accepted are shown.
 */
export function onRecord(attempts: Attempts, families: Families) {
  return (b: Builder) => {
    b.if(b.field('newstate').eq(TCP_SYN_SENT), () => {
      b.if(b.field('protocol').ne(IPPROTO_TCP), () => b.exit());
      if (families.only) b.if(b.field('family').ne(families.only), () => b.exit());
      attempts.begin(b, b.stack(u64, b.field('skaddr')));
      b.exit();
    });
    b.if(b.field('oldstate').ne(TCP_SYN_SENT), () => b.exit());
    b.keep(b.context);
    attempts.end(b, b.stack(u64, b.field('skaddr')), (skip) => {
      b.if(b.field('newstate').eq(TCP_CLOSE), skip);
      return (event) => {
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
