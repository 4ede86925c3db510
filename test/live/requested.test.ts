/**
 * `--requested`: the address that a program asked for, while cgroup programs rewrite it, with every probe.
 */
import * as assert from 'uvu/assert';
import { readArguments } from '../../src/cli/arguments.ts';
import type { ConnectRecord } from '../../src/cli/record.ts';
import { isSelected } from '../../src/cli/replay/selection.ts';
import { Session } from '../../src/loader/session.ts';
import { isFunctionProbe, type ProbeType } from '../../src/programs/tcpconnlat/options.ts';
import { tcpconnlat } from '../../src/programs/tcpconnlat.ts';
import { needsRoot, sameOnEveryKernel, suite } from '../harness.ts';
import { ConnectPrograms } from './cgroup-connect.ts';
import { CgroupTree } from './cgroup-tree.ts';
import { FullListener, IPPROTO_MPTCP, loopback, noIPv6, noMptcp, Peer, Server, until } from './connects.ts';
import { noIoUring } from './io-uring.ts';
import { isReleased } from './release.ts';
import type { Kind } from './sockets.ts';
import {
  here,
  isTestedLess,
  ofProcess,
  PROBE_TYPES,
  sameForProbe,
  skipReason,
  Tracer,
  targetFor,
} from './tracer.ts';
import { type Watch, watch } from './watch.ts';

const test = suite('live/requested', { seconds: 120 });

const SERVICE = '10.96.0.10';
const SERVICE_PORT = 53;
const SERVICE6 = 'fd00:96::10';
const DENIED = '10.96.0.11';
/** A service whose backend never answers. */
const SILENT = '10.96.0.12';
const FEW_PAGES = 16;

interface Bench {
  /** In the cgroup whose connects are rewritten. */
  readonly pod: Peer;
  readonly outside: Peer;
  /** The services lead to it. */
  readonly server: Server;
  readonly full: FullListener;
  readonly cgroups: CgroupTree;
  readonly programs: ConnectPrograms;
}
let bench: Bench;

test.before(async () => {
  if (needsRoot) return;
  const [pod, outside] = (await Promise.all([Peer.start(), Peer.start()])) as [Peer, Peer];
  const server = await Server.start(noIPv6 ? '0.0.0.0' : '::');
  const { port } = server;
  const full = await FullListener.start(outside);
  const cgroups = CgroupTree.open();
  const programs = new ConnectPrograms(here, cgroups.put(pod.pid, `tsbpf-requested-${process.pid}`), [
    { from: SERVICE, to: { address: '127.0.0.1', port } },
    { from: SERVICE6, to: { address: '::1', port } },
    { from: `::ffff:${SERVICE}`, to: { address: '::ffff:127.0.0.1', port } },
    { from: DENIED },
    { from: SILENT, to: { address: '127.0.0.1', port: full.port } },
  ]);
  bench = { pod, outside, server, full, cgroups, programs };
});

test.after(async () => {
  if (needsRoot) return;
  const { pod, outside, server, cgroups, programs } = bench;
  programs.close();
  await Promise.all([pod.stop(), outside.stop(), server.close()]);
  await cgroups.closeWhenEmpty();
});

/** Connects in the pod: the address, the kind, and the address of the socket. */
function connects(): [address: string, kind: Kind, daddr: string][] {
  return [
    [SERVICE, {}, '127.0.0.1'],
    [SERVICE, { nonBlocking: true }, '127.0.0.1'],
    [SERVICE, { bound: false, source: loopback(0) }, '127.0.0.1'],
    ...(noMptcp ? [] : [[SERVICE, { protocol: IPPROTO_MPTCP }, '127.0.0.1'] as [string, Kind, string]]),
    ...(noIPv6
      ? []
      : ([
          [SERVICE6, {}, '::1'],
          [`::ffff:${SERVICE}`, {}, '::ffff:127.0.0.1'],
        ] as [string, Kind, string][])),
  ];
}

const summaryOf = ({ daddr, dport, requested_addr, requested_port }: ConnectRecord) => ({
  daddr,
  dport,
  requested_addr,
  requested_port,
});

for (const probe of PROBE_TYPES)
  for (const outcome of [undefined, 'all'] as const) {
    const mode = outcome === undefined ? '' : ' with outcomes';
    test.skipIf(
      outcome === undefined ? skipReason(probe) : sameForProbe(probe),
      `${probe} shows the requested address of rewritten connects${mode}`,
      async () => {
        const { pod, server } = bench;
        const seen = watch({ probe, outcome, requested: true, filter: ofProcess(pod.pid) });
        try {
          for (const [address, kind] of connects()) {
            const { error } = await pod.ask('connect', loopback(SERVICE_PORT, address), kind);
            assert.ok(['', 'EINPROGRESS'].includes(error), `${address}: ${error}`);
          }
          // Not rewritten, and rewritten by the kernel itself.
          await pod.ask('connect', loopback(server.port));
          await pod.ask('connect', loopback(server.port, '0.0.0.0'));
          await until('all records', () => seen.records.length >= connects().length + 2);
          seen.detach();
        } finally {
          seen.close();
        }
        const { port } = server;
        assert.equal(seen.records.map(summaryOf), [
          ...connects().map(([address, , daddr]) => ({
            ...{ daddr, dport: port },
            ...{ requested_addr: address, requested_port: SERVICE_PORT },
          })),
          { daddr: '127.0.0.1', dport: port, requested_addr: '127.0.0.1', requested_port: port },
          { daddr: '127.0.0.1', dport: port, requested_addr: '0.0.0.0', requested_port: port },
        ]);
      },
    );
  }

for (const probe of PROBE_TYPES)
  test.skipIf(
    skipReason(probe),
    `${probe}: a denied connect and one of another kind leave nothing to the next connect`,
    async () => {
      const { pod, outside, server } = bench;
      const tool = tcpconnlat({ probe, requested: true }, targetFor(probe));
      const records: (string | undefined)[] = [];
      const session = Session.open(tool, {
        kernel: here,
        onEvent({ attempt: { task, requested } }) {
          if (task.pid === pod.pid) records.push(requested?.address.subarray(12).join('.'));
        },
      });
      try {
        const before = tool.maps.find(({ name }) => name === 'requests');
        assert.is((await pod.ask('connect', loopback(SERVICE_PORT, DENIED))).error, 'EPERM');
        assert.is((await pod.ask('connect', loopback(9, '127.0.0.9'), { type: 'dgram' })).error, '');
        await outside.ask('connect', loopback(server.port));
        if (before) assert.equal([...session.map(before).keys()], [], 'nothing is left');
        await pod.ask('connect', loopback(SERVICE_PORT, SERVICE));
        if (before) assert.equal([...session.map(before).keys()], [], 'nothing is left after a connect');
        session.detach();
      } finally {
        session.close();
      }
      assert.equal(records, [SERVICE]);
    },
  );

/** Why there are no workers of io_uring with the PID of their program, or false. */
const noWorkers = !isReleased('5.12') && 'before Linux 5.12, workers of io_uring are kernel threads';
const OTHER_CALLS = {
  sendto: false,
  io_uring: noIoUring,
  'io_uring worker': noIoUring || noWorkers,
} as const;

for (const probe of PROBE_TYPES)
  for (const [by, reason] of Object.entries(OTHER_CALLS))
    test.skipIf(
      skipReason(probe) || reason,
      `${probe}: the requested address of a connect by ${by} is shown only at functions`,
      async () => {
        const { pod, server } = bench;
        const seen = watch({ probe, requested: true, filter: ofProcess(pod.pid) });
        try {
          const kind = { by: by as Kind['by'] };
          const { error, fd } = await pod.ask('connect', loopback(SERVICE_PORT, SERVICE), kind);
          assert.is(error, '');
          await until('the record', () => seen.records.length > 0);
          await pod.ask('close', fd);
          seen.detach();
        } finally {
          seen.close();
        }
        const requested = isFunctionProbe(probe)
          ? { requested_addr: SERVICE, requested_port: SERVICE_PORT }
          : { requested_addr: undefined, requested_port: undefined };
        assert.equal(seen.records.map(summaryOf), [{ daddr: '127.0.0.1', dport: server.port, ...requested }]);
        if (by === 'io_uring worker') assert.match(seen.records[0]?.comm ?? '', /^iou-wrk-\d+$/);
      },
    );

/** A filter, and the connects that it selects: rewritten (r), direct (d), outside of the cgroup (o). */
type FilterCase = readonly [args: readonly string[], shown: string];
const NO_FILTER: FilterCase = [[], 'rdo'];
const FILTERS = (port: number): FilterCase[] => [
  [['--to', SERVICE], 'r'],
  [['--to', '10.96.0.0/12'], 'r'],
  [['--to', '127.0.0.1'], 'rdo'],
  [['--to', `192.0.2.1,${SERVICE}`], 'r'],
  [['--to', '192.0.2.0/24'], ''],
  [['--not-to', SERVICE], 'do'],
  [['--not-to', '127.0.0.1'], ''],
  [['--not-to', '192.0.2.1'], 'rdo'],
  [['--to', '0.0.0.0/0', '--not-to', SERVICE], 'do'],
  [['--to', '10.0.0.0/8,127.0.0.0/8', '--not-to', '10.96.0.0/16,192.0.2.1'], 'do'],
  [['--to', '10.0.0.0/8', '--not-to', '192.0.2.1'], 'r'],
  [['--to', '10.0.0.0/8', '--not-to', '127.0.0.0/8'], ''],
  [['--port', String(SERVICE_PORT)], 'r'],
  [['--port', String(port)], 'rdo'],
  [['--port', `1-52,54`], ''],
  [['--not-port', String(SERVICE_PORT)], 'do'],
  [['--not-port', String(port)], ''],
  [['--port', '1-65535', '--not-port', '50-60'], 'do'],
  [['--port', '1-100', '--not-port', '54'], 'r'],
  [['--port', '1-100', '--not-port', String(port)], ''],
  [['--to', SERVICE, '--port', String(SERVICE_PORT), '-4'], 'r'],
  [['--to', SERVICE, '--from', '127.0.0.0/8', '--comm', 'node', '-4'], 'r'],
];

/** The most watches at once: the kernel allows 38 fentry and fexit programs for a function. */
const MOST_WATCHES = 12;

for (const probe of PROBE_TYPES)
  test.skipIf(skipReason(probe), `${probe}: filters apply to both addresses, as in a replay`, async () => {
    const filters = FILTERS(bench.server.port).filter((_, i) => i % 2 === 0 || !isTestedLess(probe));
    while (filters.length > 0) await checkFilters(probe, [NO_FILTER, ...filters.splice(0, MOST_WATCHES - 1)]);
  });

async function checkFilters(probe: ProbeType, filters: readonly FilterCase[]): Promise<void> {
  const { pod, outside, server } = bench;
  const cases = filters.map(([args, shown]) => ({ args, shown, options: optionsOf(args) }));
  const all: Watch[] = [];
  try {
    for (const { options } of cases) all.push(watchWith(probe, options));
    await pod.ask('connect', loopback(SERVICE_PORT, SERVICE));
    await pod.ask('connect', loopback(server.port));
    await outside.ask('connect', loopback(server.port));
    for (const each of all) each.detach();
  } finally {
    for (const each of all) each.close();
  }
  const nameOf = ({ pid, requested_addr }: ConnectRecord) => {
    if (pid !== pod.pid) return pid === outside.pid ? 'o' : '';
    return requested_addr === SERVICE ? 'r' : 'd';
  };
  const names = (records: readonly ConnectRecord[]) => records.map(nameOf).join('');
  const [everything] = all as [Watch];
  for (const [i, { args, shown, options }] of cases.entries()) {
    assert.is(names(all[i]?.records ?? []), shown, args.join(' '));
    const replayed = everything.records.filter((record) => isSelected(options, record));
    assert.is(names(replayed), shown, `replay ${args.join(' ')}`);
  }
}

function optionsOf(args: readonly string[]) {
  const request = readArguments(['--requested', ...args], '');
  if (request.action !== 'trace') throw new Error(JSON.stringify(request));
  return request.options;
}

function watchWith(probe: ProbeType, { filter, family }: ReturnType<typeof optionsOf>): Watch {
  const { netns: _, ...rest } = filter;
  return watch({ probe, requested: true, filter: rest, family }, { pagesPerCpu: FEW_PAGES });
}

test.skipIf(
  needsRoot || sameOnEveryKernel,
  'the command shows the service with --to and --requested',
  async () => {
    const { pod, server } = bench;
    const tracer = await Tracer.start(['--requested', '--to', SERVICE]);
    await pod.ask('connect', loopback(SERVICE_PORT, SERVICE));
    await pod.ask('connect', loopback(server.port));
    await tracer.until('the line', () => tracer.rows().length > 0);
    await tracer.stop();
    assert.equal(
      tracer.rows().map(({ PID, DADDR, DPORT, REQUESTED }) => [PID, DADDR, DPORT, REQUESTED]),
      [[String(pod.pid), '127.0.0.1', String(server.port), `${SERVICE}:${SERVICE_PORT}`]],
    );
  },
);

for (const probe of PROBE_TYPES)
  test.skipIf(
    skipReason(probe),
    `${probe}: a connect that waits is shown with the requested address`,
    async () => {
      const { pod, full } = bench;
      const tracer = await Tracer.start([
        ...['--probe', probe, '-p', String(pod.pid), '--requested', '--pending-after', '0.1'],
      ]);
      try {
        const { fd } = await pod.ask('connect', loopback(SERVICE_PORT, SILENT), { nonBlocking: true });
        await tracer.until('the line', () => tracer.rows().length > 0);
        await pod.ask('close', fd);
      } finally {
        await tracer.stop();
      }
      assert.equal(
        tracer.rows().map(({ DADDR, DPORT, REQUESTED, RESULT }) => [DADDR, DPORT, REQUESTED, RESULT]),
        [['127.0.0.1', String(full.port), `${SILENT}:${SERVICE_PORT}`, 'pending']],
      );
    },
  );

test.run();
