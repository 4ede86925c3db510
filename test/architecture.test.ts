/**
 * The layers of docs/architecture.md: every module is listed, imports point down, and there are no cycles.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { suite } from './harness.ts';

const test = suite('architecture');

/** Sources are not compiled: this file lies in build/test/. */
const SOURCES = fileURLToPath(new URL('../../src/', import.meta.url));
const PAGE = fileURLToPath(new URL('../../docs/architecture.md', import.meta.url));

/** The layers that each layer may import, besides itself. */
const BELOW: Record<string, readonly string[]> = {
  asm: [],
  loader: ['asm'],
  programs: ['asm'],
  cli: ['programs', 'loader', 'asm'],
  'index.ts': ['loader', 'asm'],
  'asm.ts': ['asm'],
  'btf.ts': ['asm'],
};

/** A block comment at the start of a line. Examples in doc comments import the package itself. */
const COMMENT = /^ *\/\*\*?[\s\S]*?\*\//gm;

/**
 * The imports of each file, including types and dynamic imports: files by their path below src, packages by
 * name.
 */
const imports = new Map<string, readonly string[]>(
  readdirSync(SOURCES, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => {
      const text = readFileSync(join(SOURCES, file), 'utf8').replace(COMMENT, '');
      const named = [...text.matchAll(/(?:from|import\(|import) ?'([^']+)'/g)].map(([, name = '']) => name);
      return [file, named.map((name) => (name.startsWith('.') ? join(dirname(file), name) : name))];
    }),
);

function filesFrom(file: string): string[] {
  return (imports.get(file) ?? []).filter((name) => imports.has(name));
}

/** A cycle of imports, if there is one. */
function findCycle(): string[] | undefined {
  const visited = new Set<string>();
  const walk = (path: readonly string[]): string[] | undefined => {
    const file = path.at(-1) as string;
    if (path.indexOf(file) < path.length - 1) return path.slice(path.indexOf(file));
    if (visited.has(file)) return undefined;
    for (const next of filesFrom(file)) {
      const found = walk([...path, next]);
      if (found) return found;
    }
    visited.add(file);
    return undefined;
  };
  for (const file of imports.keys()) {
    const found = walk([file]);
    if (found) return found;
  }
  return undefined;
}

test('the imports are found', () => {
  assert.ok(imports.size > 100);
  assert.ok(filesFrom('cli/trace.ts').includes('loader/session.ts'));
  assert.ok(imports.get('loader/koffi.ts')?.includes('koffi'));
});

test('imports point down only', () => {
  const layerOf = (file: string): string => file.split('/')[0] as string;
  for (const file of imports.keys()) {
    const allowed = [layerOf(file), ...(BELOW[layerOf(file)] ?? [])];
    const up = filesFrom(file).filter((other) => !allowed.includes(layerOf(other)));
    assert.equal(up, [], `imported by ${file}`);
  }
});

test('there are no import cycles', () => {
  assert.is(findCycle()?.join(' -> '), undefined);
});

test('one file imports koffi', () => {
  const files = [...imports].filter(([, names]) => names.includes('koffi')).map(([file]) => file);
  assert.equal(files, ['loader/koffi.ts']);
});

test('asm imports no platform modules', () => {
  const used = new Set(
    [...imports].filter(([file]) => file.startsWith('asm/')).flatMap(([, names]) => names),
  );
  const packages = [...used].filter((name) => !imports.has(name) && !name.startsWith('@sinclair/typebox'));
  assert.equal(packages, []);
});

/** The first column of a layer's table: files without their extension, and folders with a slash. */
function listedIn(layer: string): string[] {
  const page = readFileSync(PAGE, 'utf8');
  const section = page.split(/^## /m).find((each) => each.startsWith(`${layer}:`)) ?? '';
  const cells = [...section.matchAll(/^\| (`.*?`) \|/gm)].map(([, cell = '']) => cell);
  return cells.flatMap((cell) =>
    [...cell.matchAll(/`(.+?)`/g)].map(([, name = '']) => name.replace(/\.ts$/, '')),
  );
}

test('the page lists every file and folder of a layer exactly once', () => {
  for (const layer of ['asm', 'loader', 'programs', 'cli']) {
    const actual = readdirSync(join(SOURCES, layer), { withFileTypes: true }).map((entry) =>
      entry.isDirectory() ? `${entry.name}/` : entry.name.replace(/\.ts$/, ''),
    );
    assert.equal(listedIn(layer).sort(), actual.sort(), layer);
  }
});

test('the page names every file of a folder within a layer', () => {
  const page = readFileSync(PAGE, 'utf8');
  const missing = [...imports.keys()].filter((file) => {
    const [, name = ''] = /^[^/]+\/.+\/([^/]+)\.ts$/.exec(file) ?? [];
    return name !== '' && !page.includes(`\`${name}\``);
  });
  assert.equal(missing, []);
});

test.run();
