/**
 * A process that connects over loopback to a port without a listener: each connect is refused at once and
 * leaves no state behind. Its first line of output is the port. Each input line holds a number of connects
 * and a maximum rate per second (0: unlimited); the answer is the duration in ns.
 */
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import type * as Koffi from 'koffi';

const AF_INET = 2;
const SOCK_STREAM = 1;
const BATCHES_A_SECOND = 1000;

const libc = (createRequire(import.meta.url)('koffi') as typeof Koffi).load(null);
const socket = libc.func('int socket(int domain, int type, int protocol)');
const bind = libc.func('int bind(int fd, void *address, int length)');
const getsockname = libc.func('int getsockname(int fd, void *address, void *length)');
const connect = libc.func('int connect(int fd, void *address, int length)');
const close = libc.func('int close(int fd)');

/** `struct sockaddr_in`: 127.0.0.1, and a port that the kernel chooses. */
const address = Buffer.from([AF_INET, 0, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
const holder = socket(AF_INET, SOCK_STREAM, 0);
if (bind(holder, address, address.length) < 0) throw new Error('bind');
getsockname(holder, address, new Uint32Array([address.length]));

function make(count: number): void {
  for (let i = 0; i < count; i++) {
    const fd = socket(AF_INET, SOCK_STREAM, 0);
    connect(fd, address, address.length);
    close(fd);
  }
}

const clock = new Int32Array(new SharedArrayBuffer(4));

function makePaced(count: number, perSecond: number): void {
  const batch = Math.ceil(perSecond / BATCHES_A_SECOND);
  const begin = performance.now();
  for (let made = 0; made < count; made += batch) {
    const early = begin + (made / perSecond) * 1000 - performance.now();
    if (early > 0) Atomics.wait(clock, 0, 0, early);
    make(Math.min(batch, count - made));
  }
}

process.stdout.write(`${address.readUInt16BE(2)}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  const [count = 0, perSecond = 0] = line.split(' ').map(Number);
  const begin = process.hrtime.bigint();
  if (perSecond > 0) makePaced(count, perSecond);
  else make(count);
  process.stdout.write(`${process.hrtime.bigint() - begin}\n`);
}
