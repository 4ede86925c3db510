/**
 * `--summary`: run time of the programs, compared with those that send an event; connects per second of one
 * process with it, with the lines of all connects, and without the command; whether the sums of all intervals
 * are the connects that were made; rate and CPU time of the command at three paces; and memory with few, many
 * and too many keys.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { kprobe, tpBtf } from '../src/asm/hooks.ts';
import { target } from '../src/asm/target.ts';
import { DEFAULT_BY, DEFAULT_MAX_KEYS, keyFields } from '../src/cli/aggregate/by.ts';
import { Kernel } from '../src/loader/kernel.ts';
import { unsupportedReason } from '../src/loader/probe.ts';
import { measureRuns } from '../src/loader/program.ts';
import { Session } from '../src/loader/session.ts';
import { aggregation } from '../src/programs/tcpconnlat/aggregate.ts';
import { type Options, type ProbeType, TRACEPOINT } from '../src/programs/tcpconnlat/options.ts';
import { nsOfOne } from './connects.ts';
import { type Row, sleep, takeTurns, upperQuartile } from './measure.ts';
import { dist, pidOf, residentMb, usage } from './process.ts';
import { Worker } from './worker.ts';

const RUN_TIME_ROUNDS = 9;
const ROUNDS = 20;
const RATED = 20_000;
const WARM_UP = 10_000;
/**
 * The least rate with the summary, as a share of the rate without the command: at the paces of `RATES`, and
 * as fast as possible, where each nanosecond of the programs counts.
 */
const BAR = 0.97;

/** The load whose sums are compared. */
const [PER_SECOND, SECONDS] = [20_000, 60];
/** The paces, and the time at each, s. */
const RATES = [100, 10_000, 70_000];
const RATE_SECONDS = 10;
const KEYS = [10, 10_000, 100_000];

export async function summary(): Promise<Row[]> {
  const { worker } = await Worker.start('connector.js');
  try {
    return [
      await runTime(worker),
      ...(await aSecond(worker, 'refused')),
      ...(await aSecond(worker, 'accepted')),
      await sums(worker),
      ...(await paced(worker)),
      ...(await memory(worker)),
    ];
  } finally {
    worker.end();
  }
}

/** The probe type whose programs are measured. */
function probeOf(kernel: Kernel): ProbeType {
  return unsupportedReason(kernel, { kind: 'kprobe', symbol: 'tcp_v4_connect' }) ? 'tp_btf' : 'kprobe';
}

/** Attaches a program that does nothing, at each change of state of a socket. */
function attachEmpty(): Session {
  const kernel = new Kernel();
  const on = target(process.arch, kernel.btf);
  const body = () => {};
  const program =
    probeOf(kernel) === 'tp_btf'
      ? tpBtf(TRACEPOINT.name, on, body, { name: 'empty' })
      : kprobe('tcp_set_state', on, body, { name: 'empty' });
  return Session.open({ name: 'empty', programs: [program] }, { kernel });
}

/** The run time of the programs per connect. */
async function runTime(worker: Worker): Promise<Row> {
  const kernel = new Kernel();
  const probe = probeOf(kernel);
  const statistics = measureRuns(kernel);
  try {
    const cost = (options: Omit<Options, 'probe'>) => () => nsOfOne(kernel, { probe, ...options }, worker);
    const { summed, sent } = await takeTurns(RUN_TIME_ROUNDS, {
      summed: cost({ aggregate: aggregation({ fields: keyFields(DEFAULT_BY), maxKeys: DEFAULT_MAX_KEYS }) }),
      sent: cost({ outcome: 'all' }),
    });
    return {
      measure: `${probe}: program run time per connect, --summary`,
      figure: `${summed.toFixed(0)} ns`,
      reference: `--outcome: ${sent.toFixed(0)} ns`,
      ratio: summed / sent,
    };
  } finally {
    statistics.close();
  }
}

/** The command with JSON lines, attached. */
class Command {
  readonly child;
  stdout = '';
  stderr = '';

  private constructor(args: readonly string[]) {
    this.child = spawn(process.execPath, [dist('tcpconnlat.cjs'), '--json', '-v', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  static async start(worker: Worker, ...args: readonly string[]): Promise<Command> {
    const command = new Command(['-p', String(worker.pid), ...args]);
    const { stdout, stderr } = command.child;
    stdout.setEncoding('latin1').on('data', (text: string) => {
      command.stdout += text;
    });
    stderr.setEncoding('utf8').on('data', (text: string) => {
      command.stderr += text;
    });
    while (!command.stderr.includes('\nseccomp: ')) await once(stderr, 'data');
    return command;
  }

  get pid(): number {
    return pidOf(this.child);
  }

  async stop(): Promise<void> {
    const { child } = this;
    const ended = Promise.all([once(child, 'exit'), once(child.stdout, 'end'), once(child.stderr, 'end')]);
    child.kill('SIGINT');
    await ended;
  }

  /** The connects in all rows of a summary so far. */
  counted(): number {
    const counts = this.stdout.matchAll(/^\{"start":.*?"key":\{.*?\},"count":(\d+),/gm);
    return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
  }
}

/** The rates of connects that are refused, which take the least time, or accepted. */
async function aSecond(worker: Worker, kind: 'refused' | 'accepted'): Promise<Row[]> {
  const make = (count: number) => worker.work(kind === 'accepted' ? `accepted ${count}` : `${count} 0`);
  const rate = async () => RATED / (await make(RATED));
  const traced =
    (...args: readonly string[]) =>
    async () => {
      const command = await Command.start(worker, ...args);
      try {
        await make(WARM_UP);
        return await rate();
      } finally {
        await command.stop();
      }
    };
  const empty = async () => {
    const session = attachEmpty();
    try {
      await make(WARM_UP);
      return await rate();
    } finally {
      session.close();
    }
  };
  const { untraced, attached, shown, summed } = await takeTurns(
    ROUNDS,
    { untraced: rate, attached: empty, shown: traced(), summed: traced('--summary', '--interval', '1') },
    upperQuartile,
  );
  const reference = `not traced: ${untraced.toFixed(0)}`;
  const row = (measure: string, figure: number): Row => ({
    measure: `${kind} connects per second, ${measure}`,
    figure: figure.toFixed(0),
    reference,
    ratio: figure / untraced,
  });
  return [
    row('a program that does nothing', attached),
    row('all shown as JSON', shown),
    { ...row('--summary --interval 1', summed), bar: `ratio ${BAR}`, met: summed / untraced >= BAR },
  ];
}

async function sums(worker: Worker): Promise<Row> {
  const made = PER_SECOND * SECONDS;
  const command = await Command.start(worker, '--summary', '--interval', '5');
  const took = await worker.work(`${made} ${PER_SECOND}`);
  await command.stop();
  const counted = command.counted();
  return {
    measure: `${made} connects, ${(made / took).toFixed(0)} per second, sums of the intervals of --summary`,
    figure: `${counted}`,
    bar: `${made}`,
    met: counted === made,
  };
}

/** What `--summary` takes at each pace: CPU time of the command, and connects that are not made in time. */
async function paced(worker: Worker): Promise<Row[]> {
  const rows: Row[] = [];
  for (const perSecond of RATES) {
    const count = perSecond * RATE_SECONDS;
    const make = () => worker.work(`${count} ${perSecond}`);
    await worker.work(`${WARM_UP} 0`);
    const untraced = count / (await make());
    const command = await Command.start(worker, '--summary', '--interval', '1');
    await worker.work(`${WARM_UP} 0`);
    await sleep(2000);
    const before = usage(command.pid).cpuMs;
    const took = await make();
    const share = (usage(command.pid).cpuMs - before) / (took * 1000);
    await command.stop();
    const summed = count / took;
    rows.push({
      measure: `--summary --interval 1 at a pace of ${perSecond} connects per second`,
      figure: `${summed.toFixed(0)}, CPU time ${(100 * share).toFixed(2)} %`,
      reference: `not traced: ${untraced.toFixed(0)}`,
      ratio: summed / untraced,
      bar: `ratio ${BAR}`,
      met: summed / untraced >= BAR,
    });
  }
  return rows;
}

async function memory(worker: Worker): Promise<Row[]> {
  const rows: Row[] = [];
  for (const keys of KEYS) {
    const command = await Command.start(worker, '--summary', '--interval', '2');
    let most = 0;
    const sampling = setInterval(() => {
      most = Math.max(most, residentMb(command.pid));
    }, 100);
    const made = Math.max(3 * keys, WARM_UP);
    await worker.work(`${made} 0 ${keys}`);
    await sleep(2500);
    await worker.work(`${made} 0 ${keys}`);
    const maps = mapsMb(command.pid);
    clearInterval(sampling);
    await command.stop();
    const counted = command.counted();
    rows.push({
      measure: `memory of --summary --interval 2, ${keys} keys`,
      figure: `${most.toFixed(0)} MB resident, ${maps.toFixed(0)} MB of maps`,
      bar: `${2 * made} connects counted`,
      met: counted === 2 * made,
    });
  }
  return rows;
}

/** The memory of the maps that a process has open, as the kernel states it, MB. */
function mapsMb(pid: number): number {
  let bytes = 0;
  for (const fd of readdirSync(`/proc/${pid}/fdinfo`)) {
    try {
      const info = readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'latin1');
      if (/^map_type:/m.test(info)) bytes += Number(/^memlock:\t(\d+)/m.exec(info)?.[1] ?? 0);
    } catch {
      // closed since
    }
  }
  return bytes / 1e6;
}
