/**
 * How an attempt ended, as the programs read it from the socket: raw facts, of which outcome.ts says what they mean.
 */
import type { Builder } from '../../asm/builder/builder.ts';
import type { KernelPointer } from '../../asm/builder/kernel-pointer.ts';
import type { Readable } from '../../asm/builder/operand.ts';
import type { Value } from '../../asm/builder/value.ts';
import { getCurrentTask } from '../../asm/helpers.ts';
import { u32 } from '../../asm/layout.ts';
import type { Fill, Look } from './attempts.ts';
import { PF_EXITING, TCP_ESTABLISHED, TCP_SYN_RECV, TCP_SYN_SENT } from './kernel.ts';
import type { Options } from './options.ts';

/** Where a socket wasn't connecting. In SYN_RECV is one that meets itself, or another that connects to it: it goes on to an end. */
export function unlessConnecting(b: Builder, old: Readable, { outcome }: Options, leave: () => void): void {
  b.if(old.ne(TCP_SYN_SENT), outcome ? () => b.if(old.ne(TCP_SYN_RECV), leave) : leave);
}

/** A socket that leaves the states of connecting. */
export interface Leaving {
  readonly sk: KernelPointer;
  /** Loads the state that it goes to. */
  readonly state: () => Value;
}

/** Sends the end of an attempt, of all or of the failed ones. `fill` gives the event's addresses. */
export function lookAtEnd(b: Builder, { outcome }: Options, leaving: Leaving, fill: Look): Look {
  return (skip, fail) => {
    if (outcome === 'failures') b.if(leaving.state().eq(TCP_ESTABLISHED), skip);
    const addresses = fill(skip, fail);
    return (event) => {
      addresses(event);
      const { sk, state } = leaving;
      event.ended.state.set(state());
      event.ended.retransmits.set(sk.cast('tcp_sock').fields({ count: 'total_retrans' }).count);
      b.set(event.cause, 0);
      b.if(state().ne(TCP_ESTABLISHED), () => whyFailed(b, sk)(event));
    };
  };
}

/** The fields lie far from each other, so that each is read by itself. */
function whyFailed(b: Builder, sk: KernelPointer): Fill {
  return ({ cause }) => {
    const tcp = sk.cast('tcp_sock');
    cause.segmentsIn.set(tcp.fields({ count: 'segs_in' }).count);
    cause.segmentsOut.set(tcp.fields({ count: 'segs_out' }).count);
    cause.softError.set(sk.fields({ error: 'sk_err_soft' }).error);
    cause.error.set(sk.fields({ error: 'sk_err' }).error);
    b.if(cause.error.eq(0), () => {
      const { socket } = sk.fields({ socket: 'sk_socket' });
      cause.socketState.set(b.kernel('socket', socket).fields({ state: 'state' }).state);
      const task = b.keep(b.kernel('task_struct', b.call(getCurrentTask)));
      b.if(task.fields({ flags: 'flags' }).flags.bits(PF_EXITING), () =>
        cause.exitCode.set(task.fields({ code: 'exit_code' }).code.as(u32)),
      );
    });
  };
}
