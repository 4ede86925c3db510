/**
 * `--top` in a terminal: tmux has a shell on it, sends keys, and shows what is on the screen. After every end
 * and stop, the terminal is as before.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { sameOnEveryKernel, suite } from '../harness.ts';
import { loopback, Peer, Server, until } from './connects.ts';
import { COMMAND, noProbeHere, Tracer } from './tracer.ts';

const test = suite('live/top', { seconds: 60 });

const noTmux = noProbeHere || sameOnEveryKernel || noVersionOf('tmux');

/** Why a test of a program without `--version` is skipped; false if it is installed. */
function noVersionOf(program: string): string | false {
  return spawnSync(program, ['-V']).error ? `${program} not installed` : false;
}

const PROMPT = 'ready>';
const OTHER_USER = 65_534;

/** A shell in tmux, in a server of its own. */
class Pane {
  readonly folder = mkdtempSync(join(tmpdir(), 'tsbpf-top-'));

  constructor(columns = 80, rows = 24) {
    const size = ['-x', String(columns), '-y', String(rows)];
    this.tmux('new-session', '-d', ...size, 'env', `PS1=${PROMPT} `, 'ENV=', 'sh', '-i');
    this.tmux('set-option', '-s', 'escape-time', '0');
  }

  tmux(...args: string[]): string {
    const server = ['-S', join(this.folder, 'socket'), '-f', '/dev/null', '-u'];
    const { status, stdout, stderr } = spawnSync('tmux', [...server, ...args], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`tmux ${args[0]}: ${stderr}`);
    return stdout;
  }

  /** The lines on the screen, without spaces at their ends. */
  get lines(): string[] {
    return this.tmux('capture-pane', '-p').split('\n');
  }

  get text(): string {
    return this.lines.join('\n');
  }

  /** Sends keys by their names in tmux. */
  keys(...names: string[]): void {
    this.tmux('send-keys', ...names);
  }

  resize(columns: number, rows: number): void {
    this.tmux('resize-window', '-x', String(columns), '-y', String(rows));
  }

  /** Waits until the screen matches. */
  see(pattern: RegExp, what = String(pattern)): Promise<string> {
    return until(
      what,
      () => {
        const { text } = this;
        return pattern.test(text) ? text : undefined;
      },
      () => this.text,
    );
  }

  /** The terminal's device. */
  get tty(): string {
    return this.tmux('display-message', '-p', '#{pane_tty}').trim();
  }

  /** What the terminal is like: modes, alternate screen, cursor, and wrapping of lines. */
  get state(): string {
    const { stdout } = spawnSync('stty', ['-F', this.tty, '-g'], { encoding: 'utf8' });
    return stdout + this.tmux('display-message', '-p', '#{alternate_on} #{cursor_flag} #{wrap_flag}');
  }

  /** Types the command line of Node with these words. */
  async run(...words: string[]): Promise<void> {
    await this.see(new RegExp(`${PROMPT} *\\n*$`), 'the prompt');
    const script = `echo $$ >${this.folder}/pid; exec "$@"`;
    this.keys('-l', `clear; sh -c '${script}' x ${process.execPath} ${words.join(' ')}; echo status=$?`);
    this.keys('Enter');
  }

  /** The same, and waits until the screen is there. */
  async start(...words: string[]): Promise<void> {
    await this.run(...words, '--interval', '0.5');
    await this.see(/^tcpconnlat .* UTC\n/, 'the screen');
  }

  /** The PID of the last command. */
  get pid(): number {
    return Number(readFileSync(join(this.folder, 'pid'), 'utf8'));
  }

  close(): void {
    try {
      this.tmux('kill-server');
    } finally {
      rmSync(this.folder, { recursive: true });
    }
  }
}

/** The first words of the table's lines. */
function table(text: string, count: number): string[] {
  const lines = text.split('\n');
  const header = lines.findIndex((line) => line.startsWith('DEST'));
  return lines.slice(header + 1, header + 1 + count).map((line) => line.split(' ')[0] ?? '');
}

let servers: Server[];
let peer: Peer;
test.before(async () => {
  if (noTmux) return;
  servers = await Promise.all(['127.0.0.21', '127.0.0.3'].map((host) => Server.start(host)));
  peer = await Peer.start();
});
test.after(async () => {
  await peer?.stop();
  for (const server of servers ?? []) await server.close();
});

/** 5 connects to one server, 3 to the other, and 4 that are refused. */
async function connects(): Promise<void> {
  const [first, second] = servers as [Server, Server];
  for (let i = 0; i < 5; i++) await peer.ask('connect', loopback(first.port, '127.0.0.21'));
  for (let i = 0; i < 3; i++) await peer.ask('connect', loopback(second.port, '127.0.0.3'));
  for (let i = 0; i < 4; i++) await peer.ask('connect', loopback(1, '127.0.0.5'));
}

test.skipIf(noTmux, 'failures have an example process, also if keys are networks and users', async () => {
  const pane = new Pane();
  try {
    await pane.see(new RegExp(PROMPT));
    await pane.start(COMMAND, '--top', '--by', 'net,unit,user', '-p', String(peer.pid));
    await connects();
    const example = `\\S+\\[${peer.pid}\\] [\\d.]+ ms`;
    await pane.see(
      new RegExp(`^ +(?:now|\\S+ s ago) +4 +refused +127\\.0\\.0\\.0/24 .* root +${example}$`, 'm'),
    );
  } finally {
    pane.close();
  }
});

test.skipIf(
  noTmux,
  'keys sort, filter, expand and pause; it follows the size; q restores the terminal',
  async () => {
    const pane = new Pane();
    try {
      await pane.see(new RegExp(PROMPT));
      const before = pane.state;
      // After it has dropped its privileges, root may not open the terminal of another user.
      chownSync(pane.tty, OTHER_USER, OTHER_USER);
      chmodSync(pane.tty, 0o600);
      await pane.start(COMMAND, '--top', '-p', String(peer.pid));
      await connects();
      let text = await pane.see(/^12 connects in .* 4 failed .* 3 keys +lost 0$/m);
      assert.equal(table(text, 4), ['127.0.0.21', '127.0.0.5', '127.0.0.3', '']);
      assert.match(text, /^ +(?:now|\S+ s ago) +4 +refused +127\.0\.0\.5 1(?: |$)/m);
      assert.match(pane.state, /\n1 0 0\n$/);

      pane.keys('<');
      text = await pane.see(/^DEST▲/m);
      assert.equal(table(text, 3), ['127.0.0.3', '127.0.0.5', '127.0.0.21']);
      pane.keys('r');
      text = await pane.see(/^DEST▼/m);
      assert.equal(table(text, 3), ['127.0.0.21', '127.0.0.5', '127.0.0.3']);

      pane.keys('/');
      pane.keys('-l', 'refused');
      text = await pane.see(/^\/refused +1 of 3 keys/m);
      assert.equal(table(text, 2), ['127.0.0.5', '']);
      pane.keys('Enter');
      await pane.see(/^filter: refused \(1 of 3 keys/m);
      pane.keys('Enter');
      text = await pane.see(/^dest 127\.0\.0\.5 +port 1$/m);
      assert.match(text, /^4 connects in .* 4 refused/m);
      assert.match(text, /^ +[\d.]+ – +[\d.]+ ms +[1-4] +[\d.]+ % █+/m);
      pane.keys('Escape');
      await pane.see(/^DEST/m);
      pane.keys('Escape');
      await pane.see(/^q quit/m);

      pane.keys('p');
      await pane.see(/^tcpconnlat .* PAUSED$/m);
      await connects();
      await new Promise((resolve) => setTimeout(resolve, 1500));
      assert.match(pane.text, /^12 connects/m);
      pane.keys('p');
      await pane.see(/^24 connects/m);

      for (const [columns, rows] of [
        [40, 10],
        [120, 40],
      ] as const) {
        pane.resize(columns, rows);
        await until(
          'the new size',
          () => {
            const { lines } = pane;
            const [head = ''] = lines;
            return head.length === columns && head.endsWith('UTC') && lines[rows - 1]?.startsWith('q quit');
          },
          () => pane.text,
        );
        text = pane.text;
        assert.equal(table(text, 3), ['127.0.0.21', '127.0.0.5', '127.0.0.3']);
      }

      pane.keys('q');
      text = await pane.see(/^tcpconnlat: 24 connects counted\n(?:.*\n)*status=0$/m);
      assert.not.match(text, 'q quit');
      assert.is(pane.state, before);
    } finally {
      pane.close();
    }
  },
);

test.skipIf(noTmux, 'signals restore the terminal, and a stopped screen comes back', async () => {
  const pane = new Pane();
  try {
    await pane.see(new RegExp(PROMPT));
    const before = pane.state;
    for (const signal of ['SIGTERM', 'SIGHUP', 'SIGINT'] as const) {
      await pane.start(COMMAND, '--top', '-q', '-p', String(peer.pid));
      assert.is.not(pane.state, before);
      process.kill(pane.pid, signal);
      await pane.see(/^status=0$/m, signal);
      assert.is(pane.state, before, signal);
    }
    await pane.start(COMMAND, '--top', '-q', '-p', String(peer.pid));
    for (const stop of [() => pane.keys('C-z'), () => process.kill(pane.pid, 'SIGTSTP')]) {
      stop();
      await pane.see(new RegExp(`(?:Stopped|Suspended)(?:.*\\n)*.*${PROMPT}`), 'the shell');
      assert.is(pane.state, before);
      pane.keys('-l', 'clear; fg');
      pane.keys('Enter');
      await pane.see(/^tcpconnlat .* UTC\n(?:.*\n)*q quit/, 'the screen after fg');
      await connects();
      await pane.see(/^\d+ connects .* 3 keys/m);
    }
    pane.keys('C-c');
    await pane.see(new RegExp(`${PROMPT} *\\n*$`), 'the end');
    assert.is(pane.state, before);
  } finally {
    pane.close();
  }
});

test.skipIf(
  noTmux,
  'an exception and a failed start restore the terminal, and their message is visible',
  async () => {
    const pane = new Pane();
    try {
      await pane.see(new RegExp(PROMPT));
      const before = pane.state;
      const throws = join(pane.folder, 'throws.cjs');
      writeFileSync(throws, "process.on('SIGUSR2', () => { throw new Error('from a test'); });");
      await pane.start('-r', throws, COMMAND, '--top', '-q', '-p', String(peer.pid));
      process.kill(pane.pid, 'SIGUSR2');
      const text = await pane.see(/^status=\d/m, 'the exception');
      assert.match(text, /^Error: from a test$/m);
      assert.match(text, /^status=[1-9]$/m);
      assert.is(pane.state, before);

      await pane.start(COMMAND, '--top', '-q', '-p', String(peer.pid), '--duration', '1');
      await pane.see(/^status=0$/m, 'the end after --duration');
      assert.is(pane.state, before);

      await pane.run(COMMAND, '--top', '--cgroup', '/no/cgroup');
      assert.match(await pane.see(/^status=2$/m, 'the error'), /^tcpconnlat: .*\/no\/cgroup/m);
      assert.is(pane.state, before);
    } finally {
      pane.close();
    }
  },
);

test.skipIf(noTmux, 'it ends with status 0 when its terminal disappears', async () => {
  const pane = new Pane();
  const [status, errors] = ['status', 'errors'].map((name) => join(pane.folder, name)) as [string, string];
  try {
    const words = [process.execPath, COMMAND, '--top', '-q', '-p', String(peer.pid)];
    await pane.see(new RegExp(PROMPT));
    pane.keys('-l', `sh -c 'trap "" HUP; "$@" 2>${errors}; echo $? >${status}' x ${words.join(' ')}`);
    pane.keys('Enter');
    await pane.see(/^tcpconnlat .* starting\n/, 'the screen');
    pane.tmux('kill-server');
    await until('the end', () => existsSync(status) && readFileSync(status, 'utf8') !== '');
    assert.is(readFileSync(status, 'utf8'), '0\n');
    assert.not.match(readFileSync(errors, 'utf8'), /should not happen|Error/);
  } finally {
    rmSync(pane.folder, { recursive: true });
  }
});

test.skipIf(noProbeHere, 'without a terminal it prints tables', async () => {
  const tracer = Tracer.run(['--top', '--interval', '0.3', '-p', String(process.pid)]);
  await tracer.until('two tables', () => (tracer.stdout.match(/^DEST +PORT +COUNT/gm) ?? []).length >= 2);
  assert.equal(await tracer.stop(), { code: 0, signal: null });
  assert.not.match(tracer.stdout, '\x1b');
});

test.run();
