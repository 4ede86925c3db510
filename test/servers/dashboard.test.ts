/** The Grafana dashboard of deploy/grafana: promtool parses every query, and every query finds data. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { type Connect, snapshotOf } from '../cli/exporters/connects.ts';
import { suite } from '../harness.ts';
import { run } from '../vm/command.ts';
import { exporterOn } from './exporter.ts';
import { serverPrograms } from './packages.ts';
import { startPrometheus } from './prometheus.ts';
import { freePort, type ServerProcess, scratchFolder, until } from './server.ts';

const test = suite('servers/dashboard', { seconds: 60 });

const { folder, missing } = await serverPrograms();

interface Panel {
  readonly id: number;
  readonly title: string;
  readonly type: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly refId: string; readonly expr: string }[];
}
interface Dashboard {
  readonly uid: string;
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly query: unknown }[] };
}

const FILE = fileURLToPath(new URL('../../../deploy/grafana/tcpconnlat.json', import.meta.url));
const { panels, templating }: Dashboard = JSON.parse(readFileSync(FILE, 'utf8'));

/** The variables that Grafana replaces, with values for these tests. */
const VALUES: Record<string, string> = {
  __rate_interval: '10s',
  instance: '.*',
  destination: '.*',
  port: '.*',
};

interface Query {
  readonly title: string;
  readonly expression: string;
}

const queries: readonly Query[] = panels.flatMap(({ title, targets = [] }) =>
  targets.map(({ refId, expr }) => ({
    title: `${title} ${refId}`,
    expression: expr.replaceAll(/\$(\w+)/g, (_, name: string) => {
      const value = VALUES[name];
      if (value === undefined) throw new Error(`${title}: unknown variable $${name}`);
      return value;
    }),
  })),
);

test('every variable in the queries is defined', () => {
  const own = Object.keys(VALUES).filter((name) => !name.startsWith('__'));
  assert.equal(
    templating.list.map(({ name }) => name),
    ['datasource', ...own],
  );
  assert.ok(queries.length > 20);
});

test('panels have numbers of their own and do not overlap', () => {
  assert.is(new Set(panels.map(({ id }) => id)).size, panels.length);
  const cells = new Map<string, string>();
  for (const { title, gridPos } of panels) {
    assert.ok(gridPos.x + gridPos.w <= 24, title);
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        assert.is(cells.get(`${x} ${y}`), undefined, `${title} overlaps`);
        cells.set(`${x} ${y}`, title);
      }
  }
});

/** Checks expressions as the expressions of recording rules. */
async function check(expressions: readonly string[]): Promise<void> {
  const rules = expressions.map((expr, i) => ({ record: `query:${i}`, expr }));
  const file = join(scratchFolder(), 'rules.yml');
  writeFileSync(file, JSON.stringify({ groups: [{ name: 'dashboard', rules }] })); // JSON is YAML
  await run(join(folder, 'usr/bin/promtool'), ['check', 'rules', file]);
}

test.skipIf(missing, 'promtool parses every query', async () => {
  await check(queries.map(({ expression }) => expression));
  const broken = await check(['sum (rate(x[5m]']).catch((error: Error) => error.message);
  assert.match(broken ?? '', /parse error|unclosed/);
});

/** The connects of a reading: some fail, and new destinations have no room. */
function connects(reading: number): Connect[] {
  const to = (last: number, result: string, latencyNs: number, count: number): Connect[] =>
    Array.from({ length: count }, () => {
      return { key: { dest: `192.0.2.${last}`, port: '443' }, result, latencyNs, retransmits: 1 };
    });
  const many = Array.from({ length: 30 }, (_, i) =>
    to(10 + ((reading * 30 + i) % 240), 'established', 2e6, 1),
  ).flat();
  return [
    ...to(1, 'established', 2e6, 50),
    ...to(2, 'established', 3e6, 5),
    ...to(2, 'timed-out', 1e9, 5),
    ...many,
  ];
}

/** A query without data here: series are evicted after a quarter of an hour. */
const WITHOUT_DATA = /evicted/;

test.skipIf(missing, 'every query finds data of an exporter', async () => {
  const port = await freePort();
  const exporters = await exporterOn(port, 1000);
  let prometheus: ServerProcess | undefined;
  let runs = 0;
  let readings = 0;
  exporters.start({
    read: () => ({ ...snapshotOf(connects(readings++)), overflowed: 1 }),
    facts: () => ({
      programs: [{ name: 'end', runs: ++runs, runNs: runs * 1000 }],
      maps: [{ name: 'keys', entries: 5, maxEntries: 10 }],
      losses: [[runs, 'the table of connects in flight was full']],
    }),
    build: { version: '1' },
  });
  try {
    const server = await startPrometheus(folder, [`127.0.0.1:${port}`]);
    prometheus = server;
    for (const { title, expression } of queries) {
      if (WITHOUT_DATA.test(expression)) continue;
      await until(`${title}: ${expression}`, async () => (await server.query(expression)).length > 0);
    }
  } finally {
    await prometheus?.stop();
    await exporters.close();
  }
});

test.run();
