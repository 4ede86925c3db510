/**
 * Downloads Debian packages without installing them: apt with its own lists and configuration, and dpkg-deb.
 */
import { mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CACHE } from './cache.ts';
import { run } from './command.ts';
import { MACHINES } from './machine.ts';
import { type KernelPackages, type KernelSource, kernelsOf } from './matrix.ts';

/** The archive server; TSBPF_VM_MIRROR may name a closer mirror. */
const MIRROR = process.env.TSBPF_VM_MIRROR || 'http://deb.debian.org';
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** Package lists older than this are updated before a download. */
const LISTS_FRESH_MS = 60 * 60 * 1000;

type Suite = Pick<KernelSource, 'archive' | 'suite' | 'processor'>;

/** Writes a suite's apt configuration and returns the environment that makes apt use it. */
async function aptFor(source: Suite): Promise<{ folder: string; env: NodeJS.ProcessEnv }> {
  const { archive, suite, processor = 'x64' } = source;
  const { debian } = MACHINES[processor];
  const folder = join(CACHE, 'apt', processor === 'x64' ? suite : `${suite}-${debian}`);
  await mkdir(join(folder, 'lists/partial'), { recursive: true });
  await mkdir(join(folder, 'cache/archives/partial'), { recursive: true });
  await writeFile(
    join(folder, 'sources.list'),
    `deb [signed-by=${KEYRING}] ${MIRROR}/${archive} ${suite} main\n`,
  );
  const settings = {
    'APT::Architecture': debian,
    'APT::Architectures': debian,
    'APT::Sandbox::User': 'root', // the sandbox's user cannot access a cache in a home folder
    'Acquire::Languages': 'none',
    'Dir::Cache': join(folder, 'cache'),
    'Dir::Etc::sourcelist': join(folder, 'sources.list'),
    'Dir::Etc::sourceparts': '-',
    'Dir::State::lists': join(folder, 'lists'),
    'Dir::State::status': '/dev/null', // ignore the host's packages
  };
  const text = Object.entries(settings).map(([key, value]) => `${key} "${value}";\n`);
  await writeFile(join(folder, 'apt.conf'), text.join(''));
  return { folder, env: { APT_CONFIG: join(folder, 'apt.conf') } };
}

async function isFresh(lists: string): Promise<boolean> {
  const names = (await readdir(lists)).filter((name) => name.endsWith('Release'));
  const times = await Promise.all(names.map(async (name) => (await stat(join(lists, name))).mtimeMs));
  return Math.max(0, ...times) > Date.now() - LISTS_FRESH_MS;
}

/**
 * The environments of suites whose lists this process has fetched. Shared, because apt cannot run twice at
 * once.
 */
const ready = new Map<string, Promise<NodeJS.ProcessEnv>>();

/** The environment for apt with a suite's lists, fetched if necessary. */
function aptWithLists(suite: Suite): Promise<NodeJS.ProcessEnv> {
  const key = `${suite.suite} ${suite.processor}`;
  const found = ready.get(key) ?? fetchLists(suite);
  ready.set(key, found);
  return found;
}

async function fetchLists(suite: Suite): Promise<NodeJS.ProcessEnv> {
  const { folder, env } = await aptFor(suite);
  if (!(await isFresh(join(folder, 'lists')))) {
    await run('apt-get', ['update', '--error-on=any'], { env });
  }
  return env;
}

/** The names of a suite's packages with this prefix. */
async function packageNames(suite: Suite, prefix: string): Promise<string[]> {
  const env = await aptWithLists(suite);
  return (await run('apt-cache', ['pkgnames', prefix], { env })).toString().split('\n').filter(Boolean);
}

/** Downloads packages of a suite and unpacks them into `folder`. */
export async function unpack(suite: Suite, packages: readonly string[], folder: string): Promise<void> {
  const env = await aptWithLists(suite);
  const downloads = join(folder, 'deb');
  await mkdir(downloads, { recursive: true });
  await run('apt-get', ['download', ...packages], { env, cwd: downloads });
  for (const file of await readdir(downloads)) {
    await run('dpkg-deb', ['-x', join(downloads, file), folder]);
  }
  await rm(downloads, { recursive: true });
}

/** Downloads packages with all dependencies and unpacks them into `folder`: an unconfigured system. */
export async function unpackSystem(suite: Suite, packages: readonly string[], folder: string): Promise<void> {
  const env = await aptWithLists(suite);
  const downloads = join(folder, 'deb');
  await mkdir(join(downloads, 'partial'), { recursive: true });
  const options = [
    '-y',
    '--no-install-recommends',
    '--download-only',
    '-o',
    `Dir::Cache::archives=${downloads}`,
  ];
  await run('apt-get', [...options, 'install', ...packages], { env });
  for (const file of (await readdir(downloads)).filter((name) => name.endsWith('.deb'))) {
    await run('dpkg-deb', ['-x', join(downloads, file), folder]);
  }
  await rm(downloads, { recursive: true });
}

/**
 * Downloads and unpacks the newest available kernel of a series. A listed kernel is not always available, so
 * the previous ones are tried next.
 */
export async function unpackKernel(source: KernelSource, folder: string): Promise<KernelPackages> {
  const listed = kernelsOf(source.series, await packageNames(source, 'linux-'), source.processor);
  const failures: string[] = [];
  for (const kernel of listed.slice(0, 3)) {
    try {
      await unpack(source, kernel.packages, folder);
      return kernel;
    } catch (error) {
      failures.push((error as Error).message);
    }
  }
  throw new Error(failures.join('\n') || `${source.suite} lists no cloud kernel ${source.series}`);
}
