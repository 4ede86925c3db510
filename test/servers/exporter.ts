/** The exporter of the machine `node-1`, in this process. */
import { type Exporters, openExporters } from '../../src/cli/exporters.ts';

/** Opens an exporter for Prometheus on a port. The caller starts and closes it. */
export function exporterOn(port: number, maxLines = 5000): Promise<Exporters> {
  return openExporters(
    {
      ...{ listen: { address: '127.0.0.1', port }, maxLines, buckets: 2 },
      ...{ intervalMs: 1000, by: ['dest', 'port'] },
    },
    { host: 'node-1', version: '1', warn: () => {} },
  );
}
