import * as assert from 'uvu/assert';
import { type Assembled, assemble } from '../../src/asm/assemble.ts';
import {
  callSubprogram,
  exit,
  jeq,
  jgt,
  label,
  lddw,
  loadMap,
  mov,
  rsh,
  stx,
} from '../../src/asm/constructors.ts';
import { perfEventArray } from '../../src/asm/events.ts';
import { kprobe } from '../../src/asm/hooks.ts';
import { jumpTable, jumpThrough } from '../../src/asm/jump-table.ts';
import { struct, u32, u64 } from '../../src/asm/layout.ts';
import { listProgram, listTool } from '../../src/asm/listing.ts';
import { array, hash, programArray } from '../../src/asm/map.ts';
import { arrayOfMaps } from '../../src/asm/map-of-maps.ts';
import type { Position } from '../../src/asm/position.ts';
import type { ProgramSpec, Tool } from '../../src/asm/program.ts';
import { r0, r1, r2, r10 } from '../../src/asm/registers.ts';
import { target } from '../../src/asm/target.ts';
import { parseProgram } from '../../src/asm/text/parse.ts';
import { suite } from '../harness.ts';

const test = suite('asm/listing');

const Value = struct({ ns: u64, pid: u32 });
const table = hash('table', { key: u64, value: Value, maxEntries: 64 });
const events = perfEventArray('events', Value);

/** Gives an instruction a source position. */
const at = <I extends object>(line: number, instruction: I): I & { position: Position } => ({
  ...instruction,
  position: { stack: String(line) },
});

const tool: Tool = {
  name: 'test',
  programs: [
    {
      name: 'first',
      attachment: { kind: 'kprobe', symbol: 'tcp_v4_connect' },
      instructions: [
        at(10, mov(r0, 0)),
        at(11, jeq(r0, 7, 'out')),
        at(11, loadMap(r1, table)),
        at(12, stx(u64, r10, -8, r1)),
        lddw(r0, 0x1122_3344_5566_7788n),
        label('out'),
        at(12, exit()),
      ],
    },
    {
      name: 'second',
      attachment: { kind: 'tp_btf', tracepoint: 'inet_sock_set_state', btfId: 9 },
      instructions: [mov(r0, 1), exit()],
    },
  ],
  maps: [table, array('counters', { value: u64 }), events],
  events,
};

/** Resolves the positions of `at`. */
const locate = (position: Position | undefined) => {
  const line = Number(position?.stack);
  return position ? { file: 'tool.ts', line, column: 1, text: `  line ${line}();  ` } : undefined;
};

test('a listing has maps, and programs with slots, bytes, text, labels and source lines', () => {
  assert.is(
    listTool(tool, locate),
    `\
map table: hash, key 8 bytes, value 16 bytes, 64 entries
map counters: array, key 4 bytes, value 8 bytes, 1 entry
map events: perfEventArray, key 4 bytes, value 4 bytes, one ring a CPU

program first: kprobe tcp_v4_connect, 8 instructions
; tool.ts:10: line 10();
    0: b7 00 00 00 00 00 00 00  (b7) r0 = 0
; tool.ts:11: line 11();
    1: 15 00 05 00 07 00 00 00  (15) if r0 == 0x7 goto pc+5 <out>
    2: 18 11 00 00 00 00 00 00  (18) r1 = map[table]
    3: 00 00 00 00 00 00 00 00
; tool.ts:12: line 12();
    4: 7b 1a f8 ff 00 00 00 00  (7b) *(u64 *)(r10 -8) = r1
    5: 18 00 00 00 88 77 66 55  (18) r0 = 0x1122334455667788
    6: 00 00 00 00 44 33 22 11
out:
    7: 95 00 00 00 00 00 00 00  (95) exit

program second: tp_btf inet_sock_set_state, 2 instructions
    0: b7 00 00 00 01 00 00 00  (b7) r0 = 1
    1: 95 00 00 00 00 00 00 00  (95) exit
`,
  );
});

test('a listing of one program has its maps, and the files and lines of its statements', () => {
  const calls = array('calls', { value: u64 });
  const counting = kprobe('tcp_v4_connect', target('x64'), (b) => b.count(calls, 0));
  const lines = listProgram(counting).split('\n');
  assert.equal(lines.slice(0, 3), [
    'map calls: array, key 4 bytes, value 8 bytes, 1 entry',
    '',
    'program tcp_v4_connect: kprobe tcp_v4_connect, 11 instructions',
  ]);
  assert.match(lines[3] ?? '', /^; \S+listing\.test\.ts:\d+$/);
  assert.not.match(
    listProgram(counting, () => undefined),
    /^;/m,
  );
});

test('tail-called programs follow the attached programs, each once and with its slots', () => {
  const [first, second] = tool.programs as [ProgramSpec, ProgramSpec];
  const third = { ...second, name: 'third' };
  const array = programArray('stages', { maxEntries: 4 });
  const named = programArray('named', { slots: ['read', 'write'] });
  const listed = listTool(
    {
      ...tool,
      programs: [first],
      tailCalled: [
        { array, programs: { 0: second, 1: first, 2: second } },
        { array: named, programs: { 1: second, read: third } },
      ],
    },
    locate,
  );
  assert.equal(listed.match(/^program .*$/gm), [
    'program first: kprobe tcp_v4_connect, slot 1 of stages, 8 instructions',
    'program second: tp_btf inet_sock_set_state, not attached, slots 0 and 2 of stages, slot write of named, 2 instructions',
    'program third: tp_btf inet_sock_set_state, not attached, slot read of named, 2 instructions',
  ]);
});

test('all maps are listed: those of programs, events and tail calls, and inner maps', () => {
  const inner = hash('inner', { key: u32, value: u32, maxEntries: 2 });
  const outer = arrayOfMaps('outer', { inner, maps: [inner] });
  const array = programArray('stages', { maxEntries: 4 });
  const listed = listTool({ ...tool, maps: [outer], tailCalled: [{ array, programs: {} }] }, locate);
  assert.equal(
    [...listed.matchAll(/^map (\w+):/gm)].map(([, name]) => name),
    ['inner', 'table', 'stages', 'events', 'outer'],
  );
});

test('a subprogram has a label with its name', () => {
  const half = { name: 'half', instructions: [mov(r0, r1), rsh(r0, 1), exit()] };
  const instructions = [mov(r1, 8), callSubprogram(half), exit()];
  const listed = listTool(
    { ...tool, programs: [{ name: 'main', attachment: { kind: 'kprobe', symbol: 'f' }, instructions }] },
    locate,
  );
  assert.match(listed, /\(85\) call pc\+1 <half>\n.*exit\nhalf:\n.*r0 = r1\n/);
});

test('jump tables and inner maps are listed, and the listing assembles to the same program', () => {
  const inner = hash('inner', { key: u32, value: u32, maxEntries: 2, flags: 1 });
  const outer = arrayOfMaps('outer', { inner, maxEntries: 3 });
  const table = jumpTable('table', ['a', 'b', 'a']);
  const half = {
    name: 'half',
    instructions: [
      ...[mov(r0, 0), jgt(r1, 2, 'out'), ...jumpThrough(table, r1, r2)],
      ...[label('a'), mov(r0, 1), exit(), label('b'), lddw(r0, 2), label('out'), exit()],
    ],
  };
  const instructions = [loadMap(r1, outer), mov(r1, 8), callSubprogram(half), exit()];
  const spec: ProgramSpec = { name: 'main', attachment: { kind: 'kprobe', symbol: 'f' }, instructions };
  const listed = listTool({ ...tool, maps: [outer], programs: [spec] }, () => undefined);
  const maps = [
    'map events: perfEventArray, key 4 bytes, value 4 bytes, one ring a CPU',
    'map inner: hash, key 4 bytes, value 4 bytes, 2 entries, flags 0x1',
    'map outer: arrayOfMaps, key 4 bytes, value 4 bytes, 3 entries, inner map inner',
    'map table: instructionArray, key 4 bytes, value 16 bytes, 3 entries, labels half.a, half.b, half.a',
  ];
  assert.equal(listed.match(/^map .*$/gm), maps);

  const first = assemble(instructions);
  const again = assemble(parseProgram(listed).items);
  assert.equal(again.bytes, first.bytes);
  const shown = ({ references }: Assembled) =>
    references.map(({ slot, map, targets }) => [slot, map.name, targets]);
  assert.equal(shown(again), shown(first));
});

test('without source files it has the file and line; without positions, only the instructions', () => {
  const bare = listTool(tool, (position) => position && { file: 'tool.ts', line: 3, column: 1 });
  assert.match(bare, /\n; tool\.ts:3\n {4}0: b7/);
  assert.not.match(
    listTool(tool, () => undefined),
    /^;/m,
  );
});

test.run();
