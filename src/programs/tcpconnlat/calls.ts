/**
 * The calls that connect a socket, from their entry to their return: what fails before the socket begins to connect (no route, no
 * address) shows in their result alone.
 */
import type { Builder } from '../../asm/builder/builder.ts';
import type { Place } from '../../asm/builder/place.ts';
import { getCurrentPidTgid } from '../../asm/helpers.ts';
import { type Body, fentry, fexit, kprobe, kretprobe } from '../../asm/hooks.ts';
import { s32, struct, u16, u16be, u64 } from '../../asm/layout.ts';
import { hash } from '../../asm/map.ts';
import type { Target } from '../../asm/target.ts';
import type { Attached, Attempts, Fill } from './attempts.ts';
import type { Families } from './events.ts';
import { givenTo } from './given.ts';
import { AF_INET } from './kernel.ts';
import { fromSocket, localOf, pathsOf } from './sockets.ts';

/**
 * A call that hasn't returned: the socket, the address (struct sockaddr) that it is to be connected to, and which of the two functions it
 * is of.
 */
const Call = struct({ socket: u64, address: u64, family: u64 });

/**
 * Calls at the same time that there is room for: more than a kretprobe follows to their return. One whose return was missed leaves its
 * entry to the next call of its thread.
 */
const MAX_CALLS = 1024;

/** The bodies at the entry and at the return of one of the two functions. */
type Bodies = (family: 4 | 6) => { readonly entry: Body; readonly exit: Body };

/** The programs at the calls of the families that are wanted, the returns first. */
export function atCalls(
  way: 'kprobe' | 'fentry',
  attempts: Attempts,
  families: Families,
  target: Target,
): Attached {
  const calls = hash('calls', { key: u64, value: Call, maxEntries: MAX_CALLS });

  /** A kretprobe has no arguments: they are kept meanwhile. */
  const byKprobe: Bodies = (family) => ({
    entry: (b) => {
      const call = b.stack(Call);
      call.socket.set(b.arg(0));
      call.address.set(b.arg(1));
      call.family.set(family);
      const given = givenTo(b, family, attempts.filter);
      leaveMapped(b, family);
      attempts.begin(b, call.socket, given);
      attempts.note(b, calls, b.call(getCurrentPidTgid), call);
    },
    exit: (b) => {
      b.keep(b.context);
      const caller = b.stack(u64, b.call(getCurrentPidTgid));
      const call = b.stack(Call);
      b.lookup(calls, caller, { missing: () => b.exit(), found: (entry) => b.set(call, entry) });
      b.if(call.family.ne(family), () => b.exit()); // the outer call of a mapped address
      b.delete(calls, caller);
      endFailed(b, attempts, families, family, call.socket, call.address);
    },
  });

  /** An fexit has them. */
  const byFentry: Bodies = (family) => ({
    entry: (b) => {
      const given = givenTo(b, family, attempts.filter);
      leaveMapped(b, family);
      attempts.begin(b, b.stack(u64, b.arg(0)), given);
    },
    exit: (b) => {
      leaveMapped(b, family);
      b.keep(b.context);
      endFailed(b, attempts, families, family, b.arg(0), b.arg(1));
    },
  });

  const [atEntry, atReturn, bodies, maps] =
    way === 'kprobe'
      ? ([kprobe, kretprobe, byKprobe, [calls]] as const)
      : ([fentry, fexit, byFentry, []] as const);
  const wanted = [...(families.v4 ? [4 as const] : []), ...(families.v6 ? [6 as const] : [])];
  const programs = wanted.map((family) => {
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

/** `tcp_v6_connect` calls `tcp_v4_connect` for a mapped address: that is one attempt, and it is the outer call's. */
function leaveMapped(b: Builder, family: 4 | 6): void {
  if (family === 6) return;
  const sock = b.kernel('sock', b.arg(0)).fields({ family: '__sk_common.skc_family' });
  b.if(sock.family.ne(AF_INET), () => b.exit());
}

/** As the kernel has them. */
const Ports = struct({ remote: u16be, local: u16 });

/** Ends the attempt of a call that failed, unless the socket's state has done so already. */
function endFailed(
  b: Builder,
  attempts: Attempts,
  families: Families,
  family: 4 | 6,
  socket: Place,
  address: Place,
): void {
  b.if(b.retval.as(s32).eq(0), () => b.exit());
  const sk = b.keep(b.kernel('sock', socket));
  const fill: Fill = (event) => {
    const sock = sk.fields(pathsOf(families));
    fromSocket(b, sock)(event);
    // Where it was to be connected to, the socket doesn't have.
    const ports = b.stack(Ports);
    b.set(ports, sock.ports);
    const sockaddr = b.kernel('sockaddr', address);
    const to =
      family === 4
        ? sockaddr.cast('sockaddr_in').fields({ port: 'sin_port', address: 'sin_addr' })
        : sockaddr.cast('sockaddr_in6').fields({ port: 'sin6_port', address: 'sin6_addr' });
    ports.remote.set(to.port);
    b.set(event.ports, ports);
    (family === 4 ? event.v4 : event.v6).remote.set(to.address);
    b.set(event.ended, 0);
    b.set(event.cause, 0);
    event.cause.error.set(b.retval.as(u64).get().neg().as(s32));
  };
  attempts.end(b, b.stack(u64, sk.value), (skip) => {
    // Unless it was bound before, it has no local address.
    const ofFamily = pathsOf({ v4: family === 4, v6: family === 6 });
    attempts.filter.ends(b, { local: () => localOf(b, sk.fields(ofFamily)) }, skip);
    return fill;
  });
}
