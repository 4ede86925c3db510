import * as assert from 'uvu/assert';
import { AssembleError, assemble, destinationOf } from '../../src/asm/assemble.ts';
import { ReachError } from '../../src/asm/assemble-error.ts';
import {
  add,
  atomic,
  call,
  callSubprogram,
  exit,
  gotol,
  gotox,
  ja,
  jeq,
  jne,
  label,
  lddw,
  ldx,
  loadFunction,
  loadMap,
  loadMapValue,
  mayGoto,
  mov,
  stx,
} from '../../src/asm/constructors.ts';
import { disassemble } from '../../src/asm/disassemble.ts';
import { messageWithoutPosition } from '../../src/asm/error-position.ts';
import { mapLookupElem } from '../../src/asm/helpers.ts';
import type { Instruction, Item } from '../../src/asm/instruction.ts';
import type { MapSpec } from '../../src/asm/map.ts';
import { capture } from '../../src/asm/position.ts';
import { r0, r1, r2, r3, r10 } from '../../src/asm/registers.ts';
import { suite } from '../harness.ts';
import { thrown } from '../thrown.ts';
import { hexOf } from './fixtures/instructions.ts';

const test = suite('asm/assemble');

const attempts = { kind: 'map', name: 'attempts' } as MapSpec;
const counts = { kind: 'map', name: 'counts' } as MapSpec;

function listing(items: readonly Item[]): string[] {
  return assemble(items).instructions.map(({ slot, instruction }) => `${slot}: ${disassemble(instruction)}`);
}

function refused(
  items: readonly Item[],
  kind: typeof AssembleError | typeof RangeError | typeof ReachError,
  message: string | RegExp,
): void {
  assert.throws(
    () => assemble(items),
    (error: unknown) => {
      assert.instance(error, kind);
      if (typeof message === 'string') assert.is(messageWithoutPosition(error as Error), message);
      else assert.match((error as Error).message, message);
      assert.match((error as Error).message, / \(\/.*\.[jt]s:\d+\)$/, 'ends with the caller\u2019s line');
      return true;
    },
  );
}

test('the minimal program assembles', () => {
  const { bytes, instructions, references } = assemble([mov(r0, 0), exit()]);
  assert.is(hexOf(bytes), 'b7 00 00 00 00 00 00 00 95 00 00 00 00 00 00 00');
  assert.equal(
    instructions.map(({ slot, labels }) => ({ slot, labels })),
    [
      { slot: 0, labels: [] },
      { slot: 1, labels: [] },
    ],
  );
  assert.equal(references, []);
});

test('a distance counts from the next instruction', () => {
  assert.is(destinationOf(5, ja(2)), 8);
  assert.is(destinationOf(5, ja(-3)), 3);
  assert.is(destinationOf(5, callSubprogram(10)), 16);
  assert.is(destinationOf(5, mov(r0, 0)), undefined);
});

test('jumps to labels, forward and backward, count slots from the next instruction', () => {
  assert.equal(
    listing([
      mov(r0, 3),
      label('again'),
      add(r0, -1),
      jne(r0, 0, 'again'),
      jeq(r0, 1, 'out'),
      mov(r0, 0),
      label('out'),
      exit(),
    ]),
    [
      '0: (b7) r0 = 3',
      '1: (07) r0 += -1',
      '2: (55) if r0 != 0x0 goto pc-2',
      '3: (15) if r0 == 0x1 goto pc+1',
      '4: (b7) r0 = 0',
      '5: (95) exit',
    ],
  );
});

test('an lddw between a jump and its label counts as two slots', () => {
  const items = [
    jeq(r1, 0, 'out'),
    lddw(r0, 2n ** 40n),
    ja('end'),
    label('out'),
    mov(r0, 1),
    label('end'),
    exit(),
  ];
  assert.equal(listing(items), [
    '0: (15) if r1 == 0x0 goto pc+3',
    '1: (18) r0 = 0x10000000000',
    '3: (05) goto pc+1',
    '4: (b7) r0 = 1',
    '5: (95) exit',
  ]);
  assert.is(assemble(items).bytes.length, 6 * 8);
});

test('labels and the target label stay with an instruction, label references do not', () => {
  const { instructions } = assemble([mov(r0, 0), jeq(r0, 0, 'b'), label('a'), label('b'), exit()]);
  assert.equal(instructions[2]?.labels, ['a', 'b']);
  assert.is(instructions[1]?.target, 'b');
  assert.not('reference' in (instructions[1]?.instruction ?? {}));
});

test('numeric distances are not changed', () => {
  assert.equal(
    listing([mov(r0, 0), jeq(r0, 0, 1), mov(r0, 1), exit()]).at(1),
    '1: (15) if r0 == 0x0 goto pc+1',
  );
});

test('gotol and may_goto accept labels', () => {
  assert.equal(listing([mov(r0, 0), label('again'), mayGoto('out'), gotol('again'), label('out'), exit()]), [
    '0: (b7) r0 = 0',
    '1: (e5) may_goto pc+1',
    '2: (06) gotol pc-2',
    '3: (95) exit',
  ]);
});

test('subprograms are called and loaded by label', () => {
  const program = [
    callSubprogram('double'),
    loadFunction(r2, 'double'),
    mov(r0, 0),
    exit(),
    label('double'),
    mov(r0, r1),
    add(r0, r0),
    exit(),
  ];
  assert.equal(listing(program).slice(0, 2), ['0: (85) call pc+4', '1: (18) r2 = subprog[+3]']);
});

test('map references are listed by slot, in order, with zero immediates', () => {
  const { references, bytes, instructions } = assemble([
    loadMap(r1, attempts),
    mov(r2, r10),
    add(r2, -8),
    call(mapLookupElem),
    loadMapValue(r3, counts, 16),
    loadMap(r1, attempts),
    mov(r0, 0),
    exit(),
  ]);
  assert.equal(
    references.map(({ slot, map }) => [slot, map.name]),
    [
      [0, 'attempts'],
      [5, 'counts'],
      [7, 'attempts'],
    ],
  );
  assert.is(references[0]?.map, attempts);
  assert.is(hexOf(bytes.subarray(40, 56)), '18 23 00 00 00 00 00 00 00 00 00 00 10 00 00 00');
  assert.is(disassemble(instructions[4]?.instruction as Instruction), '(18) r3 = map[counts][0]+16');
});

test('assembling is reproducible and does not change the list', () => {
  const items = [mov(r0, 0), jeq(r0, 0, 'out'), label('out'), exit()];
  const before = structuredClone(items);
  assert.equal(assemble(items), assemble(items));
  assert.equal(items, before);
});

test('a conditional jump reaches 32767 slots forward', () => {
  const over = (count: number): Item[] => [
    jeq(r1, 0, 'out'),
    ...Array.from({ length: count }, () => mov(r0, 0)),
    label('out'),
    mov(r0, 0),
    exit(),
  ];
  assert.is(assemble(over(32767)).instructions[0]?.instruction.off, 32767);
  refused(
    over(32768),
    ReachError,
    "slot 0: jeq: label 'out' is 32768 slots away, which does not fit in 16 signed bits; invert the condition and jump over a gotol (Linux 6.6)",
  );
});

test('a jump reaches 32768 slots backward', () => {
  const over = (count: number): Item[] => [
    mov(r0, 0),
    label('again'),
    ...Array.from({ length: count }, () => mov(r0, 0)),
    jeq(r0, 1, 'end'),
    ja('again'),
    label('end'),
    exit(),
  ];
  assert.is(assemble(over(32766)).instructions.at(-2)?.instruction.off, -32768);
  refused(
    over(32767),
    ReachError,
    "slot 32769: ja: label 'again' is -32769 slots away, which does not fit in 16 signed bits; use gotol (Linux 6.6)",
  );
});

test('a jump over 40000 slots is refused at the line that made it', () => {
  const far = { ...jeq(r1, 0, 'out'), position: { stack: `Error\n    at tool (file:///tool.ts:12:3)` } };
  refused(
    [far, ...Array.from({ length: 40000 }, () => mov(r0, 0)), label('out'), exit()],
    ReachError,
    /^slot 0: jeq: label 'out' is 40000 slots away, .*\(\/tool\.ts:12\)$/,
  );
});

test('gotol reaches further than ja', () => {
  const { instructions } = assemble([
    jeq(r1, 0, 1),
    gotol('out'),
    ...Array.from({ length: 40000 }, () => mov(r0, 0)),
    label('out'),
    exit(),
  ]);
  assert.is(instructions[1]?.instruction.imm, 40000);
});

const REFUSED: readonly [items: readonly Item[], message: string][] = [
  [[], 'a program needs at least one instruction'],
  [[label('alone')], 'a program needs at least one instruction'],
  [[label('a'), mov(r0, 0), label('a'), exit()], "label 'a' is defined twice, at slots 0 and 1"],
  [[mov(r0, 0), ja('end'), exit(), label('end')], "slot 1: label 'end' has no instruction after it"],
  [[mov(r0, 0), jeq(r0, 0, 7), exit()], 'slot 1: jeq targets slot 9, outside the program (3 slots)'],
  [[mov(r0, 0), jeq(r0, 0, -3), exit()], 'slot 1: jeq targets slot -1, outside the program (3 slots)'],
  [[jeq(r1, 0, 1), lddw(r0, 0), exit()], 'slot 0: jeq targets slot 2, the middle of an lddw'],
  [[mov(r0, 0)], 'slot 0: the program ends with mov; its last instruction must be an exit or a jump'],
  [
    [mov(r0, 0), jeq(r0, 0, -2)],
    'slot 1: the program ends with jeq; its last instruction must be an exit or a jump',
  ],
  [[mov(r0, 0), exit(), mov(r0, 1), exit()], 'slot 2: unreachable instruction mov'],
  [[mov(r0, 0), ja('out'), mov(r0, 1), label('out'), exit()], 'slot 2: unreachable instruction mov'],
  [
    [callSubprogram('f'), exit(), label('f'), mov(r0, 0)],
    'slot 2: a subprogram ends with mov; its last instruction must be an exit or a jump',
  ],
  [
    [callSubprogram('f'), mov(r0, 0), label('f'), mov(r0, 0), exit()],
    'slot 1: the program ends with mov; its last instruction must be an exit or a jump',
  ],
  [
    [callSubprogram('f'), jeq(r0, 0, 'in'), exit(), label('f'), mov(r0, 0), label('in'), exit()],
    'slot 1: jeq jumps to slot 4, in another subprogram',
  ],
  [
    [stx({ size: 8 }, r10, -520, r1), mov(r0, 0), exit()],
    'slot 0: stx of 8 bytes at r10 -520 is outside the stack, the 512 bytes below r10',
  ],
  [
    [ldx({ size: 4 }, r0, r10, -2), exit()],
    'slot 0: ldx of 4 bytes at r10 -2 is outside the stack, the 512 bytes below r10',
  ],
  [
    [mov(r0, 0), atomic.add({ size: 8 }, r10, 0, r1), exit()],
    'slot 1: atomic.add of 8 bytes at r10 +0 is outside the stack, the 512 bytes below r10',
  ],
  [
    [{ ...mov(r0, 0), reference: { kind: 'label', label: 'x' } }, label('x'), exit()],
    'slot 0: an instruction with opcode 0xb7 cannot have a label',
  ],
];

for (const [items, message] of REFUSED)
  test(`refused: ${message}`, () => {
    refused(items, AssembleError, message);
  });

test('an unknown label is refused with similar names', () => {
  refused(
    [jeq(r1, 0, 'mising'), mov(r0, 0), label('missing'), exit()],
    AssembleError,
    /^slot 0: undefined label 'mising'.*missing/,
  );
});

test('an error has the slot and position of its instruction', () => {
  const position = capture(capture);
  const error = thrown(() => assemble([mov(r0, 0), { ...jeq(r0, 0, 'nowhere'), position }, exit()]));
  assert.instance(error, AssembleError);
  assert.is((error as AssembleError).slot, 1);
  assert.is((error as AssembleError).position, position);
});

test('an unused label at the end is allowed', () => {
  assert.is(assemble([mov(r0, 0), exit(), label('end')]).instructions.length, 2);
});

test('an instruction missing from the table passes, for future kernels', () => {
  const raw: Instruction = { opcode: 0xf7, dst: 1, src: 2, off: 3, imm: 4 };
  assert.is(hexOf(assemble([raw, exit()]).bytes.subarray(0, 8)), 'f7 21 03 00 04 00 00 00');
});

test('with a computed jump, code is never reported as unreachable', () => {
  assert.is(assemble([ldx({ size: 8 }, r1, r1, 0), gotox(r1), mov(r0, 0), exit()]).instructions.length, 4);
});

test('an instruction with a number out of range is refused', () => {
  refused([{ ...mov(r0, 0), imm: 2 ** 40 }, exit()], RangeError, /immediate 1099511627776 is not between/);
});

test('a program with more slots than the kernel accepts is refused', () => {
  const items = Array.from({ length: 1_000_001 }, () => exit());
  refused(items, RangeError, 'the program has 1000001 slots; the kernel accepts at most 1000000');
});

test.run();
