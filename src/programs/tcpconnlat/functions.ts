/**
 * By functions of the kernel. The first argument of each of them is the socket.
 */
import type { Builder } from '../../asm/builder/builder.ts';
import { fentry, kprobe } from '../../asm/hooks.ts';
import { u32, u64 } from '../../asm/layout.ts';
import type { Target } from '../../asm/target.ts';
import type { Attached, Attempts, Look } from './attempts.ts';
import { atCalls } from './calls.ts';
import { lookAtEnd, unlessConnecting } from './endings.ts';
import type { Families } from './events.ts';
import { givenTo } from './given.ts';
import { AF_INET, TCP_SYN_RECV, TCP_SYN_SENT } from './kernel.ts';
import type { Options } from './options.ts';
import { type Fields, fromSocket, localOf, pathsOf } from './sockets.ts';

/** The programs of `kprobe` or `fentry`: for the connects that are answered, or for every end, as the options say. */
export function byFunctions(
  way: 'kprobe' | 'fentry',
  options: Options,
  attempts: Attempts,
  families: Families,
  target: Target,
): Attached {
  const at = { kprobe, fentry }[way];
  const { filter } = attempts;
  const paths = pathsOf(families);

  /** Takes addresses and ports, unless the local address, which is known only now, isn't asked for. */
  const fill =
    (b: Builder, sock: Fields): Look =>
    (skip) => {
      filter.ends(b, { local: () => localOf(b, sock) }, skip);
      return fromSocket(b, sock);
    };

  const onDestroy = (b: Builder) => {
    b.delete(attempts.table, b.arg(0));
  };

  const answered = (): Attached => {
    const onConnect = (family: 4 | 6) => (b: Builder) => {
      const socket = b.stack(u64, b.arg(0));
      attempts.begin(b, socket, givenTo(b, family, filter));
    };
    const onPacket = (b: Builder) => {
      b.keep(b.context);
      const sk = b.kernel('sock', b.keep(b.arg(0)));
      const sock = sk.fields(paths);
      b.if(sock.state.ne(TCP_SYN_SENT), () => b.exit());
      attempts.end(b, b.stack(u64, sk.value), (skip) => {
        if (families.only === AF_INET) b.if(sock.family.ne(AF_INET), skip); // tcp_v4_connect connects mapped addresses too
        return fill(b, sock)(skip);
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
  };

  const ended = (): Attached => {
    // tcp_set_state(sk, newstate): the socket still has its old one.
    const onState = (b: Builder) => {
      b.keep(b.context);
      const state = () => b.arg(1).get().as(u32);
      for (const connecting of [TCP_SYN_SENT, TCP_SYN_RECV]) b.if(state().eq(connecting), () => b.exit());
      const sk = b.kernel('sock', b.keep(b.arg(0)));
      const sock = sk.fields(paths);
      unlessConnecting(b, sock.state, options, () => b.exit());
      attempts.end(b, b.stack(u64, sk.value), lookAtEnd(b, options, { sk, state }, fill(b, sock)));
    };
    const calls = atCalls(way, attempts, families, target);
    return { programs: [at('tcp_set_state', target, onState), ...calls.programs], maps: calls.maps };
  };

  const { programs, maps } = options.outcome ? ended() : answered();
  return {
    programs: [at('tcp_v4_destroy_sock', target, onDestroy, { name: 'tcp_destroy' }), ...programs],
    maps,
  };
}
