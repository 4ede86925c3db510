/** VictoriaMetrics for tests. */
import { join } from 'node:path';
import { freePort, ServerProcess, scratchFolder } from './server.ts';

/** Starts VictoriaMetrics. Queries see samples at once, with the names of Prometheus. */
export async function startVictoriaMetrics(packages: string): Promise<ServerProcess> {
  const port = await freePort();
  const args = [
    ...[`-storageDataPath=${scratchFolder()}`, `-httpListenAddr=127.0.0.1:${port}`],
    ...['-opentelemetry.usePrometheusNaming', '-search.latencyOffset=0s', '-memory.allowedBytes=256MB'],
  ];
  return ServerProcess.start(join(packages, 'usr/bin/victoria-metrics'), args, { port, ready: '/health' });
}
