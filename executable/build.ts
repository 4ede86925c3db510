/**
 * Builds tcpconnlat as one file that contains Node, koffi's library and the command:
 *
 *     npm run executable                   for all platforms, into dist/executable
 *     npm run executable -- linux-x64      for this one
 *
 * The inputs are npm packages with pinned digests and the bundles of this build, so equal sources give equal
 * files. It runs on x64, for arm64 too.
 */
import { createHash } from 'node:crypto';
import { chmod, copyFile, mkdir, readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { withScratch } from '../test/vm/cache.ts';
import { run } from '../test/vm/command.ts';
import { PROJECT } from '../test/vm/image.ts';
import { koffiFor, NODE_VERSION, nodeFor, PLATFORMS, type Platform } from './contents.ts';

const DIST = join(PROJECT, 'dist');
/** The folder of the executables. */
export const EXECUTABLES = join(DIST, 'executable');

/**
 * Options of V8 in the executable: room for the objects of a start, which V8 would otherwise copy once before
 * the header line (1 MB). With more room, V8 takes longer to start.
 */
const V8_OPTIONS = ['--min-semi-space-size=2'];

/** Node replaces this text in its own file when a blob is added, and looks for the blob only then. */
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';

/** The name of a platform's executable. */
export function executableName(platform: Platform): string {
  return `tcpconnlat-${platform}`;
}

/** Builds the executable of a platform in a folder, and returns its path. */
export async function buildExecutable(platform: Platform, folder = EXECUTABLES): Promise<string> {
  if (process.arch !== 'x64')
    throw new Error(
      `executables are built on x64, because V8 compiles their code there; this is ${process.arch}`,
    );
  const builder = join(await nodeFor('linux-x64'), 'bin/node');
  const node = join(await nodeFor(platform), 'bin/node');
  await mkdir(folder, { recursive: true });
  const output = join(folder, executableName(platform));
  await withScratch(async (scratch) => {
    await writeFile(join(scratch, 'main.cjs'), await launcher());
    const assets: Record<string, string> = { 'koffi.node': await koffiFor(platform) };
    for (const name of await filesOfCommand()) assets[name] = join(DIST, name);
    if (platform === 'linux-x64')
      for (const file of await compile(builder, join(scratch, 'code'))) assets[basename(file)] = file;
    const config = {
      main: 'main.cjs', // a relative path: the blob contains it
      output: 'blob',
      disableExperimentalSEAWarning: true,
      useSnapshot: false,
      useCodeCache: false, // V8's code is for one processor
      execArgv: V8_OPTIONS,
      execArgvExtension: 'none', // the command runs as root: it takes no options from NODE_OPTIONS
      assets,
    };
    await writeFile(join(scratch, 'sea.json'), JSON.stringify(config));
    await run(builder, ['--experimental-sea-config', 'sea.json'], { cwd: scratch });

    const draft = join(scratch, 'executable');
    await copyFile(node, draft);
    await run(process.execPath, [
      join(PROJECT, 'node_modules/postject/dist/cli.js'),
      draft,
      'NODE_SEA_BLOB',
      join(scratch, 'blob'),
      '--sentinel-fuse',
      FUSE,
    ]);
    await chmod(draft, 0o755);
    // Beside the output first: the scratch folder may be on another file system.
    await copyFile(draft, `${output}.draft`);
    await rename(`${output}.draft`, output);
  });
  return output;
}

/** The files of the command except its launcher, the code caches and other folders. */
async function filesOfCommand(): Promise<string[]> {
  const names = await readdir(DIST);
  return names
    .filter((name) => name.startsWith('tcpconnlat.') && name !== 'tcpconnlat.cjs' && !name.endsWith('.cache'))
    .sort();
}

/** The script that Node runs first (src/cli/launch-executable.ts). */
async function launcher(): Promise<string> {
  const { build } = await import('esbuild'); // guests of the lab, which use the names above, do not have it
  const { outputFiles } = await build({
    entryPoints: [join(PROJECT, 'src/cli/launch-executable.ts')],
    absWorkingDir: PROJECT,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'cjs',
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    write: false,
  });
  return outputFiles[0]?.text ?? '';
}

/** Writes V8's code of scripts into a new folder, with the Node that will run it. Returns the files. */
async function compile(node: string, folder: string): Promise<string[]> {
  await mkdir(folder);
  await run(node, [join(PROJECT, 'code-cache/make.mjs'), folder, ...V8_OPTIONS]);
  return (await readdir(folder)).sort().map((name) => join(folder, name));
}

/** Writes the licenses of everything in the executables. */
async function writeLicenses(): Promise<void> {
  const node = await readFile(join(await nodeFor('linux-x64'), 'LICENSE'), 'utf8');
  const koffi = await readFile(join(PROJECT, 'node_modules/koffi/LICENSE.txt'), 'utf8');
  const own = await readFile(join(PROJECT, 'LICENSE'), 'utf8');
  const bundled = await readFile(join(DIST, 'LICENSES.txt'), 'utf8');
  const parts = [`tsbpf\n\n${own}`, bundled, `koffi\n\n${koffi}`, `Node ${NODE_VERSION}\n\n${node}`];
  const text = parts.map((part) => `${part.trim()}\n`).join(`\n${'-'.repeat(80)}\n\n`);
  await writeFile(join(EXECUTABLES, 'LICENSES.txt'), text);
}

/** The digest of a file, in the form of sha256sum. */
export async function sha256(file: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(file))
    .digest('hex');
}

async function main(names: readonly string[]): Promise<number> {
  const unknown = names.find((name) => !PLATFORMS.some((platform) => platform === name));
  if (unknown !== undefined) {
    console.error(`no platform '${unknown}'; choose from ${PLATFORMS.join(', ')}`);
    return 2;
  }
  const sums: string[] = [];
  for (const platform of names.length > 0 ? (names as Platform[]) : PLATFORMS) {
    const file = await buildExecutable(platform);
    const { size } = await stat(file);
    const sum = await sha256(file);
    sums.push(`${sum}  ${executableName(platform)}\n`);
    console.log(`dist/executable/${executableName(platform)}  ${(size / 1e6).toFixed(1)} MB  sha256 ${sum}`);
  }
  await writeFile(join(EXECUTABLES, 'SHA256SUMS'), sums.join(''));
  await writeLicenses();
  return 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    process.exitCode = await main(process.argv.slice(2));
  } catch (error) {
    console.error(`executable: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}
