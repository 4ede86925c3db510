/**
 * The aggregation in the kernel, run for events with chosen facts: the rows of its tables agree with a model,
 * whatever the key is, and also if a table is full.
 */
import type { Static } from '@sinclair/typebox';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { perfEventArray } from '../../src/asm/events.ts';
import { array } from '../../src/asm/map.ts';
import { parseAddress } from '../../src/cli/address.ts';
import { type By, DEFAULT_BY, keyFields, parseBy } from '../../src/cli/aggregate/by.ts';
import { Latencies } from '../../src/cli/aggregate/latencies.ts';
import { type Entry, OTHER, rowsOf } from '../../src/cli/aggregate/rows.ts';
import type { Key, KeyPart, Row } from '../../src/cli/aggregate/snapshot.ts';
import { errnoName } from '../../src/loader/errno.ts';
import type { BpfMap } from '../../src/loader/map.ts';
import {
  type Aggregate,
  type AggregateOptions,
  aggregation,
  type Table,
} from '../../src/programs/tcpconnlat/aggregate.ts';
import {
  AF_INET,
  AF_INET6,
  eventOf,
  outcomeOf,
  TCP_CLOSE,
  TCP_ESTABLISHED,
} from '../../src/programs/tcpconnlat/events.ts';
import { propertySuite } from './property-runs.ts';
import { cannotRun, type Running, withProgram } from './run-program.ts';
import { here } from './tracer.ts';

const { test, cases } = propertySuite('live/aggregate', 160);

const families = { v4: true, v6: true };
const Event = eventOf(families, 'socket', { details: true, who: true, process: true });
const events = perfEventArray('events', Event);
const input = array('input', { value: Event });

/** What a connect of the tests has; everything else is the same for all. */
interface Connect {
  readonly latencyNs: number;
  readonly retransmits: number;
  readonly address: string;
  readonly port: number;
  readonly comm: string;
  readonly uid: number;
  readonly cgroup: bigint;
  readonly end: {
    readonly established: boolean;
    readonly error: number;
    readonly segmentsIn: number;
    readonly segmentsOut: number;
    readonly socketState: number;
    readonly exitCode: number;
    readonly localPort: number;
  };
}

function eventFor({ latencyNs, retransmits, address, port, comm, uid, cgroup, end }: Connect) {
  const bytes = parseAddress(address) as Uint8Array;
  const isV4 = bytes.length === 4;
  const none = { v4: new Uint8Array(4), v6: new Uint8Array(16) };
  return {
    attempt: {
      ...{ startNs: 1n, task: { tid: 8, pid: 7 }, comm, user: { uid, gid: 0 }, cgroup },
      process: { startNs: 0n, cgroups: cgroup << 8n, execs: 0n },
    },
    endNs: 1n + BigInt(latencyNs),
    latencyNs,
    ports: { remote: port, local: end.localPort },
    family: isV4 ? AF_INET : AF_INET6,
    v4: { remote: isV4 ? bytes : none.v4, local: none.v4 },
    v6: { remote: isV4 ? none.v6 : bytes, local: none.v6 },
    ended: { state: end.established ? TCP_ESTABLISHED : TCP_CLOSE, retransmits },
    cause: {
      ...{ error: end.error, softError: 0, segmentsIn: end.segmentsIn, segmentsOut: end.segmentsOut },
      ...{ socketState: end.socketState, exitCode: end.exitCode },
    },
  } satisfies Static<typeof Event>;
}

/** The result that single connects show. */
function resultOf(connect: Connect): string {
  const outcome = outcomeOf(eventFor(connect));
  return outcome?.result === 'error' ? errnoName(outcome.errno ?? 0) : (outcome?.result ?? '');
}

const NETWORKS: Readonly<Record<string, string>> = {
  '192.0.2.1': '192.0.2.0/23',
  '192.0.3.200': '192.0.2.0/23',
  '::ffff:192.0.3.200': '192.0.2.0/23',
  '2001:db8:1:2:ffff::1': '2001:db8:1::/49',
  '2001:db8:1:8000::1': '2001:db8:1:8000::/49',
  '::1': '::/49',
};

/** The text of each part, without the code under test. */
const PARTS: { readonly [P in KeyPart]?: (connect: Connect) => string } = {
  dest: ({ address }) => address.replace(/^::ffff:/, ''),
  net: ({ address }) => NETWORKS[address] as string,
  port: ({ port }) => String(port),
  comm: ({ comm }) => comm,
  unit: ({ cgroup }) => `unit-${cgroup}.service`,
  user: ({ uid }) => `user-${uid}`,
};

interface Result {
  readonly rows: readonly Row[];
  readonly overflowed: number;
  readonly missed: { readonly negative: number; readonly unplaced: number } | undefined;
}

/** Runs the program for each connect, and returns the rows. */
function aggregated(by: By, connects: readonly Connect[], options: Partial<AggregateOptions> = {}): Result {
  return withAggregate(by, options, (add, map, aggregate, cgroup) => {
    for (const connect of connects) add(connect);
    const table = map(aggregate.tables[0]) as BpfMap<Table>;
    const { rows, overflowed } = rowsOf(table.entries() as Iterable<Entry>, {
      by,
      knowsCauses: true,
      userName: (uid) => `user-${uid}`,
      ...(cgroup && {
        workload: ({ cgroup: id, cgroups, pid }) => {
          assert.equal({ cgroups, pid }, { cgroups: id << 8n, pid: 7 });
          return { unit: `unit-${id}.service` };
        },
      }),
    });
    return { rows, overflowed, missed: map(aggregate.missed).lookup(0) };
  });
}

/** Calls `use` with a function that runs the program for a connect. */
function withAggregate<T>(
  by: By,
  options: Partial<AggregateOptions>,
  use: (
    add: (connect: Connect) => void,
    map: Running['map'],
    aggregate: Aggregate,
    cgroup: 'any' | undefined,
  ) => T,
): T {
  const cgroup = by.parts.includes('unit') ? 'any' : undefined;
  const fields = { ...keyFields(by), ...(cgroup && ({ cgroup } as const)) };
  const compareExchange = noExchange === false;
  const aggregate = aggregation({ fields, maxKeys: 1024, compareExchange, ...options })({ Event, families });
  return withProgram(
    [input, ...aggregate.maps, events],
    (b) => {
      b.keep(b.context);
      const event = b.stack(Event);
      event.set(b.global(input));
      aggregate.add(b, event, events);
    },
    ({ run, map }) => {
      const add = (connect: Connect) => {
        map(input).update(0, eventFor(connect));
        run();
      };
      return use(add, map, aggregate, cgroup);
    },
  );
}

/** The connects by key and result, with everything that a cell has. */
function cellsOf(rows: readonly Row[]): Record<string, unknown> {
  const cells: [string, unknown][] = rows.flatMap(({ key, results }) =>
    [...results].map(([result, { latencies, retransmits }]): [string, unknown] => [
      `${JSON.stringify(key)} ${result}`,
      { ...latencies, slots: [...latencies.slots], retransmits },
    ]),
  );
  return Object.fromEntries(cells.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** The rows by the model. */
function expected(by: By, connects: readonly Connect[]): readonly Row[] {
  const rows = new Map<
    string,
    { key: Key; results: Map<string, { latencies: Latencies; retransmits: number }> }
  >();
  for (const connect of connects) {
    const key = Object.fromEntries(by.parts.map((part) => [part, PARTS[part]?.(connect)])) as Key;
    const id = JSON.stringify(key);
    const row = rows.get(id) ?? { key, results: new Map() };
    rows.set(id, row);
    const result = resultOf(connect);
    const cell = row.results.get(result) ?? { latencies: new Latencies(), retransmits: 0 };
    row.results.set(result, cell);
    cell.latencies.record(connect.latencyNs);
    cell.retransmits += connect.retransmits;
  }
  return [...rows.values()];
}

const end = fc.record({
  established: fc.boolean(),
  error: fc.constantFrom(0, 0, 0, 111, 111, 110, 113, 101, 103, 99, 22, 1234),
  segmentsIn: fc.constantFrom(0, 1, 70_000),
  segmentsOut: fc.constantFrom(0, 1),
  socketState: fc.constantFrom(0, 1, 2, 3),
  exitCode: fc.constantFrom(0, 9, 256, 0x8b),
  localPort: fc.constantFrom(0, 40_000),
});

const connect: fc.Arbitrary<Connect> = fc.record({
  latencyNs: fc.oneof(fc.integer({ min: 0, max: 3_000_000 }), fc.integer({ min: 0, max: 200e9 })),
  retransmits: fc.nat({ max: 6 }),
  address: fc.constantFrom(...Object.keys(NETWORKS)),
  port: fc.constantFrom(0, 1, 443, 65_535),
  comm: fc.constantFrom('', 'curl', 'fifteen-letters'),
  uid: fc.constantFrom(0, 1000, 4_294_967_294),
  cgroup: fc.constantFrom(1n, 2n, 2n ** 40n),
  end,
});

const BYS = [
  ...[
    'all',
    'dest,port',
    'net/23/49',
    'dest,net/23/49',
    'port',
    'comm,user',
    'unit',
    'user,unit,port,net/23/49,comm',
  ],
].map((text) => [text, parseBy(text) as By] as const);

/** Why programs with compare-and-exchange do not load, or false. */
const noExchange =
  here.features.support({ instruction: 'atomic.cmpxchg' }).answer === 'no' &&
  'this kernel has no atomic compare-and-exchange (Linux 5.12)';

for (const compareExchange of [true, false])
  for (const [text, by] of BYS)
    test.skipIf(
      cannotRun || (compareExchange && noExchange),
      `--by ${text}${compareExchange ? '' : ', without compare-and-exchange'}: rows agree with a model`,
      () => {
        const check = (connects: readonly Connect[]) => {
          const { rows, overflowed, missed } = aggregated(by, connects, { compareExchange });
          assert.equal(cellsOf(rows), cellsOf(expected(by, connects)));
          assert.equal({ overflowed, missed }, { overflowed: 0, missed: { negative: 0, unplaced: 0 } });
        };
        fc.assert(fc.property(fc.array(connect, { maxLength: 60 }), check), {
          numRuns: Math.max(2, Math.ceil(cases / BYS.length)),
        });
      },
    );

const ESTABLISHED = {
  ...{ established: true, error: 0, segmentsIn: 1, segmentsOut: 1, socketState: 0, exitCode: 0 },
  localPort: 40_000,
};
const REFUSED = { ...ESTABLISHED, established: false, error: 111 };
const base: Connect = {
  ...{ latencyNs: 1000, retransmits: 1, address: '192.0.2.1', port: 443, comm: 'curl', uid: 0, cgroup: 1n },
  end: ESTABLISHED,
};

test.skipIf(cannotRun, 'a latency below zero is counted apart', () => {
  const { rows, missed } = aggregated(DEFAULT_BY, [{ ...base, latencyNs: -1 }, base]);
  assert.is(rows[0]?.results.get('established')?.latencies.count, 1);
  assert.equal(missed, { negative: 1, unplaced: 0 });
});

test.skipIf(cannotRun, 'the slowest connects are sent, and the first failed one of each key', () =>
  withAggregate(DEFAULT_BY, {}, (add, map, { samples }) => {
    const limits = { thresholdNs: 5000, limit: 2, sent: 0, failedLimit: 3, failedSent: 0 };
    map(samples).update(0, limits);
    const sent = () => {
      const { sent, failedSent } = map(samples).lookup(0) ?? limits;
      return [sent, failedSent];
    };
    const fast = { ...base, end: REFUSED };
    add(base);
    assert.equal(sent(), [0, 0], 'it is fast and established');
    for (const port of [1, 2, 2, 1]) add({ ...fast, port });
    assert.equal(sent(), [0, 2]);
    add({ ...fast, port: 1, end: { ...REFUSED, error: 110 } });
    add({ ...fast, port: 3 });
    assert.equal(sent(), [0, 3], 'another result is another key; then the limit is reached');
    for (const latencyNs of [4999, 5000, 6000, 7000]) add({ ...base, latencyNs });
    assert.equal(sent(), [2, 3]);
  }),
);

test.skipIf(cannotRun, 'keys without room are counted as other, by port and result, then by result', () => {
  const maxKeys = 64;
  const connects = Array.from(
    { length: 5000 },
    (_, i): Connect => ({
      ...base,
      address: `10.0.${i >> 8}.${i & 0xff}`,
      port: i % 40,
      latencyNs: 1000 + i,
      end: i % 3 === 0 ? REFUSED : i % 500 === 1 ? { ...REFUSED, error: 22 } : ESTABLISHED,
    }),
  );
  const { rows, overflowed, missed } = aggregated(DEFAULT_BY, connects, { maxKeys });
  assert.equal(missed, { negative: 0, unplaced: 0 });
  const all = new Latencies();
  const [established, refused] = [new Latencies(), new Latencies()];
  let retransmits = 0;
  for (const { results } of rows)
    for (const [result, cell] of results) {
      all.add(cell.latencies);
      retransmits += cell.retransmits;
      if (result === 'established') established.add(cell.latencies);
      if (result === 'refused') refused.add(cell.latencies);
    }
  const model = new Latencies();
  for (const { latencyNs } of connects) model.record(latencyNs);
  assert.equal(
    { ...all, slots: [...all.slots] },
    { ...model, slots: [...model.slots] },
    'no connect is lost',
  );
  assert.is(retransmits, connects.length);
  const count = (of: Connect['end']) => connects.filter(({ end }) => end === of).length;
  assert.is(established.count, count(ESTABLISHED), 'the result is kept');
  assert.is(refused.count, count(REFUSED));
  const others = rows.filter(({ key }) => key.dest === OTHER);
  const sum = others
    .flatMap(({ results }) => [...results.values()])
    .reduce((s, c) => s + c.latencies.count, 0);
  assert.is(overflowed, sum);
  assert.ok(overflowed > connects.length / 2, String(overflowed));
  assert.ok(rows.length <= maxKeys);
  assert.ok(
    others.some(({ key }) => key.port === OTHER),
    'also the keys by port have no room',
  );
});

test.run();
