/** The examples: that they run as their first lines say, and are written with the public API alone. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { needsRoot, suite } from '../harness.ts';
import { built, exited, until } from './connects.ts';

const test = suite('live/examples', { seconds: 60 });

const PROJECT = fileURLToPath(new URL('../../../', import.meta.url));
const SOURCE = `${PROJECT}examples/execs.ts`;
const TSX = `${PROJECT}node_modules/.bin/tsx`;

test('execs.ts has less than 60 lines and imports nothing but tsbpf', () => {
  const source = readFileSync(SOURCE, 'utf8');
  assert.ok(source.trimEnd().split('\n').length < 60);
  const imports = [...source.matchAll(/\b(?:from|import|require)\s*\(?\s*(['"][^'"]+['"])/g)].map(
    ([, from]) => from,
  );
  assert.equal(imports, ["'tsbpf'"]);
});

/** A shell that becomes another program: two execs by one process. */
async function twoExecs(): Promise<number> {
  const child = spawn('/bin/sh', ['-c', 'exec sleep 0'], { stdio: 'ignore' });
  await exited(child);
  return child.pid as number;
}

/** What the execs of a process must look like: pid, command, file. */
const wanted = (pid: number) => [
  new RegExp(`^${pid} +sh +/bin/sh$`),
  new RegExp(`^${pid} +sleep +/\\S+/sleep$`),
];

for (const [how, program, args, reason] of [
  ['compiled', process.execPath, [built('../../examples/execs')], false],
  ['by tsx', TSX, [SOURCE], existsSync(TSX) ? false : 'needs tsx'],
] as const)
  test.skipIf(needsRoot || reason, `execs, ${how}, shows the execs of a process`, async () => {
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
    try {
      await until('the header', () => /^PID +COMM +FILE$/m.test(stdout), state);
      const pid = await twoExecs();
      const lines = () => stdout.split('\n').filter((line) => line.startsWith(`${pid} `));
      await until('both execs', () => lines().length >= 2, state);
      const [first = '', second = '', ...more] = lines();
      const [sh, sleep] = wanted(pid);
      assert.match(first, sh as RegExp);
      assert.match(second, sleep as RegExp);
      assert.equal(more, []);
    } finally {
      example.kill('SIGTERM');
    }
    assert.equal(await exited(example), { code: 0, signal: null }, stderr);
    assert.is(stderr, '');
  });

test.run();
