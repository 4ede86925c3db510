/**
 * The examples of doc comments, the README and docs/ compile and run, and every function and class has one.
 */
import { execFile } from 'node:child_process';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import * as assert from 'uvu/assert';
import * as asm from '../src/asm.ts';
import * as btf from '../src/btf.ts';
import * as tsbpf from '../src/index.ts';
import { allExamples, type Example, PROJECT, read, sources } from './doc-examples.ts';
import { needsRoot, sameOnEveryKernel, slowness, suite } from './harness.ts';

const exec = promisify(execFile);
const test = suite('doc-examples', { seconds: 300 });

/** In the project, so that `tsbpf` is the project's own package. */
const FOLDER = join(PROJECT, 'build/doc-examples');
/** What an example throws on a kernel without a feature that it uses. */
const LACKS = /code: '(ERR_UNSUPPORTED|ERR_NO_TRACEFS)'/;

const examples = allExamples();

/** The name of an example's file. */
function nameOf({ at }: Example): string {
  return at.replace(/[^\w]+/g, '-');
}

/** What tsc reports, by file. */
let errors = '';

test.before(async () => {
  if (sameOnEveryKernel) return;
  await rm(FOLDER, { recursive: true, force: true });
  await mkdir(FOLDER, { recursive: true });
  for (const each of examples)
    await writeFile(join(FOLDER, `${nameOf(each)}.ts`), `${each.code}\nexport {};\n`);
  const compilerOptions = {
    ...{ strict: true, target: 'es2022', module: 'nodenext', lib: ['es2023', 'esnext.disposable'] },
    ...{ types: ['node'], skipLibCheck: true, rootDir: '.' },
  };
  await writeFile(join(FOLDER, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }));
  const tsc = join(PROJECT, 'node_modules/typescript/bin/tsc');
  errors = await exec(process.execPath, [tsc, '--pretty', 'false', '-p', FOLDER]).then(
    () => '',
    (error: { stdout: string }) => error.stdout,
  );
});
test.after(() => rm(FOLDER, { recursive: true, force: true }));

test('the examples are found', () => {
  assert.ok(examples.length > 200, `only ${examples.length}`);
  assert.ok(examples.some(({ live }) => live));
  assert.is(new Set(examples.map(nameOf)).size, examples.length, 'each has a name of its own');
});

test.skipIf(sameOnEveryKernel, 'every example compiles', () => {
  assert.is(errors, '');
});

test.skipIf(sameOnEveryKernel, 'every example that needs no kernel runs', async () => {
  const files = examples.filter(({ runs, live }) => runs && !live).map((each) => `${nameOf(each)}.js`);
  const script = `
    console.log = console.warn = console.error = () => {};
    for (const file of ${JSON.stringify(files)})
      await import('./' + file).catch((error) => process.stderr.write(file + ': ' + (error?.stack ?? error) + '\\n'));
    process.exit();`;
  await writeFile(join(FOLDER, 'run-all.js'), script);
  const { stderr } = await exec(process.execPath, [join(FOLDER, 'run-all.js')]);
  assert.is(stderr, '');
});

for (const each of examples.filter(({ runs, live }) => runs && live))
  test.skipIf(sameOnEveryKernel || needsRoot, `the example at ${each.at} runs`, async () => {
    // A complete tool of a page runs until a signal.
    const endless = each.at.includes('.md:');
    const timeout = (endless ? 3 : 20) * slowness * 1000;
    const file = join(FOLDER, `${nameOf(each)}.js`);
    const stderr = await exec(process.execPath, [file], { timeout }).then(
      () => '',
      (error: { stderr: string; message: string; killed: boolean }) =>
        error.stderr || (endless && error.killed ? '' : error.message),
    );
    if (!LACKS.test(stderr)) assert.is(stderr, '');
  });

/** The functions and classes of the three entry points, apart from errors: `TsbpfError` has their example. */
function exportsToShow(): string[] {
  const exported: readonly (readonly [string, unknown])[] = [tsbpf, asm, btf].flatMap((entry) =>
    Object.entries(entry),
  );
  const shown = exported.filter(
    ([, value]) => typeof value === 'function' && !(value.prototype instanceof Error),
  );
  return [...new Set(shown.map(([name]) => name))];
}

test('every exported function and class has an example', () => {
  const texts = sources().map(read);
  const hasExample = (name: string): boolean =>
    texts.some((text) => {
      const declaration = new RegExp(
        `^/\\*\\*(?:(?!\\*/)[^])*?@example(?:(?!\\*/)[^])*?\\*/\\nexport (?:abstract |async )*(?:class|const|function\\*?) ${name}\\b`,
        'm',
      );
      return declaration.test(text);
    });
  assert.equal(
    exportsToShow().filter((name) => !hasExample(name)),
    [],
  );
});

test.run();
