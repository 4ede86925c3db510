/** Basic blocks and their edges. */
import * as assert from 'uvu/assert';
import { Graph } from '../../../src/asm/cfg/graph.ts';
import { resolveLabels, separateLabels } from '../../../src/asm/cfg/labeled.ts';
import {
  add,
  call,
  callSubprogram,
  exit,
  gotol,
  gotox,
  ja,
  jeq,
  label,
  ldx,
  loadFunction,
  mayGoto,
  mov,
} from '../../../src/asm/constructors.ts';
import { ktimeGetNs } from '../../../src/asm/helpers.ts';
import type { Item } from '../../../src/asm/instruction.ts';
import { jumpTable, jumpThrough } from '../../../src/asm/jump-table.ts';
import { u64 } from '../../../src/asm/layout.ts';
import { r0, r1, r2 } from '../../../src/asm/registers.ts';
import { suite } from '../../harness.ts';

const test = suite('asm/cfg/graph');

function graphOf(items: readonly Item[]): Graph {
  return new Graph(resolveLabels(separateLabels(items)));
}

/** Each block as `first-last>next,next`; instructions and blocks are numbered from 0. */
function blocksOf(items: readonly Item[]): string[] {
  const graph = graphOf(items);
  return Array.from({ length: graph.size }, (_, block) => {
    const next = [...graph.successors(block)].join(',');
    return `${graph.first(block)}-${graph.last(block)}>${next}`;
  });
}

test('straight-line code is one block, with helper calls', () => {
  assert.equal(blocksOf([mov(r0, 0), call(ktimeGetNs), add(r0, 1), exit()]), ['0-3>']);
});

test('a jump past the last instruction has no edge', () => {
  const { targets } = resolveLabels(separateLabels([mov(r0, 0), ja('end'), label('end')]));
  assert.equal([...targets], [-1, -1]);
});

test('a block ends before a jump target and after a jump', () => {
  assert.equal(blocksOf([mov(r0, 0), jeq(r1, 0, 'a'), add(r0, 1), label('a'), exit()]), [
    '0-1>1,2',
    '2-2>2',
    '3-3>',
  ]);
  assert.equal(blocksOf([ja('b'), label('a'), exit(), label('b'), gotol('a')]), ['0-0>2', '1-1>', '2-2>1']);
});

test('may_goto has two successors, and a loop has a back edge', () => {
  assert.equal(blocksOf([label('top'), mayGoto('end'), ja('top'), label('end'), exit()]), [
    '0-0>1,2',
    '1-1>0',
    '2-2>',
  ]);
});

test('a subprogram call continues after itself, and its target starts a function', () => {
  const items = [mov(r1, 1), callSubprogram('f'), exit(), label('f'), mov(r0, r1), label('g'), exit()];
  assert.equal(blocksOf(items), ['0-1>1', '2-2>', '3-4>']);
  const graph = graphOf(items);
  assert.equal([...graph.functionOf], [0, 0, 1]);
  assert.equal(graph.entries, [0, 2]);
  assert.equal(graph.calls, [1]);
});

test("loading a function's address makes it a function, too", () => {
  const graph = graphOf([loadFunction(r2, 'f'), exit(), label('f'), exit()]);
  assert.equal([...graph.functionOf], [0, 1]);
  assert.equal([...graph.reached()], [1, 1]);
});

test('a computed jump leads to the entries of the tables that its function loads', () => {
  const table = jumpTable('table', ['one', 'two', 'one']);
  const items = [...jumpThrough(table, r1, r2), label('one'), exit(), label('two'), exit(), exit()];
  assert.equal(blocksOf(items), ['0-4>1,2', '5-5>', '6-6>', '7-7>']);
  const graph = graphOf(items);
  assert.is(graph.complete, true);
  assert.equal([...graph.reached()], [1, 1, 1, 0]);
});

test('a computed jump without a table may lead anywhere', () => {
  const graph = graphOf([ldx(u64, r1, r1, 0), gotox(r1), mov(r0, 0), exit()]);
  assert.is(graph.complete, false);
  assert.equal([...graph.successors(0)], []);
});

test('code reached only from unreachable code is unreachable', () => {
  const items = [exit(), label('a'), ja('b'), label('b'), ja('a')];
  assert.equal([...graphOf(items).reached()], [1, 0, 0]);
  const called = [exit(), label('dead'), callSubprogram('f'), exit(), label('f'), exit()];
  assert.equal([...graphOf(called).reached()], [1, 0, 0, 0]);
});

test('an empty list has no blocks', () => {
  const graph = graphOf([]);
  assert.is(graph.size, 0);
  assert.equal([...graph.reached()], []);
});

test.run();
