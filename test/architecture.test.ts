/** What docs/architecture.md says of the house: which rooms it has, that arrows point down only, and that none leads back to where it came from. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { suite } from './harness.ts';

const test = suite('architecture');

/** Sources are not compiled: this file lies in build/test/. */
const SOURCES = fileURLToPath(new URL('../../src/', import.meta.url));
const PAGE = fileURLToPath(new URL('../../docs/architecture.md', import.meta.url));

/** The rooms that each may take from, besides itself. */
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

/** What each file imports, types and what is imported late among it: files by their paths below src, packages by their names. */
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

/** A way from a file back to itself, if there is one. */
function circle(): string[] | undefined {
  const through = new Set<string>();
  const walk = (way: readonly string[]): string[] | undefined => {
    const file = way.at(-1) as string;
    if (way.indexOf(file) < way.length - 1) return way.slice(way.indexOf(file));
    if (through.has(file)) return undefined;
    for (const next of filesFrom(file)) {
      const found = walk([...way, next]);
      if (found) return found;
    }
    through.add(file);
    return undefined;
  };
  for (const file of imports.keys()) {
    const found = walk([file]);
    if (found) return found;
  }
  return undefined;
}

test('the imports are seen', () => {
  assert.ok(imports.size > 100);
  assert.ok(filesFrom('cli/trace.ts').includes('loader/session.ts'));
  assert.ok(imports.get('loader/koffi.ts')?.includes('koffi'));
});

test('arrows point down only', () => {
  const roomOf = (file: string): string => file.split('/')[0] as string;
  for (const file of imports.keys()) {
    const allowed = [roomOf(file), ...(BELOW[roomOf(file)] ?? [])];
    const up = filesFrom(file).filter((other) => !allowed.includes(roomOf(other)));
    assert.equal(up, [], `imported by ${file}`);
  }
});

test('there is no circle', () => {
  assert.is(circle()?.join(' -> '), undefined);
});

test('one file imports koffi', () => {
  const files = [...imports].filter(([, names]) => names.includes('koffi')).map(([file]) => file);
  assert.equal(files, ['loader/koffi.ts']);
});

test('asm asks nothing of the machine', () => {
  const used = new Set(
    [...imports].filter(([file]) => file.startsWith('asm/')).flatMap(([, names]) => names),
  );
  const packages = [...used].filter((name) => !imports.has(name) && !name.startsWith('@sinclair/typebox'));
  assert.equal(packages, []);
});

/** What the first column of a floor's table names: files without their ending, and rooms with a slash. */
function namedOn(floor: string): string[] {
  const page = readFileSync(PAGE, 'utf8');
  const section = page.split(/^## /m).find((each) => each.startsWith(`${floor}:`)) ?? '';
  const cells = [...section.matchAll(/^\| (`.*?`) \|/gm)].map(([, cell = '']) => cell);
  return cells.flatMap((cell) =>
    [...cell.matchAll(/`(.+?)`/g)].map(([, name = '']) => name.replace(/\.ts$/, '')),
  );
}

test('the page has every file and every room of a floor, once, and no others', () => {
  for (const floor of ['asm', 'loader', 'programs', 'cli']) {
    const there = readdirSync(join(SOURCES, floor), { withFileTypes: true }).map((entry) =>
      entry.isDirectory() ? `${entry.name}/` : entry.name.replace(/\.ts$/, ''),
    );
    assert.equal(namedOn(floor).sort(), there.sort(), floor);
  }
});

test.run();
