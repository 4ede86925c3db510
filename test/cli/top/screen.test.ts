/** The keys of `--top`, from the bytes that terminals send. */
import { emitKeypressEvents, type Key } from 'node:readline';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import * as assert from 'uvu/assert';
import { ESCAPE_TIMEOUT, keyName } from '../../../src/cli/top/screen.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/top/screen');

/** The names of the keys in what a terminal sends. */
async function keysIn(...chunks: string[]): Promise<(string | undefined)[]> {
  const stream = new PassThrough();
  const keys: (string | undefined)[] = [];
  emitKeypressEvents(stream, ESCAPE_TIMEOUT);
  stream.on('keypress', (text: string | undefined, key: Key) => keys.push(keyName(text, key)));
  for (const chunk of chunks) {
    stream.write(chunk);
    await sleep(1);
  }
  await sleep(200); // longer than an escape waits
  return keys;
}

test('keys of xterm, the Linux console, tmux and application mode', async () => {
  assert.equal(await keysIn('\x1b[A\x1bOA\x1b[B\x1bOB\x1b[C\x1b[D'), [
    ...['up', 'up', 'down', 'down', 'right', 'left'],
  ]);
  assert.equal(await keysIn('\x1b[5~\x1b[6~\x1b[H\x1b[1~\x1bOH\x1b[F\x1b[4~\x1bOF'), [
    ...['pageup', 'pagedown', 'home', 'home', 'home', 'end', 'end', 'end'],
  ]);
  assert.equal(await keysIn('\r\n\x7f\b\t '), ['enter', 'enter', 'backspace', 'backspace', 'tab', 'space']);
  assert.equal(await keysIn('\x03\x0c\x1a\x15\x17'), ['ctrl-c', 'ctrl-l', 'ctrl-z', 'ctrl-u', 'ctrl-w']);
});

test('characters are their own names, also beyond ASCII', async () => {
  assert.equal(await keysIn('qGé漢/<>?~'), [...'qGé漢/<>?~']);
});

test('an escape alone is a key, and a sequence in two parts is one key', async () => {
  assert.equal(await keysIn('\x1b'), ['escape']);
  assert.equal(await keysIn('\x1b', '[A'), ['up']);
});

test('keys without a name here are ignored', async () => {
  assert.equal((await keysIn('\x1b[15~\x1ba\x1b[200~\x1b[1;5P')).filter(Boolean), []);
});

test.run();
