/** The harness and its runner: failures of any kind must not pass. */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { slowness, suite } from './harness.ts';
import { type FileResult, runFile, runTogether } from './runner.ts';

const HARNESS = new URL('./harness.js', import.meta.url).href;
const RUN = fileURLToPath(new URL('./run.js', import.meta.url));
const LIMITS = { seconds: 2 * slowness, grace: 0.3 * slowness };

const test = suite('harness', { seconds: 30 });

let folder = '';
test.before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tsbpf-harness-'));
});
test.after(() => rm(folder, { recursive: true }));

/** Writes a test file with a suite named `test`. */
async function write(name: string, body: string): Promise<string> {
  const file = join(folder, `${name}.test.js`);
  await writeFile(
    file,
    `import { suite } from '${HARNESS}';\nconst test = suite('${name}', { seconds: 0.2 });\n${body}\n`,
  );
  return file;
}

async function outcomeOf(name: string, body: string): Promise<FileResult> {
  return runFile(await write(name, body), LIMITS);
}

const COUNTED = [
  {
    name: 'passes',
    body: "test('a', () => {}); test('b', async () => {}); test.run();",
    passed: 2,
    failed: 0,
  },
  { name: 'throws', body: "test('a', () => { throw new Error('no'); }); test.run();", passed: 0, failed: 1 },
  { name: 'rejects', body: "test('a', async () => { throw 1; }); test.run();", passed: 0, failed: 1 },
  {
    name: 'never-settles',
    body: "test('a', () => new Promise(() => {})); test('b', () => {}); test.run();",
    passed: 1,
    failed: 1,
  },
];
for (const { name, body, passed, failed } of COUNTED) {
  test(`a file that ${name.replace('-', ' ')} counts as ${passed} passed, ${failed} failed`, async () => {
    const result = await outcomeOf(name, body);
    assert.equal([result.passed, result.failed, result.problems], [passed, failed, []]);
  });
}

const OK = "test('a', () => {});";
const BROKEN = [
  { name: 'forgets-run', body: OK, problem: /run\(\) was never called/ },
  { name: 'has-no-test', body: 'test.run();', problem: /has no tests/ },
  {
    name: 'has-a-failing-before',
    body: `test.before(() => { throw new Error('b'); }); ${OK} test.run();`,
    problem: /before/,
  },
  {
    name: 'has-a-failing-after',
    body: `test.after(() => { throw new Error('b'); }); ${OK} test.run();`,
    problem: /after/,
  },
  {
    name: 'has-a-failing-after-each',
    body: `test.after.each(() => { throw new Error('b'); }); ${OK} test.run();`,
    problem: /after\.each/,
  },
  { name: 'does-not-load', body: "import 'no-such-package'; test.run();", problem: /exited with status 1/ },
  {
    name: 'exits-half-way',
    body: `${OK} test('b', () => process.exit(0)); test.run();`,
    problem: /1 tests were not run/,
  },
  {
    name: 'exits-badly-after-its-tests',
    body: `${OK} test.after(() => { process.on('exit', () => { process.exitCode = 3; }); }); test.run();`,
    problem: /exited with status 3/,
  },
  {
    name: 'is-killed',
    body: "test('a', () => process.kill(process.pid, 'SIGKILL')); test.run();",
    problem: /killed by SIGKILL during "a"/,
  },
  {
    name: 'stays-alive',
    body: "test('a', () => { setInterval(() => {}, 1000); }); test.run();",
    problem: /still running .* after its last test: killed/,
  },
  {
    name: 'loops',
    body: "test('a', () => { for (;;); }); test.run();",
    problem: /not done after \d+ s, in "a": killed/,
  },
  {
    name: 'leaves-a-process',
    body: `import { spawn } from 'node:child_process';
           test('a', () => { spawn('sleep', ['60'], { stdio: 'inherit' }).unref(); }); test.run();`,
    problem: /left processes behind: \d+ \(sleep\)/,
  },
];
for (const { name, body, problem } of BROKEN) {
  test(`a file that ${name.replaceAll('-', ' ')} fails`, async () => {
    const result = await outcomeOf(name, body);
    assert.match(result.problems.join('\n'), problem);
  });
}

test('a file without a suite fails', async () => {
  const file = join(folder, 'nothing.test.js');
  await writeFile(file, 'export {};');
  assert.equal((await runFile(file, LIMITS)).problems, ['ran no test']);
});

test('a skipped test is reported with its reason, neither passed nor failed', async () => {
  const body = "test.skipIf('no luck today', 'a', () => {}); test.skipIf(false, 'b', () => {}); test.run();";
  const { passed, failed, skipped, problems } = await outcomeOf('skips', body);
  assert.equal(
    { passed, failed, skipped, problems },
    {
      passed: 1,
      failed: 0,
      skipped: [{ name: 'a', reason: 'no luck today' }],
      problems: [],
    },
  );
});

/** Runs the runner's command on the files of a folder. */
function runner(files: string, ...filters: string[]): Promise<{ status: number; lines: string[] }> {
  const env = { ...process.env, TSBPF_TEST_FOLDER: files };
  return new Promise((resolve) => {
    execFile(process.execPath, [RUN, ...filters], { env }, (error, stdout) => {
      resolve({ status: error ? Number(error.code) : 0, lines: stdout.trimEnd().split('\n') });
    });
  });
}

test("the runner's last line is a summary, and a failure sets its status to 1", async () => {
  await write('cli-good', "test('a', () => {}); test.skipIf('why not', 'b', () => {}); test.run();");
  await write('cli-bad', "test('a', () => { throw new Error('the reason'); }); test.run();");
  const good = await runner(folder, 'cli-good');
  assert.equal([good.status, good.lines.at(-1)], [0, '1 passed, 0 failed, 1 skipped']);
  assert.ok(good.lines.join('\n').includes('skipped, why not:\n  cli-good: b'));

  const both = await runner(folder, 'cli-');
  assert.equal([both.status, both.lines.at(-1)], [1, '1 passed, 1 failed, 1 skipped']);
  assert.ok(both.lines.join('\n').includes('the reason'));
});

test('a test that fails and passes when its file runs again counts as flaky, not as passed', async () => {
  const files = join(folder, 'reruns');
  await mkdir(join(files, 'live'), { recursive: true });
  const marker = JSON.stringify(join(files, 'ran'));
  await write(
    'reruns/live/unsteady',
    `import { existsSync, writeFileSync } from 'node:fs';
    test('a', () => { if (!existsSync(${marker})) { writeFileSync(${marker}, ''); throw new Error('once'); } });
    test('b', () => {}); test.run();`,
  );
  const again = await runner(files, '--again', 'unsteady');
  assert.equal([again.status, again.lines.at(-1)], [0, '1 passed, 0 failed, 1 flaky']);
  assert.ok(again.lines.includes('flaky, failed first and then passed alone: live/unsteady (1)'));

  await rm(join(files, 'ran'));
  const once = await runner(files, 'unsteady');
  assert.equal([once.status, once.lines.at(-1)], [1, '1 passed, 1 failed']);
});

test('a run without matching files fails', async () => {
  const { status, lines } = await runner(folder, 'no-such-file');
  assert.equal([status, lines.at(-1)], [1, '0 passed, 1 failed']);
});

test('files in one process are judged separately, and the run continues after one ends the process', async () => {
  const failing = "test('a', () => { throw new Error('no'); }); test.run();";
  const files = [
    await write('first', `${OK} test.run();`),
    await write('second', failing),
    await write('third', "console.log('so long'); process.kill(process.pid, 'SIGKILL');"),
    await write('fourth', `test.skipIf('no reason', 'b', () => {}); ${OK} test.run();`),
    await write('fifth', '1;'),
  ];
  const results: FileResult[] = [];
  await runTogether(files, { ...LIMITS, seconds: 5 * LIMITS.seconds }, (result) => results.push(result));
  assert.equal(
    results.map(({ file, passed, failed, skipped }) => [file, passed, failed, skipped.length]),
    files.map((file, i) => [
      file,
      ...([
        [1, 0, 0],
        [0, 1, 0],
        [0, 0, 0],
        [1, 0, 1],
        [0, 0, 0],
      ][i] ?? []),
    ]),
  );
  const [first, second, third, fourth, fifth] = results.map(({ problems }) => problems.join());
  assert.equal([first, second, fourth], ['', '', '']);
  assert.match(third ?? '', /killed by SIGKILL/);
  assert.match(results[2]?.output ?? '', /so long/);
  assert.match(fifth ?? '', /run\(\) was never called/);
});

test.run();
