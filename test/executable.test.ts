/** The build of the single executables (executable/build.ts). test/live/executable.test.ts runs them. */
import { spawnSync } from 'node:child_process';
import { chmod, copyFile, cp, mkdir, open, readdir, readFile, stat, symlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import * as assert from 'uvu/assert';
import { buildExecutable, sha256 } from '../executable/build.ts';
import { nodeFor, PLATFORMS, type Platform } from '../executable/contents.ts';
import { needsRoot, noDownloads, suite } from './harness.ts';
import { CACHE, withScratch } from './vm/cache.ts';
import { PROJECT } from './vm/image.ts';

const test = suite('executable', { seconds: 120 });

const skip = noDownloads || (process.arch !== 'x64' && 'executables are built on x64');

/** `e_machine` of ELF files. */
const MACHINES: Record<Platform, number> = { 'linux-x64': 62, 'linux-arm64': 183 };

async function machineOf(file: string): Promise<number> {
  const header = Buffer.alloc(20);
  const handle = await open(file);
  await handle.read(header, 0, header.length, 0).finally(() => handle.close());
  return header.readUInt16LE(18);
}

for (const platform of PLATFORMS)
  test.skipIf(skip, `two builds for ${platform} give the same file`, () =>
    withScratch(async (scratch) => {
      const files = await Promise.all(
        ['first', 'second'].map((name) => buildExecutable(platform, join(scratch, name))),
      );
      const [first, second] = await Promise.all(files.map(sha256));
      assert.is(first, second);
      const [file = ''] = files;
      for (const folder of [PROJECT, scratch, CACHE])
        assert.not.ok((await readFile(file)).includes(folder), `it depends on ${folder}`);
      assert.is(await machineOf(file), MACHINES[platform]);
      assert.is((await stat(file)).mode & 0o777, 0o755);
      if (platform !== `linux-${process.arch}`) return;
      const { version } = JSON.parse(await readFile(join(PROJECT, 'package.json'), 'utf8'));
      // Node's options come from nowhere: a variable for other programs must not change a command of root.
      const env = { NODE_OPTIONS: '--no-such-option' };
      const { status, stdout, stderr } = spawnSync(file, ['--version'], { env, encoding: 'utf8' });
      assert.equal([status, stdout, stderr], [0, `${version}\n`, '']);
    }),
  );

// --- V8's code -----------------------------------------------------------------------------------

/** What V8's code must not depend on, by a name: words before the command, and variables. */
interface Machine {
  readonly under?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

/** Writes V8's code of the scripts in a project with a Node, and returns the digests by file. */
async function codeWith(node: string, project: string, folder: string, { under = [], env }: Machine = {}) {
  await mkdir(folder);
  await chmod(folder, 0o777);
  const [file = '', ...args] = [...under, node, join(project, 'code-cache/make.mjs'), folder];
  const { status, stderr } = spawnSync(file, args, { env: { ...process.env, ...env }, encoding: 'utf8' });
  assert.is(status, 0, stderr);
  const names = (await readdir(folder)).sort();
  return Promise.all(names.map(async (name) => [name, await sha256(join(folder, name))]));
}

/** A copy of what the code is made from, in another folder. */
async function copyOfProject(folder: string): Promise<string> {
  await mkdir(folder);
  for (const name of ['code-cache', 'dist'])
    await cp(join(PROJECT, name), join(folder, name), {
      recursive: true,
      filter: (file) => file !== join(PROJECT, 'dist/executable'),
    });
  for (const name of ['node_modules', 'src', 'test', 'package.json'])
    await symlink(join(PROJECT, name), join(folder, name));
  return folder;
}

test.skipIf(skip, "V8's code does not depend on the machine of the build", () =>
  withScratch(async (scratch) => {
    await chmod(scratch, 0o755);
    const node = join(scratch, 'node'); // other users may not enter the cache
    await copyFile(join(await nodeFor('linux-x64'), 'bin/node'), node);
    const expected = await codeWith(node, PROJECT, join(scratch, 'here'));
    const parts = ['builder', 'bundle', 'command-line', 'rare'].map((part) => `tcpconnlat.${part}.cjs.code`);
    assert.equal(
      expected.map(([name]) => name),
      parts,
    );
    const TMPDIR = join(scratch, 'a longer/path of files');
    await mkdir(TMPDIR, { recursive: true });
    const others: Record<string, Machine> = {
      'variables and folders for temporary files': { env: { TMPDIR, COLUMNS: '10', LANG: 'C', HOME: '/' } },
    };
    if (!needsRoot)
      Object.assign(others, {
        'no kernel': { under: ['unshare', '-m', 'sh', '-c', `${NO_KERNEL}; exec "$@"`, 'sh'] },
        'another user': { under: ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'] },
      });
    for (const [name, machine] of Object.entries(others))
      assert.equal(await codeWith(node, PROJECT, join(scratch, name), machine), expected, name);
    const copy = await copyOfProject(join(scratch, 'a project'));
    const link = join(scratch, 'link');
    await symlink(copy, link);
    for (const project of [copy, link])
      assert.equal(
        await codeWith(node, project, join(scratch, `of ${basename(project)}`)),
        expected,
        project,
      );
  }),
);

/** Hides what /proc and /sys say about the kernel and the process. */
const NO_KERNEL = 'mount -t tmpfs none /sys && mount -t tmpfs none /proc || exit 9';

/** A text in a function that the runs call, and one in a function that only errors call, by script. */
const TEXTS: Record<string, readonly [called: string, other: string]> = {
  'tcpconnlat.builder.cjs.code': ['sk_err_soft', 'cannot shift'],
  'tcpconnlat.bundle.cjs.code': ['connects without a route', 'no probe works'],
  'tcpconnlat.command-line.cjs.code': ['cannot be used with', 'too many arguments'],
  'tcpconnlat.rare.cjs.code': [
    'a program needs at least one instruction',
    'the second slot of an lddw is missing',
  ],
};

const ACCEPTS = `
  const { readFileSync } = require('node:fs');
  const [text, code] = process.argv.slice(1).map((file) => readFileSync(file));
  const { Script } = require('node:vm');
  const { cachedDataRejected } = new Script(text.toString('latin1'), { cachedData: code });
  if (cachedDataRejected) throw new Error('V8 rejects it');
`;

test.skipIf(skip, 'V8 accepts its code, which has the functions that runs call and no others', () =>
  withScratch(async (scratch) => {
    const node = join(await nodeFor('linux-x64'), 'bin/node');
    const folder = join(scratch, 'code');
    for (const [name = ''] of await codeWith(node, PROJECT, folder)) {
      const script = join(PROJECT, 'dist', basename(name, '.code'));
      const { status, stderr } = spawnSync(node, ['-e', ACCEPTS, script, join(folder, name)], {
        encoding: 'utf8',
      });
      assert.is(status, 0, stderr);
      const [text, code] = await Promise.all([script, join(folder, name)].map((file) => readFile(file)));
      const [called, other] = TEXTS[name] ?? ['', ''];
      assert.ok(code?.includes(called), `${name} lacks ${called}`);
      assert.ok(text?.includes(other) && !code?.includes(other), `${name} has ${other}`);
    }
  }),
);

test.run();
