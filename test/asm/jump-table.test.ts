import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { callSubprogram, exit, jgt, label, lddw, mov } from '../../src/asm/constructors.ts';
import { disassemble } from '../../src/asm/disassemble.ts';
import { rawTracepoint } from '../../src/asm/hooks.ts';
import type { Item } from '../../src/asm/instruction.ts';
import { jumpTable, jumpThrough } from '../../src/asm/jump-table.ts';
import { MapType } from '../../src/asm/map.ts';
import { r0, r1, r2 } from '../../src/asm/registers.ts';
import { target } from '../../src/asm/target.ts';
import { suite } from '../harness.ts';

const test = suite('asm/jump-table');

const table = jumpTable('table', ['one', 'two', 'one']);
const program: Item[] = [
  mov(r1, 1),
  ...jumpThrough(table, r1, r2),
  label('one'),
  lddw(r0, 1),
  exit(),
  label('two'),
  mov(r0, 2),
  exit(),
];

test('a jump table is an array with an entry for each label', () => {
  assert.equal(
    [table.type, table.maxEntries, table.value.size, table.flags],
    [MapType.instructionArray, 3, 16, 0],
  );
  assert.throws(
    () => jumpTable('table', []),
    /jump table table has no labels \(.*jump-table\.test\.ts:\d+\)$/,
  );
});

test('jumpThrough scales the index, loads the address and jumps', () => {
  assert.equal(jumpThrough(table, r1, r2).map(disassemble), [
    '(67) r1 <<= 3',
    '(18) r2 = map[table][0]+0',
    '(0f) r2 += r1',
    '(79) r2 = *(u64 *)(r2 +0)',
    '(0d) gotox r2',
  ]);
});

test('the assembler resolves table entries to slots, counting an lddw as two', () => {
  assert.equal(assemble(program).references, [{ slot: 2, map: table, targets: [7, 10, 7] }]);
});

test('labels of a table resolve within the subprogram', () => {
  const { references } = assemble([
    callSubprogram({ name: 'sub', instructions: program }),
    label('one'),
    exit(),
  ]);
  assert.equal(references, [{ slot: 4, map: table, targets: [9, 12, 9] }]);
});

test('an undefined label in a table is refused with similar names', () => {
  const wrong = jumpTable('wrong', ['one', 'too']);
  assert.throws(
    () => assemble([...jumpThrough(wrong, r1, r2), ...program.slice(6)]),
    /slot 1: undefined label 'too'; nearest: two/,
  );
  assert.throws(
    () => assemble([...jumpThrough(jumpTable('last', ['end']), r1, r2), label('end')]),
    /label 'end' has no instruction after it/,
  );
});

test('optimization keeps code that only a table reaches', () => {
  const { instructions } = rawTracepoint('test', target('x64'), (b) => {
    b.emit(jgt(r1, 2, 'exit'), ...program.slice(1));
  });
  const { references, instructions: placed } = assemble(instructions);
  const [{ targets = [] } = {}] = references;
  const textAt = (at: number) => disassemble(placed.find(({ slot }) => slot === at)?.instruction ?? exit());
  assert.equal(targets.map(textAt), ['(18) r0 = 0x1', '(b7) r0 = 2', '(18) r0 = 0x1']);
});

test.run();
