/**
 * The author's source: positions as lines with their text. Nothing reads it but `-v`, debug information and errors.
 */
import { type LineTable, type Locate, locate } from '../asm/position.ts';
import type { Syscalls } from './syscalls.ts';

/**
 * A reader of positions that also gives the text of their lines: from a bundle's line table if there is one, else from the files
 * themselves. Nothing is read before it is asked, and each file once.
 */
export function sourceReader(syscalls: Syscalls, lineTable?: () => LineTable | undefined): Locate {
  const files = new Map<string, readonly string[]>();
  let table: { readonly lines: LineTable | undefined } | undefined;
  const linesOf = (file: string): readonly string[] => {
    let lines = files.get(file);
    if (lines === undefined) {
      const bytes = syscalls.readFile(file);
      lines = typeof bytes === 'number' ? [] : Buffer.from(bytes).toString('utf8').split('\n');
      files.set(file, lines);
    }
    return lines;
  };
  return (position) => {
    if (position === undefined) return undefined;
    table ??= { lines: lineTable?.() };
    const place = locate(position, table.lines);
    if (!place || place.text !== undefined) return place;
    return { ...place, text: linesOf(place.file)[place.line - 1] };
  };
}
