/**
 * The cost of tracing a connect. First the run time of the programs, as the kernel measures it: without a
 * filter, with every filter, with a filter that excludes the connect, and with `--outcome`. Then the connects
 * per second of one process, with and without the command, whose lines are counted.
 */
import { readFileSync } from 'node:fs';
import { target } from '../src/asm/target.ts';
import { resolveFilter } from '../src/cli/trace/filter.ts';
import { Kernel } from '../src/loader/kernel.ts';
import { mountsOf } from '../src/loader/mounts.ts';
import { unsupportedReason } from '../src/loader/probe.ts';
import { measureRuns } from '../src/loader/program.ts';
import { Session } from '../src/loader/session.ts';
import type { Options, ProbeType } from '../src/programs/tcpconnlat/options.ts';
import { tcpconnlat } from '../src/programs/tcpconnlat.ts';
import { type Row, sleep, takeTurns, upperQuartile } from './measure.ts';
import { command, countLines, header, optionsFrom, stop } from './process.ts';
import { Worker } from './worker.ts';

const ROUNDS = 5;
const CONNECTS = 5000;
const PAGES = 256;
/** The rounds and connects of the rates per second. */
const RATED_ROUNDS = 20;
const RATED = 20_000;
/** Connects before them, which compile the command's code, and the time until they are shown, ms. */
const WARM_UP = 10_000;
const SETTLE_MS = 300;
const BAR = 0.9;

export async function connects(): Promise<Row[]> {
  const { worker, first } = await Worker.start('connector.js');
  try {
    const port = Number(first);
    return [...(await inTheKernel(worker, port)), ...(await aSecond(worker, port))];
  } finally {
    worker.end();
  }
}

/** Options that exclude the worker's connects. */
const leftOut = (port: number) => ['--not-port', String(port)];

/** Options with every filter, all of which match the worker's connects. */
function everyFilter(kernel: Kernel, pid: number, port: number): string[] {
  const cgroups = mountsOf(kernel).find(({ type }) => type === 'cgroup2');
  return [
    ...['-p', String(pid), '--port', String(port), '--to', '127.0.0.0/8', '--from', '127.0.0.0/8'],
    ...['--uid', '0', '--comm', readFileSync(`/proc/${pid}/comm`, 'utf8').trimEnd(), '--netns', String(pid)],
    ...(cgroups ? ['--cgroup', cgroups.path] : []),
  ];
}

async function inTheKernel(worker: Worker, port: number): Promise<Row[]> {
  const kernel = new Kernel();
  const probe: ProbeType = unsupportedReason(kernel, { kind: 'kprobe', symbol: 'tcp_v4_connect' })
    ? 'tp_btf'
    : 'kprobe';
  const every = everyFilter(kernel, worker.pid, port);
  const statistics = measureRuns(kernel);
  try {
    const cost = (options: Omit<Options, 'probe'>) => () => nsOfOne(kernel, { probe, ...options }, worker);
    const { plain, filtered, out, outcome } = await takeTurns(ROUNDS, {
      plain: cost({}),
      filtered: cost({ filter: resolveFilter(optionsFrom(every).filter, kernel) }),
      out: cost({ filter: resolveFilter(optionsFrom(leftOut(port)).filter, kernel) }),
      outcome: cost({ outcome: 'all' }),
    });
    const row = (measure: string, ns: number): Row => ({
      measure: `${probe}: program run time per connect, ${measure}`,
      figure: `${ns.toFixed(0)} ns`,
      ...(ns !== plain && { reference: `no filter: ${plain.toFixed(0)} ns`, ratio: ns / plain }),
    });
    const kinds = every.filter((word) => word.startsWith('-')).length;
    return [
      row('no filter', plain),
      row(`${kinds} filters that match`, filtered),
      row('excluded by a filter', out),
      row('--outcome', outcome),
    ];
  } finally {
    statistics.close();
  }
}

/** The run time of all programs per connect, ns. */
export async function nsOfOne(kernel: Kernel, options: Options, worker: Worker): Promise<number> {
  const tool = tcpconnlat(options, target(process.arch, kernel.btf));
  // A watermark: a wake-up per event takes longer than the programs, and is part of the connects per second.
  const wakeup = { flushMs: 100 };
  const session = Session.open(tool, { kernel, pagesPerCpu: PAGES, wakeup, onEvent: () => {} });
  try {
    await worker.work(`${CONNECTS} 0`);
    const { programs } = session;
    return programs.reduce((sum, program) => sum + program.info().runNs, 0) / CONNECTS;
  } finally {
    session.close();
  }
}

async function aSecond(worker: Worker, port: number): Promise<Row[]> {
  const rate = async () => RATED / (await worker.work(`${RATED} 0`));
  let missing = 0;
  const traced = (args: readonly string[], expected: number) => async () => {
    const tracer = command(...args);
    await header(tracer);
    const lines = countLines(tracer);
    try {
      await worker.work(`${WARM_UP} 0`);
      await sleep(SETTLE_MS);
      lines.count = 0;
      return await rate();
    } finally {
      await stop(tracer);
      missing += expected - lines.count;
    }
  };
  const { bare, shown, out } = await takeTurns(
    RATED_ROUNDS,
    { bare: rate, shown: traced([], RATED), out: traced(leftOut(port), 0) },
    upperQuartile,
  );
  const row = (measure: string, value: number): Row => ({
    measure: `connects per second, ${measure}`,
    figure: value.toFixed(0),
    reference: `not traced: ${bare.toFixed(0)}`,
    ratio: value / bare,
  });
  return [
    {
      ...row(`all shown, ${missing} lines missing`, shown),
      bar: `ratio ${BAR}, none missing`,
      met: shown / bare >= BAR && missing === 0,
    },
    row('all excluded by a filter', out),
  ];
}
