/** The maps, programs and instructions of a tool. */

import { type EventsSpec, isRingBuffer } from './events.ts';
import { type Instruction, type Item, isLabel, type SubprogramCode } from './instruction.ts';
import { isJumpTable } from './jump-table.ts';
import type { MapSpec, ProgramArraySpec } from './map.ts';
import { isMapOfMaps } from './map-of-maps.ts';
import type { ProgramSpec, TailCalled, Tool, ToolEvents } from './program.ts';

/**
 * All maps of a tool: the listed ones, those of its programs, its events maps with their counters of lost
 * events, its program arrays, and the inner maps of maps of maps. An inner map precedes its outer map. Jump
 * tables are missing, because the loader creates each with its program.
 */
export function mapsOf({ maps = [], programs, tailCalled = [], events }: Tool): ReadonlySet<MapSpec> {
  const named = [
    ...maps,
    ...[...programsOf({ programs, tailCalled })].flatMap(mapsOfProgram),
    ...tailCalled.map(({ array }) => array),
    ...eventsMapsOf(events).flatMap(({ map }): MapSpec[] => (isRingBuffer(map) ? [map, map.lost] : [map])),
  ].filter((map) => !isJumpTable(map));
  const holders = named.filter(isMapOfMaps);
  const held = holders.flatMap((holder) => holder.maps.map(([, map]) => map));
  return new Set([...held, ...named.filter((map) => !isMapOfMaps(map)), ...holders]);
}

/** The maps of a program. Does not read the instructions of an assembled one, which are decoded for that. */
function mapsOfProgram(program: ProgramSpec): readonly MapSpec[] {
  const { assembled } = program;
  return assembled ? assembled.references.map(({ map }) => map) : [...mapsIn(program.instructions)];
}

/** The events maps of a tool. A single map has no name. */
export function eventsMapsOf(
  events: ToolEvents | undefined,
): readonly { readonly name?: string; readonly map: EventsSpec }[] {
  if (events === undefined) return [];
  if ('kind' in events && events.kind === 'map') return [{ map: events as EventsSpec }];
  return Object.entries(events as Readonly<Record<string, EventsSpec>>).map(([name, map]) => ({ name, map }));
}

/** All programs of a tool, each once: first the attached ones, then the tail-called ones. */
export function programsOf({
  programs,
  tailCalled = [],
}: Pick<Tool, 'programs' | 'tailCalled'>): ReadonlySet<ProgramSpec> {
  return new Set([...programs, ...tailCalledSlots(tailCalled).map(({ program }) => program)]);
}

/** The maps that instructions and their subprograms refer to. */
export function mapsIn(instructions: readonly Item[]): ReadonlySet<MapSpec> {
  const maps = new Set<MapSpec>();
  for (const { reference } of instructionsIn(instructions))
    if (reference !== undefined && 'map' in reference) maps.add(reference.map);
  return maps;
}

/** The instructions of a list and of all subprograms that it calls, directly or indirectly. */
export function* instructionsIn(items: readonly Item[]): Generator<Instruction, void> {
  const lists = [items];
  const seen = new Set<SubprogramCode>();
  for (const list of lists)
    for (const item of list) {
      if (isLabel(item)) continue;
      yield item;
      const { reference } = item;
      if (reference?.kind !== 'subprogram' || seen.has(reference.subprogram)) continue;
      seen.add(reference.subprogram);
      lists.push(reference.subprogram.instructions);
    }
}

/** The tail-called programs with their arrays and slots. */
export function tailCalledSlots(tailCalled: readonly TailCalled[]): {
  readonly array: ProgramArraySpec;
  readonly slot: string;
  readonly program: ProgramSpec;
}[] {
  return tailCalled.flatMap(({ array, programs }) =>
    Object.entries(programs).map(([slot, program]) => ({ array, slot, program })),
  );
}
