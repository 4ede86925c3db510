/**
 * Late parts of a command: modules that its bundle loads by `import()`, each in a file of its own that Node
 * reads when it is needed. Code that only some options need belongs there, since V8 parses and checks the
 * whole bundle at each start.
 *
 *   dist/COMMAND.bundle.cjs   the command
 *   dist/COMMAND.PART.cjs     a late part, where PART is the name of its module
 *
 * A late part contains the modules and packages that the bundle does not have. It gets the others from the
 * bundle, so that there is one instance of every class and variable. Static imports of a late part fail the
 * build.
 */
import { readFile } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('.', import.meta.url));

/** The modules of the late parts, by command. */
const LATE = {
  tcpconnlat: [
    'src/cli/aggregate/summarize.ts',
    'src/cli/command-line.ts',
    'src/cli/diagnose.ts',
    'src/cli/export.ts',
    'src/cli/report.ts',
    'src/cli/top.ts',
    'src/cli/trace/builder.ts',
  ],
  tsbpf: [],
};

/** The prefix of the modules that a late part gets from the bundle. */
const EARLY = 'early:';

/**
 * Bundles the late parts of a command with options of esbuild, and returns them with what the bundle needs:
 *
 *   parts     [{ file, code, map, metafile }]; `file` is a name in dist/, and `map` a source map
 *   contents  the text of the bundle's entry point
 *   plugin    replaces the late modules in the bundle
 *   header    declares what the bundle's code uses
 *
 * `plugins` are those of the bundle.
 */
export async function bundleLate(command, options, plugins = []) {
  const late = LATE[command];
  const plugin = lateModules(command, late);
  const entry = `src/cli/${command}.ts`;
  const whole = { ...options, entryPoints: [entry], plugins: [plugin, ...plugins], format: 'esm' };
  const early = await modulesOf(whole);
  const eager = late.find((file) => early.has(file));
  if (eager) throw new Error(`${eager} is a late part of ${command}, but the command imports it statically`);
  const parts = await Promise.all(late.map((file) => bundlePart(command, file, early, options, plugins)));
  return { parts, plugin, header: HEADER, contents: contentsOf(entry, namesIn(parts)) };
}

/** An empty file, such as a full disk leaves, is a module, too. */
const HEADER = `let early;
function latePart(name, part) {
  if (typeof part === 'function') return part(require, require('node:path').join(file, '..', name), early());
  throw Object.assign(new Error(name + ' is damaged'), { code: 'MODULE_NOT_FOUND' });
}
`;

const fileOf = (command, module) => `${command}.${basename(module, '.ts')}.cjs`;
const specifier = (file) => JSON.stringify(`./${file}`);
const pathOf = ({ path, resolveDir }) => relative(root, join(resolveDir, path));

/** The sources whose code a bundle holds, and those that only re-export it. */
async function modulesOf(options) {
  const { metafile } = await build({ ...options, outfile: 'dist/bundle.js', metafile: true, write: false });
  const inputs = Object.entries(Object.values(metafile.outputs)[0].inputs);
  const isSource = ([file, { bytesInOutput }]) => file.startsWith('src/') && bytesInOutput > 0;
  const sources = inputs.filter(isSource).map(([file]) => file);
  const barrels = [];
  for (const file of Object.keys(metafile.inputs))
    if (file.startsWith('src/') && BARREL.test(await readFile(join(root, file), 'utf8'))) barrels.push(file);
  return new Set([...sources, ...barrels]);
}

/** A module of comments and re-exports. */
const BARREL = /^(?:\s+|\/\*[\s\S]*?\*\/|\/\/.*|export (?:type )?(?:\*|\{[^}]*\}) from '[^']+';)+$/;

/** Replaces dynamic imports of late modules by their files. */
function lateModules(command, late) {
  return {
    name: 'late-modules',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /\.ts$/ }, ({ kind, ...from }) =>
        kind === 'dynamic-import' && late.includes(pathOf(from))
          ? { path: pathOf(from), namespace: 'late' }
          : undefined,
      );
      onResolve({ filter: /./, namespace: 'late' }, ({ path }) => ({ path, external: true }));
      onLoad({ filter: /./, namespace: 'late' }, ({ path }) => {
        const file = specifier(fileOf(command, path));
        return { contents: `module.exports = latePart(${file}, require(${file}));` };
      });
    },
  };
}

async function bundlePart(command, module, early, options, plugins) {
  const fromBundle = {
    name: 'modules-of-the-bundle',
    setup({ onResolve }) {
      onResolve({ filter: /\.ts$/ }, (from) =>
        early.has(pathOf(from)) ? { path: EARLY + pathOf(from), external: true } : undefined,
      );
    },
  };
  const bundling = {
    ...options,
    supported: { 'dynamic-import': false }, // as in the bundle
    plugins: [fromBundle, ...plugins],
    metafile: true,
    write: false,
  };
  const define = { ...options.define, 'import.meta.url': 'file' };
  const outfile = join('dist', fileOf(command, module));
  const made = (more) => build({ ...bundling, entryPoints: [module], outfile, define, ...more });
  const [{ outputFiles, metafile }, asModule] = await Promise.all([
    made({
      format: 'cjs',
      banner: { js: HEADER_OF_PART },
      footer: { js: FOOTER_OF_PART },
      sourcemap: 'external',
    }),
    made({ format: 'esm' }),
  ]);
  const text = (ending) => outputFiles.find((file) => file.path.endsWith(ending)).text;
  return {
    file: fileOf(command, module),
    code: text('.cjs'),
    map: text('.map'),
    metafile,
    imports: importsIn(asModule.outputFiles[0].text),
  };
}

/**
 * A late part is a function with the parameters of the bundle, and as a third one the modules of the bundle
 * by their path.
 */
const HEADER_OF_PART = `(function (load, file, early) {
const require = (name) => early[name] ?? load(name);
const module = { exports: {} };
`;
const FOOTER_OF_PART = `return module.exports;
})`;

/** The names that a part imports from modules of the bundle, by module. */
function importsIn(code) {
  const imports = new Map();
  const pattern = new RegExp(`\\bimport\\s*([^"';]*?)\\s*(?:from)?\\s*["']${EARLY}([^"']+)["']`, 'g');
  for (const [statement, clause, file] of code.matchAll(pattern)) {
    const [, list] = /^\{([^}]*)\}$/.exec(clause) ?? [];
    const [, namespace] = /^\*\s*as (\w+)$/.exec(clause) ?? [];
    if (!(list ?? namespace)) throw new Error(`a late part cannot contain ${statement}`);
    const names = namespace
      ? membersOf(namespace, code.replace(statement, ''))
      : list.split(',').map((name) => name.trim().split(/\s/)[0]);
    imports.set(file, [...(imports.get(file) ?? []), ...names]);
  }
  return imports;
}

/** The members of a namespace that code uses. */
function membersOf(namespace, code) {
  const uses = [...code.matchAll(new RegExp(`\\b${namespace}\\b(?:\\.(\\w+))?`, 'g'))].map(
    ([, member]) => member,
  );
  if (uses.includes(undefined)) throw new Error(`a late part uses the namespace ${namespace} as a value`);
  return [...new Set(uses)];
}

function namesIn(parts) {
  const names = new Map();
  for (const { imports } of parts)
    for (const [file, list] of imports) names.set(file, new Set([...(names.get(file) ?? []), ...list]));
  return names;
}

/**
 * The entry point of the bundle. The command begins while its module is evaluated, but a late part loads in a
 * microtask at the earliest, after the assignment.
 */
function contentsOf(entry, names) {
  const modules = [...names].map(([file, list], i) => ({
    file,
    list: [...list].sort().map((name) => ({ name, as: `m${i}_${name}` })),
  }));
  const imports = modules.map(
    ({ file, list }) =>
      `import { ${list.map(({ name, as }) => `${name} as ${as}`).join(', ')} } from ${specifier(file)};`,
  );
  const objects = modules.map(
    ({ file, list }) =>
      `${JSON.stringify(EARLY + file)}: { ${list.map(({ name, as }) => `${name}: ${as}`).join(', ')} },`,
  );
  return [
    `import ${specifier(entry)};`,
    ...imports,
    'early = () => ({',
    '__proto__: null,',
    ...objects,
    '});',
  ].join('\n');
}
