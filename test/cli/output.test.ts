import * as assert from 'uvu/assert';
import { type LineOutput, lineOutput, OutputError } from '../../src/cli/output.ts';
import { suite } from '../harness.ts';

const test = suite('cli/output');

/** A reader that takes what it is told to. */
class Reader {
  /** All that was taken. */
  text = '';
  /** Bytes taken at a time. */
  atOnce = Number.POSITIVE_INFINITY;
  /** Bytes taken before the pipe is full. */
  room = Number.POSITIVE_INFINITY;
  /** What is thrown instead, when it is set. */
  error: string | undefined;
  writes = 0;
  /** How often it was said to have gone, and why. */
  readonly closed: (Error | undefined)[] = [];
  readonly output: LineOutput = lineOutput(
    (bytes) => this.#take(bytes),
    (error) => this.closed.push(error),
  );

  #take(bytes: Uint8Array): number {
    this.writes++;
    if (this.error) throw failure(this.error);
    const taken = Math.min(bytes.length, this.atOnce, this.room);
    if (taken === 0) throw failure('EAGAIN');
    this.room -= taken;
    this.text += Buffer.from(bytes.subarray(0, taken)).toString('latin1');
    return taken;
  }
}

function failure(code: string): Error {
  return Object.assign(new Error(`${code}: write`), { code });
}

const soon = () => new Promise<void>((resolve) => queueMicrotask(resolve));

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

test('lines are written before control goes back to the event loop, those of one turn together', async () => {
  const reader = new Reader();
  reader.output.write('one\n');
  reader.output.write('two\n');
  assert.is(reader.text, '');
  await soon();
  assert.is(reader.text, 'one\ntwo\n');
  assert.is(reader.writes, 1);
});

test('a write that takes part is gone on with', async () => {
  const reader = new Reader();
  reader.atOnce = 3;
  reader.output.write('several bytes\n');
  await soon();
  assert.is(reader.text, 'several bytes\n');
  assert.is(reader.writes, 5);
});

test('a full pipe is tried again until it takes more, and nothing is lost or out of order', async () => {
  const reader = new Reader();
  reader.room = 4;
  reader.output.write('one\ntwo\n');
  await soon();
  assert.is(reader.text, 'one\n');
  reader.output.write('three\n');
  await until(() => reader.writes >= 4);
  assert.is(reader.text, 'one\n', 'full still');
  reader.room = Number.POSITIVE_INFINITY;
  await until(() => reader.text.length > 4);
  assert.is(reader.text, 'one\ntwo\nthree\n');
  reader.output.write('four\n');
  await soon();
  assert.is(reader.text, 'one\ntwo\nthree\nfour\n', 'and at once again');
  assert.is(reader.output.dropped, 0);
  await reader.output.end();
});

test('while a pipe is full it is not tried at every line', async () => {
  const reader = new Reader();
  reader.room = 0;
  for (let i = 0; i < 100; i++) {
    reader.output.write('line\n');
    await soon();
  }
  assert.is(reader.writes, 1);
  reader.error = 'EPIPE';
  await until(() => reader.closed.length > 0);
});

test('what waits for a reader is bounded; lines beyond are dropped and counted', async () => {
  const reader = new Reader();
  reader.room = 0;
  const line = `${'x'.repeat(99)}\n`;
  const most = Math.floor((1 << 20) / line.length);
  for (let i = 0; i < most + 50; i++) reader.output.write(line);
  await soon();
  assert.is(reader.output.dropped, 50);
  reader.room = Number.POSITIVE_INFINITY;
  await until(() => reader.text.length > 0);
  assert.is(reader.text, line.repeat(most));
  reader.output.write('room again\n');
  await soon();
  assert.ok(reader.text.endsWith('room again\n'));
  assert.is(reader.output.dropped, 50);
});

test('a line is dropped as a whole: bytes count, not characters', async () => {
  const reader = new Reader();
  reader.room = 0;
  reader.output.write('\u20ac'.repeat(350_000));
  assert.is(reader.output.dropped, 1, '1,050,000 bytes');
  reader.output.write('\u20ac'.repeat(349_000));
  assert.is(reader.output.dropped, 1);
  await reader.output.end();
});

test('the end waits until all is written', async () => {
  const reader = new Reader();
  reader.room = 2;
  reader.output.write('one\ntwo\n');
  setTimeout(() => {
    reader.room = Number.POSITIVE_INFINITY;
  }, 60);
  await reader.output.end();
  assert.is(reader.text, 'one\ntwo\n');
  assert.is(reader.output.dropped, 0);
});

test('the end has no patience with a reader that stands still: lines not written, or only in part, count as dropped', async () => {
  const reader = new Reader();
  reader.room = 6;
  reader.output.write('one\ntwo\nthree\n');
  const start = performance.now();
  await reader.output.end();
  assert.ok(performance.now() - start >= 400);
  assert.is(reader.text, 'one\ntw');
  assert.is(reader.output.dropped, 2);
  const { writes } = reader;
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.is(reader.writes, writes, 'and nobody tries any more');
});

test('the end of an output without lines takes no time', async () => {
  const start = performance.now();
  await new Reader().output.end();
  assert.ok(performance.now() - start < 200);
});

test('a reader that has gone ends the output without an error, once, and nothing more is written', async () => {
  const reader = new Reader();
  reader.output.write('one\n');
  await soon();
  reader.error = 'EPIPE';
  reader.output.write('two\n');
  await soon();
  reader.output.write('three\n');
  await soon();
  assert.equal(reader.closed, [undefined]);
  assert.is(reader.writes, 2);
  await reader.output.end();
  assert.is(reader.text, 'one\n');
  assert.is(reader.output.dropped, 2, 'what was not written is counted');
});

test('whoever waits until all is written waits as long as it takes, and no longer', async () => {
  const reader = new Reader();
  const begin = performance.now();
  await reader.output.drained();
  reader.output.write('one\n');
  await reader.output.drained();
  assert.is(reader.text, 'one\n');
  assert.ok(performance.now() - begin < 15, 'not a round of trying again');
  reader.room = 0;
  reader.output.write('two\n');
  setTimeout(() => {
    reader.room = Number.POSITIVE_INFINITY;
  }, 700);
  await reader.output.drained();
  assert.is(reader.text, 'one\ntwo\n', 'after more time than the end has');
  reader.error = 'EPIPE';
  reader.output.write('three\n');
  await reader.output.drained();
  assert.equal(reader.closed, [undefined]);
});

test('any other error is told, as one of the output', async () => {
  const reader = new Reader();
  reader.error = 'ENOSPC';
  reader.output.write('one\n');
  await soon();
  assert.instance(reader.closed[0], OutputError);
  assert.is(reader.closed[0]?.message, 'cannot write the output: ENOSPC: write');
  assert.is(reader.closed.length, 1);
  await reader.output.end();
});

test('an error that comes while a full pipe is tried again is told too', async () => {
  const reader = new Reader();
  reader.room = 0;
  reader.output.write('one\n');
  await soon();
  reader.error = 'EIO';
  await until(() => reader.closed.length > 0);
  assert.match(String(reader.closed[0]), /EIO/);
});

test('lines of connects count as shown when all of them has been written, and other texts never do', async () => {
  const reader = new Reader();
  const { output } = reader;
  output.write('title\n');
  output.show('first\n');
  output.show('second\n');
  assert.is(output.shown, 0);
  reader.room = 'title\nfirst\nsec'.length;
  await soon();
  assert.is(output.shown, 1);
  output.write('title\n');
  output.show('third\n');
  reader.room = 'ond\ntitle\nthird'.length;
  await until(() => reader.text.endsWith('third'));
  assert.is(output.shown, 2);
  reader.room = Number.POSITIVE_INFINITY;
  await output.drained();
  output.show('fourth\n');
  reader.error = 'EPIPE';
  output.show('fifth\n');
  await soon();
  output.show('sixth\n');
  await output.end();
  assert.is(output.shown, 3, 'not what its reader never got');
  assert.is(output.dropped, 3);
});

test.run();
