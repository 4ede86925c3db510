import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { type InFlight, listInFlight, watchInFlight } from '../../../src/cli/trace/in-flight.ts';
import type { ConnectEvent } from '../../../src/programs/tcpconnlat/events.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/trace/in-flight');

const MS = 1_000_000;
const fail = (error: unknown) => assert.unreachable(String(error));

function connect(startNs: bigint, nowNs: bigint): ConnectEvent {
  const attempt = { startNs, task: { tid: 1, pid: 1 }, comm: 'curl' };
  return { attempt, latencyNs: Number(nowNs - startNs), ports: { remote: 443, local: 0 }, family: 2 };
}

/** A table of connects by their start, in descending order, with a clock. */
class Table implements InFlight {
  starts: bigint[] = [];
  readonly decoded: bigint[] = [];
  reads = 0;
  now(): bigint {
    return process.hrtime.bigint();
  }
  *read(nowNs: bigint, matches: (startNs: bigint) => boolean) {
    this.reads += 1;
    for (const startNs of this.starts.toReversed())
      if (matches(startNs)) {
        this.decoded.push(startNs);
        yield connect(startNs, nowNs);
      }
  }
}

test('a connect is shown once, when it has waited, and the earliest first', async () => {
  const table = new Table();
  const shown: ConnectEvent[] = [];
  const start = table.now();
  table.starts = [start, start + 1n, start + BigInt(250 * MS)];
  const watch = watchInFlight(table, 300 * MS, (each) => shown.push(each), fail);
  await sleep(200);
  assert.is(table.reads, 0, 'none can be due yet');
  await sleep(800);
  watch.close();
  const { reads } = table;
  assert.equal(
    shown.map(({ attempt }) => attempt.startNs),
    table.starts,
  );
  for (const { latencyNs } of shown) assert.ok(latencyNs >= 300 * MS, `${latencyNs}`);
  assert.equal(table.decoded.length, 3, 'only due connects are decoded');
  assert.ok(reads <= 9, `${reads} readings`);
  await sleep(400);
  assert.is(table.reads, reads, 'closed');
});

test('a connect that ends before is not shown, and one with the same socket is', async () => {
  const table = new Table();
  const shown: bigint[] = [];
  table.starts = [table.now()];
  const watch = watchInFlight(table, 200 * MS, ({ attempt }) => shown.push(attempt.startNs), fail);
  await sleep(50);
  table.starts = [];
  await sleep(350);
  assert.equal(shown, []);
  table.starts = [table.now()];
  await sleep(600);
  watch.close();
  assert.equal(shown, table.starts);
});

test('an error of a reading is reported, and the next reading shows what was due', async () => {
  const table = new Table();
  const shown: bigint[] = [];
  const errors: unknown[] = [];
  table.starts = [table.now()];
  const failing: InFlight = {
    now: () => table.now(),
    read(nowNs, matches) {
      if (errors.length === 0) throw new Error('EBUSY');
      return table.read(nowNs, matches);
    },
  };
  const watch = watchInFlight(
    failing,
    100 * MS,
    ({ attempt }) => shown.push(attempt.startNs),
    (error) => errors.push(error),
  );
  await sleep(500);
  watch.close();
  assert.is(errors.length, 1);
  assert.equal(shown, table.starts);
});

test('the list at the end has the earliest connects, and counts all', () => {
  const table = new Table();
  const now = table.now();
  table.now = () => now;
  table.starts = Array.from({ length: 50_000 }, (_, i) => now - 100_000n + BigInt(i));
  const { count, listed } = listInFlight(table);
  assert.is(count, 50_000);
  assert.equal(
    listed.map(({ attempt }) => attempt.startNs),
    table.starts.slice(0, 10_240),
  );
  const slow = listInFlight(table, 100_000 - 9);
  assert.is(slow.count, 50_000);
  assert.is(slow.listed.length, 10, 'those that waited as long as min_ms');
});

test.run();
