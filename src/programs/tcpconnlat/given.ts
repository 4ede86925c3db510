/**
 * What is known of a connect when its function is called: tcp_v4_connect(sk, uaddr, addr_len), and tcp_v6_connect likewise. There is no
 * route yet, and so no local address.
 */
import type { Builder } from '../../asm/builder/builder.ts';
import { probeReadKernel } from '../../asm/helpers.ts';
import { bytes, struct, u16, u16be, u32 } from '../../asm/layout.ts';
import type { ConnectFilter, Ends } from './filter.ts';
import { netnsOf } from './sockets.ts';

/** The beginnings of sockaddr_in and sockaddr_in6 (include/uapi/linux/in.h, in6.h), which the kernel has copied from the user. */
const Address = {
  4: struct({ family: u16, port: u16be, address: bytes(4) }),
  6: struct({ family: u16, port: u16be, flowinfo: u32, address: bytes(16) }),
};

/** Keeps what the filter asks for, before the first call of a helper; what comes back reads it. */
export function givenTo(b: Builder, family: 4 | 6, { asks }: ConnectFilter): () => Ends {
  const sk = asks.netns && b.kernel('sock', b.keep(b.arg(0)));
  const uaddr = (asks.port || asks.remote) && b.keep(b.arg(1));
  return () => {
    const netns = sk ? { netns: () => netnsOf(b, sk) } : {};
    if (!uaddr) return netns;
    const to = b.stack<(typeof Address)[4 | 6]>(Address[family]);
    b.call(probeReadKernel, to, uaddr);
    return { ...netns, port: () => to.port.get(), remote: () => to.address };
  };
}
