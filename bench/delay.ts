/**
 * The delay from a connect to its line in a pipe. The reference is a line through `cat`.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { median, ms, type Row, sleep } from './measure.ts';
import { command, header, stop } from './process.ts';

const CONNECTS = 50;
/** The most for the median and the longest delay, over the same of cat. */
const BAR = 10;
/** Pause between two connects, so that the work after one is done before the next. */
const PAUSE_MS = 20;

export async function delay(): Promise<Row[]> {
  const delays = await throughTheKernel();
  const echoes = await throughCat();
  const row = (which: string, value: number, echo: number): Row => ({
    measure: `from connect to its line, ${which} of ${CONNECTS}`,
    figure: ms(value),
    reference: `a line through cat: ${ms(echo)}`,
    ratio: value / echo,
    bar: `ratio ${BAR}`,
    met: value / echo <= BAR,
  });
  return [
    row('median', median(delays), median(echoes)),
    row('longest', Math.max(...delays), Math.max(...echoes)),
  ];
}

/**
 * The time starts before connect() is called and so includes the connect itself, which loopback answers at
 * once.
 */
async function throughTheKernel(): Promise<number[]> {
  const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const tracer = command('-p', String(process.pid));
  try {
    await header(tracer);
    return await series(async () => {
      const line = once(tracer.stdout, 'data');
      const begin = performance.now();
      const socket = connect(port, '127.0.0.1').on('error', () => {});
      await line;
      const duration = performance.now() - begin;
      socket.destroy();
      return duration;
    });
  } finally {
    await stop(tracer);
    server.close();
  }
}

async function throughCat(): Promise<number[]> {
  const cat = spawn('cat', { stdio: ['pipe', 'pipe', 'inherit'] });
  const durations = await series(async () => {
    const line = once(cat.stdout, 'data');
    const begin = performance.now();
    cat.stdin.write('a line\n');
    await line;
    return performance.now() - begin;
  });
  cat.stdin.end();
  return durations;
}

async function series(once: () => Promise<number>): Promise<number[]> {
  const durations: number[] = [];
  for (let i = 0; i < CONNECTS; i++) {
    durations.push(await once());
    await sleep(PAUSE_MS);
  }
  return durations;
}
