/**
 * The package as its users get it: what is in the tarball, that the library imports and type-checks from it, and
 * that the command runs. The build made dist/ before; the packages it depends on are this checkout's own.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import * as assert from 'uvu/assert';
import { suite } from './harness.ts';

const exec = promisify(execFile);
const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const manifest = JSON.parse(await readFile(join(PROJECT, 'package.json'), 'utf8'));

const test = suite('package', { seconds: 60 });

/** An empty project with the tarball unpacked into its node_modules. */
let user = '';
let installed = '';

test.before(async () => {
  user = await mkdtemp(join(tmpdir(), 'tsbpf-package-'));
  installed = join(user, 'node_modules/tsbpf');
  await mkdir(installed, { recursive: true });
  // Without scripts: the build that `prepare` does would pull build/ from under the tests now running.
  await exec('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', user], { cwd: PROJECT });
  const [tarball = ''] = (await readdir(user)).filter((name) => name.endsWith('.tgz'));
  await exec('tar', ['-xzf', join(user, tarball), '-C', installed, '--strip-components=1']);
  for (const name of await readdir(join(PROJECT, 'node_modules'))) {
    if (name.startsWith('.')) continue;
    await symlink(join(PROJECT, 'node_modules', name), join(user, 'node_modules', name));
  }
  await writeFile(join(user, 'package.json'), '{ "type": "module" }');
});
test.after(() => rm(user, { recursive: true, force: true }));

/** Runs a script in the user's project and returns what it printed. */
async function node(script: string): Promise<string> {
  const file = join(user, 'script.js');
  await writeFile(file, script);
  return (await exec(process.execPath, [file], { cwd: user })).stdout;
}

test('the tarball holds what is used and nothing that only builds or tests it', async () => {
  const names = await readdir(installed);
  const wanted = ['LICENSE', 'README.md', 'dist', 'docs', 'examples', 'man', 'package.json'];
  assert.equal(
    wanted.filter((name) => !names.includes(name)),
    [],
    'missing',
  );
  assert.equal(
    names.filter((name) => !wanted.includes(name) && name !== 'CHANGELOG.md'),
    [],
    'too much',
  );
});

test('the tarball holds no code cache', async () => {
  const caches = async (folder: string) =>
    (await readdir(join(folder, 'dist'))).filter((name) => name.endsWith('.cache'));
  assert.is((await caches(PROJECT)).length, 2, 'the build made them');
  assert.equal(await caches(installed), []);
});

test('every file that package.json names is there', async () => {
  const commands: string[] = Object.values(manifest.bin);
  const entries: object[] = Object.values(manifest.exports);
  const library = entries.flatMap((entry): string[] =>
    typeof entry === 'string' ? [] : Object.values(entry),
  );
  assert.is(library.length, 6);
  for (const file of [...commands, ...manifest.man, manifest.types, ...library]) {
    assert.ok((await stat(join(installed, file))).isFile(), file);
  }
});

test('the library imports, and assembles without a kernel', async () => {
  const printed = await node(`
    import { assemble, exit, mov, r0 } from 'tsbpf/asm';
    const { bytes } = assemble([mov(r0, 7), exit()]);
    console.log(Buffer.from(bytes).toString('hex'));
  `);
  assert.is(printed, 'b7000000070000009500000000000000\n');
});

test('importing the library loads no native code', async () => {
  const printed = await node(`
    await import('tsbpf');
    const { readFileSync } = await import('node:fs');
    console.log(readFileSync('/proc/self/maps', 'utf8').includes('koffi'));
  `);
  assert.is(printed, 'false\n');
});

test("the library's types hold in a strict project, and refuse what is wrong", async () => {
  const good =
    "import { assemble, exit, mov, r0 } from 'tsbpf/asm';\nexport const made = assemble([mov(r0, 7), exit()]);\n";
  await writeFile(join(user, 'good.ts'), good);
  await writeFile(join(user, 'bad.ts'), good.replace('mov(r0, 7)', "mov(r0, 'seven', 8)"));
  const tsc = (file: string): Promise<unknown> =>
    exec(
      process.execPath,
      [
        join(PROJECT, 'node_modules/typescript/bin/tsc'),
        ...['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', '--types', 'node'],
        ...['--lib', 'es2023,esnext.disposable', '--ignoreConfig', file],
      ],
      { cwd: user },
    );
  await tsc('good.ts');
  const refused = await tsc('bad.ts').then(
    () => '',
    (error: { stdout: string }) => error.stdout,
  );
  assert.match(refused, /bad\.ts\(2,/);
});

for (const name of ['tcpconnlat', 'tsbpf'])
  test(`the command ${name} is executable and tells the version of package.json`, async () => {
    const { stdout } = await exec(join(installed, manifest.bin[name]), ['--version']);
    assert.is(stdout, `${manifest.version}\n`);
  });

test('the bundled tsbpf assembles', async () => {
  await writeFile(join(user, 'seven.bpf'), 'r0 = 7\nexit\n');
  const { stdout } = await exec(join(installed, manifest.bin.tsbpf), ['asm', join(user, 'seven.bpf')]);
  assert.is(stdout, 'b700000007000000\n9500000000000000\n');
});

for (const [which, command] of [
  ['bundled', () => [join(installed, manifest.bin.tcpconnlat)]],
  ['from source', () => ['--import', 'tsx', join(PROJECT, 'src/cli/tcpconnlat.ts')]],
] as const)
  test(`the command, ${which}, shows the source lines of its programs`, async () => {
    const args = [...command(), '--dry-run', '-v', '--probe', 'kprobe'];
    const { stdout } = await exec(process.execPath, args, { cwd: PROJECT });
    const shown = [...stdout.matchAll(/^; (?:\/.*\/)?(src\/programs\/tcpconnlat\S*\.ts):(\d+): (.*)$/gm)];
    assert.ok(shown.length > 20, `only ${shown.length} lines shown`);
    for (const [, file = '', line, text] of shown) {
      const source = (await readFile(join(PROJECT, file), 'utf8')).split('\n');
      assert.is(text?.trim(), source[Number(line) - 1]?.trim());
    }
    assert.not.match(stdout, /^; .*(src\/asm\/|dist\/)/m, 'no line of the library');
  });

test('a mistake in a program that uses the library is at the line of its author', async () => {
  const printed = await node(`
    import { chars, hash, kprobe, Session, struct, target, u32 } from 'tsbpf';
    import { assemble, isLabel, locate, mov, r0 } from 'tsbpf/asm';
    const told = (mistake) => {
      try { mistake(); } catch ({ message }) { console.log(/\\(([^()]*)\\)$/.exec(message)?.[1]); }
    };
    told(() => mov(r0, 2 ** 40));
    told(() => struct({ text: chars(-1) }));
    told(() => assemble([mov(r0, 0)]));
    told(() => kprobe('f', target('x64'), (b) => b.arg(9)));
    told(() => kprobe('f', target('x64'), (b) => {
      b.kernel('sock', b.arg(0)).fields({ state: 'x' });
    }));
    told(() => Session.open(
      { name: 't', programs: [], maps: [], events: { map: hash('m', { key: u32, value: u32, maxEntries: 1 }), schema: u32 } },
      { onEvent() {}, pagesPerCpu: 3 },
    ));
    const { instructions } = kprobe('f', target('x64'), (b) => {
      b.value(1);
    });
    for (const made of instructions) if (!isLabel(made)) console.log(locate(made.position)?.file, locate(made.position)?.line);
  `);
  const script = join(user, 'script.js');
  const at = (...lines: number[]) => lines.map((line) => `${script}:${line}`);
  const made = [`${script} 19`, `${script} 18`, `${script} 18`];
  assert.equal(printed.trim().split('\n'), [...at(7, 8, 9, 10, 12, 14), ...made]);
});

test('the licences of the bundled packages are in the package', async () => {
  const licenses = await readFile(join(installed, 'dist/LICENSES.txt'), 'utf8');
  for (const name of ['commander', '@sinclair/typebox']) assert.ok(licenses.includes(`${name} `), name);
});

test('the lock names no registry', async () => {
  assert.not.match(await readFile(join(PROJECT, 'package-lock.json'), 'utf8'), /"resolved"/);
});

test.run();
