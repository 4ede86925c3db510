/**
 * Servers that tests export to: Prometheus with promtool and Alertmanager, and VictoriaMetrics, from Debian's
 * packages. They are unpacked into the lab's cache and not installed.
 */
import { join } from 'node:path';
import { cached } from '../vm/cache.ts';
import { run } from '../vm/command.ts';
import { unpack } from '../vm/debian.ts';

/** Only sid has Prometheus 3. */
const SUITE = { archive: 'debian', suite: 'sid' } as const;
const PACKAGES = ['prometheus', 'promtool', 'prometheus-alertmanager', 'victoria-metrics'];
/** What nothing here uses in the packages. */
const UNUSED = [
  ...['vmagent', 'vmalert', 'vmalert-tool', 'vmauth', 'vmbackup', 'vmctl', 'vmrestore', 'amtool'].map(
    (name) => `usr/bin/${name}`,
  ),
  'usr/share/doc',
];

/** The folder of the unpacked packages. Downloads them (60 MB) if they are not cached. */
async function programs(): Promise<string> {
  return cached('servers/sid', async (into) => {
    await unpack(SUITE, PACKAGES, into);
    await run('rm', ['-rf', ...UNUSED.map((name) => join(into, name))]);
  });
}

/**
 * The folder of the unpacked packages, or why they cannot be downloaded. That is an error if the environment
 * says that this is CI.
 */
export async function serverPrograms(): Promise<{
  readonly folder: string;
  readonly missing: string | false;
}> {
  try {
    return { folder: await programs(), missing: false };
  } catch (error) {
    if (process.env.CI) throw error;
    const [reason] = (error as Error).message.split('\n');
    return { folder: '', missing: `the servers cannot be downloaded from Debian: ${reason}` };
  }
}
