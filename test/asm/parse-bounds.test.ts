/** Texts of any size and content: linear time, limits, and bounded messages. */
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { nearest } from '../../src/asm/nearest.ts';
import { parseProgram, TextError } from '../../src/asm/text/parse.ts';
import { suite } from '../harness.ts';
import { assertSafe, HOSTILE } from '../hostile.ts';
import { assertLinear } from '../linear.ts';
import { thrown } from '../thrown.ts';

const test = suite('asm/parse-bounds', { seconds: 240 });

/** Assembles a text and returns the error message, if any. */
function errorOf(text: string): string | undefined {
  try {
    assemble(parseProgram(text, '/p.bpf').items);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Texts by size, with their errors. */
const TEXTS: readonly (readonly [
  what: string,
  size: number,
  text: (size: number) => string,
  errorOf?: RegExp,
])[] = [
  ['instructions', 4000, (size) => `${'r0 = 0\n'.repeat(size)}exit\n`],
  ['labels at one instruction', 5000, (size) => `${lines(size, (i) => `l${i}:`)}exit\n`],
  [
    'labels, and a jump to an undefined one',
    5000,
    (size) => `goto m\n${lines(size, (i) => `l${i}:`)}exit\n`,
    /undefined label/,
  ],
  ['calls of one subprogram', 5000, (size) => `${'call f\n'.repeat(size)}exit\nf:\nr0 = 0\nexit\n`],
  ['blanks between words', 20_000, (size) => `r0${' '.repeat(size)}x\n`, /expected/],
  [
    'spaces before an extra word',
    20_000,
    (size) => `exit${' '.repeat(size)}x\n`,
    /expected the end of the line/,
  ],
  ['spaces before a note', 20_000, (size) => `exit${' '.repeat(size)}< ${' '.repeat(size)}x\n`, /expected/],
  [
    'spaces in a map line',
    20_000,
    (size) => `map m${' '.repeat(size)}: hash,${' '.repeat(size)}x\n`,
    /expected 'map/,
  ],
  ['semicolons', 20_000, (size) => `exit${' ;'.repeat(size)}\n`],
  ['slashes', 20_000, (size) => `exit${' /'.repeat(size)}\n`, /expected the end of the line/],
  ['brackets', 20_000, (size) => `exit ${'<'.repeat(size)}>\n`, /expected/],
  ['parentheses', 20_000, (size) => `x${') '.repeat(size)}\n`, /expected/],
  ['digits', 20_000, (size) => `r0 = ${'9'.repeat(size)}\n`, /does not fit/],
  ['hexadecimal digits', 20_000, (size) => `r0 = 0x${'f'.repeat(size)}\n`, /does not fit/],
  ['a word', 20_000, (size) => `${'x'.repeat(size)}\n`, /expected an instruction, found/],
  ['a helper', 20_000, (size) => `call bpf_${'x'.repeat(size)}\n`, /unknown helper/],
  ['an undefined label', 20_000, (size) => `goto ${'x'.repeat(size)}\nexit\n`, /undefined label/],
  [
    'a label that is too long',
    20_000,
    (size) => `${'x'.repeat(size)}:\nexit\n`,
    /has more than 512 characters/,
  ],
  ['an undeclared map', 20_000, (size) => `r1 = map[${'x'.repeat(size)}]\n`, /unknown map/],
  [
    'the kind of a map',
    20_000,
    (size) => `map m: ${'x'.repeat(size)}, key 4 bytes, value 4 bytes, 1 entry\n`,
    /unknown map type/,
  ],
  [
    'a jump table that many instructions load',
    600,
    (size) => `${table(size)}${'r1 = map[t][0]+0\n'.repeat(size)}gotox r1\nx:\nr0 = 0\nexit\n`,
  ],
];

function lines(count: number, line: (index: number) => string): string {
  return Array.from({ length: count }, (_, index) => `${line(index)}\n`).join('');
}

function table(entries: number): string {
  return `map t: instructionArray, key 4 bytes, value 16 bytes, ${entries} entries, labels ${Array(entries).fill('x').join(', ')}\n`;
}

for (const [what, size, text, wrong] of TEXTS)
  test(`${what}: time is linear, and the message is bounded`, () => {
    const [small, large] = [text(size), text(8 * size)];
    assertLinear(
      () => errorOf(small),
      () => errorOf(large),
    );
    const message = errorOf(large);
    if (wrong === undefined) assert.is(message, undefined);
    else assert.match(message as string, wrong);
    assert.ok((message?.length ?? 0) < 400, message?.slice(0, 1000));
  });

const LIMITS: readonly (readonly [what: string, text: string, message: RegExp])[] = [
  [
    'more slots than the kernel takes',
    `${'r0 = 0\n'.repeat(1_000_000)}  exit\n`,
    /^\/p\.bpf:1000001:3: the program has more than 1000000 slots; the kernel accepts no more$/,
  ],
  [
    'the second slot of an lddw past the last',
    `${'r0 = 0\n'.repeat(999_999)}r0 = 0x1\nexit\n`,
    /^\/p\.bpf:1000000:1: the program has more than/,
  ],
  [
    'too many maps',
    lines(1025, (i) => `map m${i}: hash, key 4 bytes, value 4 bytes, 1 entry`),
    /^\/p\.bpf:1025:5: a text has at most 1024 maps$/,
  ],
  [
    'a jump table that is too large',
    `${table(3).replace('3 entries', '65537 entries')}exit\n`,
    /^\/p\.bpf:1:55: 65537 entries exceed the maximum of 65536 for a jump table$/,
  ],
];

for (const [what, text, message] of LIMITS)
  test(`refused at its line: ${what}`, () => {
    const error = thrown(() => parseProgram(text, '/p.bpf'));
    assert.instance(error, TextError);
    assert.match(error.message, message);
  });

/** Positions in a text that error messages quote. */
const QUOTING = [
  (word: string) => `exit ${word}`,
  (word: string) => word,
  (word: string) => `r0 = ${word}`,
  (word: string) => `goto ${word}`,
  (word: string) => `call ${word}`,
  (word: string) => `r0 = *(u64 *)(${word} +0)`,
  (word: string) => `map ${word}: hash, key 4 bytes, value 4 bytes, 1 entry`,
  (word: string) => `map m: ${word}, key 4 bytes, value 4 bytes, 1 entry`,
  (word: string) => `map m: instructionArray, key 4 bytes, value 16 bytes, 1 entry, labels ${word}`,
  (word: string) => `map m: hash, key 4 bytes, value 4 bytes, 1 entry, ${word}`,
  (word: string) => `r1 = map[${word}]`,
  (word: string) => `${word}:`,
];

test('messages escape characters that a terminal interprets', () => {
  for (const quoting of QUOTING)
    for (const character of HOSTILE.replaceAll('\n', '')) {
      const message = errorOf(`${quoting(`x${character}y`)}\n${quoting(character)}\nexit\n`);
      if (message !== undefined) assertSafe(message, 'message');
    }
});

test('a character of two UTF-16 units is quoted completely', () => {
  assert.match(errorOf('😀\n') ?? '', /found '😀'$/);
  assert.match(errorOf('\u{e0041}\n') ?? '', /found '\\u\{e0041\}'$/);
});

test('a comment may contain any character', () => {
  assert.is(errorOf(`exit ; ${HOSTILE.replaceAll('\n', '')}\n# \u2028\n`), undefined);
});

test('names similar to a long word are not searched, and long names are compared quickly', () => {
  assert.equal(nearest('x'.repeat(65), ['x'.repeat(65)]), []);
  assert.equal(nearest('x'.repeat(64), [`${'x'.repeat(63)}y`]), [`${'x'.repeat(63)}y`]);
  assert.equal(nearest('exiz', ['x'.repeat(10_000_000), 'exit']), ['exit']);
});

test.run();
