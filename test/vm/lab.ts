/** The tests on other kernels: a guest for each, several at once where the machine has room, and what came of it. */
import { readdirSync } from 'node:fs';
import { availableParallelism, freemem } from 'node:os';
import { delimiter, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { BROKEN, formatSummary, type Summary, sum, summaryOf } from '../summary.ts';
import { exists } from './cache.ts';
import { PATH } from './command.ts';
import type { Facts } from './facts.ts';
import { type Outcome, runInGuest } from './guest.ts';
import { rootDisk, withProjectDisk } from './image.ts';
import { kernelOf } from './kernel.ts';
import { MACHINES, type Processor } from './machine.ts';
import { MATRIX, nameOf, OTHER } from './matrix.ts';

/** For one guest's tests. */
const SECONDS = 900;

/** How many times slower than a machine a guest may be before a test's time limit is reached. */
const SLOWNESS = 4;
/** arm64 on x86-64 takes as long again and more. */
const ARM64_SLOWNESS = 12;

/** What a guest and the file cache behind its disks take. */
const GUEST_BYTES = 1.5 * 2 ** 30;

/** How many lines of the console explain a guest that died. */
const CONSOLE_LINES = 40;

/** Begins the line of a guest's output that holds its facts. */
const FACTS = 'facts: ';

/** A guest and the test files that run in it: those whose path holds one of the filters. */
export interface Visit {
  readonly series: string;
  readonly filters: readonly string[];
  /** Added to the kernel's command line. */
  readonly kernelArguments?: string;
}

/** What a visit came to. */
export interface Visited {
  readonly visit: Visit;
  readonly release?: string;
  readonly summary: Summary;
  readonly seconds: number;
  /** What the kernel has, where that was asked for and the guest got to tell it. */
  readonly facts?: Facts;
}

/** What every kernel of the matrix runs. */
const ALL = ['test/live/', 'test/lab/'];

/** What of it has most to do with the kernel: as a part of `npm test` every kernel runs this. */
const CORE = ['test/lab/', 'test/live/jump-table.', 'test/live/kprobe-events.', 'test/live/tcpconnlat.'];

/** Kernels that lack something because they are told to. */
const STRANGE: readonly Visit[] = [
  {
    series: '6.12',
    kernelArguments: 'ipv6.disable=1',
    filters: ['test/lab/without-ipv6', 'test/live/tcpconnlat.'],
  },
  {
    series: '6.12',
    // Lockdown has to be named among the security modules there: Debian's cloud kernels leave it out.
    kernelArguments: 'lockdown=confidentiality lsm=lockdown,capability,bpf',
    filters: ['test/lab/lockdown'],
  },
];

/** Kernels of another architecture, and what shows there that a program is made for it. */
const OTHERS: readonly Visit[] = OTHER.map((source) => ({
  series: nameOf(source),
  filters: ['test/lab/programs', 'test/live/btf', 'test/live/tcpconnlat.'],
}));

/** What a run is to have. */
export interface Wanted {
  /** Series of the matrix; all of it that QEMU can play here if not given. */
  readonly series?: readonly string[];
  /** Of the tests those whose path holds one of these; this leaves out what is done to some kernels only. */
  readonly filters?: readonly string[];
  /** The core on every kernel, and of the other live tests each file on one of them: what takes half of the time and less. */
  readonly core?: boolean;
}

/** The visits to make. */
export function visits(
  { series = [], filters = [], core = false }: Wanted,
  processors: readonly Processor[],
): Visit[] {
  const playable = [...MATRIX, ...OTHER].filter(({ processor = 'x64' }) => processors.includes(processor));
  const chosen = series.length > 0 ? series : playable.map(nameOf);
  if (filters.length > 0) return chosen.map((name) => ({ series: name, filters }));
  const others = OTHERS.filter((visit) => chosen.includes(visit.series));
  const plain = chosen.filter((name) => !others.some((visit) => visit.series === name));
  const hands = core ? deal(liveTests(), plain.length).map((hand) => [...CORE, ...hand]) : [];
  return [
    ...plain.map((name, i) => ({ series: name, filters: hands[i] ?? ALL })),
    ...STRANGE.filter((visit) => chosen.includes(visit.series)),
    ...others,
  ];
}

/** The live tests that aren't of the core, as filters. */
function liveTests(): string[] {
  const files = readdirSync(new URL('../live/', import.meta.url)).filter((file) => file.endsWith('.test.js'));
  const filters = files.map((file) => `test/live/${file.replace(/test\.js$/, '')}`);
  return filters.filter((filter) => !CORE.includes(filter)).sort();
}

function deal(cards: readonly string[], players: number): string[][] {
  return Array.from({ length: players }, (_, player) => cards.filter((_, i) => i % players === player));
}

/** The processors that QEMU can play here; says which it can't. None of them means that there is no lab. */
export async function processorsHere(): Promise<Processor[]> {
  const here: Processor[] = [];
  for (const processor of ['x64', 'arm64'] as const) {
    const missing = await noLab(processor);
    if (missing) console.log(`\nno tests on other kernels for ${processor}: ${missing}`);
    else here.push(processor);
  }
  return here;
}

/** Why there is no such lab on this machine, or undefined: what is missing besides QEMU is told by what fails then. */
async function noLab(processor: Processor): Promise<string | undefined> {
  const { qemu } = MACHINES[processor];
  const places = PATH.split(delimiter).filter(Boolean);
  const found = await Promise.all(places.map((folder) => exists(join(folder, qemu))));
  return found.includes(true) ? undefined : `there is no ${qemu} on this machine`;
}

/** Makes the visits and prints what the guests print, then a line for each. They come back in the order asked for. */
export async function runVisits(wanted: readonly Visit[], { withFacts = false } = {}): Promise<Visited[]> {
  const width = Math.min(wanted.length, guestsAtOnce());
  const results = new Map<Visit, Visited>();
  await withProjectDisk(async (projectDisk) => {
    const queue = [...wanted];
    const worker = async (): Promise<void> => {
      for (let visit = queue.shift(); visit; visit = queue.shift()) {
        const lab = { projectDisk, withFacts, live: width === 1 };
        results.set(visit, await visitOrSay(visit, lab));
      }
    };
    await Promise.all(Array.from({ length: width }, worker));
  });
  const inOrder = wanted.map((visit) => results.get(visit) as Visited);
  console.log(`\n${inOrder.map(lineOf).join('\n')}`);
  return inOrder;
}

/** All visits together. */
export function totalOf(visited: readonly Visited[]): Summary {
  return visited.length > 0 ? sum(visited.map(({ summary }) => summary)) : BROKEN;
}

function lineOf({ visit, release, summary, seconds }: Visited): string {
  const name = [release ?? visit.series, visit.kernelArguments].filter(Boolean).join(' ');
  return `${name.padEnd(44)} ${formatSummary(summary).padEnd(36)} ${seconds.toFixed(0).padStart(4)} s`;
}

function guestsAtOnce(): number {
  const byMemory = Math.floor(freemem() / GUEST_BYTES);
  return Math.max(1, Math.min(2, availableParallelism(), byMemory));
}

interface Lab {
  readonly projectDisk: string;
  readonly withFacts: boolean;
  /** Whether the guest's output is shown as it comes: with another guest beside it, it is shown at the end. */
  readonly live: boolean;
}

/** As `visitGuest`, but a kernel that can't be had is said to be missing and counts as failed. */
async function visitOrSay(visit: Visit, lab: Lab): Promise<Visited> {
  const start = performance.now();
  const seconds = (): number => (performance.now() - start) / 1000;
  try {
    return { visit, ...(await visitGuest(visit, lab)), seconds: seconds() };
  } catch (error) {
    console.log(`\n== ${visit.series} can't be had: ${(error as Error).message}`);
    return { visit, summary: BROKEN, seconds: seconds() };
  }
}

async function visitGuest(visit: Visit, lab: Lab): Promise<Omit<Visited, 'visit' | 'seconds'>> {
  const kernel = await kernelOf(visit.series);
  const title = `\n== ${[kernel.release, visit.kernelArguments].filter(Boolean).join(' ')}\n`;
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
  const { kernelArguments } = visit;
  const guest = { kernel, rootDisk: await rootDisk(kernel.processor), projectDisk, kernelArguments };
  const job = { script: scriptOf(visit, lab), seconds: SECONDS, stdout, stderr };
  let outcome = await runInGuest(guest, job);
  if (panicked(outcome)) {
    console.log(
      `\n${kernel.release}: its kernel panicked, which emulation brings about now and then: once more`,
    );
    output = errors = '';
    outcome = await runInGuest(guest, job);
  }
  if (!lab.live) process.stdout.write(title + withoutFacts(output) + errors);
  const { release } = kernel;
  const facts = factsOf(output);
  const summary = judge(visit, outcome, output);
  return { release, facts, summary };
}

/** Code that a kernel changes while another processor runs it isn't always emulated as it should be. */
function panicked({ failure, console: text }: Outcome): boolean {
  return failure !== undefined && text.includes('Kernel panic - not syncing');
}

function scriptOf({ filters, series }: Visit, { withFacts }: Lab): string {
  const node = 'node --enable-source-maps build/test';
  const lines = [`export TSBPF_TEST_SLOWNESS=${series.endsWith('arm64') ? ARM64_SLOWNESS : SLOWNESS}`];
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
