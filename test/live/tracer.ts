/** The command as a child process, for the live tests, and the probes that the running kernel supports. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Attachment } from '../../src/asm/program.ts';
import { type Target, target } from '../../src/asm/target.ts';
import type { ConnectRecord } from '../../src/cli/record.ts';
import { Kernel } from '../../src/loader/kernel.ts';
import { unsupportedReason } from '../../src/loader/probe.ts';
import { readTracepointFormat } from '../../src/loader/tracefs.ts';
import type { Filter } from '../../src/programs/tcpconnlat/criteria.ts';
import { isFunctionProbe, type ProbeType, TRACEPOINT } from '../../src/programs/tcpconnlat/options.ts';
import { inGuest, needsRoot, sameOnEveryKernel, slowness } from '../harness.ts';
import { connectHere, exited, type Server, until } from './connects.ts';
import { isReleased } from './release.ts';

/**
 * The command as users install it: the bundle, which starts in a third of the time. Under emulation that
 * saves seconds.
 */
export const COMMAND = fileURLToPath(new URL('../../../dist/tcpconnlat.cjs', import.meta.url));

export const PROBE_TYPES: readonly ProbeType[] = [
  'kprobe',
  'fentry',
  'tp_btf',
  'raw_tracepoint',
  'trace_event',
];

/**
 * The kernel of these tests. Shared, because parsing BTF takes most of a file's time on an emulated machine.
 */
export const here = new Kernel();

const skipReasons = new Map<ProbeType, string | false>();

/** Why tests of a probe are skipped on the running kernel, or false. */
export function skipReason(probe: ProbeType): string | false {
  if (needsRoot) return needsRoot;
  let found = skipReasons.get(probe);
  if (found === undefined) {
    found = probe === 'trace_event' ? recordSkipReason(here) : attachSkipReason(probe);
    skipReasons.set(probe, found);
  }
  return found;
}

/**
 * Why tests of a probe that do not depend on the kernel are skipped, or false. A machine may lack kprobes and
 * fentry, so their tests run in guests, too.
 */
export function sameForProbe(probe: ProbeType): string | false {
  return skipReason(probe) || (!isFunctionProbe(probe) && sameOnEveryKernel);
}

/**
 * Whether a guest tests this probe less than its twin. The filters of kprobe and fentry compare alike, and
 * attaching many programs takes long in a guest, so old kernels run all of them with kprobe, and new kernels
 * with fentry.
 */
export function isTestedLess(probe: ProbeType): boolean {
  const [less, twin] = isReleased('6.0') ? (['kprobe', 'fentry'] as const) : (['fentry', 'kprobe'] as const);
  return inGuest && probe === less && skipReason(twin) === false;
}

function attachSkipReason(probe: Exclude<ProbeType, 'trace_event'>): string | false {
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

function recordSkipReason(kernel: Kernel): string | false {
  try {
    readTracepointFormat(kernel, TRACEPOINT.category, TRACEPOINT.name);
    return false;
  } catch (error) {
    return (error as Error).message;
  }
}

/** The probes that the running kernel supports. */
export const PROBE_TYPES_HERE: readonly ProbeType[] = PROBE_TYPES.filter(
  (probe) => skipReason(probe) === false,
);

/** Why the running kernel supports no probe, or false. */
export const noProbeHere: string | false =
  needsRoot || (PROBE_TYPES_HERE.length === 0 && 'this kernel supports no probe');

/** The architecture, the kernel's types, and the format of the tracepoint record if the probe needs it. */
export function targetFor(probe: ProbeType, kernel: Kernel = here): Target {
  const formats =
    probe === 'trace_event' ? [readTracepointFormat(kernel, TRACEPOINT.category, TRACEPOINT.name)] : [];
  return { ...target(process.arch, kernel.btf), formats };
}

/** A filter that selects the connects of one process. */
export function ofProcess(pid: number): Filter {
  return { pid: { only: [[pid, pid]] } };
}

/** The message about skipped runs. */
const SKIPPED = /^(?:tcpconnlat: total:)? +(\d+) program runs skipped by the kernel .*\n/m;

/** The summary. */
const SUMMARY = /^tcpconnlat: (\d+ (?:failed )?connects? shown\n(?: .*\n)*)/m;

/** The lines of the summary about losses. */
const LOSSES = /^ .*(?:lost|not traced|not recorded|dropped|skipped|below zero).*\n/gm;

const HEADER = /^(TIME\(s\) +)?(TIME +)?PID +COMM /m;

/** Options for starting the command. */
export interface Start extends Pick<SpawnOptions, 'uid' | 'gid' | 'cwd'> {
  /** A command that executes the words after it, like `nice`. */
  readonly under?: readonly string[];
  /** A descriptor for its standard output; by default `stdout` collects the output. */
  readonly stdout?: number;
  /** The file of the command, a script or a single executable; by default `COMMAND`. */
  readonly command?: string;
}

/** A tracing command. */
export class Tracer {
  readonly child: ChildProcess;
  /** All output so far. */
  stdout = '';
  stderr = '';
  readonly #records: ConnectRecord[] = [];
  /** The position in stdout up to which records are parsed. */
  #read = 0;
  #rows: Record<string, string>[] = [];
  /** The length of stdout when rows were parsed. */
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

  /** Starts the command without waiting. */
  static run(
    args: readonly string[],
    { stdout, under = [], command = COMMAND, ...options }: Start = {},
  ): Tracer {
    const interpreter = command.endsWith('.cjs') ? [process.execPath] : [];
    const [file = '', ...words] = [...under, ...interpreter, command, ...args];
    return new Tracer(
      spawn(file, words, {
        ...options,
        stdio: ['ignore', stdout ?? 'pipe', 'pipe'],
      }),
    );
  }

  /** Starts the command and waits for the header: from then on, all probes are attached. */
  static async start(args: readonly string[], options: Start = {}): Promise<Tracer> {
    const tracer = Tracer.run(args, options);
    await tracer.until('the header', () => HEADER.test(tracer.stdout));
    return tracer;
  }

  /**
   * Starts the command with --json, which prints no header, and makes connects to `beacon` until one is
   * shown. No other test may use that port.
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

  /** Runs that the kernel skipped, as reported at the end. Common on an emulated machine. */
  get skipped(): number {
    return Number(SKIPPED.exec(this.stderr)?.[1] ?? 0);
  }

  /** The summary without the command's name and without losses; empty if there is none. */
  get summary(): string {
    return (SUMMARY.exec(this.stderr)?.[1] ?? '').replaceAll(LOSSES, '').trimEnd();
  }

  /** The rest of stderr, with the losses in the summary. */
  get warnings(): string {
    return this.stderr.replace(SKIPPED, '').replace(SUMMARY, (text) => (text.match(LOSSES) ?? []).join(''));
  }

  /** The complete lines of stdout. */
  lines(): string[] {
    return this.stdout.split('\n').slice(0, -1);
  }

  /** The JSON lines. Each line is parsed once. */
  records(): readonly ConnectRecord[] {
    const end = this.stdout.lastIndexOf('\n') + 1;
    const fresh = this.stdout.slice(this.#read, end).split('\n').slice(0, -1);
    this.#records.push(...fresh.map((line) => JSON.parse(line)));
    this.#read = end;
    return this.#records;
  }

  /** The lines of the table, by column name. */
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

  /** Waits until the command has exited and all output has arrived. */
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
