/** `--summary`: every connect is counted once, by every probe, key and form of output. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Value } from '@sinclair/typebox/value';
import * as assert from 'uvu/assert';
import { Worker } from '../../bench/worker.ts';
import { recordSchema, summarySchema } from '../../src/cli/json.ts';
import { inGuest, sameOnEveryKernel, slowness, suite } from '../harness.ts';
import { CgroupTree } from './cgroup-tree.ts';
import { commOf, connectLate, loopback, noIPv6, Peer, Server } from './connects.ts';
import { verifiedIn } from './loaded.ts';
import { isReleased } from './release.ts';
import { noProbeHere, PROBE_TYPES, skipReason, Tracer } from './tracer.ts';

const test = suite('live/summary', { seconds: 120 });

/** The object of a row in JSON. */
interface RowObject {
  readonly start: string;
  readonly end: string;
  readonly key: Readonly<Record<string, string>>;
  readonly count: number;
  readonly retransmits: number;
  readonly p50_ms: number | null;
  readonly p99_ms: number | null;
  readonly max_ms: number | null;
  readonly results: Readonly<
    Record<
      string,
      {
        readonly count: number;
        readonly min_ms: number;
        readonly max_ms: number;
        readonly buckets: readonly (readonly [number, number])[];
        readonly below?: number;
        readonly above?: number;
      }
    >
  >;
}

/** The default size of the tables takes an emulated guest a second to allocate. */
const FEWER_KEYS = inGuest ? ['--max-keys', '1024'] : [];

/** A summary as JSON: `-v` says on stderr when the programs are attached. */
class Summary {
  readonly tracer: Tracer;

  private constructor(tracer: Tracer) {
    this.tracer = tracer;
  }

  static async start(...args: string[]): Promise<Summary> {
    const summary = new Summary(Tracer.run(['--summary', '--json', '-v', ...FEWER_KEYS, ...args]));
    await summary.tracer.until('the programs', () => /^seccomp: /m.test(summary.tracer.stderr));
    return summary;
  }

  get rows(): RowObject[] {
    return (this.tracer.records() as unknown as RowObject[]).filter((each) => 'results' in each);
  }

  get slowest() {
    return this.tracer.records().filter((each) => 'lat_ms' in each);
  }

  /** Ends it, and returns its rows. */
  async stop(): Promise<RowObject[]> {
    assert.equal(await this.tracer.stop(), { code: 0, signal: null });
    for (const row of this.rows) assert.equal([...Value.Errors(summarySchema(), row)], []);
    for (const connect of this.slowest) assert.equal([...Value.Errors(recordSchema(), connect)], []);
    return this.rows;
  }
}

const countOf = (rows: readonly RowObject[], result?: string) =>
  rows.reduce((sum, row) => sum + (result ? (row.results[result]?.count ?? 0) : row.count), 0);

/** Whether the buckets of a row have all its connects, and its percentiles agree with them. */
function assertConsistent({ count, results, p50_ms, p99_ms, max_ms }: RowObject): void {
  const cells = Object.values(results);
  assert.is(
    cells.reduce((sum, cell) => sum + cell.count, 0),
    count,
  );
  for (const { count, buckets, below = 0, above = 0, min_ms, max_ms } of cells) {
    assert.is(
      buckets.reduce((sum, [, each]) => sum + each, below + above),
      count,
    );
    assert.ok(min_ms <= max_ms);
    const [first, last] = [buckets[0]?.[0] ?? 0, buckets.at(-1)?.[0] ?? 0];
    if (below === 0) assert.ok(min_ms > 2 ** (first / 8) * 1000 && min_ms <= 2 ** ((first + 1) / 8) * 1000);
    if (above === 0) assert.ok(max_ms > 2 ** (last / 8) * 1000 && max_ms <= 2 ** ((last + 1) / 8) * 1000);
  }
  if (p50_ms !== null && p99_ms !== null && max_ms !== null) assert.ok(p50_ms <= p99_ms && p99_ms <= max_ms);
}

/** An emulated guest makes some hundred connects a second. */
const perSecond = inGuest ? 500 : Math.ceil(20_000 / slowness);
const SECONDS = inGuest ? 2 : 3;

/** The most instructions that the verifier examines. Each path through a program multiplies them. */
const MOST_VERIFIED = 20_000;

/** A process that makes many connects, and one that makes those it is asked for. */
let connector: { readonly worker: Worker; readonly first: string };
let peer: Peer;
test.before(async () => {
  if (!noProbeHere) [connector, peer] = await Promise.all([Worker.start('connector.js'), Peer.start()]);
});
test.after(async () => {
  if (noProbeHere) return;
  connector.worker.end();
  await peer.stop();
});

for (const probe of PROBE_TYPES)
  test.skipIf(
    skipReason(probe),
    `${probe}: the sums of all intervals are the connects that were made`,
    async () => {
      const { worker, first: port } = connector;
      const summary = await Summary.start('--probe', probe, '-p', String(worker.pid), '--interval', '0.3');
      const verified = verifiedIn(summary.tracer.pid);
      assert.is(verified.length > 0, isReleased('5.16'), 'the kernel says what it verified');
      for (const count of verified) assert.ok(count < MOST_VERIFIED, `${count} instructions verified`);
      let made = 0;
      // Usually once. On a busy machine the timer of the intervals may be late.
      for (; summary.rows.length <= SECONDS; made += perSecond * SECONDS)
        await worker.work(`${perSecond * SECONDS} ${perSecond}`);
      const rows = await summary.stop();
      assert.is(countOf(rows) + summary.tracer.skipped, made);
      assert.is(countOf(rows, 'refused') + countOf(rows, 'failed'), countOf(rows));
      assert.ok(rows.length > SECONDS, 'several intervals have some');
      for (const row of rows) {
        assert.equal(row.key, { dest: '127.0.0.1', port });
        assertConsistent(row);
      }
      // Intervals do not overlap. One without connects has no row, so there may be gaps.
      for (const [i, { start }] of rows.entries()) if (i > 0) assert.ok(start >= (rows[i - 1]?.end ?? ''));
    },
  );

/** A row of each of these is made by `makeConnects`. */
async function makeConnects(peer: Peer, server: Server): Promise<void> {
  for (let i = 0; i < 3; i++) await peer.ask('connect', loopback(server.port));
  await peer.ask('connect', loopback(1));
}

test.skipIf(noProbeHere, 'a key has the parts that --by asks for, in its order', async () => {
  const [peer, server] = [await Peer.start(), await Server.start('127.0.0.1')];
  const cgroups = CgroupTree.open();
  try {
    const id = process.pid.toString(16).padEnd(64, 'c');
    const uid = `8dbd9b2e-1f4c-4ab2-b9a1-${process.pid.toString(16).padStart(12, '0')}`;
    const slice = `tsbpf-summary-${process.pid}.slice`;
    cgroups.put(
      peer.pid,
      `${slice}/kubepods-pod${uid.replaceAll('-', '_')}.slice/cri-containerd-${id}.scope`,
    );
    await peer.ask('setUser', 54_321);
    const by = 'user,container,unit,pod,comm,port,net/8,dest';
    const summary = await Summary.start('-p', String(peer.pid), '--by', by);
    await makeConnects(peer, server);
    const [row, refused, ...more] = await summary.stop();
    const key = {
      ...{ dest: '127.0.0.1', net: '127.0.0.0/8', port: String(server.port), comm: commOf(peer.pid) },
      ...{ pod: uid, unit: `cri-containerd-${id}.scope`, container: id.slice(0, 12), user: '54321' },
    };
    assert.equal(row?.key, key);
    assert.equal(Object.keys(row?.key ?? {}), Object.keys(key));
    assert.equal(refused?.key, { ...key, port: '1' });
    assert.equal([row?.count, refused?.count, more], [3, 1, []]);
  } finally {
    await peer.stop();
    await server.close();
    await cgroups.closeWhenEmpty();
  }
});

test.skipIf(noProbeHere, 'all connects have one row with --by all; filters and min_ms apply', async () => {
  const server = await Server.start('127.0.0.1');
  try {
    const [filtered, slow] = await Promise.all([
      Summary.start('-p', String(peer.pid), '--by', 'port', '--not-port', '1'),
      Summary.start('-p', String(peer.pid), '--by', 'all', '5000'),
    ]);
    // live/aggregate has the rows of `--by all` on every kernel.
    const others = inGuest
      ? []
      : await Promise.all([
          Summary.start('-p', String(peer.pid), '--by', 'all'),
          Summary.start('-p', String(peer.pid), '--unit', 'nginx'),
        ]);
    await makeConnects(peer, server);
    assert.equal(
      (await filtered.stop()).map(({ key, count }) => [key, count]),
      [[{ port: String(server.port) }, 3]],
    );
    assert.equal(await slow.stop(), []);
    assert.match(slow.tracer.stderr, /^tcpconnlat: 0 connects counted\n {2}4 below min_ms$/m);
    const [all, excluded] = await Promise.all(others.map((each) => each.stop()));
    if (all) assert.equal([all.length, all[0]?.key, all[0]?.count], [1, {}, 4]);
    if (excluded) assert.equal(excluded, []);
  } finally {
    await server.close();
  }
});

test.skipIf(noProbeHere || noIPv6, 'IPv4-mapped addresses are those of IPv4', async () => {
  const server = await Server.start('::');
  try {
    const summary = await Summary.start('-p', String(peer.pid));
    for (const address of ['127.0.0.1', '::ffff:127.0.0.1', '::1'])
      await peer.ask('connect', loopback(server.port, address));
    const rows = await summary.stop();
    assert.equal(
      rows.map(({ key, count }) => [key.dest, count]),
      [
        ['127.0.0.1', 2],
        ['::1', 1],
      ],
    );
  } finally {
    await server.close();
  }
});

test.skipIf(noProbeHere, 'the slowest connect is shown with its retransmissions', async () => {
  const [listening, server] = [await Peer.start(), await Server.start('127.0.0.1')];
  try {
    const summary = await Summary.start('-p', String(peer.pid));
    for (let i = 0; i < (inGuest ? 30 : 100); i++) await peer.ask('connect', loopback(server.port));
    const { port } = await connectLate(peer, listening);
    const rows = await summary.stop();
    const late = rows.find(({ key }) => key.port === String(port));
    assert.ok((late?.max_ms ?? 0) > 900, JSON.stringify(late));
    assert.is(late?.retransmits, 1);
    const [slowest] = summary.slowest;
    assert.equal([slowest?.dport, slowest?.retransmits, slowest?.pid], [port, 1, peer.pid]);
    assert.ok(Math.abs((slowest?.lat_ms ?? 0) - (late?.max_ms ?? 0)) < 1e-6);
  } finally {
    await Promise.all([listening.stop(), server.close()]);
  }
});

test.skipIf(
  noProbeHere,
  'too many keys: all connects are counted, and a warning has the number of others',
  async () => {
    const summary = await Summary.start('-p', String(peer.pid), '--max-keys', '64');
    const made = inGuest ? 200 : 400;
    for (let i = 0; i < made; i++)
      await peer.ask('connect', loopback(1 + (i % 90), `127.0.${i >> 7}.${1 + (i & 0x7f)}`));
    const rows = await summary.stop();
    assert.is(countOf(rows, 'refused'), made);
    const others = countOf(rows.filter(({ key }) => key.dest === 'other'));
    assert.ok(others > made / 2, String(others));
    assert.match(
      summary.tracer.stderr,
      `${others} connects counted as other (too many keys; increase --max-keys)`,
    );
  },
);

test.skipIf(
  noProbeHere || sameOnEveryKernel,
  'tables and histograms are printed at the end, or after each interval',
  async () => {
    const server = await Server.start('127.0.0.1');
    const of = ['--summary', '-v', '-p', String(peer.pid)];
    const attached = (tracer: Tracer) =>
      tracer.until('the programs', () => /^seccomp: /m.test(tracer.stdout));
    const after = (text: string) => text.slice(text.lastIndexOf('capabilities kept'));
    try {
      const tracers = [
        Tracer.run([...of]),
        Tracer.run([...of, '--histogram']),
        Tracer.run([...of, '--interval', '0.2']),
      ] as const;
      for (const tracer of tracers) await attached(tracer);
      await makeConnects(peer, server);
      await sleep(500 * slowness);
      for (const tracer of tracers) assert.equal(await tracer.stop('SIGINT'), { code: 0, signal: null });
      const [table, histogram, intervals] = tracers.map(({ stdout }) => after(stdout));
      const number = String.raw` +\d+\.\d{3}`;
      assert.match(
        table ?? '',
        new RegExp(
          String.raw`^DEST +PORT +COUNT REFUSED RETR +p50\(ms\) +p90\(ms\) +p99\(ms\) +MAX\(ms\)\n` +
            String.raw`127\.0\.0\.1 +${server.port} +3 +0 +0(${number}){4}\n127\.0\.0\.1 +1 +1 +1 +0(${number}){4}\n`,
          'm',
        ),
      );
      assert.match(table ?? '', /^slowest:\nPID +COMM .*\n\d+ /m);
      assert.match(
        histogram ?? '',
        new RegExp(
          `^dest = 127\\.0\\.0\\.1, port = ${server.port}\\n {5}usecs +: count {5}distribution\\n( *\\d+ -> \\d+ +: \\d+ +\\|[* ]{40}\\|\\n)+`,
          'm',
        ),
      );
      const counts = [...(intervals ?? '').matchAll(/^127\.0\.0\.1 +\d+ +(\d+) /gm)].map(([, count]) =>
        Number(count),
      );
      assert.is(
        counts.reduce((sum, count) => sum + count, 0),
        4,
      );
      assert.match(intervals ?? '', /^\d{4}-\d\d-\d\dT[\d:.]+Z \d+\.\d s$/m);
      for (const { stderr } of tracers) assert.match(stderr, /^tcpconnlat: 4 connects counted$/m);
    } finally {
      await server.close();
    }
  },
);

test.run();
