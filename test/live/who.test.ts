/**
 * The user, caller and time of day of a connect, with every available probe at the same time; and as the
 * command prints them, also for processes that have exited.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { callerLookup } from '../../src/cli/record/caller.ts';
import { wallClock } from '../../src/cli/record/wall-clock.ts';
import { type ConnectRecord, fieldsShown } from '../../src/cli/record.ts';
import { needsRoot, sameOnEveryKernel, suite } from '../harness.ts';
import { CgroupTree, hierarchies } from './cgroup-tree.ts';
import { commOf, loopback, Peer, Server, until } from './connects.ts';
import { here, noProbeHere, PROBE_TYPES, PROBE_TYPES_HERE, skipReason, Tracer } from './tracer.ts';
import { type Watch, watch } from './watch.ts';

const test = suite('live/who', { seconds: 60 });

/** An id that no container of this machine has. */
const idOf = (letter: string): string => process.pid.toString(16).padEnd(64, letter);
const POD = `8dbd9b2e-1f4c-4ab2-b9a1-${process.pid.toString(16).padStart(12, '0')}`;
const SLICE = `tsbpf-test-${process.pid}.slice`;
/** The cgroups of a container in a pod (containerd) and without (Docker). */
const IN_POD = `${SLICE}/kubepods-burstable-pod${POD.replaceAll('-', '_')}.slice/cri-containerd-${idOf('a')}.scope`;
const IN_DOCKER = `${SLICE}/docker-${idOf('b')}.scope`;
const USER = 54_321;

interface Bench {
  readonly cgroups: CgroupTree;
  readonly server: Server;
  readonly outside: Peer;
  /** In a Docker container, and in a container of a pod. */
  readonly docker: Peer;
  readonly pod: Peer;
}

/** Runs `work` with peers in cgroups of the hierarchy `cgroups`, and cleans up after it. */
async function withBench(cgroups: CgroupTree, work: (bench: Bench) => Promise<void>): Promise<void> {
  const peers = await Promise.all([Peer.start(), Peer.start(), Peer.start()]);
  const [outside, docker, pod] = peers;
  const server = await Server.start('127.0.0.1');
  try {
    await work({ cgroups, server, outside, docker, pod });
  } finally {
    await Promise.all(peers.map((peer) => peer.stop()));
    await server.close();
    await cgroups.closeWhenEmpty();
  }
}

/** A record's user, container and pod. */
const who = ({ uid, container, pod }: ConnectRecord) => ({ uid, container, pod });
/** What a record has of a live peer, which this process has started. */
const peerFacts = ({ exe, ppid, parent, cmdline }: ConnectRecord) => ({ exe, ppid, parent, cmdline });
const factsOf = ({ pid }: Peer) => ({
  exe: process.execPath,
  ppid: process.pid,
  parent: commOf(process.pid),
  cmdline: readFileSync(`/proc/${pid}/cmdline`, 'utf8')
    .replace(/\0$/, '')
    .replaceAll('\0', ' ')
    .slice(0, 4096),
});
/** As the column shows it. */
const PARENT = commOf(process.pid).slice(0, 12);
const OUTSIDE = { uid: 0, container: undefined, pod: undefined };
const DOCKER = { uid: 0, container: idOf('b'), pod: undefined };
const KUBERNETES = { uid: USER, container: idOf('a'), pod: POD };

for (const probe of PROBE_TYPES)
  test.skipIf(skipReason(probe), `${probe} is compared here`, () => {
    assert.ok(PROBE_TYPES_HERE.includes(probe));
  });

test.skipIf(noProbeHere, 'every probe shows the user, container, pod and time of day', () =>
  withBench(CgroupTree.open(), async ({ cgroups, server, outside, docker, pod }) => {
    cgroups.put(docker.pid, IN_DOCKER);
    const sources = {
      callers: callerLookup(here, { commandLine: true, warn: assert.unreachable }),
      wallClock: wallClock(here.syscalls),
    };
    const all: Watch[] = [];
    const times: [number, number][] = [];
    try {
      for (const probe of PROBE_TYPES_HERE) all.push(watch({ probe, who: true }, sources));
      cgroups.put(pod.pid, IN_POD); // created while probes are attached
      await pod.ask('setUser', USER);
      for (const peer of [outside, docker, pod]) {
        const begin = Date.now();
        await peer.ask('connect', loopback(server.port));
        times.push([begin, Date.now()]);
      }
    } finally {
      for (const each of all) each.close();
    }
    for (const { probe, records } of all) {
      const own = [outside, docker, pod].map(({ pid }) => records.find((record) => record.pid === pid));
      assert.equal(
        own.map((record) => record && who(record)),
        [OUTSIDE, DOCKER, KUBERNETES],
        probe,
      );
      assert.equal(
        own.map((record) => record && peerFacts(record)),
        [outside, docker, pod].map(factsOf),
        probe,
      );
      own.forEach((record, i) => {
        const [begin, end] = times[i] as [number, number];
        const at = Date.parse(record?.time ?? '');
        assert.ok(at >= begin - 1 && at <= end + 1, `${probe}: ${begin} ${record?.time} ${end}`);
      });
    }
  }),
);

test.skipIf(
  noProbeHere,
  'the command shows them for processes that exited before their lines were written',
  () =>
    withBench(CgroupTree.open(), async ({ cgroups, server, docker, pod }) => {
      cgroups.put(docker.pid, IN_DOCKER);
      const tracer = await Tracer.startJson(['--who'], server, '127.0.0.1');
      cgroups.put(pod.pid, IN_POD);
      await pod.ask('setUser', USER);
      tracer.child.kill('SIGSTOP');
      await until('it to stop', () => /^State:\tT/m.test(readFileSync(`/proc/${tracer.pid}/status`, 'utf8')));
      for (const peer of [docker, pod]) {
        await peer.ask('connect', loopback(server.port));
        await peer.stop();
      }
      tracer.child.kill('SIGCONT');
      const linesOf = ({ pid }: Peer) => tracer.records().filter((record) => record.pid === pid);
      await tracer.until('both lines', () => linesOf(docker).length === 1 && linesOf(pod).length === 1);
      await tracer.stop();
      assert.equal(linesOf(docker).map(who), [DOCKER]);
      assert.equal(linesOf(pod).map(who), [KUBERNETES]);
    }),
);

test.skipIf(noProbeHere || sameOnEveryKernel, '--who --wall -t prints them as columns', () =>
  withBench(CgroupTree.open(), async ({ cgroups, server, outside, docker, pod }) => {
    cgroups.put(docker.pid, IN_DOCKER);
    cgroups.put(pod.pid, IN_POD);
    const tracer = await Tracer.start(['--who', '--wall', '-t']);
    for (const peer of [outside, docker, pod]) await peer.ask('connect', loopback(server.port));
    assert.equal(await tracer.stop(), { code: 0, signal: null });
    const rows = [outside, docker, pod].map(({ pid }) =>
      tracer.rows().find(({ PID }) => PID === String(pid)),
    );
    assert.equal(
      rows.map((row) => [row?.UID, row?.PARENT, row?.WORKLOAD, row?.EXE]),
      [
        ['0', PARENT, rows[0]?.WORKLOAD, process.execPath], // the unit of this test
        ['0', PARENT, idOf('b').slice(0, 12), process.execPath],
        ['0', PARENT, `${POD}/${idOf('a').slice(0, 12)}`, process.execPath],
      ],
    );
    for (const row of rows) assert.match(row?.TIME ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  }),
);

const [v1] = needsRoot ? [] : hierarchies('cgroup').filter((path) => /\/(pids|freezer|systemd)$/.test(path));
const noV1 = v1 === undefined && 'no cgroup v1 hierarchy is mounted';
test.skipIf(noProbeHere || noV1, 'a container in a cgroup v1 hierarchy is found', () =>
  withBench(CgroupTree.at(v1 as string), async ({ cgroups, server, docker }) => {
    cgroups.put(docker.pid, `tsbpf-test-${process.pid}/docker/${idOf('b')}`);
    const tracer = await Tracer.start(['--who', '-p', String(docker.pid)]);
    await docker.ask('connect', loopback(server.port));
    await tracer.until('the line', () => tracer.rows().length > 0);
    await tracer.stop();
    assert.is(tracer.rows()[0]?.WORKLOAD, idOf('b').slice(0, 12));
  }),
);

/** The unit of a record; of a user's systemd, if it has one. */
const unitIn = ({ unit, user_unit = unit }: ConnectRecord) => user_unit;
/** The records of a peer, when there are `count`. */
async function recordsOf(
  tracer: Tracer,
  { pid }: Pick<Peer, 'pid'>,
  count: number,
): Promise<ConnectRecord[]> {
  const own = () => tracer.records().filter((record) => record.pid === pid);
  await tracer.until(`${count} lines of ${pid}`, () => own().length >= count);
  return own();
}

for (const [version, root] of [
  ['v2', undefined],
  ['v1', v1],
] as const)
  test.skipIf(
    noProbeHere || (version === 'v1' && noV1),
    `the unit of a service, of a user and after a move is shown, in cgroup ${version}`,
    () =>
      withBench(
        root === undefined ? CgroupTree.open() : CgroupTree.at(root),
        async ({ cgroups, server, outside, docker, pod }) => {
          const manager = `${SLICE}/user@1000.service`;
          cgroups.put(outside.pid, `${SLICE}/tsbpf\\x2dtest@1.service/worker`);
          cgroups.put(docker.pid, `${manager}/app.slice/app-tsbpf.scope`);
          const tracer = await Tracer.startJson(['--who'], server, '127.0.0.1');
          for (const peer of [outside, docker, pod]) await peer.ask('connect', loopback(server.port));
          cgroups.put(pod.pid, `${SLICE}/first.service`);
          await pod.ask('connect', loopback(server.port));
          // In v1 the cgroups are those at the time when the event is read.
          await recordsOf(tracer, pod, 2);
          cgroups.put(pod.pid, `${SLICE}/second.service`);
          await pod.ask('connect', loopback(server.port));
          const units = async (peer: Peer, count: number) =>
            (await recordsOf(tracer, peer, count)).map(unitIn);
          assert.equal(await units(outside, 1), ['tsbpf\\x2dtest@1.service']);
          assert.equal(await units(docker, 1), ['app-tsbpf.scope']);
          assert.equal((await units(pod, 3)).slice(1), ['first.service', 'second.service']);
          await tracer.stop();
        },
      ),
  );

test.skipIf(noProbeHere, 'executables of other users are shown after privileges are dropped', () =>
  withBench(CgroupTree.open(), async ({ server, pod }) => {
    const tracer = await Tracer.startJson(['--who'], server, '127.0.0.1');
    const status = readFileSync(`/proc/${tracer.pid}/status`, 'utf8');
    assert.is(BigInt(`0x${/^CapEff:\s*([0-9a-f]+)/m.exec(status)?.[1]}`) & (1n << 2n), 0n, 'DAC_READ_SEARCH');
    await pod.ask('setUser', USER);
    await pod.ask('connect', loopback(server.port));
    const [record] = await recordsOf(tracer, pod, 1);
    assert.equal(record && peerFacts(record), factsOf(pod));
    await tracer.stop();
  }),
);

test.skipIf(noProbeHere, 'a process that executes another program has another executable', async () => {
  const server = await Server.start('127.0.0.1');
  const tracer = await Tracer.startJson(['--who'], server, '127.0.0.1');
  const connect = `require('net').connect(${server.port}, '127.0.0.1', process.exit)`;
  const script = `exec 3<>/dev/tcp/127.0.0.1/${server.port}; sleep 0.5; exec ${process.execPath} -e "${connect}"`;
  const child = spawn('bash', ['-c', script], { stdio: 'ignore' });
  const records = await recordsOf(tracer, { pid: child.pid ?? 0 }, 2);
  assert.match(records[0]?.exe ?? '', /\/bash$/);
  assert.match(records[0]?.cmdline ?? '', /^bash -c exec 3<>/);
  if (here.btf !== undefined) assert.is(records[1]?.exe ?? process.execPath, process.execPath);
  await tracer.stop();
  await server.close();
});

test.skipIf(
  noProbeHere || sameOnEveryKernel,
  '--unit, --not-unit and --pod select callers and count the others',
  () =>
    withBench(CgroupTree.open(), async ({ cgroups, server, outside, docker, pod }) => {
      cgroups.put(docker.pid, `${SLICE}/tsbpf-a.service`);
      const filters = [
        ['--unit', 'tsbpf-a'],
        ['--unit', 'tsbpf-?.service', '--not-unit', 'tsbpf-b.service'],
        ['--unit', 'tsbpf-*', '--not-unit', 'tsbpf-a'],
        ['--pod', POD],
      ];
      const pids = [outside, docker, pod].map((peer) => peer.pid).join();
      const tracers = await Promise.all(filters.map((filter) => Tracer.start([...filter, '-p', pids])));
      cgroups.put(outside.pid, `${SLICE}/tsbpf-b.service`); // created while they trace
      cgroups.put(pod.pid, IN_POD);
      for (const peer of [outside, docker, pod]) await peer.ask('connect', loopback(server.port));
      for (const [i, expected] of [docker, docker, outside, pod].entries()) {
        const tracer = tracers[i] as Tracer;
        await tracer.until('the line', () => tracer.rows().length > 0);
        await tracer.stop();
        assert.equal(
          tracer.rows().map(({ PID }) => PID),
          [String(expected.pid)],
          filters[i]?.join(' '),
        );
        assert.match(tracer.stderr, /^tcpconnlat: 1 connect shown\n {2}2 not selected\n/m);
        assert.not.match(tracer.stdout, /WORKLOAD/);
      }
      const warned = tracers.map(
        ({ stderr }) => /^tcpconnlat: (--.*): no process matches now/m.exec(stderr)?.[1],
      );
      assert.equal(warned, [undefined, undefined, undefined, `--pod ${POD}`]);
    }),
);

/** Why a file system cannot be mounted in a mount namespace, or false. */
function noMounts(): string | false {
  try {
    execFileSync('unshare', ['-m', 'true']);
    return false;
  } catch {
    return 'unshare cannot create namespaces';
  }
}

test.skipIf(
  noProbeHere || sameOnEveryKernel || noMounts(),
  'pods and containers have the names in /var',
  () =>
    withBench(CgroupTree.open(), async ({ cgroups, server, outside, docker, pod }) => {
      const folder = mkdtempSync(join(tmpdir(), 'tsbpf-var-'));
      const dockerFolder = join(folder, 'lib/docker/containers', idOf('b'));
      mkdirSync(dockerFolder, { recursive: true });
      writeFileSync(join(dockerFolder, 'config.v2.json'), '{"Name":"/billing"}', { mode: 0o600 });
      mkdirSync(join(folder, 'log'));
      const under = ['unshare', '-m', 'sh', '-c', `mount --bind ${folder} /var && exec "$@"`, 'sh'];
      cgroups.put(docker.pid, IN_DOCKER);
      cgroups.put(pod.pid, IN_POD);
      const pids = [outside, docker, pod].map((peer) => peer.pid).join();
      const [all, shop] = await Promise.all([
        Tracer.start(['--who', '-p', pids], { under }),
        Tracer.start(['--namespace', 'shop', '--pod', 'cart-*', '-p', pids], { under }),
      ]);
      mkdirSync(join(folder, `log/pods/shop_cart-0_${POD}/app`), { recursive: true }); // the pod starts now
      for (const peer of [outside, docker, pod]) await peer.ask('connect', loopback(server.port));
      await all.until('all lines', () => all.rows().length === 3);
      await shop.until('a line', () => shop.rows().length === 1);
      await Promise.all([all.stop(), shop.stop()]);
      rmSync(folder, { recursive: true });
      const workloads = new Map(all.rows().map(({ PID, WORKLOAD }) => [PID, WORKLOAD]));
      assert.is(workloads.get(String(docker.pid)), 'billing');
      assert.is(workloads.get(String(pod.pid)), 'shop/cart-0/app');
      assert.equal(
        shop.rows().map(({ PID }) => PID),
        [String(pod.pid)],
      );
    }),
);

test.skipIf(
  noProbeHere || sameOnEveryKernel,
  'without these options a line has none of the fields',
  async () => {
    const server = await Server.start('127.0.0.1');
    const tracer = await Tracer.startJson([], server, '127.0.0.1');
    await tracer.stop();
    await server.close();
    for (const record of tracer.records()) assert.equal(Object.keys(record), fieldsShown({}));
  },
);

test.run();
