/** What a tool consists of, wherever in it that stands. */
import { type Item, isLabel, type Subprogram } from './instruction.ts';
import { isJumpTable } from './jump-table.ts';
import type { MapSpec, ProgramArraySpec } from './map.ts';
import { isMapOfMaps } from './map-of-maps.ts';
import type { ProgramSpec, TailCalled, Tool } from './program.ts';

/**
 * All maps of a tool: those that it lists, and those that its programs refer to, that hold its events or tail-called programs, or only stand
 * in another. Each comes before what holds it. Jump tables aren't among them, since they are made with their programs.
 */
export function mapsOf({ maps = [], programs, tailCalled = [], events }: Tool): ReadonlySet<MapSpec> {
  const all = [...programs, ...slotsOf(tailCalled).map(({ program }) => program)];
  const named = [
    ...maps,
    ...all.flatMap(({ instructions }) => [...mapsIn(instructions)]),
    ...tailCalled.map(({ array }) => array),
    ...(events ? [events.map] : []),
  ].filter((map) => !isJumpTable(map));
  const holders = named.filter(isMapOfMaps);
  const held = holders.flatMap((holder) => holder.maps.map(([, map]) => map));
  return new Set([...held, ...named.filter((map) => !isMapOfMaps(map)), ...holders]);
}

/** The maps that instructions refer to, those of the subprograms included that they lead to. */
export function mapsIn(instructions: readonly Item[]): ReadonlySet<MapSpec> {
  const maps = new Set<MapSpec>();
  const lists = [instructions];
  const seen = new Set<Subprogram>();
  for (const list of lists)
    for (const item of list) {
      const reference = isLabel(item) ? undefined : item.reference;
      if (reference === undefined || reference.kind === 'label') continue;
      if (reference.kind !== 'subprogram') maps.add(reference.map);
      else if (!seen.has(reference.subprogram)) {
        seen.add(reference.subprogram);
        lists.push(reference.subprogram.instructions);
      }
    }
  return maps;
}

/** The programs of arrays, each with its slots. */
export function slotsOf(tailCalled: readonly TailCalled[]): {
  readonly array: ProgramArraySpec;
  readonly slot: string;
  readonly program: ProgramSpec;
}[] {
  return tailCalled.flatMap(({ array, programs }) =>
    Object.entries(programs).map(([slot, program]) => ({ array, slot, program })),
  );
}
