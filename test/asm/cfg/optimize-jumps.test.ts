/** Jump threading and dead-code elimination. */
import * as assert from 'uvu/assert';
import { optimizeJumps } from '../../../src/asm/cfg/optimize-jumps.ts';
import {
  add,
  callSubprogram,
  exit,
  gotol,
  ja,
  jeq,
  jne,
  jset,
  label,
  loadFunction,
  mayGoto,
  mov,
} from '../../../src/asm/constructors.ts';
import { disassemble } from '../../../src/asm/disassemble.ts';
import { type Item, isLabel } from '../../../src/asm/instruction.ts';
import { jumpTable, jumpThrough } from '../../../src/asm/jump-table.ts';
import { r0, r1, r2 } from '../../../src/asm/registers.ts';
import { suite } from '../../harness.ts';

const test = suite('asm/cfg/optimize-jumps');

function texts(items: readonly Item[]): string[] {
  return items.map((item) => (isLabel(item) ? `${item.label}:` : disassemble(item).slice(5)));
}

function optimized(...items: Item[]): string[] {
  return texts(optimizeJumps(items));
}

test('a chain of jumps of any length is replaced by a jump to its end', () => {
  const chain = Array.from({ length: 5 }, (_, n) => [label(`l${n}`), ja(`l${n + 1}`), add(r0, n)]).flat();
  assert.equal(optimized(jeq(r1, 0, 'l0'), mov(r0, 1), exit(), ...chain, label('l5'), mov(r0, 2), exit()), [
    'if r1 == 0x0 goto l5',
    'r0 = 1',
    'exit',
    'l5:',
    'r0 = 2',
    'exit',
  ]);
});

test('conditional jumps, may_goto and ja are threaded alike', () => {
  for (const jump of [jeq(r1, 0, 'a'), jset(r1, r2, 'a'), mayGoto('a')]) {
    const [first] = optimized(jump, exit(), label('a'), ja('b'), exit(), label('b'), mov(r0, 1), exit());
    assert.match(first as string, / b$/);
  }
});

test('a conditional jump to a gotol stays, because a gotol reaches further', () => {
  const rest = [
    mov(r0, 1),
    exit(),
    label('a'),
    gotol('b'),
    label('c'),
    exit(),
    label('b'),
    mov(r0, 2),
    exit(),
  ];
  assert.equal(optimized(jeq(r1, 0, 'a'), jeq(r1, 1, 'c'), ...rest)[0], 'if r1 == 0x0 goto a');
  assert.equal(optimized(jeq(r1, 5, 'c'), ja('a'), ...rest.slice(2))[1], 'goto b');
});

test('a called function that begins with a jump keeps its entry', () => {
  const body = [label('fn'), ja('test'), label('top'), add(r1, -1), label('test'), jne(r1, 0, 'top'), exit()];
  const kept = ['fn:', 'goto test', 'top:', 'r1 += -1', 'test:', 'if r1 != 0x0 goto top', 'exit'];
  assert.equal(optimized(callSubprogram('fn'), exit(), ...body), ['call fn', 'exit', ...kept]);
  assert.equal(optimized(loadFunction(r2, 'fn'), exit(), ...body), ['r2 = subprog[fn]', 'exit', ...kept]);
});

test('a jump table entry that is a jump stays', () => {
  const table = jumpTable('table', ['one', 'two']);
  const items = [label('one'), ja('end'), label('two'), mov(r0, 2), label('end'), exit()];
  assert.equal(optimized(...jumpThrough(table, r1, r2), ...items).slice(5), [
    'one:',
    'goto end',
    'two:',
    'r0 = 2',
    'end:',
    'exit',
  ]);
});

test('cycles of jumps terminate', () => {
  const circle = optimized(jeq(r1, 0, 'a'), mov(r0, 1), exit(), label('a'), ja('b'), label('b'), ja('a'));
  assert.equal(circle.slice(1, 3), ['r0 = 1', 'exit']);
  assert.match(circle.at(-1) as string, /^goto [ab]$/);
  assert.equal(optimized(label('a'), ja('a')), ['a:', 'goto a']);
});

test('a jump to the next instruction is removed, also across other such jumps', () => {
  assert.equal(optimized(mov(r0, 0), ja('a'), label('a'), exit()), ['r0 = 0', 'exit']);
  assert.equal(
    optimized(jeq(r1, 0, 'b'), ja('c'), label('b'), ja('c'), label('x'), ja('c'), label('c'), exit()),
    ['if r1 == 0x0 goto c', 'c:', 'exit'],
  );
  assert.equal(optimized(label('top'), add(r0, 1), ja('top')), ['top:', 'r0 += 1', 'goto top']);
});

test('a jump to the end of the list is removed only if nothing is in between', () => {
  assert.equal(optimized(mov(r0, 0), ja('end'), label('end')), ['r0 = 0']);
  assert.equal(optimized(jeq(r1, 0, 'end'), mov(r0, 1), label('end')), [
    'if r1 == 0x0 goto end',
    'r0 = 1',
    'end:',
  ]);
});

test('unused labels are removed; of several at one place the used ones stay', () => {
  assert.equal(optimized(label('a'), jeq(r1, 0, 'c'), mov(r0, 0), label('b'), label('c'), exit()), [
    'if r1 == 0x0 goto c',
    'r0 = 0',
    'c:',
    'exit',
  ]);
});

test('unreachable code is removed completely, including loops', () => {
  assert.equal(optimized(mov(r0, 0), exit(), label('a'), add(r0, 1), label('b'), jeq(r0, 9, 'a'), ja('b')), [
    'r0 = 0',
    'exit',
  ]);
});

test('the input list is not changed', () => {
  const items = [jeq(r1, 0, 'a'), mov(r0, 1), exit(), label('a'), ja('b'), label('b'), exit()];
  const before = structuredClone(items);
  optimizeJumps(items);
  assert.equal(items, before);
});

test('a hundred thousand chained jumps need no deep recursion', () => {
  const chain = Array.from({ length: 100_000 }, (_, n) => [label(`l${n}`), ja(`l${n + 1}`)]).flat();
  assert.is(optimizeJumps([jeq(r1, 0, 'l0'), exit(), ...chain, label('l100000'), exit()]).length, 4);
});

test('a jump over the last instruction stays', () => {
  assert.equal(optimized(jeq(r1, 0, 'x'), ja('end'), label('x'), mov(r0, 1), label('end')), [
    'if r1 == 0x0 goto x',
    'goto end',
    'x:',
    'r0 = 1',
    'end:',
  ]);
});

test.run();
