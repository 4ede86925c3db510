/** Blocking TCP sockets over loopback, by system calls without the event loop of Node. */
import { createRequire } from 'node:module';
import type * as Koffi from 'koffi';

const AF_INET = 2;
const SOCK_STREAM = 1;

const libc = (createRequire(import.meta.url)('koffi') as typeof Koffi).load(null);
const socket = libc.func('int socket(int domain, int type, int protocol)');
const bind = libc.func('int bind(int fd, void *address, int length)');
const getsockname = libc.func('int getsockname(int fd, void *address, void *length)');
export const listen = libc.func('int listen(int fd, int backlog)');
export const accept = libc.func('int accept(int fd, void *address, void *length)');
export const connect = libc.func('int connect(int fd, void *address, int length)');
export const close = libc.func('int close(int fd)');

const setsockopt = libc.func('int setsockopt(int fd, int level, int name, void *value, int length)');

/** include/uapi/asm-generic/socket.h */
const SOL_SOCKET = 1;
const SO_LINGER = 13;
/** `struct linger`: on, for 0 seconds. */
const NO_LINGER = Buffer.from(new Int32Array([1, 0]).buffer);

/** Makes the close of a connected socket send a reset. */
export function resetOnClose(fd: number): void {
  setsockopt(fd, SOL_SOCKET, SO_LINGER, NO_LINGER, NO_LINGER.length);
}

/** Returns a new socket. */
export function open(): number {
  return socket(AF_INET, SOCK_STREAM, 0);
}

/** Returns a socket that is bound to 127.0.0.1, and its `struct sockaddr_in`. The kernel chooses the port. */
export function openBound(): { readonly fd: number; readonly address: Buffer } {
  const address = Buffer.from([AF_INET, 0, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
  const fd = open();
  if (bind(fd, address, address.length) < 0) throw new Error('bind');
  getsockname(fd, address, new Uint32Array([address.length]));
  return { fd, address };
}
