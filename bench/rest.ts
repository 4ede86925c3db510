/**
 * The command at rest, with nothing to show: its CPU time, how often it wakes up, its memory; beside a node whose timer does nothing
 * once a second.
 */
import { ms, type Row, sleep } from './measure.ts';
import { type Child, command, header, node, residentMb, stop, usage } from './process.ts';

/** What a start leaves to be done (compiling, collecting) is over after that, ms. */
const SETTLE_MS = 3000;
const IDLE_S = 5;
const BAR_WAKEUPS = 1;
/** A thousandth of one CPU: a timer that does nothing takes a fifth of that. */
const BAR_CPU_MS = 5;
const BAR_MB = 75;

export async function atRest(): Promise<Row[]> {
  // Only connects of this process are traced, and it makes none: the machine may have others.
  const tracer = command('-p', String(process.pid));
  await header(tracer);
  const bare = node('-e', 'setInterval(() => {}, 1000)');
  await sleep(SETTLE_MS);
  const memory = residentMb(pidOf(tracer));
  const bareMemory = residentMb(pidOf(bare));
  const [before, bareBefore] = [usage(pidOf(tracer)), usage(pidOf(bare))];
  await sleep(IDLE_S * 1000);
  const [after, bareAfter] = [usage(pidOf(tracer)), usage(pidOf(bare))];
  await Promise.all([tracer, bare].map(stop));

  const cpuMs = after.cpuMs - before.cpuMs;
  const wakeups = (after.waits - before.waits) / IDLE_S;
  const perSecond = (count: number) => `${count.toFixed(1)} a second`;
  return [
    {
      measure: `idle for ${IDLE_S} s: CPU time`,
      figure: ms(cpuMs),
      reference: `a timer: ${ms(bareAfter.cpuMs - bareBefore.cpuMs)}`,
      bar: ms(BAR_CPU_MS),
      met: cpuMs <= BAR_CPU_MS,
    },
    {
      measure: `idle for ${IDLE_S} s: wake-ups`,
      figure: perSecond(wakeups),
      reference: `a timer: ${perSecond((bareAfter.waits - bareBefore.waits) / IDLE_S)}`,
      bar: `${BAR_WAKEUPS} a second`,
      // A period of 5 s may begin just before a wake-up and end just after one.
      met: wakeups <= BAR_WAKEUPS + 1 / IDLE_S,
    },
    {
      measure: 'resident memory at rest',
      figure: `${memory.toFixed(1)} MB`,
      reference: `a timer: ${bareMemory.toFixed(1)} MB`,
      ratio: memory / bareMemory,
      bar: `${BAR_MB} MB`,
      met: memory <= BAR_MB,
    },
  ];
}

function pidOf({ pid }: Child): number {
  if (pid === undefined) throw new Error('node could not be started');
  return pid;
}
