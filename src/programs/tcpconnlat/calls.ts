/**
 * The calls that connect a socket, from their entry to their return: what fails before the socket begins to connect (no route, no
 * address) shows in their result alone.
 */
import type { Builder } from '../../asm/builder/builder.ts';
import type { Place } from '../../asm/builder/place.ts';
import { getCurrentPidTgid } from '../../asm/helpers.ts';
import { fentry, fexit, kprobe, kretprobe } from '../../asm/hooks.ts';
import { struct, u16, u64 } from '../../asm/layout.ts';
import { hash, type MapSpec } from '../../asm/map.ts';
import type { ProgramSpec } from '../../asm/program.ts';
import type { Target } from '../../asm/target.ts';
import type { Attempts } from './attempts.ts';
import type { Families } from './events.ts';
import { AF_INET } from './kernel.ts';
import { fromSocket, pathsOf } from './sockets.ts';

/** A call that hasn't returned: the socket, and the address (struct sockaddr) that it is to be connected to. */
const Call = struct({ socket: u64, address: u64 });
/** As the kernel has them. */
const Ports = struct({ remote: u16, local: u16 });

/**
 * Calls at the same time that there is room for: more than the kernel follows to their return. One whose return was missed leaves its
 * entry to the next call of its thread.
 */
const MAX_CALLS = 1024;

/** The programs at the entry and at the return of `tcp_v4_connect` or `tcp_v6_connect`, and the map that they share. */
export interface Calls {
  readonly entry: ProgramSpec;
  readonly exit: ProgramSpec;
  readonly maps: readonly MapSpec[];
}

export function callsOf(
  attempts: Attempts,
  families: Families,
  way: 'kprobe' | 'fentry',
  target: Target,
  family: 4 | 6,
): Calls {
  const symbol = `tcp_v${family}_connect`;
  const optional = family === 6 && families.v4;
  const [entryOptions, exitOptions] = [{ optional }, { optional, name: `tcp_v${family}_return` }];

  /** `tcp_v6_connect` calls `tcp_v4_connect` for a mapped address: that is one attempt, and begins with the outer call. */
  const leaveMapped = (b: Builder) => {
    if (family === 6) return;
    const sock = b.kernel('sock', b.arg(0)).fields({ family: '__sk_common.skc_family' });
    b.if(sock.family.ne(AF_INET), () => b.exit());
  };

  /** Ends the attempt of a call that failed, unless the socket has ended it already. */
  const onReturn = (b: Builder, socket: Place, address: Place) => {
    b.if(b.returned.get().asSigned(32).eq(0), () => b.exit());
    const sk = b.keep(b.kernel('sock', socket));
    attempts.end(b, b.stack(u64, sk.value), () => (event) => {
      const sock = sk.fields(pathsOf(families));
      fromSocket(b, sock)(event);
      // The socket doesn't have where it was to be connected to.
      const ports = b.stack(Ports);
      b.set(ports, sock.ports);
      const to = b.kernel('sockaddr', address);
      if (family === 4) {
        const { port, remote } = to.cast('sockaddr_in').fields({ port: 'sin_port', remote: 'sin_addr' });
        ports.remote.set(port);
        event.v4.remote.set(remote);
      } else {
        const { port, remote } = to.cast('sockaddr_in6').fields({ port: 'sin6_port', remote: 'sin6_addr' });
        ports.remote.set(port);
        event.v6.remote.set(remote);
      }
      b.set(event.ports, ports);
      b.set(event.ended, 0);
      b.set(event.cause, 0);
      event.cause.error.set(b.returned.get().mul(-1));
    });
  };

  if (way === 'fentry')
    return {
      maps: [],
      entry: fentry(
        symbol,
        target,
        (b) => {
          leaveMapped(b);
          attempts.begin(b, b.stack(u64, b.arg(0)));
        },
        entryOptions,
      ),
      exit: fexit(
        symbol,
        target,
        (b) => {
          leaveMapped(b);
          b.keep(b.context);
          onReturn(b, b.arg(0), b.arg(1));
        },
        exitOptions,
      ),
    };

  const calls = hash(`calls_v${family}`, { key: u64, value: Call, maxEntries: MAX_CALLS });
  return {
    maps: [calls],
    entry: kprobe(
      symbol,
      target,
      (b) => {
        const call = b.stack(Call);
        call.socket.set(b.arg(0));
        call.address.set(b.arg(1));
        leaveMapped(b);
        attempts.begin(b, call.socket);
        attempts.note(b, calls, b.call(getCurrentPidTgid), call);
      },
      entryOptions,
    ),
    exit: kretprobe(
      symbol,
      target,
      (b) => {
        b.keep(b.context);
        const caller = b.stack(u64, b.call(getCurrentPidTgid));
        const call = b.stack(Call);
        b.lookup(calls, caller, {
          missing: () => b.exit(),
          found: (entry) => b.set(call, entry),
        });
        b.delete(calls, caller);
        onReturn(b, call.socket, call.address);
      },
      exitOptions,
    ),
  };
}
