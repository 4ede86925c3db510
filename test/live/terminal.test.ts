/** The command when its terminal disappears, as when an SSH connection breaks: its exit and its recording. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { missing } from '../cli/terminal.ts';
import { needsRoot, sameOnEveryKernel, slowness, suite } from '../harness.ts';
import { connectHere, exited, Server, until } from './connects.ts';
import { COMMAND } from './tracer.ts';

const test = suite('live/terminal', { seconds: 60 });

const noTerminal = needsRoot || sameOnEveryKernel || missing('script');

let server: Server;
test.before(async () => {
  server = await Server.start('127.0.0.1');
});
test.after(() => server.close());

/**
 * A shell script on its own terminal, in a folder for its files. The script is not the first process there,
 * because util-linux's `script` kills that one when it is killed.
 */
class Session {
  readonly folder = mkdtempSync(join(tmpdir(), 'tsbpf-terminal-'));
  readonly #child: ChildProcess;
  #shown = '';

  constructor(script: string) {
    const env = { ...process.env, NODE: process.execPath, COMMAND, OWN: String(process.pid) };
    this.#child = spawn('script', ['-qec', `sh -c '${script}'; :`, '/dev/null'], {
      cwd: this.folder,
      env,
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#shown += text;
    });
  }

  get shown(): string {
    return this.#shown;
  }

  /** The content of a file in the folder; empty if it does not exist. */
  file(name: string): string {
    const path = join(this.folder, name);
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  }

  /** The number of recorded connects. */
  get recorded(): number {
    return this.file('recording').split('\n').length - 2;
  }

  /** Closes the terminal, which sends SIGHUP to its processes. */
  async hangUp(): Promise<void> {
    this.#child.kill('SIGKILL');
    await exited(this.#child);
  }

  async remove(): Promise<void> {
    await this.hangUp();
    rmSync(this.folder, { recursive: true });
  }
}

/** Hangs up and asserts that the command exits with status 0 and an empty stderr. */
async function hangsUpCleanly(session: Session): Promise<void> {
  await session.hangUp();
  await until('the end', () => session.file('status') !== '');
  assert.equal(
    { status: session.file('status'), errors: session.file('errors') },
    { status: '0\n', errors: '' },
  );
}

/**
 * Writes standard error and the exit status to files. The shell ignores SIGHUP, but Node restores its default
 * action.
 */
const TRACE = 'trap "" HUP; "$NODE" "$COMMAND" -q -p "$OWN" --record recording 2>errors; echo $? >status';

test.skipIf(noTerminal, 'a hang-up ends a trace with status 0 and a complete recording', async () => {
  const session = new Session(TRACE);
  try {
    await until('the header', () => session.shown.includes('LAT(ms)'));
    await connectHere(server.port);
    await until('the connect', () => session.recorded === 1);
    await hangsUpCleanly(session);
    assert.ok(session.file('recording').endsWith('}\n'));
  } finally {
    await session.remove();
  }
});

test.skipIf(noTerminal, 'a hang-up ends a replay with status 0', async () => {
  const session = new Session(
    'mkfifo pipe; trap "" HUP; exec 3<>pipe; "$NODE" "$COMMAND" -q --replay pipe 2>errors & echo $! >pid; wait $!; echo $? >status',
  );
  try {
    await until('its start', () => session.file('pid') !== '');
    const pid = session.file('pid').trim();
    const catches = () => /^SigCgt:\t[0-9a-f]*[13579bdf]$/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
    await until('its SIGHUP handler', catches);
    await hangsUpCleanly(session);
  } finally {
    await session.remove();
  }
});

test.skipIf(
  noTerminal || missing('setsid'),
  'a hang-up ends a quiet trace in another session, which gets no SIGHUP',
  async () => {
    const session = new Session(
      'trap "" HUP; setsid -w "$NODE" "$COMMAND" -q -p 1 --record recording 2>errors; echo $? >status',
    );
    try {
      await until('the header', () => session.shown.includes('LAT(ms)'));
      await hangsUpCleanly(session);
      assert.ok(session.file('recording').endsWith('}\n'));
    } finally {
      await session.remove();
    }
  },
);

test.skipIf(noTerminal || missing('nohup'), 'under nohup tracing continues after a hang-up', async () => {
  const session = new Session(
    'set -m; nohup "$NODE" "$COMMAND" -q -p "$OWN" --record recording >lines 2>errors & echo $! >pid; wait',
  );
  let pid = 0;
  try {
    await until('the header', () => session.file('lines').includes('LAT(ms)'));
    pid = Number(session.file('pid'));
    await session.hangUp();
    process.kill(pid, 'SIGHUP'); // as a shell signals its jobs
    for (const recorded of [1, 2]) {
      await sleep(200 * slowness); // time to end, if it did
      await connectHere(server.port);
      await until('a connect after the hang-up', () => session.recorded === recorded);
    }
    process.kill(pid, 'SIGTERM');
    await until('the end', () => !running(pid));
    assert.is(session.file('errors').replace(/^nohup: .*\n/, ''), '');
    pid = 0;
  } finally {
    if (pid > 0) process.kill(pid, 'SIGKILL');
    await session.remove();
  }
});

/** Whether a process runs. A zombie, which waits for its parent, does not. */
function running(pid: number): boolean {
  try {
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

test.run();
