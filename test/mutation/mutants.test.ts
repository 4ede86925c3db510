/** The mutants of a source, and the reproducible order of a draw. */
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { suite } from '../harness.ts';
import { Compiler } from './compiler.ts';
import { compiledAround, ran } from './coverage.ts';
import { draw, mutantsOf, readSources, type Source } from './mutants.ts';
import { compile } from './workspace.ts';

const test = suite('mutation/mutants', { seconds: 60 });

const FILE = 'src/asm/example.ts';
let compiler: Compiler;
test.before(() => {
  compiler = new Compiler(fileURLToPath(new URL('../../../', import.meta.url)));
});
test.after(() => compiler.close());

/** A source with this text, in place of a file of the project. */
function sourceOf(text: string): Source {
  const [source] = compiler.with('src/asm/width.ts', text, () => readSources(compiler, ['src/asm/width.ts']));
  return source ?? { file: FILE, text, sites: [] };
}

/** The lines of a source's mutants. */
function changes(line: string): string[] {
  return mutantsOf(sourceOf(line)).map(({ after }) => after);
}

for (const [line, ...expected] of [
  ['x(a < b);', '{}', 'x(a <= b);', 'x(a >= b);'],
  ['x(a === b);', '{}', 'x(a !== b);'],
  ['const c = a + b;', 'const c = a - b;'],
  ['const c = a && b;', 'const c = ((a) || (b));', 'const c = a;', 'const c = b;'],
  ['const c = a ?? b;', 'const c = ((a) && (b));', 'const c = a;', 'const c = b;'],
  ['const c = a?.b;', 'const c = a!.b;'],
  ['const c = !a;', 'const c = a;'],
  ['const c = 12;', 'const c = (12 + 1);', 'const c = (12 - 1);'],
  ['const c = [a, b];', 'const c = [b];', 'const c = [a, ];'],
  ['const c = { a, b };', 'const c = { b };', 'const c = { a, };'],
  ['const c = a ? b : d;', 'const c = true ? b : d;', 'const c = false ? b : d;'],
  ['const c = a.filter(b);', 'const c = a;'],
] as const)
  test(`the mutants of ${line}`, () => {
    assert.equal(changes(line), expected);
  });

for (const line of [
  'type T = 1 | 2;',
  'interface T { readonly a: [1, 2] }',
  "import { a } from './a.ts';",
  "const c = 'text';",
  '// a < b',
])
  test(`no mutant of ${line}`, () => {
    assert.equal(changes(line), []);
  });

test('the message of an error is not mutated, but the throw statement is', () => {
  assert.equal(changes("throw new RangeError(a + ' is too large');"), ['{}']);
});

test('a mutant is identified by its changed lines, independent of their position', () => {
  const [at1] = mutantsOf(sourceOf('const c = a + b;\n'));
  const [at3] = mutantsOf(sourceOf('\n\n  const c = a +   b;\n'));
  assert.equal([at1?.before, at1?.after], [at3?.before, at3?.after]);
  assert.equal([at1?.line, at3?.line], [1, 3]);
});

test('a seed determines the order, without duplicates', () => {
  const sources = ['src/asm/encode.ts', 'src/asm/decode.ts', 'src/asm/printable.ts'];
  const drawn = (seed: number): string[] =>
    [...draw(readSources(compiler, sources), seed)].map(({ file, text }) => file + text);
  const first = drawn(1);
  assert.equal(drawn(1), first);
  assert.not.equal(drawn(2), first);
  assert.is(new Set(first).size, first.length);
});

test('a change in one file keeps the order of mutants in other files', () => {
  const sources = readSources(compiler, ['src/asm/encode.ts', 'src/asm/decode.ts']);
  const order = (more: string) =>
    [...draw([...sources, sourceOf(more)], 1)].map(({ file, after }) => `${file} ${after}`);
  const others = (list: string[]) => list.filter((title) => !title.startsWith('src/asm/width.ts'));
  const [one, two] = [order('const c = a + b;'), order('const c = a + b; const d = a < c;')];
  assert.not.equal(one, two);
  assert.equal(others(one), others(two));
});

test('mutants with type errors are refused, mutants with unused names are not', () => {
  const text = 'const unused = 1;\nexport const width: number = 2;\n';
  assert.ok(compiler.accepts('src/asm/opcodes.ts', text, []));
  assert.not.ok(compiler.accepts('src/asm/opcodes.ts', text.replace('2;', "'2';"), []));
  assert.not.ok(compiler.accepts('src/asm/opcodes.ts', text, ['src/asm/encode.ts']));
});

test('coverage is mapped to the source', () => {
  const source = 'export function f(a: number): number {\n  if (a > 1) return 7;\n  return 8;\n}\n';
  const { code, map } = compile(source, FILE);
  const compiled = { code, mappings: JSON.parse(map).mappings };
  const ranges = [
    { startOffset: 0, endOffset: code.length, count: 1 },
    { startOffset: code.indexOf('return 7'), endOffset: code.indexOf('return 7') + 9, count: 0 },
  ];
  const report = { result: [{ url: FILE, functions: [{ ranges }] }] };
  const runs = (text: string): boolean[] =>
    compiledAround(source, source.indexOf(text), compiled).map((offset) => ran(report, FILE, offset));
  assert.equal(runs('return 8'), [true, true]);
  assert.equal(runs('return 7'), [false, false]);
  assert.not.ok(ran(report, 'src/asm/other.ts', 0));
});

test.run();
