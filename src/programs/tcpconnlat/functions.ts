/**
 * By functions of the kernel. The first argument of each of them is the socket.
 */
import type { Builder } from '../../asm/builder/builder.ts';
import type { fentry, kprobe } from '../../asm/hooks.ts';
import { u64 } from '../../asm/layout.ts';
import type { ProgramSpec } from '../../asm/program.ts';
import type { Target } from '../../asm/target.ts';
import type { Attempts } from './attempts.ts';
import type { Families } from './events.ts';
import { AF_INET, TCP_SYN_SENT } from './kernel.ts';
import { fromSocket, pathsOf } from './sockets.ts';

/** The programs, what clears the table before what fills it. `at` is the hook that they are attached by. */
export function byFunctions(
  attempts: Attempts,
  families: Families,
  at: typeof kprobe | typeof fentry,
  target: Target,
): ProgramSpec[] {
  const onConnect = (b: Builder) => attempts.begin(b, b.stack(u64, b.arg(0)));

  const onPacket = (b: Builder) => {
    b.keep(b.context);
    const sk = b.kernel('sock', b.keep(b.arg(0)));
    const sock = sk.fields(pathsOf(families));
    b.if(sock.state.ne(TCP_SYN_SENT), () => b.exit());
    attempts.end(b, b.stack(u64, sk.value), (skip) => {
      if (families.only === AF_INET) b.if(sock.family.ne(AF_INET), skip); // tcp_v4_connect connects mapped addresses too
      return fromSocket(b, sock);
    });
  };

  const onDestroy = (b: Builder) => {
    b.delete(attempts.table, b.arg(0));
  };

  return [
    at('tcp_v4_destroy_sock', target, onDestroy, { name: 'tcp_destroy' }),
    at('tcp_rcv_state_process', target, onPacket, { name: 'tcp_rcv_state' }),
    ...(families.v4 ? [at('tcp_v4_connect', target, onConnect)] : []),
    ...(families.v6 ? [at('tcp_v6_connect', target, onConnect, { optional: families.v4 })] : []),
  ];
}
