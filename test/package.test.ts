/**
 * The package as users install it: the contents of the tarball, imports and types of the library, and the
 * commands. The build has created dist/ before; dependencies come from this checkout.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'esbuild';
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
  // Without scripts: `prepare` would rebuild build/ while its tests run.
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

/** Runs a script in the user's project and returns its output. */
async function node(script: string): Promise<string> {
  const file = join(user, 'script.js');
  await writeFile(file, script);
  return (await exec(process.execPath, [file], { cwd: user })).stdout;
}

test('the tarball contains what users need, and nothing for building or testing', async () => {
  const names = await readdir(installed);
  const pages = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md'];
  const expected = ['LICENSE', ...pages, 'dist', 'docs', 'examples', 'man', 'package.json'];
  assert.equal(
    expected.filter((name) => !names.includes(name)),
    [],
    'missing',
  );
  assert.equal(
    names.filter((name) => !expected.includes(name)),
    [],
    'unexpected',
  );
});

test('the tarball contains no code cache', async () => {
  const caches = async (folder: string) =>
    (await readdir(join(folder, 'dist'))).filter((name) => name.endsWith('.cache'));
  const ofThisNode = (await caches(PROJECT)).filter((name) => name.includes(`.${process.version}-`));
  assert.is(
    ofThisNode.length,
    5,
    'the build creates a cache for each bundle, two late parts and the rare one',
  );
  assert.equal(await caches(installed), []);
});

test('every file named in package.json exists', async () => {
  const commands: string[] = Object.values(manifest.bin);
  const entries: object[] = Object.values(manifest.exports);
  const library = entries.flatMap((entry): string[] =>
    typeof entry === 'string' ? [] : Object.values(entry),
  );
  assert.is(library.length, 9);
  for (const file of [...commands, ...manifest.man, manifest.types, ...library]) {
    assert.ok((await stat(join(installed, file))).isFile(), file);
  }
});

test('the library can be imported and assembles without a kernel', async () => {
  const printed = await node(`
    import { assemble, exit, mov, r0 } from 'tsbpf/asm';
    const { bytes } = assemble([mov(r0, 7), exit()]);
    console.log(Buffer.from(bytes).toString('hex'));
  `);
  assert.is(printed, 'b7000000070000009500000000000000\n');
});

test('importing the library loads only its early part; an assembled program loads the rest', async () => {
  const printed = await node(`
    import { createRequire } from 'node:module';
    import { rawTracepoint, target } from 'tsbpf';
    const { cache } = createRequire(import.meta.url);
    const late = () => Object.keys(cache).some((file) => file.endsWith('library.late.cjs'));
    const before = late();
    rawTracepoint('sys_enter', target('x64'), (b) => b.exit(0));
    console.log(before, late());
  `);
  assert.is(printed, 'false true\n');
});

test('the bundle of tcpconnlat has no code of summaries and exporters', async () => {
  const has = async (file: string, text: string) =>
    (await readFile(join(PROJECT, 'dist', file), 'utf8')).includes(text);
  for (const text of ['aggregate_0', 'slowest:', 'count     distribution']) {
    assert.ok(await has('tcpconnlat.summarize.cjs', text), text);
    assert.not(await has('tcpconnlat.bundle.cjs', text), text);
  }
});

test('parsing a command line loads no child processes, nor the network and streams that they need', async () => {
  const hook = join(user, 'hook.cjs');
  await writeFile(
    hook,
    `const before = new Set(process.moduleLoadList);
     const added = () => process.moduleLoadList.filter((name) => !before.has(name));
     process.on('exit', () => require('node:fs').writeSync(2, added().join('\\n')));`,
  );
  for (const command of ['tcpconnlat', 'tsbpf']) {
    const file = join(PROJECT, `dist/${command}.cjs`);
    const { stdout, stderr } = await exec(process.execPath, ['-r', hook, file, '--help']);
    assert.match(stdout, /^Usage: /);
    assert.not.match(stderr, /^NativeModule (child_process|net|stream)$/m);
  }
});

test('errors name the line of a tool, not one of the parts of the library', async () => {
  const printed = await node(`
    import { kprobe, target } from 'tsbpf';
    try {
      kprobe('tcp_connect', target('x64'), (b) => b.retval);
    } catch (error) {
      console.log(error.message);
    }
  `);
  assert.match(printed, /\(\S*\/script\.js:4\)/);
});

// Node 20.19 and later can require an ES module.
const cannotRequire = 'require_module' in process.features ? false : 'this Node cannot require ES modules';

test.skipIf(cannotRequire, 'a CommonJS project requires the library, and gets the same classes', async () => {
  const file = join(user, 'script.cjs');
  await writeFile(
    file,
    `const { ReachError } = require('tsbpf');
     const { assemble, exit, mov, r0, ReachError: same } = require('tsbpf/asm');
     console.log(assemble([mov(r0, 7), exit()]).bytes.length, ReachError === same);
     import('tsbpf').then((imported) => console.log(imported.ReachError === same));`,
  );
  const { stdout, stderr } = await exec(process.execPath, [file]);
  assert.is(stdout, '16 true\ntrue\n');
  assert.is(stderr, '');
});

for (const format of ['esm', 'cjs'] as const)
  test(`a tool bundled with esbuild as ${format} assembles and loads koffi`, async () => {
    const source = join(user, 'tool.ts');
    await writeFile(
      source,
      `import { Kernel } from 'tsbpf';
       import { assemble, exit, mov, r0 } from 'tsbpf/asm';
       new Kernel();
       console.log(assemble([mov(r0, 7), exit()]).bytes.length);
       try { mov(r0, 2 ** 40); } catch (error) { console.log((error as Error).message); }`,
    );
    const bundle = join(user, `tool.${format === 'esm' ? 'mjs' : 'cjs'}`);
    const { warnings } = await build({
      ...{ entryPoints: [source], outfile: bundle, bundle: true, platform: 'node' },
      ...{ format, sourcemap: true, absWorkingDir: user, logLevel: 'silent' },
    });
    assert.equal(warnings, []);
    const { stdout } = await exec(process.execPath, ['--enable-source-maps', bundle]);
    assert.match(stdout, /^16\nmov: immediate .* \(.*\/tool\.ts:5\)\n$/);
  });

test('npm has nothing to warn of when it publishes', async () => {
  const offline = ['--offline', '--registry=http://127.0.0.1:9'];
  const { stderr } = await exec('npm', ['publish', '--dry-run', '--ignore-scripts', ...offline], {
    cwd: PROJECT,
  });
  const warnings = stderr.split('\n').filter((line) => line.startsWith('npm warn'));
  assert.equal(
    warnings.filter((line) => !line.includes('logged in')),
    [],
  );
});

test('an uncaught error prints a short line of the library', async () => {
  const code = `import { target } from 'tsbpf'; setTimeout(() => target('mips'), 0);`;
  const { stderr } = await exec(process.execPath, ['--input-type=module', '-e', code], { cwd: user }).catch(
    (error: { readonly stderr: string }) => error,
  );
  assert.match(stderr, /UnknownArchitectureError: unsupported architecture 'mips'/);
  assert.ok(stderr.length < 2000, `${stderr.length} characters`);
});

test('importing the library loads no native code', async () => {
  const printed = await node(`
    await import('tsbpf');
    const { readFileSync } = await import('node:fs');
    console.log(readFileSync('/proc/self/maps', 'utf8').includes('koffi'));
  `);
  assert.is(printed, 'false\n');
});

test("the library's types work in a strict project and reject errors", async () => {
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
  test(`the command ${name} is executable and prints the version of package.json`, async () => {
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
  test(`the ${which} command shows the source lines of its programs`, async () => {
    const args = [...command(), '--dry-run', '-v', '--probe', 'kprobe'];
    const { stdout } = await exec(process.execPath, args, { cwd: PROJECT });
    const shown = [...stdout.matchAll(/^; (?:\/.*\/)?(src\/programs\/tcpconnlat\S*\.ts):(\d+): (.*)$/gm)];
    assert.ok(shown.length > 20, `only ${shown.length} lines shown`);
    for (const [, file = '', line, text] of shown) {
      const source = (await readFile(join(PROJECT, file), 'utf8')).split('\n');
      assert.is(text?.trim(), source[Number(line) - 1]?.trim());
    }
    assert.not.match(stdout, /^; .*(src\/asm\/|dist\/)/m, 'no lines of the library');
  });

test("errors in a program that uses the library name the user's line", async () => {
  const printed = await node(`
    import { chars, kprobe, perfEventArray, Session, struct, target, u32 } from 'tsbpf';
    import { assemble, isLabel, locate, mov, r0 } from 'tsbpf/asm';
    const report = (mistake) => {
      try { mistake(); } catch ({ message }) { console.log(/\\(([^()]*)\\)$/.exec(message)?.[1]); }
    };
    report(() => mov(r0, 2 ** 40));
    report(() => struct({ text: chars(-1) }));
    report(() => assemble([mov(r0, 0)]));
    report(() => kprobe('f', target('x64'), (b) => b.arg(9)));
    report(() => kprobe('f', target('x64'), (b) => {
      b.kernel('sock', b.arg(0)).fields({ state: 'x' });
    }));
    report(() => Session.open(
      { name: 't', programs: [], maps: [], events: perfEventArray('m', u32) },
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

test('the package includes the licenses of bundled packages', async () => {
  const licenses = await readFile(join(installed, 'dist/LICENSES.txt'), 'utf8');
  for (const name of ['commander', '@sinclair/typebox']) assert.ok(licenses.includes(`${name} `), name);
});

test('the lock file names no registry', async () => {
  assert.not.match(await readFile(join(PROJECT, 'package-lock.json'), 'utf8'), /"resolved"/);
});

test.run();
