/**
 * A process that connects over loopback to a port without a listener: each connect is refused at once and
 * leaves no state behind. Its first line of output is the port. Each input line holds a number of connects
 * and a maximum rate per second (0: unlimited); the answer is the duration in ns.
 */
import { createInterface } from 'node:readline';
import { close, connect, open, openBound } from './sockets.ts';

const BATCHES_A_SECOND = 1000;

const { address } = openBound();

function make(count: number): void {
  for (let i = 0; i < count; i++) {
    const fd = open();
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
