/**
 * The build. `npm run build` runs it, and as `prepare` so do `npm ci` and `npm pack`:
 *
 *   build/                      src, test, bench, examples, executable and code-cache as JavaScript with
 *                               source maps
 *   dist/library.*, dist/index.js, asm.js, btf.js, dist/bundlers/
 *                               the library and its entry points (bundle-library.mjs)
 *   dist/types/                 its types
 *   dist/tcpconnlat.cjs         the command's launcher
 *   dist/tcpconnlat.bundle.cjs  the command in one file, which starts faster
 *   dist/tcpconnlat.PART.cjs    code that only some runs need (bundle-late.mjs)
 *   dist/tcpconnlat.*.VERSION-ARCH.cache
 *                               V8's code of the bundle and of late parts for this Node, and the programs for
 *                               this machine's kernel (code-cache/make.mjs); not in the npm package
 *   dist/tcpconnlat.lines.json  maps positions in the bundle to source lines of the tool
 *   dist/tsbpf.*                the same for the command tsbpf
 *   dist/LICENSES.txt           the licenses of the packages in the bundles
 *
 * A type error fails the build. If one step fails, the output of the others stays.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { decode } from '@jridgewell/sourcemap-codec';
import { build } from 'esbuild';
import { bundleLate } from './bundle-late.mjs';
import { bundleLibrary } from './bundle-library.mjs';
import { writeCaches } from './code-cache/make.mjs';

const root = fileURLToPath(new URL('.', import.meta.url));
process.chdir(root);
const manifest = JSON.parse(await readFile('package.json', 'utf8'));
const require = createRequire(import.meta.url);

/** The folders that tsc compiles into build/. */
const COMPILED = ['src', 'test', 'bench', 'examples', 'executable', 'code-cache'];

/**
 * The beginning of a script that runs when the first frame has been painted, or after half a second in a
 * window that paints none. Until it ends, screen readers wait.
 */
const LATER = `document.querySelector('main').setAttribute('aria-busy','true');((build)=>{
let begun;const begin=()=>{begun??=setTimeout(build)};
new PerformanceObserver(begin).observe({type:'paint',buffered:true});setTimeout(begin,500)})(()=>{`;

/** The script and the style of reports, which run in a browser. */
const REPORT_PAGE = 'src/cli/report/page';

/** The sources of tools: the line table has positions in these files only. */
const TOOL_SOURCE = /(^|\/)(src\/programs\/.+\.ts)$/;

const bundling = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  external: ['koffi'], // contains native code, so it stays a package
  define: { __VERSION__: JSON.stringify(manifest.version) },
  legalComments: 'none', // LICENSES.txt has them in full
  metafile: true,
  write: false,
  logLevel: 'warning',
};

/**
 * Replaces child_process with an empty module. commander uses it to run subcommands that are executables; the
 * commands have none, and loading it takes longer than the rest of commander.
 */
const withoutChildProcess = {
  name: 'without-child-process',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:child_process$/ }, ({ path }) => ({ path, namespace: 'empty' }));
    onLoad({ filter: /./, namespace: 'empty' }, () => ({ contents: '' }));
  },
};

/**
 * Uses the launcher's `require` instead of `createRequire`, which would load node:module for nothing else.
 */
const withRequireOfLauncher = {
  name: 'with-require-of-launcher',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:module$/ }, ({ path }) => ({ path, namespace: 'launcher' }));
    onLoad({ filter: /./, namespace: 'launcher' }, () => ({
      contents: 'export const createRequire = () => require;',
    }));
  },
};

/**
 * Gets node:fs without the `import` that makes Node load its streams, which nothing here uses: that takes a
 * fifth of the library's import. Node before 20.16 has no `process.getBuiltinModule`.
 */
const withoutStreams = {
  name: 'without-streams',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:fs$/ }, ({ path }) => ({ path, namespace: 'builtin' }));
    onLoad({ filter: /./, namespace: 'builtin' }, async () => ({
      contents: `import { createRequire } from 'node:module';
        export const { ${[...(await namesFromFs())].join(', ')} } =
          process.getBuiltinModule?.('node:fs') ?? createRequire(import.meta.url ?? __filename)('node:fs');`,
    }));
  },
};

/** The names that sources of the library import from node:fs. */
async function namesFromFs() {
  const names = new Set();
  for (const file of await filesBelow('src/loader')) {
    const [, list] = (await readFile(file, 'utf8')).match(/^import \{([^}]*)\} from 'node:fs';$/m) ?? [];
    for (const name of list?.split(',') ?? []) if (name.trim()) names.add(name.trim());
  }
  return names;
}

/** Runs tsc. Throws an error with its output. */
async function tsc(...options) {
  const program = join(require.resolve('typescript/package.json'), '../bin/tsc');
  try {
    await promisify(execFile)(process.execPath, [program, '--pretty', 'false', ...options]);
  } catch (error) {
    throw new Error(`tsc ${options.join(' ')}\n${error.stdout || error.message}`);
  }
}

async function filesBelow(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
}

/** Removes files from build/ whose source is gone, so that a deleted test does not run. */
async function removeStale() {
  const sources = new Set((await Promise.all(COMPILED.map(filesBelow))).flat());
  for (const file of await filesBelow('build')) {
    const made = file.match(/^build\/(.*?)(\.js|\.js\.map|\.d\.ts)$/);
    if (!made || !sources.has(`${made[1]}.ts`)) await rm(file, { force: true });
  }
}

async function compile() {
  await Promise.all([tsc('-p', 'tsconfig.json'), tsc('-p', REPORT_PAGE)]);
  await removeStale();
}

async function emitTypes() {
  await rm('dist/types', { recursive: true, force: true });
  await tsc('-p', 'tsconfig.types.json', '--noCheck'); // compile() checks
}

/** Bundles an entry point. Returns its code, its source map if requested, and the bundled packages. */
async function bundle(entry, more = {}) {
  const result = await build({ ...bundling, ...entry, ...more, outfile: 'dist/bundle.js' });
  const text = (ending) => result.outputFiles.find((file) => file.path.endsWith(ending))?.text;
  return { code: text('.js'), map: text('.js.map'), packages: packagesOf(result.metafile) };
}

/** The folders of the packages whose code a bundle holds. */
function packagesOf(metafile) {
  const kept = Object.values(metafile.outputs)
    .flatMap((output) => Object.entries(output.inputs))
    .filter(([, { bytesInOutput }]) => bytesInOutput > 0);
  return kept.map(([file]) => file.match(/^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/)?.[0]).filter(Boolean);
}

/** Options for both parts of a command: less to parse, but names stay readable in stack traces. */
const command = { format: 'cjs', minifySyntax: true, minifyWhitespace: true };

/**
 * Bundles a command: its launcher (src/cli/launch.ts), its bundle, a function with parameters like a
 * module's, its late parts (bundle-late.mjs), and its code caches (code-cache/make.mjs). `prebuilt` is the
 * text of the bundle's parameter of that name.
 */
async function bundleCommand(name, { defineLate = {}, prebuilt, ...more } = {}) {
  const define = { ...bundling.define, ...defineLate };
  const { parts, ...late } = await bundleLate(name, { ...bundling, ...command, define }, [
    withoutChildProcess,
  ]);
  const stdin = { contents: late.contents, resolveDir: root };
  const bundled = await bundle(
    { stdin },
    {
      ...more,
      ...command,
      supported: { 'dynamic-import': false }, // scripts have it from Node 20.12 on; it becomes require()
      plugins: [...late.plugins, withoutChildProcess, withRequireOfLauncher],
      define: {
        ...bundling.define,
        'import.meta.url': 'file',
        __PREBUILT__: 'prebuilt',
        __BUILD__: JSON.stringify(DIGEST),
      },
      banner: {
        js: `(function (require, file, prebuilt) {\n${late.header}`,
      },
      footer: { js: '})' },
    },
  );
  bundled.code = late.finish(bundled.code);
  bundled.code = bundled.code.replace(DIGEST, digestOf([bundled, ...parts]));
  await writeFile(`dist/${name}.bundle.cjs`, bundled.code);
  for (const { file, code } of parts) await writeFile(join('dist', file), code);
  await writeCaches(name, { prebuilt });
  await writeLauncher(name);
  const packages = [...bundled.packages, ...parts.flatMap(({ metafile }) => packagesOf(metafile))];
  return { ...bundled, parts, packages };
}

/** In a bundle, where its digest will be. */
const DIGEST = '0000_the_digest_';

/** The digest of the code of scripts, as long as `DIGEST`. */
function digestOf(scripts) {
  const hash = createHash('sha256');
  for (const { code } of scripts) hash.update(code);
  return hash.digest('hex').slice(0, DIGEST.length);
}

async function writeLauncher(name) {
  const launcher = await bundle(
    { entryPoints: ['src/cli/launch.ts'] },
    {
      ...command,
      define: { __COMMAND__: JSON.stringify(name) },
      banner: { js: '#!/usr/bin/env node' },
    },
  );
  await writeFile(`dist/${name}.cjs`, launcher.code);
  await chmod(`dist/${name}.cjs`, 0o755);
}

/**
 * Assembles the programs of common command lines for the kernel of this machine (src/cli/prebuild.ts), in a
 * process of its own. If that is not possible (no BTF, or a processor that is not supported), says why and
 * returns an empty text.
 */
async function prebuild() {
  const script = join(root, 'dist/prebuild.mjs');
  const contents = `import { prebuiltText } from './src/cli/prebuild.ts';
    import { Kernel } from './src/loader/kernel.ts';
    process.stdout.write(await prebuiltText(new Kernel()));`;
  const { code } = await bundle({ stdin: { contents, resolveDir: root } });
  await writeFile(script, code);
  try {
    return (await promisify(execFile)(process.execPath, [script], { maxBuffer: 1 << 24 })).stdout;
  } catch ({ stderr, message }) {
    const reason = /^\w*Error\b.*/m.exec(stderr ?? '')?.[0] ?? message;
    console.error(`tcpconnlat will start slower, because the build has assembled no programs: ${reason}`);
    return '';
  } finally {
    await rm(script);
  }
}

/** Bundles tcpconnlat, with the line table of its programs. */
async function bundleTracer() {
  const [page, prebuilt] = await Promise.all([bundleReportPage(), prebuild()]);
  const { map, parts, packages } = await bundleCommand('tcpconnlat', {
    sourcemap: 'external',
    prebuilt,
    defineLate: { __REPORT_PAGE__: JSON.stringify(page.assets) },
  });
  const tables = parts.map((part) => [part.file, lineTable(JSON.parse(part.map))]);
  const used = tables.filter(([, { sources }]) => sources.length > 0);
  const table = { ...lineTable(JSON.parse(map)), parts: Object.fromEntries(used) };
  await writeFile('dist/tcpconnlat.lines.json', JSON.stringify(table));
  return [...packages, ...page.packages];
}

/**
 * The script and the style of a report's page (`PageAssets` in src/cli/report/html.ts). The script runs after
 * the browser has painted the summary, since its code takes as long as everything before.
 */
async function bundleReportPage() {
  const browser = { platform: 'browser', target: ['chrome111', 'firefox113', 'safari16.2'], minify: true };
  const [script, style] = await Promise.all(
    [
      {
        format: 'iife',
        entryPoints: [`${REPORT_PAGE}/main.ts`],
        banner: { js: LATER },
        footer: { js: '});' },
      },
      { entryPoints: [`${REPORT_PAGE}/report.css`], outfile: 'dist/bundle.css' },
    ].map((more) =>
      build({ ...bundling, external: [], define: {}, ...browser, outfile: 'dist/bundle.js', ...more }),
    ),
  );
  const packages = packagesOf(script.metafile);
  const text = ({ outputFiles }) => outputFiles[0].text.trim();
  const license = (await Promise.all([...new Set(packages)].map(licenseOf))).join('\n');
  return { assets: { script: text(script), style: text(style), license }, packages };
}

async function bundleTool() {
  return (await bundleCommand('tsbpf')).packages;
}

/**
 * The line table, which replaces a source map at run time:
 *
 *   sources   [{ file, lines }]: the sources of tools, with their path in the project and their lines
 *   segments  [generatedLine, generatedColumn, source, line, column], sorted. All but `source` are 1-based,
 *             as in V8's stack traces. A segment extends to the next one. `source` is an index in `sources`,
 *             or -1 for code that belongs to no tool.
 *
 * `parts` has the tables of late parts that contain code of tools, by file.
 */
function lineTable(map) {
  const tools = new Map(); // index in the map -> index in the table
  const sources = [];
  map.sources.forEach((path, index) => {
    const file = path.match(TOOL_SOURCE)?.[2];
    if (!file || path.includes('node_modules/')) return;
    tools.set(index, sources.length);
    sources.push({ file, lines: map.sourcesContent[index].split('\n') });
  });

  const segments = [];
  let last = [0, 0, -1, 0, 0];
  decode(map.mappings).forEach((line, generated) => {
    for (const [column, source, sourceLine, sourceColumn] of line) {
      const tool = tools.get(source) ?? -1;
      const place = tool < 0 ? [-1, 0, 0] : [tool, sourceLine + 1, sourceColumn + 1];
      const segment = [generated + 1, column + 1, ...place];
      if (String(place) !== String(last.slice(2))) segments.push(segment);
      last = segment;
    }
  });
  return { sources, segments };
}

async function writeLicenses(packages) {
  const texts = await Promise.all([...new Set(packages)].sort().map(licenseOf));
  await writeFile('dist/LICENSES.txt', texts.join(`\n${'-'.repeat(80)}\n\n`));
}

/** The license of the package in a folder. */
async function licenseOf(folder) {
  const { name, version } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
  const file = (await readdir(folder)).find((entry) => /^licen[cs]e/i.test(entry));
  if (!file) throw new Error(`${name} is bundled, but has no license file`);
  return `${name} ${version}\n\n${(await readFile(join(folder, file), 'utf8')).trim()}\n`;
}

async function bundleAll() {
  await mkdir('dist', { recursive: true });
  const library = bundleLibrary({ ...bundling, plugins: [withoutStreams] }).then(packagesOf);
  const packages = await Promise.all([library, bundleTracer(), bundleTool()]);
  await writeLicenses(packages.flat());
}

const steps = await Promise.allSettled([compile(), emitTypes(), bundleAll()]);
for (const { reason } of steps.filter((step) => step.status === 'rejected')) {
  console.error(reason.message);
  process.exitCode = 1;
}
