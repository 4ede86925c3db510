/**
 * A process that connects over loopback to a port without a listener: each connect is refused at once and
 * leaves no state behind. Its first line of output is the port. Each input line holds a number of connects, a
 * maximum rate per second (0: unlimited), and the number of destinations (1 if it is missing), which take
 * turns; the answer is the duration in ns. A line `accepted COUNT` makes connects to a listener instead,
 * accepts each and closes both sockets, the first by a reset, so that no port stays in use.
 */
import { createInterface } from 'node:readline';
import { accept, close, connect, listen, open, openBound, resetOnClose } from './sockets.ts';

const BATCHES_A_SECOND = 1000;

/** The offset of the last three bytes of 127.0.0.1 in `struct sockaddr_in`. */
const HOST_AT = 5;

const { address } = openBound();

/** The number of destinations, and the next one. */
let destinations = 1;
let next = 0;

function make(count: number): void {
  for (let i = 0; i < count; i++) {
    if (destinations > 1) {
      address.writeUIntBE(1 + next, HOST_AT, 3);
      next = (next + 1) % destinations;
    }
    const fd = open();
    connect(fd, address, address.length);
    close(fd);
  }
}

const listener = openBound();
listen(listener.fd, 1);

function makeAccepted(count: number): void {
  for (let i = 0; i < count; i++) {
    const fd = open();
    resetOnClose(fd);
    if (connect(fd, listener.address, listener.address.length) < 0) throw new Error('connect');
    const accepted = accept(listener.fd, null, null);
    close(fd);
    close(accepted);
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
  const isAccepted = line.startsWith('accepted ');
  const [count = 0, perSecond = 0, several = 1] = line.replace('accepted ', '').split(' ').map(Number);
  if (several !== destinations) {
    destinations = several;
    next = 0;
    address.writeUIntBE(1, HOST_AT, 3);
  }
  const begin = process.hrtime.bigint();
  if (isAccepted) makeAccepted(count);
  else if (perSecond > 0) makePaced(count, perSecond);
  else make(count);
  process.stdout.write(`${process.hrtime.bigint() - begin}\n`);
}
