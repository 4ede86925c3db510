/**
 * The assembled programs of the tool as text. A run that reads them needs neither the builder nor the
 * kernel's types, which take longer than loading the programs.
 */
import { assemble, type MapReference } from '../asm/assemble.ts';
import { instructionsIn } from '../asm/decode.ts';
import type { MapSpec } from '../asm/map.ts';
import type { Attachment, ProgramSpec } from '../asm/program.ts';
import { mapsOf } from '../asm/tool-parts.ts';
import type { Programs } from './tcpconnlat.ts';

/** What the text contains, as JSON. Maps are numbers: their places in `specs`. */
interface Saved
  extends Omit<Programs, 'programs' | 'aggregate' | 'attemptSlots' | 'maps' | (typeof NAMED)[number]> {
  readonly specs: readonly MapSpec[];
  readonly programs: readonly SavedProgram[];
  readonly maps: readonly number[];
  readonly named: Readonly<Record<(typeof NAMED)[number], number>>;
}

interface SavedProgram {
  readonly name: string;
  readonly attachment: Attachment;
  readonly optional?: boolean;
  /** The bytes in base64. */
  readonly code: string;
  readonly references: readonly (readonly [slot: number, map: number])[];
  readonly needsTypes: boolean;
}

/** The maps that a run uses by name. */
const NAMED = ['events', 'counters', 'attempts'] as const;

/** Returns the programs as text in one line, without the source positions of their instructions. */
export function programsToText(programs: Programs): string {
  const { aggregate, attemptSlots, ...rest } = programs;
  const specs = [...mapsOf(programs)];
  if (aggregate || attemptSlots || specs.some(({ entries, cgroups, pin }) => entries ?? cgroups ?? pin))
    throw new TypeError('programs with an aggregation or filled maps have no text');
  const numberOf = (map: MapSpec) => specs.indexOf(map);
  const saved: Saved = {
    ...rest,
    specs,
    programs: programs.programs.map((spec) => savedProgram(spec, numberOf)),
    maps: programs.maps.map(numberOf),
    named: {
      events: numberOf(programs.events),
      counters: numberOf(programs.counters),
      attempts: numberOf(programs.attempts),
    },
  };
  return JSON.stringify(saved);
}

function savedProgram(
  { instructions, ...spec }: ProgramSpec,
  numberOf: (map: MapSpec) => number,
): SavedProgram {
  const { bytes, references, needsTypes } = assemble(instructions);
  return {
    ...spec,
    code: Buffer.from(bytes).toString('base64'),
    references: references.map(({ slot, map }) => [slot, numberOf(map)]),
    needsTypes,
  };
}

/** Returns the programs in a text of `programsToText`. */
export function programsFromText(text: string): Programs {
  const { specs, programs, maps, named, ...rest }: Saved = JSON.parse(text);
  const spec = <M extends MapSpec>(number: number) => specs[number] as M;
  return {
    ...rest,
    programs: programs.map((program) => programOf(program, specs)),
    maps: maps.map((number) => spec(number)),
    events: spec(named.events),
    counters: spec(named.counters),
    attempts: spec(named.attempts),
    aggregate: undefined,
    attemptSlots: undefined,
  };
}

/** The program, which decodes its instructions when they are read: a successful start reads none. */
function programOf(
  { code, references, needsTypes, ...spec }: SavedProgram,
  maps: readonly MapSpec[],
): ProgramSpec {
  const bytes = Buffer.from(code, 'base64');
  return {
    ...spec,
    get instructions() {
      return Array.from(instructionsIn(bytes), ({ instruction }) => instruction);
    },
    assembled: {
      bytes,
      get instructions() {
        return Array.from(instructionsIn(bytes), (placed) => ({ ...placed, labels: [] }));
      },
      references: references.map(([slot, map]): MapReference => ({ slot, map: maps[map] as MapSpec })),
      needsTypes,
    },
  };
}
