/**
 * Source lines of the tool's own programs, for `-v` and for errors: nothing else reads them.
 *
 * The bundled command has a small line table beside it; from source, the files themselves are there.
 */
import { readFileSync } from 'node:fs';
import { type LineTable, type Location, locate, type Position } from '../asm/position.ts';

/** A reader of positions that also gives the line's text where it can be had. */
export function sourceLines(): (position: Position | undefined) => Location | undefined {
  const table = lineTable();
  const files = new Map<string, readonly string[]>();
  return (position) => {
    const place = locate(position, table);
    if (!place || place.text !== undefined) return place;
    if (!files.has(place.file)) files.set(place.file, linesOf(place.file));
    return { ...place, text: files.get(place.file)?.[place.line - 1] };
  };
}

function lineTable(): LineTable | undefined {
  try {
    return JSON.parse(readFileSync(new URL('tcpconnlat.lines.json', import.meta.url), 'utf8'));
  } catch {
    return undefined; // not bundled
  }
}

function linesOf(file: string): readonly string[] {
  try {
    return readFileSync(file, 'utf8').split('\n');
  } catch {
    return [];
  }
}
