/**
 * The user, container, pod and time of day of a connect, with every available probe at the same time; and as
 * the command prints them, also for processes that have exited.
 */
import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { containerLookup } from '../../src/cli/record/containers.ts';
import { wallClock } from '../../src/cli/record/wall-clock.ts';
import { type ConnectRecord, fieldsShown } from '../../src/cli/record.ts';
import { needsRoot, sameOnEveryKernel, suite } from '../harness.ts';
import { CgroupTree, hierarchies } from './cgroup-tree.ts';
import { loopback, Peer, Server, until } from './connects.ts';
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
    await until('the cgroups to be empty', () => {
      try {
        cgroups.close();
        return true;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error;
        return false;
      }
    });
  }
}

/** A record's user, container and pod. */
const who = ({ uid, container, pod }: ConnectRecord) => ({ uid, container, pod });
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
      containers: containerLookup(here, assert.unreachable),
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
      rows.map((row) => [row?.UID, row?.CONTAINER, row?.POD]),
      [
        ['0', '-', '-'],
        ['0', idOf('b').slice(0, 12), '-'],
        ['0', idOf('a').slice(0, 12), POD],
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
    assert.is(tracer.rows()[0]?.CONTAINER, idOf('b').slice(0, 12));
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
