/** Runs the tests on other kernels: one guest per kernel, several at once if the machine has room. */
import { availableParallelism, freemem } from 'node:os';
import { delimiter, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { buildExecutable } from '../../executable/build.ts';
import { BROKEN, formatSummary, type Summary, sum, summaryOf } from '../summary.ts';
import { exists } from './cache.ts';
import { PATH } from './command.ts';
import type { Facts } from './facts.ts';
import { type Outcome, runInGuest } from './guest.ts';
import { rootDisk, withProjectDisk } from './image.ts';
import { kernelOf } from './kernel.ts';
import { MACHINES, type Processor } from './machine.ts';
import { MATRIX, nameOf, OTHER } from './matrix.ts';

/** Time limit for the tests of one guest. */
const SECONDS = 2700;

/** The factor for time limits of tests in a guest. */
const SLOWNESS = 4;
/** The factor for arm64 emulated on x86-64. */
const ARM64_SLOWNESS = 12;

/** Memory for a guest and the file cache of its disks. */
const GUEST_BYTES = 1.5 * 2 ** 30;

/** How many console lines to show when a guest dies. */
const CONSOLE_LINES = 40;

/** The prefix of the output line with the guest's facts. */
const FACTS = 'facts: ';

/** A guest and its test files: those whose path contains one of the filters. */
export interface Visit {
  readonly series: string;
  readonly filters: readonly string[];
  /** Appended to the kernel's command line. */
  readonly kernelArguments?: string;
  /** Whether the guest's clock counts instructions: times do not depend on the load of this machine. */
  readonly counting?: boolean;
}

/** The result of a visit. */
export interface Visited {
  readonly visit: Visit;
  readonly release?: string;
  readonly summary: Summary;
  readonly seconds: number;
  /** The kernel's features, if they were requested and the guest reported them. */
  readonly facts?: Facts;
}

/** All tests that run in guests. */
const ALL = ['test/live/', 'test/lab/'];

/**
 * The tests that depend most on the kernel. `npm test` runs them on every kernel, and all tests on the first
 * and the last.
 */
const CORE = ['test/lab/', 'test/live/jump-table.', 'test/live/kprobe-events.', 'test/live/tcpconnlat.'];

/** Kernels with features disabled by their command line. */
const RESTRICTED: readonly Visit[] = [
  {
    series: '6.12',
    kernelArguments: 'ipv6.disable=1',
    filters: ['test/lab/without-ipv6', 'test/live/tcpconnlat.'],
  },
  {
    series: '6.12',
    // Lockdown has to be listed as a security module: the default list of Debian's cloud kernels lacks it.
    kernelArguments: 'lockdown=confidentiality lsm=lockdown,capability,bpf',
    filters: ['test/lab/lockdown'],
  },
];

/** The tests that compare times, for guests whose clock counts instructions. */
const TIMED = ['test/lab/reference'];

/** Kernels of another architecture, with the tests that depend on it. */
const OTHERS: readonly Visit[] = OTHER.map((source) => ({
  series: nameOf(source),
  filters: [
    'test/lab/programs',
    ...['attempt-table.', 'btf', 'executable.', 'tcpconnlat.'].map((name) => `test/live/${name}`),
  ],
}));

/** The selection of a run. */
export interface Wanted {
  /** Series of the matrix; by default all that QEMU can emulate here. */
  readonly series?: readonly string[];
  /** Selects test files whose path contains one of these, and excludes the restricted kernels. */
  readonly filters?: readonly string[];
  /** Runs all tests on the first kernel and on the last only, and the core on the others. */
  readonly core?: boolean;
}

/** The visits of a run. */
export function visits(
  { series = [], filters = [], core = false }: Wanted,
  processors: readonly Processor[],
): Visit[] {
  const playable = [...MATRIX, ...OTHER].filter(({ processor = 'x64' }) => processors.includes(processor));
  const chosen = series.length > 0 ? series : playable.map(nameOf);
  if (filters.length > 0) return chosen.map((name) => ({ series: name, filters }));
  const others = OTHERS.filter((visit) => chosen.includes(visit.series));
  const plain = chosen.filter((name) => !others.some((visit) => visit.series === name));
  const ends = [plain[0], plain.at(-1)];
  const filtersOf = (name: string) => (core && !ends.includes(name) ? CORE : ALL);
  return [
    ...plain.map((name) => ({ series: name, filters: filtersOf(name) })),
    ...plain.map((series) => ({ series, filters: TIMED, counting: true })),
    ...RESTRICTED.filter((visit) => chosen.includes(visit.series)),
    ...others,
  ];
}

/** The processors that QEMU can emulate here; reports the others. If there are none, there is no lab. */
export async function processorsHere(): Promise<Processor[]> {
  const here: Processor[] = [];
  for (const processor of ['x64', 'arm64'] as const) {
    const missing = await noLab(processor);
    if (missing) console.log(`\nno tests on other kernels for ${processor}: ${missing}`);
    else here.push(processor);
  }
  return here;
}

/**
 * Why this machine cannot emulate a processor, or undefined. Only QEMU is checked; other missing programs
 * fail later.
 */
async function noLab(processor: Processor): Promise<string | undefined> {
  const { qemu } = MACHINES[processor];
  const places = PATH.split(delimiter).filter(Boolean);
  const found = await Promise.all(places.map((folder) => exists(join(folder, qemu))));
  return found.includes(true) ? undefined : `${qemu} is not installed`;
}

/**
 * Makes the visits and prints the guests' output, then one line each. Returns the results in the given order.
 */
export async function runVisits(wanted: readonly Visit[], { withFacts = false } = {}): Promise<Visited[]> {
  const width = Math.min(wanted.length, guestsAtOnce());
  const results = new Map<Visit, Visited>();
  // The disk contains it (test/live/executable.test.ts).
  if (process.arch === 'x64' && wanted.some(({ series }) => series.endsWith('arm64')))
    await buildExecutable('linux-arm64');
  await withProjectDisk(async (projectDisk) => {
    // The longest first, so that no worker waits for one at the end.
    const weight = ({ filters }: Visit) => (filters === ALL ? Number.MAX_SAFE_INTEGER : filters.length);
    const queue = [...wanted].sort((a, b) => weight(b) - weight(a));
    const worker = async (): Promise<void> => {
      for (let visit = queue.shift(); visit; visit = queue.shift()) {
        const lab = { projectDisk, withFacts, live: width === 1 };
        results.set(visit, await visitOrReport(visit, lab));
      }
    };
    await Promise.all(Array.from({ length: width }, worker));
  });
  const inOrder = wanted.map((visit) => results.get(visit) as Visited);
  console.log(`\n${inOrder.map(lineOf).join('\n')}`);
  return inOrder;
}

/** The sum of all visits. */
export function totalOf(visited: readonly Visited[]): Summary {
  return visited.length > 0 ? sum(visited.map(({ summary }) => summary)) : BROKEN;
}

/** Whether a visit is to a guest with the default kernel arguments and clock. */
export function isOrdinary({ kernelArguments, counting }: Visit): boolean {
  return kernelArguments === undefined && !counting;
}

/** The kernel of a visit and what differs from an ordinary guest. */
function titleOf({ series, kernelArguments, counting }: Visit, release = series): string {
  return [release, kernelArguments, counting && '(clock counts instructions)'].filter(Boolean).join(' ');
}

function lineOf({ visit, release, summary, seconds }: Visited): string {
  const name = titleOf(visit, release);
  return `${name.padEnd(44)} ${formatSummary(summary).padEnd(36)} ${seconds.toFixed(0).padStart(4)} s`;
}

function guestsAtOnce(): number {
  const byMemory = Math.floor(freemem() / GUEST_BYTES);
  return Math.max(1, Math.min(2, availableParallelism(), byMemory));
}

interface Lab {
  readonly projectDisk: string;
  readonly withFacts: boolean;
  /** Whether to print the guest's output immediately. With several guests it is printed at the end. */
  readonly live: boolean;
}

/** Like `visitGuest`, but reports an unavailable kernel as failed. */
async function visitOrReport(visit: Visit, lab: Lab): Promise<Visited> {
  const start = performance.now();
  const seconds = (): number => (performance.now() - start) / 1000;
  try {
    return { visit, ...(await visitGuest(visit, lab)), seconds: seconds() };
  } catch (error) {
    console.log(`\n== ${visit.series} is not available: ${(error as Error).message}`);
    return { visit, summary: BROKEN, seconds: seconds() };
  }
}

async function visitGuest(visit: Visit, lab: Lab): Promise<Omit<Visited, 'visit' | 'seconds'>> {
  const kernel = await kernelOf(visit.series);
  const title = `\n== ${titleOf(visit, kernel.release)}\n`;
  let output = '';
  const show = (text: string): void => {
    if (lab.live) process.stdout.write(text);
  };
  const stdout = new PassThrough().on('data', (chunk: Buffer) => {
    output += chunk;
    show(chunk.toString());
  });
  let errors = '';
  const stderr = new PassThrough().on('data', (chunk: Buffer) => {
    errors += chunk;
    show(chunk.toString());
  });
  show(title);
  const { projectDisk } = lab;
  const { kernelArguments, counting } = visit;
  const guest = {
    kernel,
    rootDisk: await rootDisk(kernel.processor),
    projectDisk,
    kernelArguments,
    counting,
  };
  const job = { script: scriptOf(visit, lab), seconds: SECONDS, stdout, stderr };
  let outcome = await runInGuest(guest, job);
  if (panicked(outcome)) {
    console.log(`\n${kernel.release}: kernel panic, which emulation sometimes causes; trying again`);
    output = errors = '';
    outcome = await runInGuest(guest, job);
  }
  if (!lab.live) process.stdout.write(title + withoutFacts(output) + errors);
  const { release } = kernel;
  const facts = factsOf(output);
  const summary = judge(visit, outcome, output);
  return { release, facts, summary };
}

/**
 * Whether the kernel panicked. Emulation does not always handle code that a kernel patches while another CPU
 * runs it.
 */
function panicked({ failure, console: text }: Outcome): boolean {
  return failure !== undefined && text.includes('Kernel panic - not syncing');
}

function scriptOf({ filters, series, counting }: Visit, { withFacts }: Lab): string {
  const node = 'node --enable-source-maps build/test';
  const lines = [`export TSBPF_TEST_SLOWNESS=${series.endsWith('arm64') ? ARM64_SLOWNESS : SLOWNESS}`];
  if (counting) lines.push('export TSBPF_TEST_CLOCK=instructions');
  if (withFacts) lines.push(`printf '${FACTS}'; ${node}/vm/facts.js || echo`);
  lines.push(`exec ${node}/run.js --together --again ${filters.join(' ')}`);
  return `${lines.join('\n')}\n`;
}

function judge({ series }: Visit, { failure, console: text, status }: Outcome, output: string): Summary {
  if (!failure) return summaryOf(output, status);
  console.log(text.split('\n').slice(-CONSOLE_LINES).join('\n'));
  console.log(`${series}: ${failure}`);
  return BROKEN;
}

function withoutFacts(output: string): string {
  return output.replace(new RegExp(`^${FACTS}.*\n`, 'm'), '');
}

function factsOf(output: string): Facts | undefined {
  const line = output.split('\n').find((text) => text.startsWith(`${FACTS}{`));
  return line ? JSON.parse(line.slice(FACTS.length)) : undefined;
}
