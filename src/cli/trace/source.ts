/**
 * Source lines of the tool's own programs, for `-v` and for errors: nothing else reads them.
 *
 * The bundled command has a small line table beside it; from source, the files themselves are there.
 */
import { readFileSync } from 'node:fs';
import type { LineTable, Locate } from '../../asm/position.ts';
import type { Kernel } from '../../loader/kernel.ts';
import { sourceReader } from '../../loader/source.ts';

/** A reader of positions that also gives the line's text where it can be had. Reads nothing before it is asked. */
export function sourceLines(kernel: Kernel): Locate {
  return sourceReader(kernel.syscalls, lineTable);
}

function lineTable(): LineTable | undefined {
  try {
    return JSON.parse(readFileSync(new URL('tcpconnlat.lines.json', import.meta.url), 'utf8'));
  } catch {
    return undefined; // not bundled
  }
}
