/**
 * Mutants that no test can catch, because they behave as the source does or differ in speed alone. `before` and `after` are the lines that
 * the edit touches, as `npm run test:mutation` prints them: a mutant keeps its entry when its code moves.
 */
import type { Mutant } from './mutants.ts';

/** A mutant that behaves as the source does. */
export interface Equivalent extends Pick<Mutant, 'file' | 'before' | 'after'> {
  readonly reason: string;
}

export const EQUIVALENT: readonly Equivalent[] = [
  {
    file: 'src/asm/cfg/far-jumps.ts',
    before: 'named.push({ index, label });',
    after: 'named.unshift({ index, label });',
    reason: 'the order of the jumps does not matter: the result is a set',
  },
  {
    file: 'src/asm/isa/control.ts',
    before: 'opcode: JMP | 0x80,',
    after: 'opcode: JMP | (0x80 + 1),',
    reason: 'JMP has the bit that 1 adds',
  },
  {
    file: 'src/asm/link.ts',
    before: 'return items.some((item) => subprogramOf(item) !== undefined);',
    after: 'return items.some((item) => []);',
    reason: 'without subprograms the rest of the function copies the list',
  },
  {
    file: 'src/asm/hooks.ts',
    before: 'return { name: symbol, prototype: id === undefined ? undefined : kernel?.prototypeOf(id) };',
    after: 'return { name: symbol, prototype: id === undefined ? undefined : kernel!.prototypeOf(id) };',
    reason: 'there is an id only if there are types of the kernel',
  },
  {
    file: 'src/asm/layout/key.ts',
    before: 'if (isObject(key) && this.#padding.some((isPadding, at) => isPadding && bytes[at] !== 0))',
    after: 'if (isObject(key) && this.#padding.some((isPadding, at) => isPadding && bytes[at] !== (0 - 1)))',
    reason: 'bytes that are remembered although their padding is 0 are those that encode() makes',
  },
  {
    file: 'src/asm/text/map-line.ts',
    before: 'const at = (group: string): number => found.indices?.groups?.[group]?.[0] ?? 0;',
    after: 'const at = (group: string): number => found.indices!.groups?.[group]?.[0] ?? 0;',
    reason: 'the pattern has the flag d, so a match has indices',
  },
];

/** The entry of a mutant, if it is known to be equivalent. */
export function equivalentOf(mutant: Mutant): Equivalent | undefined {
  return EQUIVALENT.find(
    ({ file, before, after }) => file === mutant.file && before === mutant.before && after === mutant.after,
  );
}
