/** What a report has of its connects, in bounded memory. */
import * as fc from 'fast-check';
import * as assert from 'uvu/assert';
import { parseAddress } from '../../../src/cli/address.ts';
import { Latencies } from '../../../src/cli/aggregate/latencies.ts';
import type { ConnectRecord, ConnectRow } from '../../../src/cli/record.ts';
import { Collector } from '../../../src/cli/report/collector.ts';
import type { ReportData } from '../../../src/cli/report/data.ts';
import { Destinations } from '../../../src/cli/report/destinations.ts';
import { Latest, Ranking } from '../../../src/cli/report/ranking.ts';
import { suite } from '../../harness.ts';
import { ESCAPED, HOSTILE } from '../../hostile.ts';

const test = suite('cli/report/collector', { seconds: 30 });

const BEGIN = Date.UTC(2026, 10, 29);
const RECORD: ConnectRecord = {
  ...{ time_s: 0, pid: 7, comm: 'curl', ip: 4, saddr: '10.0.0.7', lport: 50_000 },
  ...{ daddr: '192.0.2.1', dport: 443, lat_ms: 1, result: 'established', retransmits: 0 },
};

function collect(records: readonly Partial<ConnectRecord>[], destinations?: Destinations): Collector {
  const collector = new Collector(destinations);
  for (const [i, each] of records.entries()) collector.addRecord({ ...RECORD, ...each }, BEGIN + i);
  return collector;
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, each) => total + each, 0);
const connectsIn = ({ heat }: ReportData) => sum(heat.flatMap(([, ...counts]) => counts));

test('every connect is in each part of a report once', () => {
  const record = fc.record({
    daddr: fc.constantFrom('192.0.2.1', '192.0.2.2', '2001:db8::1'),
    dport: fc.constantFrom(80, 443),
    lat_ms: fc.double({ min: 0, max: 200_000, noNaN: true }),
    result: fc.constantFrom('established', 'refused', 'rejected', 'timed-out', 'EPERM', undefined),
    retransmits: fc.nat(6),
  });
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 300 }), (records) => {
      const collector = collect(records, new Destinations(3));
      const [data, totals] = [collector.data(), collector.totals()];
      const isAnswered = ({ result = 'established' }: Partial<ConnectRecord>) =>
        ['established', 'refused', 'rejected'].includes(result);
      const rows = [...data.destinations, ...(data.otherDestinations ? [data.otherDestinations] : [])];
      const all = records.length;
      assert.is(totals.connects, all);
      assert.is(sum(rows.map(({ connects }) => connects)), all);
      assert.is(sum(data.results.flatMap(({ counts }) => counts)), all);
      assert.is(sum(totals.results.map(([, count]) => count)), all);
      assert.is(connectsIn(data), records.filter(isAnswered).length);
      const isFailed = ({ result = 'established' }: Partial<ConnectRecord>) => result !== 'established';
      const failed = records.filter(isFailed).length;
      assert.is(sum(rows.flatMap(({ failures }) => Object.values(failures))), failed);
      assert.is(data.failed.length, Math.min(100, failed));
      const retransmits = sum(records.map((each) => each.retransmits));
      assert.is(totals.retransmits, retransmits);
      assert.is(sum(rows.map((row) => row.retransmits)), retransmits);
      const slowest = records.filter(isAnswered).map(({ lat_ms }) => Math.round(lat_ms * 1e6));
      assert.equal(
        data.slowest.map(({ latency }) => Math.round(latency * 1e6)),
        slowest.sort((a, b) => b - a).slice(0, 100),
      );
    }),
  );
});

test('percentiles are those of the shared histogram', () => {
  const collector = collect(Array.from({ length: 1000 }, (_, i) => ({ lat_ms: 0.1 * (i + 1) })));
  const latencies = new Latencies();
  for (let i = 0; i < 1000; i++) latencies.record(Math.round(0.1 * (i + 1) * 1e6));
  const { p50, p90, p99, max } = collector.totals();
  assert.equal(
    [p50, p90, p99, max],
    [0.5, 0.9, 0.99, 1].map((q) => Number(((latencies.quantileNs(q) ?? 0) / 1e6).toPrecision(4))),
  );
});

test('a row adds what its record adds', () => {
  const bytes = (address: string) => parseAddress(address) as Uint8Array;
  for (const remote of ['192.0.2.1', '2001:db8::1', '::ffff:192.0.2.1']) {
    const row: ConnectRow = {
      ...{
        timeNs: () => 5e9,
        time: undefined,
        pid: 7,
        comm: 'curl',
        uid: 33,
        caller: { unit: 'cron.service' },
      },
      ...{ ip: 6, local: bytes('10.0.0.7'), lport: 50_000, remote: bytes(remote), dport: 443 },
      ...{ requested: undefined, requestedPort: undefined, latencyNs: 1_000_000, retransmits: 1 },
      ...{ result: 'refused', errno: 'ECONNREFUSED' },
    };
    const [ofRow, ofRecord] = [new Collector(), new Collector()];
    ofRow.addRow(row, BEGIN);
    const more = { daddr: remote, result: 'refused', retransmits: 1, uid: 33, unit: 'cron.service' };
    ofRecord.addRecord({ ...RECORD, ...more }, BEGIN);
    assert.equal(ofRow.data(), ofRecord.data());
    assert.is(ofRow.data().destinations[0]?.address, remote);
  }
});

test('destinations beyond the limit are counted together, and rows stay complete', () => {
  const rounds = [0, 1].flatMap(() => Array.from({ length: 5 }, (_, port) => ({ dport: port })));
  const { destinations, otherDestinations } = collect(rounds, new Destinations(3)).data();
  assert.equal(
    destinations.map(({ port, connects }) => [port, connects]),
    [
      [0, 2],
      [1, 2],
      [2, 2],
    ],
  );
  assert.is(otherDestinations?.connects, 4);
});

test('a recording with many names of errors has a bounded number of results', () => {
  const { results, failed } = collect(
    Array.from({ length: 5000 }, (_, i) => ({ result: `errno ${i}` })),
  ).data();
  assert.ok(results.length <= 25, `${results.length} results`);
  assert.is(results[0]?.name, 'other');
  assert.is(failed.length, 100);
  assert.is(failed[0]?.result, 'errno 4999');
});

test('memory does not grow with the number of connects', () => {
  const collector = new Collector();
  const add = (count: number) => {
    for (let i = 0; i < count; i++) {
      const more = { dport: i & 0xffff, lat_ms: i % 1000, result: i % 7 ? 'established' : `errno ${i}` };
      collector.addRecord({ ...RECORD, ...more }, BEGIN + i * 1000);
    }
  };
  add(70_000);
  const size = JSON.stringify(collector.data()).length;
  add(140_000);
  const grown = JSON.stringify(collector.data()).length;
  assert.ok(grown < size * 1.5, `${size} -> ${grown} characters`);
});

test('foreign text is short and printable', () => {
  const exe = `/${'x'.repeat(5000)}`;
  const { slowest } = collect([{ comm: HOSTILE, exe, unit: 'a.service' }]).data();
  assert.is(slowest[0]?.comm, ESCAPED);
  assert.is(slowest[0]?.exe?.length, 200);
});

test('a workload is a pod, a container or a unit', () => {
  const workload = (more: Partial<ConnectRecord>) => collect([more]).data().slowest[0]?.workload;
  assert.is(workload({}), undefined);
  assert.is(workload({ unit: 'cron.service' }), 'cron.service');
  assert.is(workload({ unit: 'user@1.service', user_unit: 'app.service' }), 'app.service');
  assert.is(workload({ unit: 'docker.service', container: 'a'.repeat(64) }), 'a'.repeat(12));
  assert.is(workload({ container: 'a'.repeat(64), container_name: 'web' }), 'web');
  assert.is(workload({ pod: 'uid', pod_name: 'cart', pod_namespace: 'shop' }), 'shop/cart');
});

test('a ranking keeps the largest, in order, the earlier of equal ones', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 9 })),
      fc.integer({ min: 1, max: 5 }),
      (numbers, limit) => {
        const ranking = new Ranking<number>(limit);
        for (const [i, number] of numbers.entries()) ranking.add(number, i);
        const expected = [...numbers.entries()].sort(([i, a], [j, b]) => b - a || i - j).slice(0, limit);
        assert.equal(
          ranking.things(),
          expected.map(([i]) => i),
        );
      },
    ),
  );
});

test('the latest things are kept, the last one first', () => {
  fc.assert(
    fc.property(fc.nat(20), fc.integer({ min: 1, max: 5 }), (count, limit) => {
      const latest = new Latest<number>(limit);
      for (let i = 0; i < count; i++) latest.add(i);
      assert.equal(latest.things(), Array.from({ length: count }, (_, i) => count - 1 - i).slice(0, limit));
    }),
  );
});

test.run();
