/** The command on a terminal that goes, as when a connection by ssh breaks: its end, and its recording. */
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

/** A shell's script on a terminal of its own, in a folder for its files. Not the first process there, which util-linux's script takes with it. */
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

  /** What a file in the folder holds; nothing where there is none. */
  file(name: string): string {
    const path = join(this.folder, name);
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  }

  /** How many connects are recorded. */
  get recorded(): number {
    return this.file('recording').split('\n').length - 2;
  }

  /** The terminal goes, and whatever is on it gets SIGHUP. */
  async hangUp(): Promise<void> {
    this.#child.kill('SIGKILL');
    await exited(this.#child);
  }

  async remove(): Promise<void> {
    await this.hangUp();
    rmSync(this.folder, { recursive: true });
  }
}

/** Hangs the terminal up, which ends the command with status 0 and nothing on stderr. */
async function endsWell(session: Session): Promise<void> {
  await session.hangUp();
  await until('the end', () => session.file('status') !== '');
  assert.equal(
    { status: session.file('status'), errors: session.file('errors') },
    { status: '0\n', errors: '' },
  );
}

/** With its standard error in a file, and its exit status too: Node gives SIGHUP its meaning back, which the shell ignores. */
const TRACE = 'trap "" HUP; "$NODE" "$COMMAND" -q -p "$OWN" --record recording 2>errors; echo $? >status';

test.skipIf(noTerminal, 'a terminal that is hung up ends it with status 0, the recording whole', async () => {
  const session = new Session(TRACE);
  try {
    await until('the header', () => session.shown.includes('LAT(ms)'));
    await connectHere(server.port);
    await until('the connect', () => session.recorded === 1);
    await endsWell(session);
    assert.ok(session.file('recording').endsWith('}\n'));
  } finally {
    await session.remove();
  }
});

test.skipIf(noTerminal, 'a replay whose terminal is hung up ends with status 0', async () => {
  const session = new Session(
    'mkfifo pipe; trap "" HUP; exec 3<>pipe; "$NODE" "$COMMAND" -q --replay pipe 2>errors & echo $! >pid; wait $!; echo $? >status',
  );
  try {
    await until('its start', () => session.file('pid') !== '');
    const pid = session.file('pid').trim();
    const catches = () => /^SigCgt:\t[0-9a-f]*[13579bdf]$/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
    await until('its handler of SIGHUP', catches);
    await endsWell(session);
  } finally {
    await session.remove();
  }
});

test.skipIf(
  noTerminal || missing('setsid'),
  'a terminal that goes ends it also in a session of its own, which no SIGHUP reaches, when it has nothing to write',
  async () => {
    const session = new Session(
      'trap "" HUP; setsid -w "$NODE" "$COMMAND" -q -p 1 --record recording 2>errors; echo $? >status',
    );
    try {
      await until('the header', () => session.shown.includes('LAT(ms)'));
      await endsWell(session);
      assert.ok(session.file('recording').endsWith('}\n'));
    } finally {
      await session.remove();
    }
  },
);

test.skipIf(
  noTerminal || missing('nohup'),
  'under nohup it traces on when the terminal has gone',
  async () => {
    const session = new Session(
      'set -m; nohup "$NODE" "$COMMAND" -q -p "$OWN" --record recording >lines 2>errors & echo $! >pid; wait',
    );
    let pid = 0;
    try {
      await until('the header', () => session.file('lines').includes('LAT(ms)'));
      pid = Number(session.file('pid'));
      await session.hangUp();
      process.kill(pid, 'SIGHUP'); // as a shell does to its jobs
      for (const recorded of [1, 2]) {
        await sleep(200 * slowness); // in which it would have ended
        await connectHere(server.port);
        await until('a connect after that', () => session.recorded === recorded);
      }
      process.kill(pid, 'SIGTERM');
      await until('the end', () => !running(pid));
      assert.is(session.file('errors').replace(/^nohup: .*\n/, ''), '');
      pid = 0;
    } finally {
      if (pid > 0) process.kill(pid, 'SIGKILL');
      await session.remove();
    }
  },
);

/** Whether a process runs; one that has ended may wait for a parent that looks after it. */
function running(pid: number): boolean {
  try {
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

test.run();
