/**
 * Code caches: V8's code of a command's scripts, the bundle and late parts (bundle-late.mjs), so that a start
 * does not compile them. This module owns which scripts have one, and the runs whose functions are in it.
 *
 *   node code-cache/make.mjs            writes the caches of the commands in dist/ for this Node, without
 *                                       programs
 *   node code-cache/make.mjs FOLDER OPTION...
 *                                       writes V8's code of the scripts of tcpconnlat into FOLDER: a file
 *                                       SCRIPT.code for each, for a Node with these options of V8
 *
 * The runs have a fixed kernel (code-cache/kernel.ts), so the code depends on the scripts and on Node alone.
 * A cache is the file that the launcher reads (src/cli/launch.ts):
 *
 *   code      what V8 has compiled from the script by the end of the runs
 *   prebuilt  the programs for this machine's kernel, if the script is the bundle of tcpconnlat
 *   length    the length of `prebuilt` in 4 bytes, little-endian
 *   copies    the script, and then the above as a whole, each with its bytes in reverse order
 *
 * The launcher compares the copies. A tool that rewrites text in files does not find the text there, so it
 * cannot change both copies alike.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Options with a value, whose programs the build has not assembled. */
const OPTIONS = ['--outcome', '--port', '443', '--to', '10.0.0.0/8'];

/**
 * The scripts that have a cache, and the runs: a command line, and whether it has the programs of the build.
 * Each run happens under each kernel of the command.
 */
const COMMANDS = {
  tcpconnlat: {
    scripts: ['bundle', 'builder', 'command-line', 'rare'],
    // with programs of the build, with none of it, with those that the second run has stored, ...
    runs: [{ usesPrebuilt: true }, {}, {}, { args: OPTIONS }, { args: ['--version'] }],
    kernels,
  },
  tsbpf: { scripts: ['bundle'], runs: [{ args: ['--help'] }], kernels: () => [{ kernel: {} }] },
};

/** The fixed kernels. */
async function kernels() {
  return inScratch(async (scratch) => {
    const outfile = join(scratch, 'kernel.mjs');
    await build({
      entryPoints: [join(root, 'code-cache/kernel.ts')],
      absWorkingDir: root,
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node20',
      external: ['koffi'],
      outfile,
      logLevel: 'warning',
    });
    const module = await import(pathToFileURL(outfile).href);
    return module.kernels();
  });
}

async function inScratch(work) {
  const scratch = await mkdtemp(join(tmpdir(), 'tsbpf-code-'));
  try {
    return await work(scratch);
  } finally {
    await rm(scratch, { recursive: true });
  }
}

/**
 * V8's flags during the runs, by name. They turn off optimizing compilers, which run when a function is hot
 * and a thread is free, and change the code (Node 22 rejects code after `--no-opt`, whatever the flag is
 * then); and collections of garbage, since the code contains unused bytes of memory. Without `flush-bytecode`
 * code stays that has not run for long.
 */
const FLAGS = {
  'flush-bytecode': '--no-flush-bytecode',
  maglev: '--no-maglev',
  'max-optimized-bytecode-size': '--max-optimized-bytecode-size=0',
  'minor-gc-task': '--no-minor-gc-task',
  sparkplug: '--no-sparkplug',
};

/**
 * Options of Node for the runs, and the defaults of those of V8. Seeds, since code contains hashes. Enough
 * memory for a run without a collection of garbage. And no links, since code contains numbers that V8 counts
 * from its start on: Node must not do more in one place than in another.
 */
const OPTIONS_OF_NODE = {
  '--hash-seed=1': '--hash-seed=0',
  '--random-seed=1': '--random-seed=0',
  '--initial-heap-size=1024': '--initial-heap-size=0',
  '--min-semi-space-size=64': '--min-semi-space-size=0',
  '--max-semi-space-size=64': '--max-semi-space-size=0',
  '--preserve-symlinks-main': undefined,
};

/**
 * V8's flags during the runs and afterwards: their defaults, and the options of the Node that uses the code.
 * V8 rejects code of other flags.
 */
async function flags(options) {
  const { stdout } = await promisify(execFile)(process.execPath, ['--v8-options'], { maxBuffer: 1 << 24 });
  const defaults = Object.keys(FLAGS).map((name) => {
    const found = new RegExp(`^  --${name} .*\\n.* default: (--\\S+)$`, 'm').exec(stdout)?.[1];
    if (found === undefined) throw new Error(`this V8 has no flag --${name}`);
    return found;
  });
  const after = [...defaults, ...Object.values(OPTIONS_OF_NODE).filter(Boolean), ...options];
  return { during: Object.values(FLAGS), after };
}

/**
 * V8's code of the scripts of a command for this Node, by the names of their files in dist/. Stack traces name
 * the scripts by `pathOf`: Node 20 takes the name from the code, and later ones from the launcher.
 */
async function codeOf(command, { pathOf = () => 'script.cjs', options = [] } = {}) {
  const { scripts, runs, kernels } = COMMANDS[command];
  const all = (await kernels()).flatMap(({ kernel, prebuilt }) =>
    runs.map(({ args = [], usesPrebuilt }) => ({
      kernel,
      args,
      prebuilt: usesPrebuilt ? prebuilt : undefined,
    })),
  );
  return inScratch(async (scratch) => {
    const args = [join(root, 'code-cache/run.cjs'), join(root, `dist/${command}.bundle.cjs`), scratch];
    const child = promisify(execFile)(process.execPath, [...Object.keys(OPTIONS_OF_NODE), ...args], {
      cwd: '/',
      env: {},
    });
    const names = scripts.map((script) => `${command}.${script}.cjs`);
    const paths = Object.fromEntries(names.map((name) => [name, pathOf(name)]));
    child.child.stdin.end(JSON.stringify({ runs: all, names: paths, flags: await flags(options) }));
    await child;
    // On a processor that tcpconnlat does not support, the runs end before they load the builder.
    const made = await readdir(scratch);
    const used = names.filter((name) => made.includes(`${name}.code`));
    const code = await Promise.all(used.map((name) => readFile(join(scratch, `${name}.code`))));
    return new Map(used.map((name, i) => [name, code[i]]));
  });
}

/**
 * Writes the caches of a command for this Node, and removes those of other builds unless `keeps` is set.
 * `prebuilt` is the text of the programs that the build has assembled.
 */
export async function writeCaches(command, { prebuilt = '', keeps = false } = {}) {
  const dist = join(root, 'dist');
  const programs = Buffer.from(prebuilt);
  const length = Buffer.alloc(4);
  const code = await codeOf(command, { pathOf: (name) => join(dist, name) });
  const old = (await readdir(dist)).filter(
    (file) => file.startsWith(`${command}.`) && file.endsWith('.cache'),
  );
  if (!keeps) for (const file of old) await rm(join(dist, file));
  for (const [name, bytes] of code) {
    const ofBundle = name.endsWith('.bundle.cjs') ? programs : Buffer.alloc(0);
    length.writeUInt32LE(ofBundle.length);
    const content = Buffer.concat([bytes, ofBundle, length]);
    const copies = [await readFile(join(dist, name)), content].map((each) => Buffer.from(each).reverse());
    const cache = join(dist, name.replace(/cjs$/, `${process.version}-${process.arch}.cache`));
    await writeFile(`${cache}.draft`, Buffer.concat([content, ...copies]));
    await rename(`${cache}.draft`, cache);
  }
}

const [, main, folder, ...options] = process.argv;
if (main !== undefined && (await realpath(main)) === fileURLToPath(import.meta.url)) {
  if (folder === undefined)
    for (const command of Object.keys(COMMANDS)) await writeCaches(command, { keeps: true });
  else
    for (const [name, code] of await codeOf('tcpconnlat', { options }))
      await writeFile(join(folder, `${name}.code`), code);
}
