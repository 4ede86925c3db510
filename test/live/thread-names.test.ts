/** Names of threads with any bytes, from the kernel to columns, JSON, recordings and filters. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { columnsOf } from '../../src/cli/width.ts';
import { sameOnEveryKernel, slowness, suite } from '../harness.ts';
import { loopback, Peer, Server } from './connects.ts';
import { COMMAND, noProbeHere, Tracer } from './tracer.ts';

const test = suite('live/thread-names', { seconds: 60 });

/** Bytes, their text in JSON, and their cell. */
const NAMES = [
  ['curl', 'curl', 'curl'],
  ['漢字', '漢字', '漢字'],
  ['e\u0301a', 'e\u0301a', 'e\u0301a'],
  ['🦀', '🦀', '🦀'],
  // The kernel cuts after 15 bytes, inside of a character.
  ['a日本語日本', 'a日本語日\\xe6\\x9c', 'a日本語日'],
  [Buffer.of(0x61, 0xe6, 0x97), 'a\\xe6\\x97', 'a\\xe6\\x97'],
  [Buffer.of(0x61, 0xe6, 0x9c), 'a\\xe6\\x9c', 'a\\xe6\\x9c'],
  ['\\xff', '\\x5cxff', '\\x5cxff'],
  ['', '', "''"],
  ['  ', '  ', "'  '"],
] as const;

let folder = '';
let server: Server;
let peer: Peer;
test.before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tsbpf-names-'));
  server = await Server.start('127.0.0.1');
  peer = await Peer.start();
});
test.after(async () => {
  rmSync(folder, { recursive: true });
  await Promise.all([server.close(), peer.stop()]);
});

async function connectByAllNames(): Promise<void> {
  for (const [name] of NAMES) {
    await peer.ask('rename', typeof name === 'string' ? name : new Uint8Array(name));
    await peer.ask('connect', loopback(server.port));
  }
}

/** The lines after the header. */
const linesOf = (tracer: Tracer) => tracer.lines().slice(1);

const shownOf = (file: string, ...args: string[]) =>
  spawnSync(process.execPath, [COMMAND, '--replay', file, '-q', ...args], {
    encoding: 'utf8',
    timeout: 30_000 * slowness,
  }).stdout;

test.skipIf(
  noProbeHere || sameOnEveryKernel,
  'each name is aligned in columns and exact in JSON',
  async () => {
    const file = join(folder, 'names');
    const tracer = await Tracer.start(['-p', String(peer.pid), '--record', file]);
    await connectByAllNames();
    await tracer.until('the lines', () => linesOf(tracer).length === NAMES.length);
    await tracer.stop();
    const pid = String(peer.pid).padEnd(8);
    for (const [i, [, , cell]] of NAMES.entries()) {
      const line = linesOf(tracer)[i] as string;
      assert.ok(line.startsWith(`${pid}${cell} `), line);
      assert.is(columnsOf(line.split('4  127.0.0.1 ')[0] as string), 8 + 13, line);
    }
    const recorded = readFileSync(file, 'utf8').trim().split('\n').slice(1);
    assert.equal(
      recorded.map((line) => JSON.parse(line).comm),
      NAMES.map(([, text]) => text),
    );
    assert.is(shownOf(file), tracer.stdout);
    for (const [, text, cell] of NAMES) {
      const [shown = '', ...others] = shownOf(file, '--json', '--comm', text || cell)
        .trim()
        .split('\n');
      assert.is(JSON.parse(shown).comm, text);
      assert.equal(others, []);
    }
  },
);

test.skipIf(noProbeHere, 'the programs compare the bytes of a name that --comm has as text', async () => {
  const wanted = NAMES.filter((_, i) => i % 2 === 0);
  const comms = wanted.flatMap(([, text, cell]) => ['--comm', text || cell]);
  const tracer = await Tracer.start(['-p', String(peer.pid), ...comms]);
  await connectByAllNames();
  await tracer.until('the last line', () => linesOf(tracer).some((line) => line.includes(" '' ")));
  await tracer.stop();
  assert.equal(
    linesOf(tracer).map((line) => line.slice(8).split(/ +4 {2}127/)[0]),
    wanted.map(([, , cell]) => cell),
  );
});

test.run();
