/** Writes docs/kernels.md from a run of the lab. */
import { formatSummary } from '../summary.ts';
import type { Facts } from './facts.ts';

import { featureSection } from './feature-table.ts';
import { isOrdinary, type Visited } from './lab.ts';

const HEAD = `# Kernels

The tables on this page are measured: \`npm run test:vm -- --docs\` boots each of these kernels under QEMU, runs
the tests, and writes this page. The section about [untested kernels](#kernels-that-are-not-tested) states
expectations.
`;

const WHICH = {
  all: 'All tests of `test/live` and `test/lab`; without IPv6, and on arm64, only the tests that depend on it.',
  core: 'With `--core`: all tests on the oldest kernel and the newest, and on the others those that depend most on the kernel.',
};

const OUTCOMES = `## Results of connects

The RESULT that \`--outcome\` prints for every kind of connect. The connects run between two network namespaces;
a firewall in the remote one produces the answers. All probes observe the same connects at the same time. If
probes or kernels differ, the cell names them. Without options, the connects that are \`established\`, \`refused\`
or \`rejected\` are shown; \`--failed\` shows all but the \`established\` ones.
`;

const TAIL = `## Node versions

The tests run on these releases of Node (x86-64), each with and without V8's code cache of the command:

| release | tests |
|---|---|
| 20.20.2 | all, and the guests of the lab run Node 20 |
| 22.23.5, 24.22.3, 26.12.1 | all that trace nothing, and a smoke test that traces connects |

Since Node 24 the main thread of a Node process has the name \`MainThread\`, since Node 26 \`node-MainThread\`:
\`--comm node\` does not select its connects. Node 20 and 22 name it \`node\`.

## Kernels that are not tested

The lab boots Debian's kernels, and Debian no longer serves kernels before 5.10. This section is derived from
the features that the programs use and from the kernel releases that introduced them; it has not been tested.

| feature | first Linux | used by |
|---|---|---|
| direct access to map values | 5.2 | all probes |
| \`/sys/kernel/btf/vmlinux\` | 5.4 | all probes except \`trace_event\`; \`--btf FILE\` replaces it for \`kprobe\` and \`raw_tracepoint\` |
| \`bpf_probe_read_kernel\` | 5.5 | \`kprobe\`, \`raw_tracepoint\`, and \`trace_event\` with BTF; \`fentry\` and \`tp_btf\` with some options |
| programs with typed arguments | 5.5 | \`fentry\`, \`tp_btf\` |
| perf PMU for kprobes | 4.17 | \`kprobe\`; tracefs replaces it |
| tracepoint \`inet_sock_set_state\` | 4.16 | \`tp_btf\`, \`raw_tracepoint\`, \`trace_event\` |
| \`bpf_get_current_cgroup_id\` | 4.18 | \`--who\` |
| \`CAP_BPF\`, \`CAP_PERFMON\` | 5.8 | users without root; older kernels require \`CAP_SYS_ADMIN\` |

What to expect:

| kernel | expectation |
|---|---|
| 5.5 to 5.9 | As on 5.10; before 5.9 \`fentry\` and \`tp_btf\` show restored connects as accepted, except with \`--outcome\` and \`--failed\`. Before 5.8 the command requires \`CAP_SYS_ADMIN\`. Before 5.11 maps count as locked memory, which root may raise. |
| 5.4 | Only \`trace_event\` works (\`--probe auto\` selects it), with tracefs mounted: accepted connects are shown, refused ones are not. The other probes need features of Linux 5.5. |
| 5.2, 5.3 | As on 5.4. |
| RHEL 8 (4.18) and its rebuilds | Red Hat backports BPF features, so the version number does not answer the question. If the kernel has BTF and \`bpf_probe_read_kernel\`, \`kprobe\` works as on 5.10. |
| 4.18 without backports | No probe works: programs cannot access map values directly. |
| newer than 7.3 | As on 7.3, as long as the functions and tracepoints keep their names. |

The loader tries features and never compares versions, so the quickest test is to run it. \`tcpconnlat -v\`
prints the probe it uses and why it does not use the others. If no probe works, the error lists the reason for
each of them. Node 20 needs glibc 2.28 and koffi's binary glibc 2.25; RHEL 8 has glibc 2.28.

## Comparison with libbpf-tools

The lab runs libbpf-tools' tcpconnlat (Debian 12's package) beside each probe of this one, on the same
connects: bursts of some hundred connects by several processes, over IPv4, IPv6 and IPv4-mapped addresses,
accepted and refused. Both tools must show the same connects with the same process, addresses and ports.
At least 90 % of the latencies must differ by at most 0.05 ms. Latencies are compared in guests whose clock
counts instructions, because load changes the times of an emulated machine. The tools differ in these points:

- libbpf-tools prints 12 characters of the command's name, so names are compared by their first 12 characters.
- libbpf-tools traces at most 4096 connects at a time and never frees the entry of a connect that gets no
  answer. This tool traces at most 10,240, and frees the entry when the attempt ends.
- libbpf-tools measures from the call of \`tcp_v4_connect\`. So does \`kprobe\` here; the tracepoint runs after
  the route lookup. An IPv4-mapped connect calls \`tcp_v6_connect\` and then \`tcp_v4_connect\`; both tools use
  the later call.
- Both tools show an MPTCP connect once, as its TCP subflow.
`;

/**
 * The page. A kernel that reported no facts has no column. `which` selects the sentence about the tests.
 */
export function describeKernels(visited: readonly Visited[], date: Date, which: keyof typeof WHICH): string {
  const described = visited.filter(hasFacts).filter(({ visit }) => isOrdinary(visit));
  const day = date.toISOString().slice(0, 10);
  return [
    HEAD,
    `${day}, under QEMU on x86-64.\n`,
    featureSection(),
    '## Facts\n',
    facts(described),
    ...outcomes(described),
    '## Test runs\n',
    `${WHICH[which]}\n`,
    runs(visited),
    TAIL,
  ].join('\n');
}

type Described = Visited & { readonly facts: Facts };

function hasFacts(visited: Visited): visited is Described {
  return visited.facts !== undefined;
}

function facts(described: readonly Described[]): string {
  const titles = described[0]?.facts.rows.map(([title]) => title) ?? [];
  const found = (facts: Facts, title: string): string =>
    facts.rows.find(([name]) => name === title)?.[1] ?? '?';
  const rows = titles.map((title) => [title, ...described.map(({ facts }) => found(facts, title))]);
  return table(['', ...described.map(({ visit }) => visit.series)], rows);
}

/** A row per connect with its result. Results that not all probes and kernels have name those that do. */
function outcomes(described: readonly Described[]): string[] {
  const all = described.flatMap(({ visit, facts }) =>
    (facts.outcomes ?? []).flatMap(({ title, results }) =>
      Object.entries(results).map(([probe, result]) => ({ title, probe, result, kernel: visit.series })),
    ),
  );
  if (all.length === 0) return [];
  const cell = (title: string): string => {
    const found = all.filter((each) => each.title === title);
    const results = distinct(found, 'result');
    if (results.length === 1) return results.join();
    return results
      .map((result) => {
        const alike = found.filter((each) => each.result === result);
        const names = (['probe', 'kernel'] as const).flatMap((key) => {
          const [some, every] = [distinct(alike, key), distinct(found, key)];
          return some.length < every.length
            ? some.map((name) => (key === 'probe' ? `\`${name}\`` : name))
            : [];
        });
        return names.length > 0 ? `${result} (${names.join(', ')})` : result;
      })
      .join('; ');
  };
  return [
    OUTCOMES,
    table(
      ['connect', 'result'],
      distinct(all, 'title').map((title) => [title, cell(title)]),
    ),
  ];
}

function distinct<K extends string>(all: readonly Readonly<Record<K, string>>[], key: K): string[] {
  return [...new Set(all.map((each) => each[key]))];
}

function argumentsOf({ kernelArguments, counting }: Visited['visit']): string {
  if (counting) return 'clock counts instructions';
  return kernelArguments ? `\`${kernelArguments}\`` : '';
}

function runs(visited: readonly Visited[]): string {
  const rows = visited.map(({ visit, release, summary, seconds }) => [
    release ?? `${visit.series}: could not be downloaded`,
    argumentsOf(visit),
    formatSummary(summary),
    seconds.toFixed(0),
  ]);
  return table(['kernel', 'arguments', 'tests', 'seconds'], rows);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |\n`;
  return [line(head), `|${'---|'.repeat(head.length)}\n`, ...rows.map(line)].join('');
}
