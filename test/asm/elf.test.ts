import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { DecodeError } from '../../src/asm/decode.ts';
import { ElfError, isElf, programSections } from '../../src/asm/elf.ts';
import { suite } from '../harness.ts';
import { OBJECT } from './fixtures/object.ts';

const test = suite('asm/elf', { seconds: 30 });

test('the sections with programs, their functions, and what is to be filled in', () => {
  const sections = programSections(OBJECT);
  assert.equal(
    sections.map(({ name, instructions }) => [name, instructions.flatMap(({ functions }) => functions)]),
    [
      ['.text', ['twice']],
      ['xdp', ['count']],
      ['socket', ['two']],
    ],
  );
  const named = sections.flatMap(({ instructions }) =>
    instructions.flatMap(({ slot, symbol }) => (symbol === undefined ? [] : [[slot, symbol]])),
  );
  assert.equal(named, [
    [1, 'total'],
    [4, 'counts'],
    [10, 'twice'],
  ]);
});

const REFUSED: readonly [change: (file: Buffer) => Uint8Array, message: RegExp][] = [
  [() => Buffer.from('no object file'), /this is no ELF file/],
  [(file) => file.subarray(0, 40), /this is no ELF file/],
  [(file) => file.fill(1, 4, 5), /only 64-bit little-endian/],
  [(file) => file.fill(62, 18, 19), /this object file is for machine 62, not for BPF/],
  [(file) => file.subarray(0, 1000), /section headers .* are not in the file/],
];

for (const [change, message] of REFUSED)
  test(`refused: ${message.source}`, () => {
    assert.throws(
      () => programSections(change(Buffer.from(OBJECT))),
      (error: unknown) => error instanceof ElfError && message.test(error.message),
    );
  });

test('no damage to a file does worse than an error', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(OBJECT.length - 1), fc.nat(255)), { maxLength: 20 }), (changes) => {
      const file = Buffer.from(OBJECT);
      for (const [at, byte] of changes) file[at] = byte;
      try {
        programSections(file);
      } catch (error) {
        assert.ok(error instanceof ElfError || error instanceof DecodeError, String(error));
      }
    }),
    { numRuns: 3000 },
  );
});

test('an ELF file is told by its first bytes', () => {
  assert.is(isElf(OBJECT), true);
  assert.is(isElf(new Uint8Array()), false);
});

test.run();
