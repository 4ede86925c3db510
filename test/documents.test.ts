/**
 * The fragments of TypeScript in the documents compile, and the README is short. `doc-examples.test.ts`
 * compiles and runs the complete programs.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import * as tsbpf from '../src/index.ts';
import { PROJECT, read, samplesInPage } from './doc-examples.ts';
import { sameOnEveryKernel, suite } from './harness.ts';

const test = suite('documents', { seconds: 120 });

/** A folder of the project, in which `tsbpf` is the project itself, as in the examples. */
const SAMPLES = join(PROJECT, 'build/samples');
const DOCUMENTS = ['README.md', 'docs/guide.md', 'docs/dsl.md'];

/** The variables that a sample may use without declaring them. */
const AMBIENT: Readonly<Record<string, string>> = {
  b: 'declare const b: import("tsbpf").Builder;',
  kernel: 'declare const kernel: import("tsbpf").Kernel;',
  on: 'declare const on: import("tsbpf").Target;',
  session: 'declare const session: import("tsbpf").Session;',
  starts:
    'declare const starts: import("tsbpf").MapSpec<typeof import("tsbpf").s32, typeof import("tsbpf").u64>;',
};
const TYPES = ['Case', 'Tool', 'Builder', 'Target', 'ProgramSpec', 'Static'];

interface Sample {
  /** The document and the line of the sample, as a file name. */
  readonly file: string;
  readonly text: string;
}

function fragmentsOf(document: string): Sample[] {
  return samplesInPage(document)
    .filter(({ isFragment }) => isFragment)
    .map(({ line, code }) => ({
      file: `${document.replace(/^.*\/|\.md$/g, '')}-${line}.ts`,
      text: complete(code),
    }));
}

/** A sample as a module: what it uses and does not declare is imported, on the line before the first. */
function complete(code: string): string {
  const declared = new Set(
    [...code.matchAll(/\b(?:const|let|function|type) (\w+)|[{,]\s*(?:type )?(\w+)(?=[^;]*\} from ')/g)].map(
      ([, name, imported]) => name ?? imported,
    ),
  );
  const destructured = [...code.matchAll(/\bconst \{([^}]*)\}/g)].flatMap(([, names = '']) =>
    names.split(',').map((name) => name.split(':').at(-1)?.trim()),
  );
  const isFree = (name: string) =>
    new RegExp(`(?<![\\w']|\\w\\.)${name}\\b(?! *:)`).test(code) &&
    !declared.has(name) &&
    !destructured.includes(name);
  const values = Object.keys(tsbpf).filter(isFree);
  const types = TYPES.filter(isFree).map((name) => `type ${name}`);
  const ambient = Object.keys(AMBIENT).filter(
    (name) => isFree(name) && !new RegExp(`\\(${name}(, \\w+)*\\) =>`).test(code),
  );
  return [
    `import { ${[...values, ...types].join(', ')} } from 'tsbpf'; `,
    ...ambient.map((name) => AMBIENT[name]),
    `export {};\n${code}`,
  ].join('');
}

test.skipIf(sameOnEveryKernel, 'the fragments of the documents compile', () => {
  rmSync(SAMPLES, { recursive: true, force: true });
  mkdirSync(SAMPLES, { recursive: true });
  const samples = DOCUMENTS.flatMap(fragmentsOf);
  assert.ok(samples.length > 20);
  for (const { file, text } of samples) writeFileSync(join(SAMPLES, file), text);
  const { stdout } = spawnSync(
    process.execPath,
    [
      join(PROJECT, 'node_modules/typescript/bin/tsc'),
      ...['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', '--types', 'node'],
      ...['--lib', 'es2023,esnext.disposable', '--skipLibCheck', '--ignoreConfig', '--pretty', 'false'],
      ...samples.map(({ file }) => file),
    ],
    { cwd: SAMPLES, encoding: 'utf8' },
  );
  assert.is(stdout, '');
  rmSync(SAMPLES, { recursive: true });
});

test('the README has fewer than 150 lines', () => {
  const lines = read('README.md').trimEnd().split('\n');
  assert.ok(lines.length < 150, `${lines.length} lines`);
});

test.run();
