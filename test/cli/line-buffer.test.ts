import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { encodedTexts, encodeText, LineBuffer } from '../../src/cli/line-buffer.ts';
import { columnsOf } from '../../src/cli/width.ts';
import { suite } from '../harness.ts';

const test = suite('cli/line-buffer');

/** The text that `append` adds to a buffer of its own. */
function appended(append: (line: LineBuffer) => number): string {
  const line = new LineBuffer();
  line.ascii('before');
  line.start = line.end;
  const columns = append(line);
  const text = line.bytes.toString('utf8', line.start, line.end);
  assert.is(columns, columnsOf(text));
  return text;
}

/** Integers of every magnitude, and those near the rounding of 2 or 3 decimal places. */
const count = fc.oneof(
  fc.nat(100_000),
  fc.bigInt(0n, 2n ** 53n - 1n).map(Number),
  fc
    .tuple(fc.integer({ min: 0, max: 53 }), fc.double({ min: 0, max: 1, noNaN: true }))
    .map(([bits, part]) => Math.floor(2 ** bits * part)),
  fc
    .tuple(fc.nat(10_000_000), fc.constantFrom(10_000, 1_000_000), fc.integer({ min: -1, max: 1 }))
    .map(([steps, step, more]) => Math.max(0, steps * step + step / 2 + more)),
  fc.tuple(fc.nat(100_000), fc.nat(12)).map(([digits, zeros]) => digits * 10 ** zeros),
);

test('decimal() appends any integer like String', () => {
  const limits = [0, 9, 10, 99, 100, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, Number.MAX_SAFE_INTEGER, -1];
  for (const value of limits)
    assert.is(
      appended((line) => line.decimal(value)),
      String(value),
    );
  fc.assert(
    fc.property(count, (value) =>
      assert.is(
        appended((line) => line.decimal(value)),
        String(value),
      ),
    ),
  );
});

test('fixed() appends seconds and milliseconds like toFixed', () => {
  const check = (ns: number) => {
    assert.is(
      appended((line) => line.fixed(ns, 1e9, 3)),
      (ns / 1e9).toFixed(3),
      `${ns} ns`,
    );
    assert.is(
      appended((line) => line.fixed(ns, 1e6, 2)),
      (ns / 1e6).toFixed(2),
      `${ns} ns`,
    );
  };
  // A tie goes up or down, as the nearest double is above or below.
  assert.equal(
    [500_000, 1_500_000, 4_500_000].map((ns) => appended((line) => line.fixed(ns, 1e9, 3))),
    ['0.001', '0.002', '0.004'],
  );
  for (const ns of [0, 1, 499_999, 999_500_000, 999_499_999, 2 ** 53 - 1, -1, -1e9, -500_000]) check(ns);
  fc.assert(fc.property(count, check));
});

test('quotient() appends seconds and milliseconds like String', () => {
  const check = (ns: number) => {
    assert.is(
      appended((line) => line.quotient(ns, 9)),
      String(ns / 1e9),
      `${ns} ns`,
    );
    assert.is(
      appended((line) => line.quotient(ns, 6)),
      String(ns / 1e6),
      `${ns} ns`,
    );
  };
  for (const ns of [0, 1, 999, 1000, 1e9, 1e15 - 1, 1e15, 1e15 + 1, 2 ** 53 - 1, -1, -5e8]) check(ns);
  fc.assert(fc.property(count, check));
});

test('texts are appended as UTF-8, with their width in columns', () => {
  for (const text of ['', 'wget', '\u00fc\u20ac\u{1f980}', '\u65e5e\u0301', '\ufffd'.repeat(16)]) {
    const line = new LineBuffer();
    line.text(text);
    assert.is(line.bytes.toString('utf8', 0, line.end), text);
    assert.is(
      appended((line) => line.encoded(encodeText(text))),
      text,
    );
  }
  assert.is(
    appended((line) => line.ascii('errno 4095') + line.byte(0x2d) + line.spaces(3)),
    'errno 4095-   ',
  );
  assert.is(
    appended((line) => line.spaces(0) + line.spaces(-1)),
    '',
  );
});

test('the buffer grows, and keeps the bytes from its start on', () => {
  const line = new LineBuffer();
  let text = '';
  for (let i = 0; i < 20_000; i++) {
    const word = `word ${i} `;
    text += word;
    if (i % 3 === 0) line.ascii(word);
    else if (i % 3 === 1) line.text(word);
    else line.encoded(encodeText(word));
    if (i % 1000 === 999) {
      line.start += 500;
      text = text.slice(500);
    }
  }
  assert.is(line.bytes.toString('latin1', line.start, line.end), text);
  assert.ok(line.bytes.length < 4 * text.length);
});

test('encoded texts are kept, up to a limit', () => {
  const seen: string[] = [];
  const encoded = encodedTexts((text) => {
    seen.push(text);
    return `<${text}>`;
  });
  assert.is(Buffer.from(encoded('a').bytes).toString(), '<a>');
  assert.is(encoded('a'), encoded('a'));
  assert.equal(seen, ['a']);
  for (let i = 0; i < 5000; i++) assert.is(encoded(`${i}`).columns, `${i}`.length + 2);
  assert.is(seen.length, 5001);
});

test.run();
