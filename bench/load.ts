/**
 * Connects at a high rate: in columns, as JSON, with `--outcome` and `--who`, excluded by a filter, with a
 * reader that is slower than the connects, and with one that reads nothing. Every connect must be shown or
 * reported as lost, and memory must not grow.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type Row, sleep } from './measure.ts';
import { dist, pidOf, residentMb } from './process.ts';
import { Worker } from './worker.ts';

const PER_SECOND = 20_000;
/** The duration of the longest load and of the others, s. */
const [LONG, SHORT] = [60, 15];
/** The most memory in the second half of a load, over the most in the first half. */
const GROWTH = 1.25;
/** The pace of a slow reader. */
const [SLOW_BYTES, SLOW_MS] = [1 << 16, 100];

interface Load {
  readonly name: string;
  readonly args: readonly string[];
  readonly seconds: number;
  /** Bytes that are read every `SLOW_MS`; without it, all at once. */
  readonly bytes?: number;
  /** Whether the connects are excluded. */
  readonly excluded?: boolean;
}

export async function load(): Promise<Row[]> {
  const { worker, first } = await Worker.start('connector.js');
  const loads: readonly Load[] = [
    { name: '--json --timestamp', args: ['--json', '-t', '-v'], seconds: LONG },
    { name: 'excluded by a filter', args: ['--not-port', first], seconds: LONG, excluded: true },
    { name: 'columns', args: [], seconds: SHORT },
    { name: '--outcome', args: ['--outcome'], seconds: SHORT },
    { name: '--who', args: ['--who'], seconds: SHORT },
    { name: 'a slow reader', args: [], seconds: SHORT, bytes: SLOW_BYTES },
    { name: 'a reader that reads nothing', args: [], seconds: SHORT, bytes: 0 },
  ];
  const rows: Row[] = [];
  try {
    for (const each of loads) rows.push(await flood(each, worker));
    return rows;
  } finally {
    worker.end();
  }
}

async function flood({ name, args, seconds, bytes, excluded }: Load, worker: Worker): Promise<Row> {
  const made = PER_SECOND * seconds;
  const tracer = spawn(process.execPath, [dist('tcpconnlat.cjs'), '-p', String(worker.pid), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const { stdout, stderr } = tracer;
  const lines = { count: 0, backwards: 0 };
  const countLine = lineCounter(lines);
  let messages = '';
  stderr.setEncoding('utf8').on('data', (text: string) => {
    messages += text;
  });
  const closed = Promise.all([once(tracer, 'exit'), once(stdout, 'end'), once(stderr, 'end')]);
  // --json has no header; -v prints the programs before they are attached, which takes less than a second.
  await once(args.includes('--json') ? stderr : stdout, 'data');
  await sleep(1000);
  let reader: NodeJS.Timeout | undefined;
  if (bytes === undefined) stdout.on('data', countLine);
  else {
    stdout.pause();
    reader = setInterval(() => {
      const chunk = bytes > 0 ? (stdout.read(bytes) ?? stdout.read()) : undefined;
      if (chunk) countLine(chunk as Buffer);
    }, SLOW_MS);
  }
  const memory: number[] = [];
  const sampling = setInterval(() => memory.push(residentMb(pidOf(tracer))), 500);
  const took = await worker.work(`${made} ${PER_SECOND}`);
  clearInterval(sampling);
  // What is still in the pipe. Node discards it after the exit if nothing reads it by then.
  tracer.once('exit', () => {
    clearInterval(reader);
    stdout.removeAllListeners('data').on('data', countLine).resume();
  });
  tracer.kill('SIGINT');
  await closed;
  // The summary is indented, unlike the messages of the run.
  const losses = messages.matchAll(/^ +(\d+) (?:events lost|lines dropped|connects not traced)/gm);
  const lost = [...losses].reduce((sum, [, count]) => sum + Number(count), 0);
  const half = memory.length >> 1;
  const [early, late] = [Math.max(...memory.slice(0, half)), Math.max(...memory.slice(half))];
  const expected = excluded ? 0 : made;
  return {
    measure: `${made} connects, ${(made / took).toFixed(0)} per second, ${name}`,
    figure: `${lines.count} lines, ${lines.backwards} backwards, ${lost} reported as lost, ${late.toFixed(0)} MB`,
    reference: `the first half: ${early.toFixed(0)} MB`,
    ratio: late / early,
    bar: `${expected} in total, ratio ${GROWTH}`,
    met: lines.count + lost === expected && late / early <= GROWTH,
  };
}

/** Counts lines, and lines with an earlier `time_s` than the line before. */
function lineCounter(lines: { count: number; backwards: number }): (chunk: Buffer) => void {
  let rest = '';
  let last = 0;
  return (chunk) => {
    const parts = (rest + chunk.toString('latin1')).split('\n');
    rest = parts.pop() ?? '';
    for (const line of parts) {
      lines.count++;
      const [, time] = /"time_s":([\d.]+)/.exec(line) ?? [];
      if (time === undefined) continue;
      if (Number(time) < last) lines.backwards++;
      last = Number(time);
    }
  };
}
