import * as assert from 'uvu/assert';
import { type LineOutput, lineOutput, OutputError } from '../../src/cli/output.ts';
import { suite } from '../harness.ts';

const test = suite('cli/output');

/** A scripted reader. */
class Reader {
  /** Everything read so far. */
  text = '';
  /** Bytes per read. */
  atOnce = Number.POSITIVE_INFINITY;
  /** Bytes until the pipe is full. */
  room = Number.POSITIVE_INFINITY;
  /** If set, writes throw it. */
  error: string | undefined;
  writes = 0;
  /** The calls of onClosed, with their errors. */
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

test('lines are written before the event loop continues, in one write per iteration', async () => {
  const reader = new Reader();
  reader.output.write('one\n');
  reader.output.write('two\n');
  assert.is(reader.text, '');
  await soon();
  assert.is(reader.text, 'one\ntwo\n');
  assert.is(reader.writes, 1);
});

test('a line that is appended to the buffer is written like a text, between others', async () => {
  const reader = new Reader();
  reader.output.write('one\n');
  reader.output.newLine().ascii('two ');
  reader.output.newLine().ascii('three\n');
  reader.output.showLine();
  reader.output.show('four\n');
  await soon();
  assert.is(reader.text, 'one\nthree\nfour\n', 'a new line replaces one that was not added');
  assert.is(reader.writes, 1);
  assert.is(reader.output.shown, 2);
});

test('many lines are written a pipe full at a time, before the event loop continues', () => {
  const reader = new Reader();
  const line = `${'x'.repeat(1023)}\n`;
  for (let i = 0; i < 200; i++) reader.output.show(line);
  assert.is(reader.writes, 3);
  assert.is(reader.text, line.repeat(192));
  assert.is(reader.output.shown, 192);
});

test('a full pipe is tried again after as many bytes as it holds', async () => {
  const reader = new Reader();
  const line = `${'x'.repeat(1023)}\n`;
  reader.room = 0;
  for (let i = 0; i < 100; i++) reader.output.show(line);
  assert.is(reader.writes, 1);
  reader.room = 1 << 20;
  for (let i = 0; i < 28; i++) reader.output.show(line);
  assert.is(reader.writes, 2);
  assert.is(reader.text, line.repeat(128));
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.is(reader.writes, 2, 'the earlier attempt is cancelled');
});

test('a partial write is continued', async () => {
  const reader = new Reader();
  reader.atOnce = 3;
  reader.output.write('several bytes\n');
  await soon();
  assert.is(reader.text, 'several bytes\n');
  assert.is(reader.writes, 5);
});

test('a full pipe is retried, and lines are complete and in order', async () => {
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

test('a full pipe is not retried for every line', async () => {
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

test('the buffer is bounded; lines that do not fit are dropped and counted', async () => {
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

test('a line is dropped completely, by its size in bytes', async () => {
  const reader = new Reader();
  reader.room = 0;
  reader.output.write('\u20ac'.repeat(350_000));
  assert.is(reader.output.dropped, 1, '1,050,000 bytes');
  reader.output.write('\u20ac'.repeat(349_000));
  assert.is(reader.output.dropped, 1);
  await reader.output.end();
});

test('the end waits until everything is written', async () => {
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

test('the end does not wait for a stopped reader: unwritten and partially written lines count as dropped', async () => {
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

test('the end of an empty output does not wait', async () => {
  const start = performance.now();
  await new Reader().output.end();
  assert.ok(performance.now() - start < 200);
});

test('when the reader exits, the output closes once without an error, and nothing more is written', async () => {
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

test('drained() waits until everything is written, without a time limit', async () => {
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

test('any other error is reported as an OutputError', async () => {
  const reader = new Reader();
  reader.error = 'ENOSPC';
  reader.output.write('one\n');
  await soon();
  assert.instance(reader.closed[0], OutputError);
  assert.is(reader.closed[0]?.message, 'cannot write the output: ENOSPC: write');
  assert.is(reader.closed.length, 1);
  await reader.output.end();
});

test('an error during a retry is reported too', async () => {
  const reader = new Reader();
  reader.room = 0;
  reader.output.write('one\n');
  await soon();
  reader.error = 'EIO';
  await until(() => reader.closed.length > 0);
  assert.match(String(reader.closed[0]), /EIO/);
});

test('a connect counts as shown when its whole line is written; other texts do not count', async () => {
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
