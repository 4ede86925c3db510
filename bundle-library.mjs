/**
 * Bundles the library in two forms:
 *
 *   dist/library.js         for Node: what `import 'tsbpf'` evaluates (`EARLY`)
 *   dist/library.late.cjs   the rest, which Node loads when a part of it is first used
 *   dist/index.js, asm.js, btf.js
 *                           the entry points, which re-export from these two
 *   dist/bundlers/          for bundlers: the library in one ES module, and its entry points (the condition
 *                           `module` in package.json)
 *
 * V8 parses a whole file before it evaluates it, and parsing all of the library takes longer than the rest
 * of its import. The late part is a CommonJS script, because Node 20.0 loads nothing else synchronously. In
 * the early part, a module of the late part is an object whose properties load the late part when one of
 * them is read. Code that runs during the import must not read one: the build fails if it does.
 */
import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('.', import.meta.url));

/** The library's entry points, as in `exports` of package.json. */
const ENTRIES = ['index', 'asm', 'btf'];

/** The early part: modules with public classes and constants, and what these need when they are defined. */
const EARLY = [
  'src/asm/architecture.ts',
  'src/asm/assemble-error.ts',
  'src/asm/btf/ambiguous-struct.ts',
  'src/asm/btf/no-such-field.ts',
  'src/asm/btf/types.ts',
  'src/asm/error.ts',
  'src/asm/events.ts',
  'src/asm/flags.ts',
  'src/asm/helpers.ts',
  'src/asm/hooks.ts',
  'src/asm/layout.ts',
  'src/asm/layout/c-layout.ts',
  'src/asm/layout/schema.ts',
  'src/asm/map-type.ts',
  'src/asm/map.ts',
  'src/asm/no-such-tracepoint.ts',
  'src/asm/once.ts',
  'src/asm/program.ts',
  'src/asm/target.ts',
  'src/asm/tracepoint-format.ts',
  'src/index.ts',
  'src/loader/cgroup-paths.ts',
  'src/loader/errno.ts',
  'src/loader/errors.ts',
  'src/loader/kernel.ts',
  'src/loader/link.ts',
  'src/loader/map.ts',
  'src/loader/map/update-mode.ts',
  'src/loader/native-code.ts',
  'src/loader/perf-buffer.ts',
  'src/loader/program-array.ts',
  'src/loader/program.ts',
  'src/loader/ring-buffer.ts',
  'src/loader/session.ts',
  'src/loader/symbolizer.ts',
];

/** Modules that only re-export: functions of the late part that they re-export stay late. */
const BARRELS = ['src/index.ts', 'src/asm/layout.ts'];

/**
 * Bundles the library with options of esbuild (bundle, platform, target, plugins). Returns esbuild's metafile
 * of the whole library.
 */
export async function bundleLibrary(options) {
  // Less to parse. Names and lines stay readable in stack traces; Node prints the line of an uncaught error.
  const small = { minifySyntax: true, minifyWhitespace: true, lineLimit: 110 };
  const bundling = { ...options, ...small, absWorkingDir: root, metafile: true, write: false };
  const whole = await bundle(
    bundling,
    ENTRIES.map((entry) => `export * from './src/${entry}.ts';`),
  );
  const entries = await exportsOf(
    bundling,
    ENTRIES.map((entry) => `src/${entry}.ts`),
  );
  const all = Object.values(whole.metafile.outputs)[0].exports;
  for (const names of entries.values()) {
    const clash = names.find((name) => !all.includes(name));
    if (clash) throw new Error(`two entry points export different things as ${clash}`);
  }
  await Promise.all([forBundlers(whole, entries), forNode(bundling, whole, entries)]);
  return whole.metafile;
}

async function forBundlers(whole, entries) {
  await mkdir('dist/bundlers', { recursive: true });
  await writeFile('dist/bundlers/library.js', whole.code);
  for (const [file, names] of entries) await writeFile(`dist/bundlers/${nameOf(file)}.js`, reExport(names));
}

async function forNode(bundling, whole, entries) {
  const { intoLate, intoEarly } = crossings(whole.metafile);
  const names = await exportsOf(bundling, [...intoLate]);
  const early = await bundle(
    {
      ...bundling,
      plugins: [...bundling.plugins, lateModules(names)],
      banner: { js: RUNTIME },
      footer: { js: 'isImported = true;' },
    },
    [
      `export * from './src/index.ts';`,
      ...importAll(intoEarly),
      `export const lateEntry = (file) => late()[file];`,
      `early = ${objectOfAll(intoEarly)};`,
    ],
  );
  const late = await bundle(
    {
      ...bundling,
      format: 'cjs',
      plugins: [...bundling.plugins, earlyModules()],
      define: { ...bundling.define, 'import.meta.url': 'undefined' }, // __filename exists
      banner: { js: 'module.exports = (early) => { const module = { exports: {} };' },
      footer: { js: 'return module.exports; };' },
    },
    [...importAll(intoLate), `module.exports = ${objectOfAll(intoLate)};`],
  );
  await writeFile('dist/library.js', withoutCopies(early.code));
  await writeFile('dist/library.late.cjs', withoutCopies(late.code));
  const [[, index], ...others] = entries;
  await writeFile('dist/index.js', reExport(index));
  for (const [file, names] of others)
    await writeFile(
      `dist/${nameOf(file)}.js`,
      `import { lateEntry } from './library.js';\n` +
        `export const {\n${listOf(names)}} = lateEntry(${JSON.stringify(file)});\n`,
    );
  await checkImport();
}

/**
 * The beginning of the early part. A module of the late part is an object with a getter for each export;
 * the first one that is read replaces all of them by the values.
 */
const RUNTIME = `import { createRequire as createRequireOfLate } from 'node:module';
let early, loaded, isImported = false;
function late() {
  return loaded ??= createRequireOfLate(import.meta.url)('./library.late.cjs')(early);
}
function lateModule(file, names) {
  const module = { __esModule: true };
  for (const name of names)
    Object.defineProperty(module, name, { configurable: true, enumerable: true, get: () => {
      if (!isImported) throw new Error('the import of tsbpf uses ' + name + ' of ' + file + '; add it to EARLY in bundle-library.mjs');
      const values = late()[file];
      for (const each of names) Object.defineProperty(module, each, { value: values[each] });
      return module[name];
    } });
  return module;
}`;

/** Replaces modules of the late part in the early part. `names` are the exports of each. */
function lateModules(names) {
  return {
    name: 'late-modules',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /\.ts$/ }, ({ path, resolveDir, importer }) => {
        const file = relative(root, join(resolveDir, path));
        if (isEarly(file)) return undefined;
        const isBarrel = BARRELS.includes(relative(root, importer));
        return { path: file, namespace: isBarrel ? 'late-functions' : 'late' };
      });
      onLoad({ filter: /./, namespace: 'late' }, ({ path }) => ({
        contents: `module.exports = ${lateModule(path)}`,
      }));
      onLoad({ filter: /./, namespace: 'late-functions' }, async ({ path }) => {
        const functions = functionsIn(await readFile(join(root, path), 'utf8'));
        const stub = (name) => `export const ${name} = (...args) => module.${name}(...args);`;
        // A class or a constant has to be early: reading it here fails the build.
        const value = (name) => `export const ${name} = /* @__PURE__ */ (() => module.${name})();`;
        const stubs = names.get(path).map((name) => (functions.has(name) ? stub : value)(name));
        return { contents: [`const module = ${lateModule(path)};`, ...stubs].join('\n') };
      });
    },
  };

  function lateModule(path) {
    return `lateModule(${JSON.stringify(path)}, ${JSON.stringify(names.get(path))})`;
  }
}

/** The names of the exported functions in a source text. */
function functionsIn(text) {
  return new Set(Array.from(text.matchAll(/^export (?:async )?function\*? (\w+)/gm), ([, name]) => name));
}

/** Replaces modules of the early part in the late part. */
function earlyModules() {
  return {
    name: 'early-modules',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /\.ts$/ }, ({ path, resolveDir }) => {
        const file = relative(root, join(resolveDir, path));
        return isEarly(file) ? { path: file, namespace: 'early' } : undefined;
      });
      onLoad({ filter: /./, namespace: 'early' }, ({ path }) => ({
        contents: `module.exports = early[${JSON.stringify(path)}];`,
      }));
    },
  };
}

function isEarly(file) {
  return EARLY.includes(file);
}

/** The modules of each part that the other part imports. */
function crossings({ inputs }) {
  const intoLate = new Set(ENTRIES.slice(1).map((entry) => `src/${entry}.ts`));
  const intoEarly = new Set();
  for (const [file, { imports }] of Object.entries(inputs)) {
    if (!file.startsWith('src/')) continue;
    for (const { path } of imports.filter(({ path }) => path.startsWith('src/')))
      if (isEarly(file) !== isEarly(path)) (isEarly(path) ? intoEarly : intoLate).add(path);
  }
  return { intoLate, intoEarly };
}

/** The exports of modules, with options of esbuild. */
export async function exportsOf(options, files) {
  if (files.length === 0) return new Map();
  const whole = {
    ...options,
    splitting: true,
    format: 'esm',
    outdir: 'exports',
    metafile: true,
    write: false,
  };
  const { metafile } = await build({ ...whole, entryPoints: files });
  // Modules that these load by `import()` have outputs, too.
  const outputs = Object.values(metafile.outputs).filter(({ entryPoint }) => files.includes(entryPoint));
  return new Map(outputs.map(({ entryPoint, exports }) => [entryPoint, exports]));
}

/** Bundles a module with these lines. */
async function bundle(bundling, lines) {
  const stdin = { contents: lines.join('\n'), resolveDir: root };
  const { outputFiles, metafile } = await build({ ...bundling, stdin, outfile: 'library.js' });
  return { code: outputFiles[0].text, metafile };
}

/**
 * Replaces the copies that esbuild makes of modules of the other part by these modules. A copy has a default
 * export in addition, and a getter for each name.
 */
function withoutCopies(code) {
  return code.replace(/__toESM\((require_\w+\(\))(?:,1)?\)/g, '$1');
}

const specifier = (file) => JSON.stringify(`./${file}`);
const importAll = (files) => [...files].map((file, i) => `import * as m${i} from ${specifier(file)};`);
const objectOfAll = (files) =>
  `{ ${[...files].map((file, i) => `${JSON.stringify(file)}: m${i}`).join(', ')} }`;
const nameOf = (file) => basename(file, '.ts');
const listOf = (names) => names.map((name) => `  ${name},\n`).join('');
const reExport = (names) => `export {\n${listOf(names)}} from './library.js';\n`;

/** Imports the library. Throws an error if that uses the late part. */
async function checkImport() {
  const script = `import ${JSON.stringify(pathToFileURL(join(root, 'dist/index.js')).href)};`;
  await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script]);
}
