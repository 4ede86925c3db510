/**
 * Descriptors shared with a shell: no command changes their flags, and a run ends when its reader exits, even
 * with nothing to write.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { PollEvents } from '../../src/loader/syscalls.ts';
import { needsRoot, sameOnEveryKernel, slowness, suite } from '../harness.ts';
import { exited, until } from './connects.ts';
import { isNonBlocking, Pipe } from './pipe.ts';
import { COMMAND, here, Tracer } from './tracer.ts';

const test = suite('live/shared', { seconds: 60 });

const TSBPF = fileURLToPath(new URL('../../../dist/tsbpf.cjs', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'tsbpf-shared-'));
test.after(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const PROGRAM = file('program.bpf', '  r0 = 3\n  exit\n');
const BYTES = file('program.hex', 'b7000000030000009500000000000000\n');
const HEADER = `${JSON.stringify({
  ...{ tsbpf: 'tcpconnlat', format: 1, version: '0.1.0', host: 'vm', kernel: '6.12.0', way: 'kprobe' },
  ...{ options: [], fields: [], started: '2026-11-25T15:39:56.123000Z' },
})}\n`;
/** With an address that widens its column. */
const WIDE = `${JSON.stringify({
  ...{ time_s: 0, pid: 7, comm: 'curl', ip: 6, saddr: '2001:db8:1111:2222:3333:4444:5555:6666', lport: 1 },
  ...{ daddr: '2001:db8:1111:2222:3333:4444:5555:7777', dport: 80, lat_ms: 1 },
})}\n`;
const RECORDING = file('recording.jsonl', HEADER + WIDE);

/** Selects only connects of process 1, which makes none. */
const QUIET = ['-p', '1'];

/** Every form of the commands that prints to stdout, and whether it needs root. */
const STDOUT_FORMS: [command: string, args: readonly string[], needsRoot?: boolean][] = [
  [COMMAND, ['--help']],
  [COMMAND, ['--version']],
  [COMMAND, ['--json-schema']],
  ...['bash', 'zsh', 'fish'].map((shell): [string, string[]] => [COMMAND, ['--completion', shell]]),
  [COMMAND, ['--replay', RECORDING]],
  [COMMAND, ['--dry-run', '--probe', 'kprobe'], true],
  [COMMAND, QUIET, true],
  [COMMAND, ['-v', ...QUIET], true],
  [TSBPF, ['--help']],
  [TSBPF, ['--version']],
  [TSBPF, ['asm', '--help']],
  [TSBPF, ['asm', PROGRAM]],
  [TSBPF, ['asm', '-f', 'raw', PROGRAM]],
  [TSBPF, ['disasm', BYTES]],
];

/** Every form that prints to stderr. */
const STDERR_FORMS: typeof STDOUT_FORMS = [
  [COMMAND, ['--nonsense']],
  [COMMAND, ['--replay', '/no/such/file']],
  [COMMAND, ['-v', '--json', ...QUIET], true],
  [TSBPF, []],
  [TSBPF, ['--nonsense']],
  [TSBPF, ['asm', '/no/such/file']],
];

/** Whether a process sleeps. */
const isAsleep = (pid: number): boolean => /^State:\tS/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));

/**
 * Runs a command with a full pipe as output, and returns whether it made the pipe non-blocking before its
 * write blocked.
 */
async function changesFlags(command: string, args: readonly string[], fd: 1 | 2): Promise<boolean> {
  const pipe = new Pipe();
  pipe.fill();
  const child = spawn(process.execPath, [command, ...args], {
    stdio: ['ignore', fd === 1 ? pipe.writer : 'ignore', fd === 2 ? pipe.writer : 'ignore'],
  });
  try {
    const seen: (boolean | undefined)[] = [];
    // Until the process sleeps for a while, which it does only in the blocked write.
    for (let idle = 0; idle < 15 && child.exitCode === null; await sleep(20 * slowness)) {
      seen.push(isNonBlocking(child.pid as number, fd));
      idle = isAsleep(child.pid as number) ? idle + 1 : 0;
    }
    assert.is(child.exitCode, null, 'the command waits for the pipe');
    return seen.includes(true);
  } finally {
    child.kill('SIGKILL');
    await exited(child);
    pipe.close();
  }
}

for (const [fd, name, forms] of [
  [1, 'stdout', STDOUT_FORMS],
  [2, 'stderr', STDERR_FORMS],
] as const)
  for (const [command, args, asRoot] of forms)
    test.skipIf(
      sameOnEveryKernel || (asRoot && needsRoot),
      `${command === COMMAND ? 'tcpconnlat' : 'tsbpf'} ${args.join(' ').replace(folder, '')} keeps the flags of ${name}`,
      async () => {
        assert.is(await changesFlags(command, args, fd), false);
      },
    );

// The kinds of descriptors that a child may have. Node's `pipe` is a socket.
for (const kind of ['pipe', 'socket'] as const)
  test.skipIf(
    sameOnEveryKernel,
    `--replay - keeps the flags of a ${kind} and of stdout, even at a wide line`,
    async () => {
      const [input, output] = [new Pipe(), new Pipe()];
      const child = spawn(process.execPath, [COMMAND, '--replay', '-'], {
        stdio: [kind === 'pipe' ? input.childReader : 'pipe', output.writer, 'pipe'],
      });
      try {
        const pid = child.pid as number;
        const before = kind === 'pipe' ? false : isNonBlocking(pid, 0);
        if (kind === 'pipe') writeFileSync(input.writer, HEADER + WIDE);
        else child.stdin?.write(HEADER + WIDE);
        await until('the wide line', () => output.read().includes(':7777 '));
        assert.equal(
          [0, 1].map((fd) => isNonBlocking(pid, fd)),
          [before, false],
        );
        // More input arrives later.
        if (kind === 'pipe') writeFileSync(input.writer, WIDE);
        else child.stdin?.write(WIDE);
        await until('the next line', () => output.read().split(':7777 ').length === 3);
        child.kill('SIGTERM');
        assert.equal(await exited(child), { code: 0, signal: null });
      } finally {
        child.kill('SIGKILL');
        for (const pipe of [input, output]) pipe.close();
      }
    },
  );

test.skipIf(sameOnEveryKernel, '--replay - reads a file from its current position', async () => {
  const script = `{ read -r first; exec "$0" "$1" --replay -; } <"$2"`;
  const skipped = file('skipped', `nothing to be shown\n${HEADER}${WIDE}`);
  const child = spawn('bash', ['-c', script, process.execPath, COMMAND, skipped], { stdio: 'pipe' });
  let shown = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    shown += text;
  });
  await new Promise((resolve) => child.stdout.once('close', resolve));
  assert.match(shown, /^PID .*\n7 .* 80 +1\.00\n$/);
});

// --- the reader exits ----------------------------------------------------------------------------

/** Quiet runs: no output at all, or none after the header. */
const SILENT: [title: string, args: readonly string[], asRoot: boolean][] = [
  ['a quiet trace', QUIET, true],
  ['a quiet trace with --json', [...QUIET, '--json'], true],
  ['a replay that waits', ['--replay', '-'], false],
];

/** Waits until the command traces or reads. */
async function settled(child: ChildProcess): Promise<void> {
  await until('its wait', () => isAsleep(child.pid as number));
  await sleep(500 * slowness);
  assert.is(child.exitCode, null);
}

for (const [title, args, asRoot] of SILENT) {
  const reason = sameOnEveryKernel || (asRoot && needsRoot);

  for (const kind of ['pipe', 'socket'] as const)
    test.skipIf(reason, `${title} ends with status 0 when the reader of its ${kind} closes it`, async () => {
      const pipe = new Pipe();
      const child = spawn(process.execPath, [COMMAND, ...args], {
        stdio: ['pipe', kind === 'pipe' ? pipe.writer : 'pipe', 'ignore'],
      });
      try {
        pipe.closeWriter();
        await settled(child);
        if (kind === 'pipe') pipe.closeReader();
        else child.stdout?.destroy();
        assert.equal(await exited(child), { code: 0, signal: null });
      } finally {
        child.kill('SIGKILL');
        pipe.close();
      }
    });

  test.skipIf(reason, `${title} keeps running with output to a file or /dev/null`, async () => {
    const children = [join(folder, 'lines'), '/dev/null'].map((path) =>
      spawn('sh', ['-c', 'exec "$0" "$@" >"$OUT"', process.execPath, COMMAND, ...args], {
        stdio: ['pipe', 'ignore', 'ignore'],
        env: { ...process.env, OUT: path },
      }),
    );
    for (const child of children) {
      await settled(child);
      child.kill('SIGTERM');
      assert.equal(await exited(child), { code: 0, signal: null });
    }
  });
}

test.skipIf(needsRoot || sameOnEveryKernel, '| head -1 ends on a quiet machine', async () => {
  const shell = spawn(
    'bash',
    ['-c', `"$0" "$@" | head -1; echo "\${PIPESTATUS[*]}"`, process.execPath, COMMAND, ...QUIET],
    {
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  );
  let output = '';
  shell.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  await new Promise((resolve) => shell.stdout.once('close', resolve));
  assert.match(output, /^PID .*\n0 0\n$/);
});

test.skipIf(
  needsRoot || sameOnEveryKernel,
  'a recording into a pipe ends with status 1 when its reader closes it, even if nothing is recorded',
  async () => {
    const pipe = new Pipe();
    const tracer = await Tracer.start([...QUIET, '--record', `/proc/${process.pid}/fd/${pipe.writer}`]);
    pipe.closeWriter();
    await until('the first line', () => pipe.read().endsWith('}\n'));
    pipe.close();
    assert.equal(await tracer.ended(), { code: 1, signal: null });
    assert.match(tracer.warnings, /^tcpconnlat: cannot write the recording .*: its reader has exited\n$/);
  },
);

// --- pollShared ----------------------------------------------------------------------------------

test('a descriptor without another end cannot be polled', () => {
  for (const path of [PROGRAM, '/dev/null']) {
    const fd = here.syscalls.openFile(path);
    assert.is(
      here.syscalls.pollShared(fd, PollEvents.hangUp, () => {}),
      -1,
      'EPERM',
    );
    here.syscalls.close(fd);
  }
});

test('closing a wait twice closes no other descriptor', async () => {
  const server = createServer().listen(0);
  const pipe = new Pipe();
  let calls = 0;
  const wait = here.syscalls.pollShared(pipe.writer, PollEvents.hangUp, () => {
    calls += 1;
  });
  if (typeof wait === 'number') throw new Error(`errno ${-wait}`);
  wait.close();
  const other = here.syscalls.openFile(PROGRAM);
  wait.close();
  assert.ok(here.syscalls.inode(other) > 0n);
  here.syscalls.close(other);
  pipe.closeReader();
  await sleep(50);
  assert.is(calls, 0);
  assert.is(isNonBlocking(process.pid, pipe.writer), false);
  pipe.close();
  server.close();
});

test.run();
