/**
 * A minute of connects at a high rate, once shown and once excluded by a filter: every lost event must be
 * reported, and memory must not grow.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Row } from './measure.ts';
import { dist, residentMb } from './process.ts';
import { Worker } from './worker.ts';

const SECONDS = 60;
const PER_SECOND = 20_000;
const MOST_MB = 150;

export async function load(): Promise<Row[]> {
  const { worker, first } = await Worker.start('connector.js');
  const own = ['--json', '-p', String(worker.pid)];
  try {
    return [
      await flood('shown', own, worker, PER_SECOND * SECONDS),
      await flood('excluded by a filter', [...own, '--not-port', first], worker, 0),
    ];
  } finally {
    worker.end();
  }
}

/** `expected` is the number of connects that must be shown or reported as lost. */
async function flood(name: string, args: readonly string[], worker: Worker, expected: number): Promise<Row> {
  const made = PER_SECOND * SECONDS;
  const tracer = spawn(process.execPath, [dist('tcpconnlat.cjs'), '-v', ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let lines = 0;
  let messages = '';
  let mostMb = 0;
  tracer.stdout.on('data', (chunk: Buffer) => {
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) lines++;
  });
  tracer.stderr.setEncoding('utf8').on('data', (text: string) => {
    messages += text;
  });
  const closed = Promise.all([once(tracer, 'exit'), once(tracer.stdout, 'end'), once(tracer.stderr, 'end')]);
  // -v prints the programs before they are attached, which takes less than a second.
  while (!messages.includes('program')) await Promise.race([once(tracer.stderr, 'data'), closed]);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const memory = setInterval(() => {
    mostMb = Math.max(mostMb, residentMb(tracer.pid ?? 0));
  }, 1000);
  const seconds = await worker.work(`${made} ${PER_SECOND}`);
  clearInterval(memory);
  tracer.kill('SIGINT');
  await closed;
  const lost = [...messages.matchAll(/total: (\d+) (?!program runs)/g)].reduce(
    (sum, [, count]) => sum + Number(count),
    0,
  );
  return {
    measure: `${made} connects, ${(made / seconds).toFixed(0)} per second, ${name}`,
    figure: `${lines} lines, ${lost} reported as lost, at most ${mostMb.toFixed(0)} MB`,
    bar: `${expected} in total, ${MOST_MB} MB`,
    met: lines + lost === expected && mostMb <= MOST_MB,
  };
}
