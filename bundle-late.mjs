/**
 * Late parts of a command: modules that its bundle loads by `import()`, each in a file of its own that Node
 * reads when it is needed. Code that only some options need belongs there, since V8 parses and checks the
 * whole bundle at each start.
 *
 *   dist/COMMAND.bundle.cjs   the command
 *   dist/COMMAND.PART.cjs     a late part, where PART is the name of its module
 *   dist/COMMAND.rare.cjs     the rare part: modules that most runs do not call
 *
 * A late part contains the modules and packages that the bundle does not have. It gets the others from the
 * bundle, so that there is one instance of every class and variable. Static imports of a late part fail the
 * build.
 *
 * The modules of the rare part are imported statically. In the bundle, each is an object whose properties
 * load the rare part when one of them is first read. Reading one while the bundle is evaluated is an error.
 */
import { readFile } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { exportsOf } from './bundle-library.mjs';

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

/**
 * The modules of the rare part; those that nothing else imports belong to it, too. Only a start may call
 * them: once everything is attached, privileges are dropped, and the file of the part may be unreadable.
 */
const RARE = {
  tcpconnlat: [
    'src/asm/assemble.ts',
    'src/asm/btf/compare.ts',
    'src/asm/btf/debug-info.ts',
    'src/asm/btf/enum.ts',
    'src/asm/btf/map-types.ts',
    'src/asm/btf/member.ts',
    'src/asm/btf/prototype.ts',
    'src/asm/btf/reader.ts',
    'src/asm/btf/size.ts',
    'src/asm/btf/struct.ts',
    'src/asm/constructors/arithmetic.ts',
    'src/asm/constructors/control.ts',
    'src/asm/constructors/memory.ts',
    'src/asm/decode.ts',
    'src/asm/disassemble.ts',
    'src/asm/encode.ts',
    'src/asm/isa.ts',
    'src/asm/kernel-features.ts',
    'src/asm/listing.ts',
    'src/loader/features.ts',
    'src/loader/kallsyms.ts',
    'src/loader/kprobe-multi.ts',
    'src/loader/load/instruction-probe.ts',
    'src/loader/load/log.ts',
    'src/loader/map/view.ts',
    'src/loader/pin.ts',
    'src/loader/pinned-differences.ts',
    'src/loader/ring-buffer.ts',
    'src/loader/symbol-error.ts',
    'src/loader/symbol-table.ts',
    'src/loader/symbolizer.ts',
    'src/loader/verifier/report.ts',
  ],
  tsbpf: [],
};

/** The prefix of the modules that a late part gets from the bundle. */
const EARLY = 'early:';

/**
 * Bundles the late parts and the rare part of a command with options of esbuild, and returns them with what
 * the bundle needs:
 *
 *   parts     [{ file, code, map, metafile }]; `file` is a name in dist/, and `map` a source map
 *   contents  the text of the bundle's entry point
 *   plugins   replace the late and the rare modules in the bundle
 *   header    declares what the bundle's code uses
 *   finish    completes the code of the bundle
 *
 * `plugins` are those of the bundle.
 */
export async function bundleLate(command, options, plugins = []) {
  const late = LATE[command];
  const entry = `src/cli/${command}.ts`;
  const modulesWith = (...more) =>
    modulesOf({ ...options, entryPoints: [entry], plugins: [...more, ...plugins], format: 'esm' });
  const withoutLate = lateModules(command, late);
  const all = await modulesWith(withoutLate);
  const eager = late.find((file) => all.sources.has(file));
  if (eager) throw new Error(`${eager} is a late part of ${command}, but the command imports it statically`);

  const early = await modulesWith(withoutModules(RARE[command]), withoutLate);
  const notEarly = [...all.sources].filter((file) => !early.sources.has(file));
  const rare = await exportsOf(options, notEarly);
  const ofBundle = [...early.sources, ...early.barrels];
  const part = (file, entryPoint, outside) =>
    bundlePart(file, entryPoint, new Set(outside), options, plugins);
  const parts = await Promise.all(
    late.map((file) => part(fileOf(command, file), { entryPoints: [file] }, [...ofBundle, ...notEarly])),
  );
  if (notEarly.length > 0) parts.push(await part(rareFile(command), entryOfAll(notEarly), ofBundle));
  return {
    parts,
    plugins: [rareModules(rare), withoutLate],
    header: headerOf(command),
    contents: contentsOf(entry, namesIn(parts), rare, early.barrels),
    finish: withoutCopies,
  };
}

/**
 * The beginning of the bundle. An empty file, such as a full disk leaves, is a module, too. A module of the
 * rare part is an object with a getter for each export; the first one that is read replaces all of them by
 * the values.
 */
const headerOf = (command) => `let early, rare;
function latePart(name, part) {
  if (typeof part === 'function') return part(require, require('node:path').join(file, '..', name), early());
  throw Object.assign(new Error(name + ' is damaged'), { code: 'MODULE_NOT_FOUND' });
}
function rareModule(path, names) {
  const module = { __esModule: true };
  for (const name of names)
    Object.defineProperty(module, name, { configurable: true, enumerable: true, get: () => {
      if (!early) throw new Error('the start uses ' + name + ' of ' + path + '; remove it from RARE in bundle-late.mjs');
      rare ??= latePart(${JSON.stringify(rareFile(command))}, require(${JSON.stringify(`./${rareFile(command)}`)}));
      for (const each of names) Object.defineProperty(module, each, { value: rare[path][each] });
      return module[name];
    } });
  return module;
}
`;

const fileOf = (command, module) => `${command}.${basename(module, '.ts')}.cjs`;
const rareFile = (command) => `${command}.rare.cjs`;
const specifier = (file) => JSON.stringify(`./${file}`);
const pathOf = ({ path, resolveDir }) => relative(root, join(resolveDir, path));

/** The sources whose code a bundle holds, and those that only re-export it. */
async function modulesOf(options) {
  const { metafile } = await build({ ...options, outfile: 'dist/bundle.js', metafile: true, write: false });
  const inputs = Object.entries(Object.values(metafile.outputs)[0].inputs);
  const isSource = ([file, { bytesInOutput }]) => file.startsWith('src/') && bytesInOutput > 0;
  const barrels = new Set();
  for (const file of Object.keys(metafile.inputs))
    if (file.startsWith('src/') && BARREL.test(await readFile(join(root, file), 'utf8'))) barrels.add(file);
  return { sources: new Set(inputs.filter(isSource).map(([file]) => file)), barrels };
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

/** Leaves modules out. */
function withoutModules(files) {
  return {
    name: 'without-modules',
    setup({ onResolve }) {
      onResolve({ filter: /\.ts$/ }, (from) =>
        files.includes(pathOf(from)) ? { path: pathOf(from), external: true } : undefined,
      );
    },
  };
}

/** Replaces modules by objects that load the rare part. `rare` has their exports. */
function rareModules(rare) {
  return {
    name: 'rare-modules',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /\.ts$/ }, (from) =>
        rare.has(pathOf(from)) ? { path: pathOf(from), namespace: 'rare' } : undefined,
      );
      onLoad({ filter: /./, namespace: 'rare' }, ({ path }) => ({
        contents: `module.exports = rareModule(${JSON.stringify(path)}, ${JSON.stringify(rare.get(path))});`,
      }));
    },
  };
}

/**
 * Replaces the copies that esbuild makes of modules of the rare part, and of the bundle's in a late part, by
 * these modules: a copy has getters of getters. The code keeps its length, and so its positions.
 */
function withoutCopies(code) {
  const rare = new Set(
    Array.from(code.matchAll(/\b(require_\w+)=__commonJS\(\{"rare:/g), ([, name]) => `${name}()`),
  );
  return code.replace(/__toESM\((require(?:_\w+\(\)|\("early:[^"]+"\)))(?:,1)?\)/g, (copy, module) =>
    rare.has(module) || module.startsWith('require("') ? module.padEnd(copy.length) : copy,
  );
}

/** An entry point whose value is an object of modules by their path. */
function entryOfAll(files) {
  const imports = files.map((file, i) => `import * as m${i} from ${specifier(file)};`);
  const members = files.map((file, i) => `${JSON.stringify(file)}: m${i}`);
  const contents = [...imports, `module.exports = { ${members.join(', ')} };`].join('\n');
  return { stdin: { contents, resolveDir: root } };
}

/** Bundles a part without the modules `outside`, which it gets from the bundle. */
async function bundlePart(file, entryPoint, outside, options, plugins) {
  const fromBundle = {
    name: 'modules-of-the-bundle',
    setup({ onResolve }) {
      onResolve({ filter: /\.ts$/ }, (from) =>
        outside.has(pathOf(from)) ? { path: EARLY + pathOf(from), external: true } : undefined,
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
  const made = (more) => build({ ...bundling, ...entryPoint, outfile: join('dist', file), define, ...more });
  const [{ outputFiles, metafile }, asModule] = await Promise.all([
    made({
      format: 'cjs',
      banner: { js: HEADER_OF_PART },
      footer: { js: FOOTER_OF_PART },
      sourcemap: 'external',
    }),
    made({ format: 'esm' }),
  ]);
  const text = (ending) => outputFiles.find((output) => output.path.endsWith(ending)).text;
  return {
    file,
    code: withoutCopies(text('.cjs')),
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
 * microtask at the earliest, after the assignment. Modules that re-export are read lazily, since a name may
 * be of the rare part.
 */
function contentsOf(entry, names, rare, barrels) {
  const modules = [...names].map(([file, list], i) => ({
    file,
    isRare: rare.has(file),
    list: [...list].sort().map((name) => ({ name, as: `m${i}_${name}` })),
    namespace: `m${i}`,
  }));
  const namesOf = ({ list }) => list.map(({ name, as }) => `${name} as ${as}`).join(', ');
  const imports = modules.map((module) => {
    const clause = module.isRare ? `* as ${module.namespace}` : `{ ${namesOf(module)} }`;
    return `import ${clause} from ${specifier(module.file)};`;
  });
  const moduleText = ({ file, isRare, list, namespace }) => {
    if (isRare) return namespace;
    const memberText = barrels.has(file)
      ? ({ name, as }) => `get ${name}() { return ${as}; }`
      : ({ name, as }) => `${name}: ${as}`;
    return `{ ${list.map(memberText).join(', ')} }`;
  };
  return [
    `import ${specifier(entry)};`,
    ...imports,
    'early = () => ({',
    '__proto__: null,',
    ...modules.map((module) => `${JSON.stringify(EARLY + module.file)}: ${moduleText(module)},`),
    '});',
  ].join('\n');
}
