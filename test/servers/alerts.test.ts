/** The alert rules of deploy/prometheus: promtool accepts them, and their alerts reach Alertmanager. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { type Connect, snapshotOf } from '../cli/exporters/connects.ts';
import { needsRoot, suite } from '../harness.ts';
import { run } from '../vm/command.ts';
import { exporterOn } from './exporter.ts';
import { serverPrograms } from './packages.ts';
import { startAlertmanager, startPrometheus } from './prometheus.ts';
import { freePort, type ServerProcess, scratchFolder, until } from './server.ts';

const test = suite('servers/alerts', { seconds: 60 });

const { folder, missing } = await serverPrograms();

const RULES = fileURLToPath(new URL('../../../deploy/prometheus/alerts.yml', import.meta.url));

test.skipIf(missing, 'promtool accepts the rules, and their unit tests pass', async () => {
  const promtool = join(folder, 'usr/bin/promtool');
  await run(promtool, ['check', 'rules', '--lint-fatal', RULES]);
  await run(promtool, ['test', 'rules', RULES.replace('.yml', '.test.yml')]);
});

/** The rules with times of seconds, for a test that cannot wait for minutes. */
function quickRules(): string {
  const text = readFileSync(RULES, 'utf8')
    .replaceAll(/\[\d+m\]/g, '[6s]')
    .replaceAll(/for: \d+m/g, 'for: 1s');
  const file = join(scratchFolder(), 'alerts.yml');
  writeFileSync(file, text);
  return file;
}

/** The connects of one reading: one destination is fine, others are slow, fail, or lose SYNs. */
function connects(): Connect[] {
  const to = (last: number, result: string, latencyNs: number, count: number, retransmits = 0) =>
    Array.from({ length: count }, (): Connect => {
      return { key: { dest: `192.0.2.${last}`, port: '443' }, result, latencyNs, retransmits };
    });
  return [
    ...to(1, 'established', 2e6, 50),
    ...[...to(2, 'established', 2e6, 40), ...to(2, 'timed-out', 127e9, 10)],
    ...[...to(3, 'established', 2e6, 40), ...to(3, 'established', 1.05e9, 10)],
    ...to(4, 'established', 2e6, 50, 1),
  ];
}

test.skipIf(
  missing || needsRoot,
  'alerts fire into Alertmanager, for the destinations that have a problem',
  async () => {
    const port = await freePort();
    const exporters = await exporterOn(port);
    let lost = 0;
    exporters.start({
      read: () => {
        lost += 1;
        return snapshotOf(connects());
      },
      facts: () => ({
        programs: [],
        maps: [
          { name: 'attempts', entries: 99, maxEntries: 100 },
          { name: 'keys', entries: 10, maxEntries: 100 },
        ],
        losses: [[lost, 'too many in flight']],
      }),
      build: { version: '1' },
    });
    let alertmanager: ServerProcess | undefined;
    let prometheus: ServerProcess | undefined;
    const gone = await freePort();
    const expected = [
      'TcpConnectsFail 192.0.2.2',
      'TcpConnectsRetransmit 192.0.2.4',
      'TcpConnectsSlow 192.0.2.3',
      'TcpconnlatDown ',
      'TcpconnlatLosesConnects ',
      'TcpconnlatMapFull ',
    ];
    let firing: string[] = [];
    try {
      const receiver = await startAlertmanager(folder);
      alertmanager = receiver;
      const targets = [`127.0.0.1:${port}`, `127.0.0.1:${gone}`];
      const sender = await startPrometheus(folder, targets, {
        ...{ rules: quickRules(), alertmanager: new URL(receiver.url).host },
      });
      prometheus = sender;
      await until(
        'the alerts',
        async () => {
          const alerts = await receiver.json<{ labels: Record<string, string> }[]>('/api/v2/alerts');
          firing = alerts.map(({ labels }) => `${labels.alertname} ${labels.destination ?? ''}`).sort();
          return firing.length >= expected.length || undefined;
        },
        () => firing.join('\n') + sender.output,
      );
      assert.equal(firing, expected);
    } finally {
      await prometheus?.stop();
      await alertmanager?.stop();
      await exporters.close();
    }
  },
);

test.run();
