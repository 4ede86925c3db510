/** What a tool consists of, wherever in it that stands. */
import { isJumpTable } from './jump-table.ts';
import type { MapSpec, ProgramArraySpec } from './map.ts';
import { isMapOfMaps } from './map-of-maps.ts';
import type { ProgramSpec, TailCalled, Tool } from './program.ts';

/**
 * All maps of a tool: also those that hold its events or tail-called programs, or only stand in another. Each comes before what holds it.
 * Jump tables aren't among them, since they are made with their programs.
 */
export function mapsOf({ maps, tailCalled = [], events }: Tool): ReadonlySet<MapSpec> {
  const listed = [...maps, ...tailCalled.map(({ array }) => array), events.map].filter(
    (map) => !isJumpTable(map),
  );
  const holders = listed.filter(isMapOfMaps);
  const held = holders.flatMap((holder) => holder.maps.map(([, map]) => map));
  return new Set([...held, ...listed.filter((map) => !isMapOfMaps(map)), ...holders]);
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
