/** Programs that were text are the programs that were built. */
import * as assert from 'uvu/assert';
import { assemble } from '../../src/asm/assemble.ts';
import { valueDecoder } from '../../src/asm/layout.ts';
import type { MapSpec } from '../../src/asm/map.ts';
import type { ProgramSpec } from '../../src/asm/program.ts';
import { type Target, target } from '../../src/asm/target.ts';
import { mapsOf } from '../../src/asm/tool-parts.ts';
import { programsFromText, programsToText } from '../../src/programs/prebuilt.ts';
import { aggregation } from '../../src/programs/tcpconnlat/aggregate.ts';
import type { Options, ProbeType } from '../../src/programs/tcpconnlat/options.ts';
import { type Programs, tcpconnlat } from '../../src/programs/tcpconnlat.ts';
import { suite } from '../harness.ts';
import { socketTypes, stateFormat } from './kernel.ts';

const test = suite('programs/prebuilt');

const x64: Target = { ...target('x64', socketTypes()), formats: [stateFormat] };
const PROBE_TYPES: readonly ProbeType[] = ['kprobe', 'fentry', 'tp_btf', 'raw_tracepoint', 'trace_event'];
const OPTIONS: readonly Omit<Options, 'probe'>[] = [
  {},
  { outcome: 'all' },
  { outcome: 'failures', localPort: true },
  { who: true, minNs: 1_000_000 },
  { requested: true, pending: true },
];

/** What the loader gets of a program: everything but the source positions. */
function loaded({
  name,
  attachment,
  optional,
  instructions,
  assembled = assemble(instructions),
}: ProgramSpec) {
  const { bytes, references, needsTypes } = assembled;
  return {
    ...{ name, attachment, optional, needsTypes },
    bytes: Buffer.from(bytes).toString('hex'),
    references: references.map(({ slot, map }) => [slot, map.name]),
  };
}

/** What the kernel gets of a map, and its schemas. Symbols, which mark TypeBox's types, do not matter. */
function created(map: MapSpec): unknown {
  return JSON.parse(JSON.stringify(map));
}

for (const probe of PROBE_TYPES)
  for (const options of OPTIONS)
    test(`${probe} ${JSON.stringify(options)}`, () => {
      const built = tcpconnlat({ probe, ...options }, x64);
      const text = programsToText(built);
      assert.is(text.includes('\n'), false);
      const read = programsFromText(text);
      const parts = (programs: Programs) => {
        const { programs: specs, maps, events, counters, attempts, ...facts } = programs;
        return {
          facts: { ...facts, aggregate: undefined },
          programs: specs.map(loaded),
          maps: maps.map(created),
          created: [...mapsOf(programs)].map(created),
          named: [events, counters, attempts].map(created),
        };
      };
      assert.equal(parts(read), parts(built));
      for (const map of [read.events, read.counters, read.attempts])
        assert.ok(mapsOf(read).has(map), 'the named maps are those of the programs');
    });

test('events are decoded by the schema in the text', () => {
  const built = tcpconnlat({ probe: 'tp_btf', outcome: 'all', who: true }, x64);
  const read = programsFromText(programsToText(built));
  const bytes = Uint8Array.from({ length: 512 }, (_, i) => (i * 37) % 251);
  const view = new DataView(bytes.buffer);
  assert.equal(valueDecoder(read.events.event)(view, 0), valueDecoder(built.events.event)(view, 0));
});

test('instructions are decoded from the bytes', () => {
  const built = tcpconnlat({ probe: 'tp_btf' }, x64);
  const [program] = programsFromText(programsToText(built)).programs;
  const [original] = built.programs;
  assert.ok(program?.assembled && original);
  const { instructions } = assemble(original.instructions);
  assert.is(program.instructions.length, instructions.length);
  assert.equal(
    program.assembled.instructions.map(({ slot }) => slot),
    instructions.map(({ slot }) => slot),
  );
});

test('programs whose maps have functions or contents have no text', () => {
  const aggregate = aggregation({ fields: { port: true }, maxKeys: 16, compareExchange: true });
  const filter = { to: { only: [{ address: Uint8Array.of(127, 0, 0, 0), prefix: 8 }] } };
  for (const options of [{ aggregate }, { filter }])
    assert.throws(() => programsToText(tcpconnlat({ probe: 'tp_btf', ...options }, x64)), /have no text/);
});

test.run();
