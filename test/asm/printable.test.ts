/** Untrusted text printed to a terminal. */
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { brief, printable, quoted, truncate } from '../../src/asm/printable.ts';
import { suite } from '../harness.ts';
import { assertSafe, ESCAPED, HOSTILE } from '../hostile.ts';

const test = suite('asm/printable');

test('characters that a terminal interprets are escaped', () => {
  assert.is(printable(HOSTILE), ESCAPED);
});

for (const [what, text, shown] of [
  ['newlines, tabs and carriage returns as in C', 'a\nb\tc\rd', 'a\\nb\\tc\\rd'],
  ['C1 controls, which are two bytes of UTF-8', '\x9b2J', '\\x9b2J'],
  ['halves of surrogate pairs', 'a\ud800b\udc00', 'a\\ud800b\\udc00'],
  ['invisible tags', 'a\u{e0061}', 'a\\u{e0061}'],
  ['invisible characters other than controls', 'a\u034f\u3164\ufe0f', 'a\\u034f\\u3164\\ufe0f'],
  ['characters for private use and noncharacters', '\ue000\uffff', '\\ue000\\uffff'],
] as const)
  test(`escaped: ${what}`, () => {
    assert.is(printable(text), shown);
  });

for (const text of ['', 'tcp_v4_connect', 'größe', '漢字', 'e\u0301', '😀', '\ufffd', 'C:\\x1b'])
  test(`not escaped: ${JSON.stringify(text)}`, () => {
    assert.is(printable(text), text);
  });

test('only the kept characters stay', () => {
  assert.is(printable('a\tb\nc', '\t'), 'a\tb\\nc');
});

test('any text becomes safe, and escaping twice changes nothing', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)) }),
      (text) => {
        const shown = printable(text);
        assertSafe(shown, 'printable');
        assert.not.match(shown, /[\n\t]/);
        assert.is(printable(shown), shown);
      },
    ),
    { numRuns: 2000 },
  );
});

test('a long text ends with an ellipsis between characters', () => {
  assert.is(truncate('abcdef', 6), 'abcdef');
  assert.is(truncate('abcdefg', 6), 'abcde…');
  assert.is(truncate('abcd😀fg', 6), 'abcd…');
  assert.is(truncate('abc😀efg', 6), 'abc😀…');
});

test('a word in a message has at most 64 characters', () => {
  assert.is(quoted('exti'), "'exti'");
  assert.is(quoted('x'.repeat(64)), `'${'x'.repeat(64)}'`);
  assert.is(brief('x'.repeat(10_000_000)), `${'x'.repeat(63)}…`);
  assert.is(quoted('\x1b'), "'\\x1b'");
});

test.run();
