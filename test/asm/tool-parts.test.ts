/** The parts of a tool: its maps in creation order, and the slots of its program arrays. */
import * as assert from 'uvu/assert';
import { label, mov } from '../../src/asm/constructors.ts';
import { perfEventArray } from '../../src/asm/events.ts';
import { rawTracepoint } from '../../src/asm/hooks.ts';
import { jumpTable, jumpThrough } from '../../src/asm/jump-table.ts';
import { u32, u64 } from '../../src/asm/layout.ts';
import { hash, programArray } from '../../src/asm/map.ts';
import { arrayOfMaps } from '../../src/asm/map-of-maps.ts';
import { r1, r2 } from '../../src/asm/registers.ts';
import { subprogram } from '../../src/asm/subprogram.ts';
import { mapsIn, mapsOf, tailCalledSlots } from '../../src/asm/tool-parts.ts';
import { suite } from '../harness.ts';
import { program, x64 } from './built.ts';

const test = suite('asm/tool-parts');

const table = (name: string) => hash(name, { key: u32, value: u64, maxEntries: 8 });
const namesOf = (maps: Iterable<{ readonly name: string }>) => [...maps].map(({ name }) => name);

test("a map precedes the map that contains it, independent of the tool's list", () => {
  const [first, second, plain] = [table('first'), table('second'), table('plain')];
  const outer = arrayOfMaps('outer', { inner: first, maps: [first, second] });
  const tool = { name: 'tool', programs: [], maps: [outer, plain, first] };
  assert.equal(namesOf(mapsOf(tool)), ['first', 'second', 'plain', 'outer']);
});

test('maps of programs, subprograms, events and tail calls belong to the tool', () => {
  const [here, there, behind] = [table('here'), table('there'), table('behind')];
  const inner = subprogram('inner', [], (b) => b.count(there, 1));
  const outer = subprogram('outer', [], (b) => {
    b.call(inner);
    b.call(inner);
  });
  const calling = program((b) => {
    b.count(here, 1);
    b.call(outer);
  });
  const stages = programArray('stages', { slots: ['parse', 'send'] });
  const parse = rawTracepoint('parse', x64, (b) => b.count(behind, 1));
  const events = perfEventArray('events', u32);
  const tailCalled = [{ array: stages, programs: { parse } }];
  assert.equal(namesOf(mapsIn(calling.instructions)), ['here', 'there']);
  const tool = { name: 'tool', programs: [calling], tailCalled, events };
  assert.equal(namesOf(mapsOf(tool)), ['here', 'there', 'behind', 'stages', 'events']);
  assert.equal(tailCalledSlots(tailCalled), [{ array: stages, slot: 'parse', program: parse }]);
});

test("a jump table is created with its program, not with the tool's maps", () => {
  const [cells, jumps] = [table('cells'), jumpTable('jumps', ['end'])];
  const switching = program((b) => {
    b.count(cells, 1);
    b.emit(mov(r1, 0), ...jumpThrough(jumps, r1, r2), label('end'));
  });
  assert.equal(namesOf(mapsIn(switching.instructions)), ['cells', 'jumps']);
  assert.equal(namesOf(mapsOf({ name: 'tool', programs: [switching] })), ['cells']);
});

test.run();
