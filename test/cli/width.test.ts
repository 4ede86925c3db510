/** The width of text on a terminal, as glibc's wcwidth(3) has it. */
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { columnsOf, fitting, padded } from '../../src/cli/width.ts';
import { suite } from '../harness.ts';

const test = suite('cli/width');

for (const [what, text, columns] of [
  ['nothing', '', 0],
  ['ASCII', 'wget -q', 7],
  ['Latin, Greek and Cyrillic letters', 'größeЖω', 7],
  ['Chinese characters', '漢字', 4],
  ['Japanese kana', 'ひカ', 4],
  ['half-width kana', '\uff76', 1],
  ['full-width letters', '\uff21\uff22', 4],
  ['Korean syllables', '한국', 4],
  ['a Korean syllable of conjoining letters', '\u1112\u1161\u11ab', 2],
  ['a combining accent', 'e\u0301', 1],
  ['an enclosing circle', 'a\u20dd', 1],
  ['a Hindi vowel sign', '\u0915\u0941', 1],
  ['emoji', '😀🦀', 4],
  ['an ellipsis', '…', 1],
  ['a replacement character', '\ufffd', 1],
] as const)
  test(`${what}: ${columns}`, () => {
    assert.is(columnsOf(text), columns);
    assert.is(padded(text, columns + 3), `${text}   `);
    assert.is(padded(text, columns - 1), text);
  });

test('a text is cut to columns between its parts; marks stay with their character', () => {
  assert.is(fitting('漢字漢字', 5), '漢字');
  assert.is(fitting('漢字漢字', 6), '漢字漢');
  assert.is(fitting('ae\u0301\u0302b', 2), 'ae\u0301\u0302');
  assert.is(fitting(['ab', 'cd'], 3), 'ab');
  assert.is(fitting('漢a', 1), '', 'nothing after the first part that does not fit');
});

test('any text is cut to at most as many columns', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.nat(20), (text, columns) => {
      const cut = fitting(text, columns);
      assert.ok(text.startsWith(cut));
      assert.ok(columnsOf(cut) <= columns);
      if (cut !== text) assert.ok(columnsOf(cut) >= columns - 1);
      assert.is(columnsOf(padded(cut, columns)), columns);
    }),
  );
});

test.run();
