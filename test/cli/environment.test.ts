/**
 * The commands under Node options, resource limits and broken installations: they work, or print one line
 * with a remedy.
 */
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { environmentMessage } from '../../src/cli/environment.ts';
import { needsRoot, slowness, suite } from '../harness.ts';
import { missing } from './terminal.ts';

const test = suite('cli/environment', { seconds: 120 });

const PROJECT = fileURLToPath(new URL('../../../', import.meta.url));
const TCPCONNLAT = join(PROJECT, 'dist/tcpconnlat.cjs');
const TSBPF = join(PROJECT, 'dist/tsbpf.cjs');
const NODE = process.execPath;

function run(words: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const [file = '', ...args] = words;
  const { status, signal, stdout, stderr } = spawnSync(file, args, {
    encoding: 'utf8',
    env: { ...process.env, ...env },
    timeout: 60_000 * slowness,
  });
  return { status, signal, stdout, stderr };
}

/** Fails unless a command has exited with status 1 and one line that matches `says`. */
function assertOneLine({ status, stdout, stderr }: ReturnType<typeof run>, says: RegExp): void {
  assert.equal([status, stdout], [1, ''], stderr);
  assert.match(stderr, /^(tcpconnlat|tsbpf): .*\n$/);
  assert.match(stderr, says);
}

// --- Node's options ------------------------------------------------------------------------------

for (const [command, args] of [
  [TCPCONNLAT, ['--dry-run']],
  [TSBPF, ['dump', '1']],
] as const)
  test(`forbidden native code is explained: ${args.join(' ')}`, () => {
    assertOneLine(
      run([NODE, command, ...args], { NODE_OPTIONS: '--no-addons' }),
      /forbids native code; remove --no-addons/,
    );
  });

test('forbidden code generation is explained', () => {
  const error = spawnSync(
    NODE,
    [
      '--disallow-code-generation-from-strings',
      '-p',
      'try { new Function("") } catch (error) { error.message }',
    ],
    { encoding: 'utf8' },
  ).stdout.trim();
  assert.match(
    environmentMessage(new EvalError(error)) ?? '',
    /^Code generation .* remove --disallow-code-generation-from-strings/,
  );
});

test('the permission model of Node is explained', () => {
  const error = Object.assign(new Error('Access to this API has been restricted'), {
    code: 'ERR_ACCESS_DENIED',
    resource: '/sys/kernel/btf/vmlinux',
  });
  assert.match(
    environmentMessage(error) ?? '',
    /denies access to \/sys\/kernel\/btf\/vmlinux; remove --permission/,
  );
});

test('an error with another cause is not explained', () => {
  for (const error of [new Error('x'), new RangeError('Invalid array length'), 'x', undefined])
    assert.is(environmentMessage(error), undefined);
});

for (const options of [
  '--jitless',
  '--max-old-space-size=32',
  '--frozen-intrinsics',
  '--disable-proto=throw',
])
  test(`the commands work with ${options}`, () => {
    const { status, stdout } = run([NODE, options, TSBPF, '--version']);
    assert.equal(
      [status, stdout],
      [0, `${JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8')).version}\n`],
    );
  });

// --- limits --------------------------------------------------------------------------------------

/** Runs `words` under a ulimit. */
function limited(limit: string, words: readonly string[]): string[] {
  return ['sh', '-c', `ulimit ${limit} && exec "$@"`, 'sh', ...words];
}

/** Since Node 24, Node itself aborts at some limits before the command can check the limit. */
const NODE_ABORTS = Number(process.versions.node.split('.')[0]) >= 24;

for (const [title, words] of [
  ['a dry run', [NODE, TCPCONNLAT, '--dry-run']],
  ['tsbpf dump', [NODE, TSBPF, 'dump', '4294967295']],
] as const)
  test(`${title} with little address space works or explains the error`, () => {
    const normal = run(words);
    let refused = 0;
    for (let mib = 650; mib <= 1250; mib += 50) {
      const limit = `-v ${mib * 1024}`;
      if (run(limited(limit, [NODE, '-e', '0'])).status !== 0) continue; // Node itself dies there
      const ended = run(limited(limit, words));
      if (NODE_ABORTS && ended.signal === 'SIGABRT') continue;
      if (ended.status === normal.status && ended.stderr === normal.stderr) continue;
      assertOneLine(ended, /ulimit -v unlimited/);
      refused += 1;
    }
    assert.ok(refused > 0);
  });

/** Why the number of threads of a user cannot be limited; false if it can. */
const noThreadLimit = needsRoot || missing('setpriv', 'prlimit');

test.skipIf(noThreadLimit, 'a recording is shown if Node cannot start more threads', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tsbpf-threads-'));
  try {
    const recording = join(folder, 'recording');
    const header = {
      ...{
        tsbpf: 'tcpconnlat',
        format: 1,
        version: '0',
        host: 'h',
        kernel: 'k',
        way: 'kprobe',
        options: [],
      },
      ...{ started: '2026-01-01T00:00:00.000000Z', fields: ['time'] },
    };
    writeFileSync(recording, `${JSON.stringify(header)}\n`);
    for (const name of ['tcpconnlat.cjs', 'tcpconnlat.bundle.cjs', 'tcpconnlat.command-line.cjs'])
      cpSync(join(PROJECT, 'dist', name), join(folder, name));
    spawnSync('chmod', ['-R', 'a+rX', folder]);
    const asUser = (threads: number, words: readonly string[]) =>
      run(['setpriv', '--reuid', '54321', '--clear-groups', 'prlimit', `--nproc=${threads}`, ...words]);
    const startsWith = (count: number) => {
      const { status, stderr } = asUser(count, [NODE, '-e', '0']);
      return status === 0 && stderr === '';
    };
    let threads = 20;
    while (startsWith(threads - 1)) threads -= 1;
    const { status, stdout, stderr } = asUser(threads, [
      NODE,
      join(folder, 'tcpconnlat.cjs'),
      '--quiet',
      '--replay',
      recording,
    ]);
    assert.equal([status, stderr], [0, '']);
    assert.match(stdout, /^PID +COMM /);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

// --- installations -------------------------------------------------------------------------------

/** The folder of koffi's binary for this machine in an installation. */
const BINARY = `node_modules/@koromix/koffi-linux-${process.arch}`;

function inInstallation(work: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), 'tsbpf-installation-'));
  try {
    for (const path of [
      ...['', 'bundle.', 'builder.', 'command-line.', 'diagnose.', 'rare.'].map(
        (part) => `dist/tcpconnlat.${part}cjs`,
      ),
      ...['node_modules/koffi', BINARY],
    ])
      cpSync(join(PROJECT, path), join(folder, path), { recursive: true });
    work(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Changes koffi's binaries for glibc and musl. */
function eachBinary(folder: string, change: (file: string) => void): void {
  for (const libc of ['linux', 'musl']) change(join(folder, BINARY, `${libc}_${process.arch}`, 'koffi.node'));
}

for (const [title, spoil, says] of [
  [
    'koffi is missing',
    (folder: string) => rmSync(join(folder, 'node_modules'), { recursive: true }),
    /koffi, .*: it is missing; install it .*npm ci/,
  ],
  [
    "koffi's binary is missing, as after npm ci --omit=optional",
    (folder: string) => rmSync(join(folder, BINARY), { recursive: true }),
    /its binary for linux-\w+ is missing; install it .*without --omit=optional/,
  ],
  [
    "koffi's binary is for another processor",
    (folder: string) =>
      eachBinary(folder, (file) => {
        const bytes = readFileSync(file);
        bytes.writeUInt16LE(8, 18); // MIPS
        writeFileSync(file, bytes);
      }),
    /koffi\.node is built for another processor; install it/,
  ],
  [
    "koffi's binary is empty",
    (folder: string) => eachBinary(folder, (file) => truncateSync(file)),
    /koffi\.node: .*; install it/,
  ],
] as const)
  test(title, () => {
    inInstallation((folder) => {
      const words = [NODE, join(folder, 'dist/tcpconnlat.cjs'), '--dry-run'];
      assert.is(run(words).status, 0);
      spoil(folder);
      assertOneLine(run(words), says);
    });
  });

for (const [part, option] of [
  ['diagnose', '--diagnose'],
  ['rare', '--dry-run'],
] as const)
  for (const [what, spoil, says] of [
    ['is missing', (file: string) => rmSync(file), /ENOENT/],
    ['is empty', (file: string) => truncateSync(file), /is damaged/],
    ['is cut off', (file: string) => truncateSync(file, 2000), new RegExp(`\\.${part}\\.cjs:\\d+: \\S`)],
  ] as const)
    test(`one line reports that the part '${part}' of the bundle ${what}`, () => {
      inInstallation((folder) => {
        const words = [NODE, join(folder, 'dist/tcpconnlat.cjs'), option];
        assert.is(run(words).status, 0);
        spoil(join(folder, `dist/tcpconnlat.${part}.cjs`));
        const ended = run(words);
        assertOneLine(ended, /cannot load its own code: .*; install the package again/);
        assert.match(ended.stderr, says);
      });
    });

test("koffi's binary is loaded without koffi's search for it", () => {
  inInstallation((folder) => {
    rmSync(join(folder, 'node_modules/koffi'), { recursive: true });
    writeFileSync(join(folder, BINARY, 'index.js'), 'throw new Error("searched")');
    const { status, stderr } = run([NODE, join(folder, 'dist/tcpconnlat.cjs'), '--dry-run']);
    assert.equal([status, stderr], [0, '']);
  });
});

test("koffi's binary for musl is loaded if the executable is built for musl", () => {
  inInstallation((folder) => {
    const [glibc, musl] = ['linux', 'musl'].map((libc) =>
      join(folder, BINARY, `${libc}_${process.arch}/koffi.node`),
    ) as [string, string];
    renameSync(glibc, musl); // loads here, so it shows which folder is used
    rmSync(join(folder, 'node_modules/koffi'), { recursive: true });
    const dryRun = (executable: string) => {
      const preloaded = join(folder, 'executable.cjs');
      writeFileSync(preloaded, `process.execPath = ${JSON.stringify(executable)};`);
      return run([NODE, '-r', preloaded, join(folder, 'dist/tcpconnlat.cjs'), '--dry-run']);
    };
    const executable = join(folder, 'node');
    writeFileSync(executable, '\x7fELF\0/lib/ld-musl-x86_64.so.1\0');
    const { status, stderr } = dryRun(executable);
    assert.equal([status, stderr], [0, '']);
    assertOneLine(dryRun(NODE), /it is missing/);
  });
});

test("koffi's binary is found if npm installed it elsewhere", () => {
  inInstallation((folder) => {
    const inner = join(folder, 'node_modules/koffi/node_modules');
    mkdirSync(inner);
    renameSync(join(folder, 'node_modules/@koromix'), join(inner, '@koromix'));
    const { status, stderr } = run([NODE, join(folder, 'dist/tcpconnlat.cjs'), '--dry-run']);
    assert.equal([status, stderr], [0, '']);
  });
});

test.run();
