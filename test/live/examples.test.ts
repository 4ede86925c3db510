/** The examples run as their first lines document, and use only the public API. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { needsRoot, suite } from '../harness.ts';
import { built, exited, until } from './connects.ts';

const test = suite('live/examples', { seconds: 60 });

const PROJECT = fileURLToPath(new URL('../../../', import.meta.url));
const source = (name: string): string => `${PROJECT}examples/${name}.ts`;
const TSX = `${PROJECT}node_modules/.bin/tsx`;

for (const [name, lines] of [
  ['execs', 60],
  ['files', 90],
  ['runqlat', 80],
  ['stacks', 80],
] as const)
  test(`${name}.ts has fewer than ${lines} lines and imports only tsbpf`, () => {
    const text = readFileSync(source(name), 'utf8');
    assert.ok(text.trimEnd().split('\n').length < lines);
    const imports = [...text.matchAll(/\b(?:from|import|require)\s*\(?\s*(['"][^'"]+['"])/g)].map(
      ([, from]) => from,
    );
    assert.equal(imports, ["'tsbpf'"]);
  });

/** Runs an example until `use` has handled its output. */
async function withExample(
  program: string,
  args: readonly string[],
  use: (lines: (beginning: string | RegExp) => string[], state: () => string) => Promise<void>,
): Promise<void> {
  const example: ChildProcess = spawn(program, args, { cwd: PROJECT, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  example.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  example.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const state = () => `${stdout}\n${stderr}`;
  const lines = (beginning: string | RegExp) =>
    stdout
      .split('\n')
      .filter((line) => (typeof beginning === 'string' ? line.startsWith(beginning) : beginning.test(line)));
  try {
    await until('the header', () => /^(PID +COMM +FILE|WAIT \(us\) +COUNT)$/m.test(stdout), state);
    await use(lines, state);
  } finally {
    example.kill('SIGTERM');
  }
  assert.equal(await exited(example), { code: 0, signal: null }, stderr);
  assert.is(stderr, '');
}

/**
 * A shell that executes another program, by its path because busybox would only call itself: two execs in one
 * process.
 */
async function twoExecs(): Promise<number> {
  const child = spawn('/bin/sh', ['-c', 'exec /bin/sleep 0'], { stdio: 'ignore' });
  await exited(child);
  return child.pid as number;
}

/** Patterns for the execs of a process: pid, command, file. */
const expectedRows = (pid: number) => [
  new RegExp(`^${pid} +sh +/bin/sh$`),
  new RegExp(`^${pid} +sleep +/\\S+/sleep$`),
];

const runners = (name: string) =>
  [
    ['compiled', process.execPath, [built(`../../examples/${name}`)], false],
    ['by tsx', TSX, [source(name)], existsSync(TSX) ? false : 'needs tsx'],
  ] as const;

for (const [how, program, args, reason] of runners('execs'))
  test.skipIf(needsRoot || reason, `execs, ${how}, shows the execs of a process`, () =>
    withExample(program, args, async (lines, state) => {
      const pid = await twoExecs();
      await until('both execs', () => lines(`${pid} `).length >= 2, state);
      const [first = '', second = '', ...more] = lines(`${pid} `);
      const [sh, sleep] = expectedRows(pid);
      assert.match(first, sh as RegExp);
      assert.match(second, sleep as RegExp);
      assert.equal(more, []);
    }),
  );

for (const [how, program, args, reason] of runners('files'))
  test.skipIf(needsRoot || reason, `files, ${how}, shows a rename and a removal`, () =>
    withExample(program, args, async (lines, state) => {
      const folder = mkdtempSync(join(tmpdir(), 'tsbpf-files-'));
      try {
        writeFileSync(join(folder, 'a'), '');
        const child = spawn('/bin/sh', ['-c', `cd ${folder} && mv a b && rm b`], { stdio: 'ignore' });
        assert.equal(await exited(child), { code: 0, signal: null });
        const renamed = /^\d+ +mv +a -> b$/;
        const removed = /^\d+ +rm +b$/;
        await until('both', () => lines(renamed).length > 0 && lines(removed).length > 0, state);
      } finally {
        rmSync(folder, { recursive: true });
      }
    }),
  );

for (const [how, program, args, reason] of runners('runqlat'))
  test.skipIf(needsRoot || reason, `runqlat, ${how}, shows a histogram of waits for a CPU`, () =>
    withExample(program, args, async (lines, state) => {
      // Each process sleeps and is woken while others run.
      await twoExecs();
      await until('a second histogram', () => lines(/^WAIT \(us\) +COUNT$/).length >= 2, state);
      const rows = lines(/^\d+ to \d+ +\d+( +\*+)?$/).map((line) => line.split(/ +(?:to )?/));
      assert.ok(rows.length > 0, state());
      assert.ok(rows.some(([, , , stars]) => stars?.length === 40));
      for (const [from, to] of rows.map((row) => row.map(Number)))
        assert.ok(from === 0 ? to === 1 : to === 2 * (from as number) - 1, `${from} to ${to}`);
    }),
  );

test.run();
