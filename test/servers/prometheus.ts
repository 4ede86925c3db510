/** Prometheus and Alertmanager with configurations for tests. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, ServerProcess, scratchFolder } from './server.ts';

export interface PrometheusOptions {
  /** A file with rules. */
  readonly rules?: string;
  /** `HOST:PORT` of an Alertmanager. */
  readonly alertmanager?: string;
  /** The interval of scrapes. */
  readonly interval?: string;
  /** More settings, which replace those with the same name. */
  readonly config?: object;
  /** More options of the command. */
  readonly args?: readonly string[];
}

/**
 * Starts Prometheus, which scrapes `targets` (`HOST:PORT`) every second and stores their classic histograms
 * as native ones, and also as they are.
 */
export async function startPrometheus(
  packages: string,
  targets: readonly string[],
  { rules, alertmanager, interval = '1s', config: more, args: options = [] }: PrometheusOptions = {},
): Promise<ServerProcess> {
  const folder = scratchFolder();
  const port = await freePort();
  const config = {
    global: { scrape_interval: interval, scrape_timeout: interval, evaluation_interval: '1s' },
    scrape_configs: [
      {
        job_name: 'tcpconnlat',
        convert_classic_histograms_to_nhcb: true,
        always_scrape_classic_histograms: true,
        static_configs: [{ targets }],
      },
    ],
    ...(rules && { rule_files: [rules] }),
    ...(alertmanager && {
      alerting: { alertmanagers: [{ static_configs: [{ targets: [alertmanager] }] }] },
    }),
    ...more,
  };
  // JSON is YAML.
  const file = join(folder, 'prometheus.yml');
  writeFileSync(file, JSON.stringify(config));
  const args = [
    `--config.file=${file}`,
    `--storage.tsdb.path=${join(folder, 'data')}`,
    `--web.listen-address=127.0.0.1:${port}`,
    '--enable-feature=native-histograms',
    ...options,
  ];
  return ServerProcess.start(join(packages, 'usr/bin/prometheus'), args, { port, ready: '/-/ready' });
}

/**
 * Starts Alertmanager, which keeps what it gets. Debian's reads its templates from /usr/share, so it gets a
 * mount namespace in which that is the folder of its package.
 */
export async function startAlertmanager(packages: string): Promise<ServerProcess> {
  const folder = scratchFolder();
  const port = await freePort();
  const file = join(folder, 'alertmanager.yml');
  writeFileSync(file, JSON.stringify({ route: { receiver: 'none' }, receivers: [{ name: 'none' }] }));
  const args = [
    `--config.file=${file}`,
    `--storage.path=${join(folder, 'data')}`,
    `--web.listen-address=127.0.0.1:${port}`,
    '--cluster.listen-address=', // alone
  ];
  const [share, program] = ['usr/share', 'usr/bin/prometheus-alertmanager'].map((path) =>
    join(packages, path),
  );
  const command = `mount --bind '${share}' /usr/share && exec '${program}' "$@"`;
  return ServerProcess.start('unshare', ['-m', 'sh', '-c', command, 'sh', ...args], {
    ...{ port, ready: '/-/ready' },
  });
}
