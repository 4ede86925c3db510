/**
 * By functions of the kernel. The first argument of each of them is the socket.
 */
import type { Builder } from '../../asm/builder/builder.ts';
import type { KernelPointer } from '../../asm/builder/kernel-pointer.ts';
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

  /** Counts an attempt that was never answered, unless its socket is of another family than the options ask for. */
  const countFailure = (b: Builder, sk: KernelPointer, family: typeof families.only) => {
    const count = () => attempts.countFailure(b);
    if (family) b.if(sk.fields({ family: '__sk_common.skc_family' }).family.eq(family), count);
    else count();
  };

  const onDestroy = (b: Builder) => {
    if (!attempts.countsFailures) {
      b.delete(attempts.table, b.arg(0));
      return;
    }
    const sk = b.kernel('sock', b.keep(b.arg(0)));
    const failed = b.delete(attempts.table, sk).eq(0);
    b.if(failed, () => countFailure(b, sk, families.only));
  };

  const answered = (): Attached => {
    const onConnect = (family: 4 | 6) => (b: Builder) => {
      if (!attempts.countsFailures) {
        attempts.begin(b, b.stack(u64, b.arg(0)), givenTo(b, family, filter));
        return;
      }
      const sk = b.kernel('sock', b.keep(b.arg(0)));
      // tcp_v6_connect calls tcp_v4_connect for a mapped address: that is the same attempt.
      const again = () => countFailure(b, sk, family === 4 ? AF_INET : undefined);
      attempts.begin(b, b.stack(u64, sk.value), givenTo(b, family, filter), again);
    };
    const onPacket = (b: Builder) => {
      b.keep(b.context);
      const sk = b.kernel('sock', b.keep(b.arg(0)));
      const sock = sk.fields(paths);
      b.if(sock.state.ne(TCP_SYN_SENT), () => b.exit());
      attempts.end(b, b.stack(u64, sk.value), (skip, fail) => {
        if (families.only === AF_INET) b.if(sock.family.ne(AF_INET), skip); // tcp_v4_connect connects mapped addresses too
        return fill(b, sock)(skip, fail);
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
