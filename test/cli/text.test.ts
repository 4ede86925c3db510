/** Foreign text in cells, JSON lines and error messages. */
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { argumentError, cell, errorLine, jsonText, unexpectedErrorLines } from '../../src/cli/text.ts';
import { suite } from '../harness.ts';
import { assertSafe, ESCAPED, HOSTILE } from '../hostile.ts';

const test = suite('cli/text');

test('a cell has a question mark for each unprintable character', () => {
  assert.is(cell('a\x1b[2J\nb\u{e0041}'), 'a?[2J?b?');
  assert.is(cell('x'.repeat(100_000)).length, 512);
});

test('a JSON line escapes terminal control characters and keeps its value', () => {
  assert.is(
    jsonText({ comm: '\x7f\x9b\u202e\u2028\u{e0041}' }),
    '{"comm":"\\u007f\\u009b\\u202e\\u2028\\udb40\\udc41"}',
  );
  assert.is(jsonText({ a: 1, b: 2 }, ['b']), '{"b":2}');
  const text = jsonText({ [HOSTILE]: [HOSTILE] });
  assertSafe(text, 'JSON');
  assert.equal(JSON.parse(text), { [HOSTILE]: [HOSTILE] });
});

test('any value becomes one safe line of JSON with the same value', () => {
  const unit = fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code));
  fc.assert(
    fc.property(fc.array(fc.string({ unit })), (value) => {
      const text = jsonText(value);
      assertSafe(text, 'JSON');
      assert.not.match(text, /\n/);
      assert.equal(JSON.parse(text), value);
    }),
    { numRuns: 1000 },
  );
});

test('an error message is one line', () => {
  assert.is(errorLine(`no file ${HOSTILE}`), `no file ${ESCAPED}`);
  assert.is(errorLine('x'.repeat(1_000_000)).length, 8192);
});

test('the stack of an error that should not occur has its message in one line', () => {
  const [head, ...frames] = unexpectedErrorLines(new TypeError(HOSTILE));
  assert.is(head, `this should not happen: TypeError: ${ESCAPED}`);
  assert.ok(frames.length > 0);
  for (const frame of frames) assert.match(frame, /^ {4}at /);
  assert.equal(unexpectedErrorLines(HOSTILE), [`this should not happen: ${ESCAPED}`]);
});

test('an error of commander keeps its suggestion on a separate line, but no newline of the argument', () => {
  assert.is(
    argumentError('tsbpf', `error: unknown option '--${HOSTILE}'\n(Did you mean --help?)\n`),
    `tsbpf: error: unknown option '--${ESCAPED}'\n(Did you mean --help?)\n`,
  );
  assert.is(
    argumentError('tsbpf', "error: unknown command 'a\nb'\n"),
    "tsbpf: error: unknown command 'a\\nb'\n",
  );
});

test.run();
