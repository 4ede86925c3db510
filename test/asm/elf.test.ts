import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { callSubprogram, exit, lddw, mov } from '../../src/asm/constructors.ts';
import { DecodeError } from '../../src/asm/decode.ts';
import { ElfError, isElf, programSections } from '../../src/asm/elf.ts';
import { encodeAll } from '../../src/asm/encode.ts';
import { r0, r1 } from '../../src/asm/registers.ts';
import { suite } from '../harness.ts';
import { HOSTILE } from '../hostile.ts';
import { assertLinear } from '../linear.ts';
import { OBJECT } from './fixtures/object.ts';
import { objectFile } from './fixtures/object-file.ts';

const test = suite('asm/elf', { seconds: 30 });

test('programs, functions and relocations are read from their sections', () => {
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
  [() => Buffer.from('no object file'), /not an ELF file/],
  [(file) => file.subarray(0, 40), /not an ELF file/],
  [(file) => file.fill(1, 4, 5), /only 64-bit little-endian/],
  [(file) => file.fill(62, 18, 19), /this object file is for machine 62, not for BPF/],
  [(file) => file.subarray(0, 1000), /section headers .* are outside the file/],
];

for (const [change, message] of REFUSED)
  test(`refused: ${message.source}`, () => {
    assert.throws(
      () => programSections(change(Buffer.from(OBJECT))),
      (error: unknown) => error instanceof ElfError && message.test(error.message),
    );
  });

test('damaged files only cause errors', () => {
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

const EXIT = encodeAll([exit()]);

test('names may have any bytes; invalid UTF-8 becomes replacement characters', () => {
  const [section] = programSections(
    objectFile({
      code: [{ name: HOSTILE, bytes: encodeAll([lddw(r1, 0), exit()]) }],
      symbols: [
        { name: `f${HOSTILE}`, section: 0 },
        { name: Buffer.from([0xff, 0x9b]), section: 0, kind: 'object' },
      ],
      relocations: [{ section: 0, slot: 0, symbol: 1 }],
    }),
  );
  assert.is(section?.name, HOSTILE);
  assert.equal(
    section?.instructions.map(({ functions, symbol }) => [functions, symbol]),
    [
      [[`f${HOSTILE}`], '\ufffd\ufffd'],
      [[], undefined],
    ],
  );
});

test("a name is cut at the kernel's limit, even without an end in the file", () => {
  const name = 'n'.repeat(100_000);
  const file = objectFile({ code: [{ name, bytes: EXIT }], symbols: [{ name, section: 0 }] });
  const [section] = programSections(file);
  assert.is(section?.name, `${'n'.repeat(511)}…`);
  assert.equal(section?.instructions[0]?.functions, [`${'n'.repeat(511)}…`]);
});

test('several functions may begin at one instruction, in symbol order', () => {
  const [section] = programSections(
    objectFile({
      code: [{ name: 'xdp', bytes: encodeAll([mov(r0, 0), exit()]) }],
      symbols: ['b', 'a', 'c'].map((name) => ({ name, section: 0, value: name === 'c' ? 8 : 0 })),
    }),
  );
  assert.equal(
    section?.instructions.map(({ functions }) => functions),
    [['b', 'a'], ['c']],
  );
});

test('overlapping sections are refused: together they may exceed memory', () => {
  const code = Array.from({ length: 3 }, (_, index) => ({
    name: 'xdp',
    bytes: encodeAll(Array.from({ length: 1000 }, () => exit())),
    overlaps: index > 0,
  }));
  assert.throws(
    () => programSections(objectFile({ code })),
    (error: unknown) =>
      error instanceof ElfError && /^its sections overlap: they total \d+ bytes/.test(error.message),
  );
});

test('parsing sections, symbols and relocations takes linear time', () => {
  const file = (count: number): Uint8Array =>
    objectFile({
      code: Array.from({ length: count }, (_, index) => ({
        name: `s${index}`,
        bytes: encodeAll([callSubprogram(-1), exit()]),
      })),
      symbols: Array.from({ length: count }, (_, section) => ({ name: `f${section}`, section })),
      relocations: Array.from({ length: count }, (_, section) => ({ section, slot: 0, symbol: section })),
    });
  const [small, large] = [file(2000), file(16_000)];
  assertLinear(
    () => programSections(small),
    () => programSections(large),
  );
});

test('an empty code section is no program', () => {
  const code = [
    { name: 'empty', bytes: new Uint8Array() },
    { name: 'xdp', bytes: EXIT },
  ];
  assert.equal(
    programSections(objectFile({ code })).map(({ name }) => name),
    ['xdp'],
  );
});

test('an ELF file is detected by its first bytes', () => {
  assert.is(isElf(OBJECT), true);
  assert.is(isElf(new Uint8Array()), false);
});

test.run();
