/**
 * The command without connects: CPU time, wake-ups and memory. The reference is a node with a timer of one
 * second.
 */
import { ms, type Row, sleep } from './measure.ts';
import { command, header, node, pidOf, residentMb, stop, usage } from './process.ts';

/** Time after a start until compilation and garbage collection are done, ms. */
const SETTLE_MS = 3000;
const IDLE_S = 5;
const BAR_WAKEUPS = 1;
/** The most CPU time, as a ratio to the timer's: a thousandth of one CPU is about five timers. */
const BAR_CPU = 5;
const BAR_MEMORY = 1.6;

export async function atRest(): Promise<Row[]> {
  // Only connects of this process are traced, and it makes none; other processes may connect.
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
  const bareCpuMs = bareAfter.cpuMs - bareBefore.cpuMs;
  const wakeups = (after.waits - before.waits) / IDLE_S;
  const perSecond = (count: number) => `${count.toFixed(1)} per second`;
  return [
    {
      measure: `idle for ${IDLE_S} s: CPU time`,
      figure: ms(cpuMs),
      reference: `a timer: ${ms(bareCpuMs)}`,
      ratio: cpuMs / bareCpuMs,
      bar: `ratio ${BAR_CPU}`,
      met: cpuMs / bareCpuMs <= BAR_CPU,
    },
    {
      measure: `idle for ${IDLE_S} s: wake-ups`,
      figure: perSecond(wakeups),
      reference: `a timer: ${perSecond((bareAfter.waits - bareBefore.waits) / IDLE_S)}`,
      bar: `${BAR_WAKEUPS} per second`,
      // A period of 5 s can start just before one wake-up and end just after another.
      met: wakeups <= BAR_WAKEUPS + 1 / IDLE_S,
    },
    {
      measure: 'resident memory at rest',
      figure: `${memory.toFixed(1)} MB`,
      reference: `a timer: ${bareMemory.toFixed(1)} MB`,
      ratio: memory / bareMemory,
      bar: `ratio ${BAR_MEMORY}`,
      met: memory / bareMemory <= BAR_MEMORY,
    },
  ];
}
