/**
 * What is read from a socket.
 */
import type { Builder } from '../../asm/builder/builder.ts';
import type { KernelPointer } from '../../asm/builder/kernel-pointer.ts';
import type { Place } from '../../asm/builder/place.ts';
import type { Value } from '../../asm/builder/value.ts';
import { u16be } from '../../asm/layout.ts';
import type { Fill } from './attempts.ts';
import { type Families, V4 } from './events.ts';
import type { Ends } from './filter.ts';

/** The fields' paths in `struct sock`: all within its first bytes, read together by one probe. */
export function pathsOf({ v4, v6 }: Families) {
  return {
    state: '__sk_common.skc_state',
    family: '__sk_common.skc_family',
    ports: '__sk_common.skc_portpair',
    ...(v4 && { v4: '__sk_common.skc_addrpair' }),
    ...(v6 && { v6Remote: '__sk_common.skc_v6_daddr', v6Local: '__sk_common.skc_v6_rcv_saddr' }),
  };
}

/** Where the fields lie. */
export interface Fields {
  readonly ports: Place;
  readonly family: Place;
  readonly [optional: string]: Place | undefined;
}

/** Takes addresses and ports from a socket. `sport` holds the local port of one that is closed already. */
export function fromSocket(b: Builder, sock: Fields, sport?: Place): Fill {
  return (event) => {
    b.set(event.ports, sock.ports);
    if (sport) event.ports.local.set(sport);
    event.family.set(sock.family);
    if (sock.v4) b.set(event.v4, sock.v4);
    if (sock.v6Remote) event.v6.remote.set(sock.v6Remote);
    if (sock.v6Local) event.v6.local.set(sock.v6Local);
  };
}

/** The ends of a socket that has its route. */
export function socketEnds(b: Builder, sk: KernelPointer, sock: Fields): Ends {
  return {
    port: () => b.as(sock.ports, u16be).get(),
    remote: () => sock.v6Remote ?? (sock.v4 && b.as(sock.v4, V4).remote),
    local: () => localOf(b, sock),
    netns: () => netnsOf(b, sk),
  };
}

/** The local address, if addresses are read. One of IPv4 is among those of IPv6 too, as the IPv4-mapped one. */
export function localOf(b: Builder, sock: Fields): Place | undefined {
  return sock.v6Local ?? (sock.v4 && b.as(sock.v4, V4).local);
}

/** The number of the network namespace that a socket is in. */
export function netnsOf(b: Builder, sk: KernelPointer): Value {
  const { net } = sk.fields({ net: '__sk_common.skc_net.net' });
  return b.kernel('net', net).fields({ number: 'ns.inum' }).number.get();
}
