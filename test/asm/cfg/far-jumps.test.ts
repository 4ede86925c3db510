/** Jumps that are too far for 16 bits. */
import * as assert from 'uvu/assert';
import { assemble } from '../../../src/asm/assemble.ts';
import { extendFarJumps } from '../../../src/asm/cfg/far-jumps.ts';
import * as constructors from '../../../src/asm/constructors.ts';
import {
  exit,
  gotol,
  ja,
  jeq,
  jgt,
  jset,
  jsle32,
  label,
  lddw,
  mayGoto,
  mov,
} from '../../../src/asm/constructors.ts';
import { disassemble } from '../../../src/asm/disassemble.ts';
import { type Item, isLabel } from '../../../src/asm/instruction.ts';
import { formOf } from '../../../src/asm/isa.ts';
import { r0, r1, r2 } from '../../../src/asm/registers.ts';
import { suite } from '../../harness.ts';

const test = suite('asm/cfg/far-jumps', { seconds: 60 });

const named = constructors as unknown as Record<string, constructors.Branch>;

const many = (count: number): Item[] => Array.from({ length: count }, () => mov(r0, 0));

/** The first instructions of an extended list. */
function head(count: number, ...items: Item[]): string[] {
  return extendFarJumps(items)
    .slice(0, count)
    .map((item) => (isLabel(item) ? `${item.label}:` : disassemble(item).slice(5)));
}

test('jumps within reach stay unchanged, up to the last slot', () => {
  const forward = [jeq(r1, 0, 'out'), ...many(32767), label('out'), exit()];
  assert.is(extendFarJumps(forward), forward);
  const back = [label('top'), ...many(32767), jeq(r1, 0, 'top'), exit()];
  assert.is(extendFarJumps(back), back);
  const without = [mov(r0, 0), exit()];
  assert.is(extendFarJumps(without), without);
});

test('a far jump becomes gotol', () => {
  assert.equal(head(1, ja('out'), label('x'), ...many(32768), label('out'), exit()), ['gotol out']);
});

test('a far conditional jump is inverted and skips a gotol', () => {
  const far = [...many(32768), label('out'), exit()];
  assert.equal(head(3, jeq(r1, 5, 'out'), ...far), ['if r1 != 0x5 goto %near_1', 'gotol out', '%near_1:']);
  assert.equal(head(1, jgt(r1, r2, 'out'), ...far), ['if r1 <= r2 goto %near_1']);
  assert.equal(head(1, jsle32(r1, -3, 'out'), ...far), ['if w1 s> 0xfffffffd goto %near_1']);
});

test('a far jump without an inverse takes three slots, and a jump over it stays if it reaches', () => {
  const jumps = (count: number) =>
    extendFarJumps([
      jeq(r1, 0, 'near'),
      jset(r1, 1, 'far'),
      ...many(count),
      label('near'),
      ...many(5),
      label('far'),
      exit(),
    ]).filter((item) => !isLabel(item) && disassemble(item).includes('gotol'));
  assert.is(jumps(32764).length, 1);
  assert.is(jumps(32765).length, 2);
});

test('a far jump without an inverse jumps to a gotol behind a skipping jump', () => {
  const far = [...many(32768), label('out'), exit()];
  const expected = ['goto %near_1', '%far_1:', 'gotol out', '%near_1:'];
  assert.equal(head(5, jset(r1, 8, 'out'), ...far), ['if r1 & 0x8 goto %far_1', ...expected]);
  assert.equal(head(5, mayGoto('out'), ...far), ['may_goto %far_1', ...expected]);
});

test('an inverse jumps if and only if the comparison does not', () => {
  const holds: Record<string, (a: bigint, b: bigint) => boolean> = {
    jeq: (a, b) => a === b,
    jne: (a, b) => a !== b,
    jgt: (a, b) => a > b,
    jge: (a, b) => a >= b,
    jlt: (a, b) => a < b,
    jle: (a, b) => a <= b,
    jsgt: (a, b) => a > b,
    jsge: (a, b) => a >= b,
    jslt: (a, b) => a < b,
    jsle: (a, b) => a <= b,
  };
  for (const name of ['jeq', 'jne', 'jgt', 'jge', 'jlt', 'jle', 'jsgt', 'jsge', 'jslt', 'jsle'])
    for (const operand of [r2, 7])
      for (const suffix of ['', '32']) {
        const made = (named[name + suffix] as constructors.Branch)(r1, operand, 'out');
        const form = formOf(made);
        const inverse = formOf({ ...made, opcode: form?.inverse as number });
        assert.is(inverse?.name.endsWith('32'), suffix === '32');
        const other = inverse?.name.replace('32', '') as string;
        assert.is(inverse?.src, form?.src, name);
        // Signed comparisons must invert to signed ones, which their names show.
        assert.is(other.startsWith('js'), name.startsWith('js'));
        for (const [a, b] of [
          [1n, 2n],
          [2n, 2n],
          [3n, 2n],
        ] as const)
          assert.is(holds[other]?.(a, b), !holds[name]?.(a, b), `${name} and ${other}`);
      }
});

test('jumps that other extensions push out of reach are extended, too', () => {
  // The inner jump reaches until the outer one grows by a slot.
  const items = [
    jeq(r1, 0, 'inner'),
    jeq(r1, 1, 'outer'),
    ...many(32766),
    label('inner'),
    mov(r0, 1),
    mov(r0, 2),
    label('outer'),
    exit(),
  ];
  const extended = extendFarJumps(items);
  assert.is(extended.filter((item) => !isLabel(item) && item.opcode === gotol('x').opcode).length, 2);
  assemble([...extended]);
});

test('a chain of jumps that push each other out of reach is extended', () => {
  const count = 2000;
  const items: Item[] = [mov(r0, 0)];
  for (let n = 0; n < count; n++) items.push(jeq(r1, n, `l${n}`));
  items.push(...many(32767 - count));
  for (let n = 0; n < count; n++) items.push(label(`l${n}`), lddw(r0, 1n));
  items.push(exit());
  const { instructions } = assemble([...extendFarJumps(items)]);
  assert.ok(instructions.length > items.length - count);
});

test('every label is reached at any distance', () => {
  for (const count of [32760, 32765, 32766, 32767, 32768, 32769, 40_000, 70_000]) {
    const items = [
      label('top'),
      jset(r1, 1, 'out'),
      jeq(r1, 0, 'out'),
      mayGoto('out'),
      ...many(count),
      jset(r1, 2, 'top'),
      jgt(r1, 7, 'top'),
      ja('top'),
      label('out'),
      exit(),
    ];
    assemble([...extendFarJumps(items)]);
  }
});

test.run();
