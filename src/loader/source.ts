/** Source lines of programs, with their text, for `-v`, debug information and errors. */
import { once } from '../asm/once.ts';
import { type LineTable, type Locate, locate } from '../asm/position.ts';
import type { Syscalls } from './syscalls.ts';
import { utf8 } from './text.ts';

/**
 * Returns a `Locate` that adds the text of the source line: from a bundle's line table if there is one,
 * otherwise from the source file. Reads a file when it is first needed, and only once.
 */
export function sourceReader(syscalls: Syscalls, lineTable?: () => LineTable | undefined): Locate {
  const files = new Map<string, readonly string[]>();
  const table = once(() => lineTable?.());
  const linesOf = (file: string): readonly string[] => {
    let lines = files.get(file);
    if (lines === undefined) {
      const bytes = syscalls.readFile(file);
      lines = typeof bytes === 'number' ? [] : utf8(bytes).split('\n');
      files.set(file, lines);
    }
    return lines;
  };
  return (position) => {
    if (position === undefined) return undefined;
    const location = locate(position, table());
    if (!location || location.text !== undefined) return location;
    return { ...location, text: linesOf(location.file)[location.line - 1] };
  };
}
