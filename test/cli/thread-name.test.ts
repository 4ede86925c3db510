/** Names of threads as text: any bytes, back and forth. */
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { chars, valueDecoder } from '../../src/asm/layout.ts';
import { recordSchema } from '../../src/cli/json.ts';
import { violation } from '../../src/cli/replay/validate.ts';
import { threadName, threadNameBytes, threadNameCell, threadNameText } from '../../src/cli/thread-name.ts';
import { columnsOf } from '../../src/cli/width.ts';
import { suite } from '../harness.ts';
import { assertSafe } from '../hostile.ts';

const test = suite('cli/thread-name');

const decode = valueDecoder(chars(16));
/** The name of a thread with this `comm`, as an event has it. */
function nameOf(comm: Uint8Array): string {
  const field = new Uint8Array(16);
  field.set(comm);
  return decode(new DataView(field.buffer), 0);
}

for (const [what, comm, text, shown] of [
  ['a plain name', 'curl', 'curl', 'curl'],
  ['a long name', 'systemd-timesyn', 'systemd-timesyn', 'systemd-time'],
  [
    'a character that was cut',
    Buffer.from('a日本語日本').subarray(0, 15),
    'a日本語日\\xe6\\x9c',
    'a日本語日',
  ],
  ['a character that was cut early', [0x61, 0xe6, 0x9c], 'a\\xe6\\x9c', 'a\\xe6\\x9c'],
  ['Latin-1', Buffer.from('größe', 'latin1'), 'gr\\xf6\\xdfe', 'gr\\xf6\\xdfe'],
  [
    'a cell that ends inside an escape',
    [...Buffer.from('ten chars '), 0xff],
    'ten chars \\xff',
    'ten chars ',
  ],
  ['U+FFFD', '\ufffd', '\ufffd', '\ufffd'],
  ['a backslash', 'C:\\x', 'C:\\x', 'C:\\x'],
  ['what looks like an escape', '\\xff\\xFF', '\\x5cxff\\x5cxFF', '\\x5cxff\\x5cx'],
  ['a backslash before a byte', [0x5c, 0xff], '\\\\xff', '\\\\xff'],
  ['no character', '', '', "''"],
  ['spaces', '  ', '  ', "'  '"],
  ['two quotes', "''", "\\x27'", "\\x27'"],
  ['quotes around a name', "'a'", "'a'", "'a'"],
  ['a control character', 'a\nb', 'a\nb', 'a?b'],
] as const)
  test(what, () => {
    const name = nameOf(Buffer.from(comm as string));
    assert.is(threadNameText(name), text);
    assert.is(threadNameCell(text, 12), shown);
    assert.is(threadName(text), name);
    if (columnsOf(threadNameCell(text, 99)) <= 12 && !shown.includes('?')) assert.is(threadName(shown), name);
  });

const octet = fc.oneof(
  fc.integer({ min: 1, max: 255 }),
  fc.constantFrom(...Buffer.from("\\xff27' 日\u0301")),
);
const anyComm = fc.array(octet, { maxLength: 15 }).map((octets) => Buffer.from(octets));

test('every name has a text of its own, which is valid in JSON and an argument of --comm', () => {
  fc.assert(
    fc.property(anyComm, (comm) => {
      const text = threadNameText(nameOf(comm));
      assert.equal(Buffer.from(threadNameBytes(text)), comm);
      assert.is(threadName(text), nameOf(comm));
      assert.not(/\p{Surrogate}/u.test(text), 'every JSON parser accepts it');
      assert.is(violation(recordSchema().properties.comm, text), undefined);
    }),
    { numRuns: 2000 },
  );
});

test('a cell is visible, safe, and at most as wide as its column', () => {
  fc.assert(
    fc.property(anyComm, (comm) => {
      const shown = threadNameCell(threadNameText(nameOf(comm)), 12);
      assertSafe(shown, 'cell');
      assert.ok(columnsOf(shown) <= 12, shown);
      assert.not.equal(shown.trim(), '');
    }),
    { numRuns: 2000 },
  );
});

test('a whole cell without question marks is an argument of --comm', () => {
  fc.assert(
    fc.property(anyComm, (comm) => {
      const shown = threadNameCell(threadNameText(nameOf(comm)), 99);
      if (!shown.includes('?')) assert.is(threadName(shown), nameOf(comm));
    }),
  );
});

test.run();
