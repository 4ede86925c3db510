/**
 * A process that uses sockets as C programs do, on request and one call at a time: blocking connects, other
 * protocols, a backlog of 0, sockets that stay open. Node's sockets support none of these. `Peer` in
 * connects.ts starts it.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import type * as Koffi from 'koffi';
import { connectByRing } from './io-uring.ts';

/** An address that a socket is bound to or connects to; IPv6 if it has a colon. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** The kind of a socket; by default TCP, blocking and unbound. */
export interface Kind {
  readonly type?: 'stream' | 'dgram' | 'raw';
  readonly protocol?: number;
  readonly nonBlocking?: boolean;
  /** Whether the socket gets a local port before it connects. */
  readonly bound?: boolean;
  /** How often the kernel retransmits the SYN. */
  readonly synRetries?: number;
  /** How long the socket waits for an answer, in ms, independent of retransmits (TCP_USER_TIMEOUT). */
  readonly userTimeoutMs?: number;
  /** Whether the connection is restored without packets (TCP_REPAIR). */
  readonly repair?: boolean;
  /** Whether the SYN waits for the first data (TCP Fast Open). */
  readonly fastOpen?: boolean;
  /** The address to bind to, which other sockets may share. */
  readonly source?: Endpoint;
  /** The socket to connect, instead of a new one. */
  readonly fd?: number;
  /**
   * What connects: io_uring, in the system call or on a worker thread, or sendto with MSG_FASTOPEN, which
   * sends a byte. Default: connect.
   */
  readonly by?: 'io_uring' | 'io_uring worker' | 'sendto';
}

/** The result of a connect. */
export interface Connected {
  readonly fd: number;
  /** The name of the error; empty on success. */
  readonly error: string;
  /** Times before and after the call, on the kernel's monotonic clock, in ms. */
  readonly begin: number;
  readonly end: number;
  /** The port that getsockname returns after the connect. */
  readonly localPort: number;
  /** The port that the socket was bound to before the connect. */
  readonly boundPort: number;
}

const AF_UNSPEC = 0;
const AF_INET = 2;
const AF_INET6 = 10;
const TYPES = { stream: 1, dgram: 2, raw: 3 } as const;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;
const CLONE_NEWNET = 0x40000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const IPPROTO_TCP = 6;
const TCP_SYNCNT = 7;
const TCP_USER_TIMEOUT = 18;
const TCP_REPAIR = 19;
const TCP_FASTOPEN_CONNECT = 30;
const MSG_FASTOPEN = 0x2000_0000;
const SHUT_RDWR = 2;
const PR_SET_NAME = 15;

const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi;
const libc = koffi.load(null);
const socket = libc.func('int socket(int domain, int type, int protocol)');
const bind = libc.func('int bind(int fd, void *address, int length)');
const connect = libc.func('int connect(int fd, void *address, int length)');
const sendto = libc.func(
  'long sendto(int fd, void *bytes, size_t count, int flags, void *address, int length)',
);
const listen = libc.func('int listen(int fd, int backlog)');
const accept = libc.func('int accept(int fd, void *address, void *length)');
const getsockname = libc.func('int getsockname(int fd, void *address, void *length)');
const close = libc.func('int close(int fd)');
const shutdown = libc.func('int shutdown(int fd, int how)');
const setsockopt = libc.func('int setsockopt(int fd, int level, int name, void *value, int length)');
const unshare = libc.func('int unshare(int flags)');
const setns = libc.func('int setns(int fd, int type)');
const prctl = libc.func('int prctl(int option, void *name, long, long, long)');

/** The name of the current errno. */
function lastError(): string {
  return nameOf(koffi.errno());
}

function nameOf(number: number): string {
  return Object.entries(constants.errno).find(([, value]) => value === number)?.[0] ?? `errno ${number}`;
}

function check(result: number, call: string): number {
  if (result < 0) throw new Error(`${call}: ${lastError()}`);
  return result;
}

/** struct sockaddr_in or sockaddr_in6. */
function sockaddr({ address, port }: Endpoint): Buffer {
  const v6 = address.includes(':');
  const bytes = Buffer.alloc(v6 ? 28 : 16);
  bytes.writeUInt16LE(v6 ? AF_INET6 : AF_INET, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.set(v6 ? bytesOfIPv6(address) : bytesOfIPv4(address), v6 ? 8 : 4);
  return bytes;
}

function bytesOfIPv4(address: string): number[] {
  return address.split('.').map(Number);
}

function bytesOfIPv6(address: string): Uint8Array {
  const [head = '', tail = ''] = address.split('::');
  const groups = (part: string): number[] =>
    part.split(':').flatMap((group) => {
      if (group.includes('.')) return bytesOfIPv4(group);
      return group === '' ? [] : [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 255];
    });
  const bytes = new Uint8Array(16);
  bytes.set(groups(head));
  bytes.set(groups(tail), 16 - groups(tail).length);
  return bytes;
}

function open({ address }: Endpoint, { type = 'stream', protocol = 0, nonBlocking }: Kind): number {
  const flags = TYPES[type] | SOCK_CLOEXEC | (nonBlocking ? SOCK_NONBLOCK : 0);
  return check(socket(address.includes(':') ? AF_INET6 : AF_INET, flags, protocol), 'socket');
}

function set(fd: number, level: number, option: number, value: number): void {
  check(setsockopt(fd, level, option, new Int32Array([value]), 4), 'setsockopt');
}

function bindTo(fd: number, endpoint: Endpoint): void {
  const address = sockaddr(endpoint);
  check(bind(fd, address, address.length), 'bind');
}

function portOf(fd: number): number {
  const address = Buffer.alloc(28);
  check(getsockname(fd, address, new Uint32Array([address.length])), 'getsockname');
  return address.readUInt16BE(2);
}

/** Connects a socket, and returns the name of the error. */
function connectBy(by: Kind['by'], fd: number, address: Buffer): string {
  if (by === undefined) return connect(fd, address, address.length) < 0 ? lastError() : '';
  if (by === 'sendto') {
    const sent = Number(sendto(fd, Buffer.from('x'), 1, MSG_FASTOPEN, address, address.length));
    return sent < 0 ? lastError() : '';
  }
  const result = connectByRing(fd, address, by === 'io_uring worker');
  return result < 0 ? nameOf(-result) : '';
}

const now = (): number => Number(process.hrtime.bigint()) / 1e6;

const operations = {
  connect(to: Endpoint, kind: Kind = {}): Connected {
    const fd = kind.fd ?? open(to, kind);
    if (kind.bound) bindTo(fd, { address: to.address, port: 0 });
    if (kind.synRetries) set(fd, IPPROTO_TCP, TCP_SYNCNT, kind.synRetries);
    if (kind.userTimeoutMs) set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, kind.userTimeoutMs);
    if (kind.fastOpen) set(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);
    if (kind.repair) set(fd, IPPROTO_TCP, TCP_REPAIR, 1);
    if (kind.source) {
      set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
      bindTo(fd, kind.source);
    }
    const boundPort = kind.bound ? portOf(fd) : 0;
    const address = sockaddr(to);
    const begin = now();
    const error = connectBy(kind.by, fd, address);
    return { fd, error, begin, end: now(), localPort: portOf(fd), boundPort };
  },
  /** Connects a socket to itself. */
  connectToSelf(address: string): Connected {
    const fd = open({ address, port: 0 }, {});
    bindTo(fd, { address, port: 0 });
    return operations.connect({ address, port: portOf(fd) }, { fd });
  },
  listen(address: string, backlog: number, kind: Kind = {}): { fd: number; port: number } {
    const fd = open({ address, port: 0 }, kind);
    bindTo(fd, { address, port: 0 });
    check(listen(fd, backlog), 'listen');
    return { fd, port: portOf(fd) };
  },
  /** A loopback port without a listener. The port stays taken. */
  closedPort(address: string): number {
    const fd = open({ address, port: 0 }, {});
    bindTo(fd, { address, port: 0 });
    return portOf(fd);
  },
  accept(fd: number): number {
    return check(accept(fd, null, null), 'accept');
  },
  close(...fds: number[]): void {
    for (const fd of fds) check(close(fd), 'close');
  },
  /** Closes a connection without a packet: the other end does not notice. */
  vanish(fd: number): void {
    set(fd, IPPROTO_TCP, TCP_REPAIR, 1);
    check(close(fd), 'close');
  },
  /** Sends a byte. */
  send(fd: number): void {
    writeSync(fd, 'x');
  },
  /** Aborts a connect by shutdown(2), and keeps the socket. */
  shutdown(fd: number): void {
    check(shutdown(fd, SHUT_RDWR), 'shutdown');
  },
  /** Aborts a connect by a connect to AF_UNSPEC, and keeps the socket. */
  disconnect(fd: number): void {
    const nothing = Buffer.alloc(16);
    nothing.writeUInt16LE(AF_UNSPEC, 0);
    check(connect(fd, nothing, nothing.length), 'connect');
  },
  /** Exits this process normally, with open sockets. */
  exit(): void {
    process.exit(0);
  },
  /** Moves this process to the network namespace of another process. */
  enterNetwork(pid: number): void {
    const fd = openSync(`/proc/${pid}/ns/net`, 'r');
    check(setns(fd, CLONE_NEWNET), 'setns');
    closeSync(fd);
  },
  /** Moves this process to a new network namespace without routes. */
  leaveNetwork(): void {
    check(unshare(CLONE_NEWNET), 'unshare');
  },
  /** Changes the user id of this process permanently. */
  setUser(uid: number): void {
    process.setuid?.(uid);
  },
  /** Renames the main thread of this process. */
  rename(name: string | Uint8Array): void {
    check(prctl(PR_SET_NAME, Buffer.concat([Buffer.from(name), Buffer.alloc(1)]), 0, 0, 0), 'prctl');
  },
};

/** The operations that a peer offers. */
export type Operations = typeof operations;

/** A call of one operation, and its answer. */
export interface Call {
  readonly id: number;
  readonly operation: keyof Operations;
  readonly args: readonly unknown[];
}
export type Answer = { readonly id: number } & ({ readonly result: unknown } | { readonly error: string });

function answer({ id, operation, args }: Call): Answer {
  try {
    const run = operations[operation] as (...args: readonly unknown[]) => unknown;
    return { id, result: run(...args) };
  } catch (error) {
    return { id, error: `${operation}: ${(error as Error).message}` };
  }
}

if (process.send) {
  process.on('message', (call: Call) => process.send?.(answer(call)));
  process.on('disconnect', () => process.exit());
  process.send({ id: 0, result: undefined } satisfies Answer);
}
