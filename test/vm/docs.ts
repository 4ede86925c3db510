/** docs/kernels.md, made from a run of the lab. */
import { formatSummary } from '../summary.ts';
import type { Facts } from './facts.ts';
import type { Visited } from './lab.ts';

const HEAD = `# Kernels

Measured, not read about: \`npm run test:vm -- --docs\` boots each of these kernels, asks it for every feature by trying, runs tests in it,
and writes this page.
`;

const WHICH = {
  all: 'All live tests and all of the lab’s own; without IPv6, and on arm64, those that have to do with it.',
  core: 'By `--core`: what has most to do with the kernel in each of them, and each other file of the live tests in one.',
};

const OUTCOMES = `## What becomes of a connect

The word that \`--outcome\` prints for connects that end in every way there is, made between two networks of which the far one answers as
a firewall makes it. All ways watch the same connects at the same time. Where kernels differ, those that say so stand beside the word.
`;

const TAIL = `## Beside libbpf-tools

The lab runs libbpf-tools' tcpconnlat (as Debian 12 has it) beside each way of ours on the same connects: a burst of some hundred,
by several processes, over IPv4, IPv6 and mapped addresses, accepted and refused. Both must show the same connects, with
the same process, addresses and ports, and latencies of the same size. Where the two differ, and why:

- A line of theirs holds 12 characters of the command and 15 of an IPv4-mapped address is cut nowhere: only the command is compared
  by its first 12.
- They have room for 4096 connects in flight, and no entry of theirs is freed when an answer never comes; ours has room for 10,240 and is
  cleared when the socket dies.
- Their time begins at the call of \`tcp_v4_connect\`. So does ours as kprobes; as a tracepoint it begins after the route was found.
  A mapped connect enters \`tcp_v6_connect\` and then \`tcp_v4_connect\`, and for both tools the later one counts.
- MPTCP: both show the TCP subflow, once.
`;

/** The page. Kernels that told nothing of themselves are named without a column. `which` says what tests were run. */
export function describeKernels(visited: readonly Visited[], date: Date, which: keyof typeof WHICH): string {
  const told = visited.filter(hasFacts).filter(({ visit }) => visit.kernelArguments === undefined);
  const day = date.toISOString().slice(0, 10);
  return [
    HEAD,
    `${day}, under QEMU on x86-64.\n`,
    '## What they have\n',
    features(told),
    ...outcomes(told),
    '## Test runs\n',
    `${WHICH[which]}\n`,
    runs(visited),
    TAIL,
  ].join('\n');
}

type Told = Visited & { readonly facts: Facts };

function hasFacts(visited: Visited): visited is Told {
  return visited.facts !== undefined;
}

function features(told: readonly Told[]): string {
  const titles = told[0]?.facts.rows.map(([title]) => title) ?? [];
  const found = (facts: Facts, title: string): string =>
    facts.rows.find(([name]) => name === title)?.[1] ?? '?';
  const rows = titles.map((title) => [title, ...told.map(({ facts }) => found(facts, title))]);
  return table(['', ...told.map(({ visit }) => visit.series)], rows);
}

/** A row a connect, a column a way. */
function outcomes(told: readonly Told[]): string[] {
  const rows = told.flatMap(({ visit, facts }) =>
    (facts.outcomes ?? []).map(({ title, results }) => ({ title, results, series: visit.series })),
  );
  if (rows.length === 0) return [];
  const titles = [...new Set(rows.map(({ title }) => title))];
  const ways = [...new Set(rows.flatMap(({ results }) => Object.keys(results)))];
  const cell = (title: string, way: string): string => {
    const found = rows.filter((row) => row.title === title && way in row.results);
    const words = [...new Set(found.map(({ results }) => results[way]))];
    if (words.length === 1) return words.join();
    const kernels = (word?: string) =>
      found.flatMap(({ results, series }) => (results[way] === word ? [series] : []));
    return words.map((word) => `${word} (${kernels(word).join(', ')})`).join('; ');
  };
  const head = ['', ...ways.map((way) => `\`${way}\``)];
  return [
    OUTCOMES,
    table(
      head,
      titles.map((title) => [title, ...ways.map((way) => cell(title, way))]),
    ),
  ];
}

function runs(visited: readonly Visited[]): string {
  const rows = visited.map(({ visit, release, summary, seconds }) => [
    release ?? `${visit.series}: could not be had`,
    visit.kernelArguments ? `\`${visit.kernelArguments}\`` : '',
    formatSummary(summary),
    seconds.toFixed(0),
  ]);
  return table(['kernel', 'told to', 'tests', 'seconds'], rows);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |\n`;
  return [line(head), `|${'---|'.repeat(head.length)}\n`, ...rows.map(line)].join('');
}
