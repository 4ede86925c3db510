import * as assert from 'uvu/assert';
import { splitLines } from '../../../src/cli/replay/reader.ts';
import { suite } from '../../harness.ts';

const test = suite('cli/replay/split-lines', { seconds: 60 });

/** The lines of each chunk; `|` marks lines without a newline. */
async function lines(most: number, ...chunks: string[]): Promise<string[][]> {
  const stream = (async function* () {
    for (const chunk of chunks) yield Buffer.from(chunk);
  })();
  const all: string[][] = [];
  for await (const some of splitLines(stream, most))
    all.push(some.map(({ bytes, whole }) => `${Buffer.from(bytes)}${whole ? '' : '|'}`));
  return all;
}

for (const [what, chunks, expected] of [
  ['nothing', [], []],
  ['a line', ['one\n'], [['one']]],
  ['lines of one chunk, together', ['one\n\ntwo\n'], [['one', '', 'two']]],
  ['a line in pieces', ['o', 'n', 'e\ntw', 'o\n'], [[], [], ['one'], ['two']]],
  ['a last line without a newline', ['one\ntwo'], [['one'], ['two|']]],
  ['a character in pieces', ['\u20ac\n'], [['\u20ac']]],
] as const)
  test(what, async () => {
    assert.equal(await lines(100, ...chunks), expected);
  });

test('reading stops at a line that is too long', async () => {
  assert.equal(await lines(5, 'one\n123', '456', '789\n', 'two\n'), [['one'], [], ['123456|']]);
});

test('a line that arrives byte by byte takes linear time', async () => {
  const seconds = async (bytes: number) => {
    const byte = Buffer.from('x');
    const start = performance.now();
    for await (const _ of splitLines(
      (async function* () {
        for (let i = 0; i < bytes; i++) yield byte;
      })(),
      bytes,
    ));
    return performance.now() - start;
  };
  const fastest = async (bytes: number) =>
    Math.min(await seconds(bytes), await seconds(bytes), await seconds(bytes));
  const few = await fastest(50_000);
  const many = await fastest(400_000);
  assert.ok(many < 24 * few, `8 times as many bytes: ${many} ms, not ${few} ms`);
});

test.run();
