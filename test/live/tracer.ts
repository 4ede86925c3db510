/** The command as a child process, for the live tests, and the ways that the running kernel can be watched. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Attachment } from '../../src/asm/program.ts';
import { type Target, target } from '../../src/asm/target.ts';
import type { ConnectRecord } from '../../src/cli/record.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { unsupportedReason } from '../../src/loader/probe.ts';
import { readTracepointFormat } from '../../src/loader/tracefs.ts';
import { type Filter, type ProbeType, TRACEPOINT } from '../../src/programs/tcpconnlat.ts';
import { needsRoot, slowness } from '../harness.ts';
import { connectHere, exited, type Server, until } from './connects.ts';

/** The command as users get it: the bundle, which also starts in a third of the time, and under emulation that is seconds. */
export const COMMAND = fileURLToPath(new URL('../../../dist/tcpconnlat.cjs', import.meta.url));

export const PROBE_TYPES: readonly ProbeType[] = [
  'kprobe',
  'fentry',
  'tp_btf',
  'raw_tracepoint',
  'trace_event',
];

/** Why a way doesn't show connects that were refused, or false. */
export function hidesRefused(probe: ProbeType): string | false {
  return probe === 'trace_event'
    ? 'the record of the tracepoint does not tell them from those given up'
    : false;
}

/** The ways that show every answered connect. */
export const PROBE_TYPES_THAT_SHOW_ALL: readonly ProbeType[] = PROBE_TYPES.filter(
  (probe) => !hidesRefused(probe),
);

/** The kernel of these tests. One for all of them: reading its types is what takes most of a file's time on an emulated machine. */
export const here = new Kernel();

const refusals = new Map<ProbeType, string | false>();

/** Why the running kernel can't be watched that way, or false. */
export function refusalOf(probe: ProbeType): string | false {
  if (needsRoot) return needsRoot;
  let found = refusals.get(probe);
  if (found === undefined) {
    found = probe === 'trace_event' ? refusalByRecord(here) : refusalToAttach(probe);
    refusals.set(probe, found);
  }
  return found;
}

function refusalToAttach(probe: Exclude<ProbeType, 'trace_event'>): string | false {
  const symbol = 'tcp_v4_connect';
  const tracepoint = TRACEPOINT.name;
  const btfId = here.btf?.find('typedef', `btf_trace_${tracepoint}`);
  if (btfId === undefined) return 'this kernel has no BTF';
  const attachments: Record<Exclude<ProbeType, 'trace_event'>, Attachment> = {
    kprobe: { kind: 'kprobe', symbol },
    fentry: { kind: 'fentry', symbol, btfId: here.btf?.find('func', symbol) },
    tp_btf: { kind: 'tp_btf', tracepoint, btfId },
    raw_tracepoint: { kind: 'raw_tracepoint', tracepoint },
  };
  return unsupportedReason(here, attachments[probe])?.message ?? false;
}

function refusalByRecord(kernel: Kernel): string | false {
  try {
    readTracepointFormat(kernel, TRACEPOINT.category, TRACEPOINT.name);
    return false;
  } catch (error) {
    return (error as Error).message;
  }
}

/** The ways that the running kernel can be watched. */
export const PROBE_TYPES_HERE: readonly ProbeType[] = PROBE_TYPES.filter(
  (probe) => refusalOf(probe) === false,
);

/** Why the running kernel can't be watched at all, or false. */
export const noProbeHere: string | false =
  needsRoot || (PROBE_TYPES_HERE.length === 0 && 'this kernel cannot be watched');

/** The processor, the kernel's types, and the record of its tracepoint as far as a way needs it. */
export function targetFor(probe: ProbeType, kernel: Kernel = here): Target {
  const formats =
    probe === 'trace_event' ? [readTracepointFormat(kernel, TRACEPOINT.category, TRACEPOINT.name)] : [];
  return { ...target(process.arch, kernel.btf), formats };
}

/** The filter that takes the connects of one process. */
export function ofProcess(pid: number): Filter {
  return { pid: { only: [[pid, pid]] } };
}

/** How runs that the kernel left out are told. */
const SKIPPED = /^tcpconnlat: in all: (\d+) runs of the programs skipped by the kernel .*\n/m;

/** The line at the end. */
const SUMMARY = /^tcpconnlat: (\d+ (?:failed )?connects? shown.*)\n/m;

const HEADER = /^(TIME\(s\) +)?(TIME +)?PID +COMM /m;

/** How a command is started. */
export interface Start extends Pick<SpawnOptions, 'uid' | 'gid' | 'cwd'> {
  /** Words of a command that becomes the one behind them, as `nice` does. */
  readonly under?: readonly string[];
  /** A descriptor for its standard output; if not given, that is kept in `stdout`. */
  readonly stdout?: number;
}

/** The command, tracing. */
export class Tracer {
  readonly child: ChildProcess;
  /** All it has printed. */
  stdout = '';
  stderr = '';
  readonly #records: ConnectRecord[] = [];
  /** How far stdout has become records. */
  #read = 0;
  #rows: Record<string, string>[] = [];
  /** How long stdout was when it became rows. */
  #rowsEnd = 0;

  private constructor(child: ChildProcess) {
    this.child = child;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
  }

  /** Starts it, and waits for nothing. */
  static run(args: readonly string[], { stdout, under = [], ...options }: Start = {}): Tracer {
    const [file = '', ...words] = [...under, process.execPath, COMMAND, ...args];
    return new Tracer(
      spawn(file, words, {
        ...options,
        stdio: ['ignore', stdout ?? 'pipe', 'pipe'],
      }),
    );
  }

  /** Starts it, and waits for the header: everything is attached then. */
  static async start(args: readonly string[], options: Start = {}): Promise<Tracer> {
    const tracer = Tracer.run(args, options);
    await tracer.until('the header', () => HEADER.test(tracer.stdout));
    return tracer;
  }

  /**
   * Starts it with JSON, which has no header: attached is what shows connects. So connects are made, until one of them shows.
   * Those go to `beacon`, a port that is for nothing else.
   */
  static async startJson(args: readonly string[], beacon: Server, host: string): Promise<Tracer> {
    const tracer = Tracer.run(['--json', ...args]);
    await tracer.until('a connect', async () => {
      await connectHere(beacon.port, host);
      await sleep(50 * slowness);
      return tracer.records().some(({ dport }) => dport === beacon.port);
    });
    return tracer;
  }

  get pid(): number {
    return this.child.pid as number;
  }

  /** Runs that the kernel left out, as it has told them at the end. On an emulated machine that isn't rare. */
  get skipped(): number {
    return Number(SKIPPED.exec(this.stderr)?.[1] ?? 0);
  }

  /** The line at the end, without the command's name; empty if there is none. */
  get summary(): string {
    return SUMMARY.exec(this.stderr)?.[1] ?? '';
  }

  /** All else of stderr. */
  get complaints(): string {
    return this.stderr.replace(SKIPPED, '').replace(SUMMARY, '');
  }

  /** The whole lines of stdout. */
  lines(): string[] {
    return this.stdout.split('\n').slice(0, -1);
  }

  /** The lines of JSON. Each is read once, however often they are asked for. */
  records(): readonly ConnectRecord[] {
    const end = this.stdout.lastIndexOf('\n') + 1;
    const fresh = this.stdout.slice(this.#read, end).split('\n').slice(0, -1);
    this.#records.push(...fresh.map((line) => JSON.parse(line)));
    this.#read = end;
    return this.#records;
  }

  /** The lines of columns, by the names of the header. */
  rows(): readonly Record<string, string>[] {
    if (this.#rowsEnd !== this.stdout.length) {
      this.#rowsEnd = this.stdout.length;
      const lines = this.lines();
      const header = lines.findIndex((line) => HEADER.test(line));
      const names = lines[header]?.split(/ +/) ?? [];
      this.#rows = lines
        .slice(header + 1)
        .map((line) => Object.fromEntries(line.split(/ +/).map((text, i) => [names[i], text])));
    }
    return this.#rows;
  }

  until<T>(what: string, condition: () => T | Promise<T>): Promise<NonNullable<T>> {
    return until(
      what,
      () => {
        const { exitCode, signalCode } = this.child;
        if (exitCode !== null || signalCode !== null)
          throw new Error(`the command ended: ${exitCode ?? signalCode}\n${this.stderr}`);
        return condition();
      },
      () => `stdout:\n${this.stdout.slice(-4000)}\nstderr:\n${this.stderr}`,
    );
  }

  /** Waits for its end, when it has shown all it has seen. */
  async ended(): Promise<{ code: number | null; signal: string | null }> {
    const streams = [this.child.stdout, this.child.stderr].map(
      (stream) =>
        new Promise((resolve) =>
          !stream || stream.closed ? resolve(undefined) : stream.once('close', resolve),
        ),
    );
    const how = await exited(this.child);
    await Promise.all(streams);
    return how;
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<{ code: number | null; signal: string | null }> {
    this.child.kill(signal);
    return this.ended();
  }
}
