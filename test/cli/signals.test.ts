/** Signals to commands that wait for input. For tracing, see test/live/signals.test.ts. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import * as assert from 'uvu/assert';
import { slowness, suite } from '../harness.ts';
import { exited } from '../live/connects.ts';
import { floodWith, listeningOn } from './processes.ts';

const test = suite('cli/signals', { seconds: 60 });

const DIST = fileURLToPath(new URL('../../../dist', import.meta.url));

/** A command that reads from an empty named pipe. */
class Reader {
  readonly child: ChildProcess;
  readonly #folder = mkdtempSync(join(tmpdir(), 'tsbpf-signals-'));
  readonly #writer: Promise<FileHandle>;
  stderr = '';

  constructor(command: string, ...args: string[]) {
    const pipe = join(this.#folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    this.child = spawn(process.execPath, [join(DIST, `${command}.cjs`), ...args, pipe], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    this.#writer = open(pipe, 'w');
  }

  get pid(): number {
    return this.child.pid as number;
  }

  /** Waits until the command has opened the pipe. */
  async opened(): Promise<void> {
    await this.#writer;
  }

  async remove(): Promise<void> {
    this.child.kill('SIGKILL');
    await exited(this.child);
    await (await this.#writer).close();
    rmSync(this.#folder, { recursive: true });
  }
}

async function withReader(words: readonly [string, ...string[]], work: (reader: Reader) => Promise<void>) {
  const reader = new Reader(...words);
  try {
    await reader.opened();
    await work(reader);
  } finally {
    await reader.remove();
  }
}

for (const words of [
  ['tsbpf', 'asm'],
  ['tcpconnlat', '--replay'],
] as const)
  test(`SIGUSR1 opens no debugger in ${words.join(' ')}, which continues`, () =>
    withReader(words, async ({ child, pid }) => {
      for (let times = 0; times < 3; times++) {
        child.kill('SIGUSR1');
        await sleep(200 * slowness); // in which Node would open its port
      }
      assert.equal([child.exitCode, child.signalCode, listeningOn(pid)], [null, null, []]);
    }));

test('several stop signals end a replay with status 0', () =>
  withReader(['tcpconnlat', '--replay'], async (reader) => {
    const sent = await floodWith(['SIGINT', 'SIGTERM', 'SIGHUP'], reader.child);
    assert.ok(sent >= 1);
    assert.equal(await exited(reader.child), { code: 0, signal: null });
    assert.is(reader.stderr, '');
  }));

test('a stop signal kills a command that only prints', () =>
  withReader(['tsbpf', 'asm'], async ({ child }) => {
    child.kill('SIGINT');
    assert.equal(await exited(child), { code: null, signal: 'SIGINT' });
  }));

test.run();
