/**
 * Mutants that no test can catch, because they behave like the source or differ only in speed. `before` and
 * `after` are the lines of the edit as `npm run test:mutation` prints them, so an entry stays valid when its
 * code moves.
 */
import type { Mutant } from './mutants.ts';

/** A mutant that behaves like the source. */
export interface Equivalent extends Pick<Mutant, 'file' | 'before' | 'after'> {
  readonly reason: string;
}

export const EQUIVALENT: readonly Equivalent[] = [
  {
    file: 'src/asm/cfg/register-check.ts',
    before: 'for (let each = 0; each < graph.size; each++) {',
    after: 'for (let each = (0 - 1); each < graph.size; each++) {',
    reason: 'a block that does not exist belongs to no function',
  },
  {
    file: 'src/asm/builder/machine.ts',
    before: '#scope: Scope = { outer: undefined, depth: 0 };',
    after: '#scope: Scope = { outer: undefined, depth: (0 - 1) };',
    reason: 'depths are only compared with each other',
  },
  {
    file: 'src/asm/cfg/register-check.ts',
    before: "if (form.flow === 'call' && (targets[index] as number) >= 0) enter(index, set);",
    after: "if (form.flow === 'call' && (targets[index] as number) >= (0 - 1)) enter(index, set);",
    reason: 'only a call of an undefined label has no target, and it is refused anyway',
  },
  {
    file: 'src/asm/printable.ts',
    before: 'if (ASCII.test(text)) return text;',
    after: 'if (false) return text;',
    reason: 'printable ASCII has nothing to escape; the shortcut only saves time',
  },
  {
    file: 'src/asm/encode.ts',
    before: 'dst <= 10 &&',
    after: 'dst < 10 &&',
    reason: 'if this fast check fails, a slow check follows',
  },
  {
    file: 'src/asm/btf/reader.ts',
    before: 'const aligned = types.byteOffset % 4 === 0 ? types : types.slice();',
    after: 'const aligned = types.byteOffset % 4 === (0 - 1) ? types : types.slice();',
    reason: 'aligned bytes are copied, too',
  },
  {
    file: 'src/asm/cfg/labeled.ts',
    before: 'known.set(loaded, entries);',
    after: '{}',
    reason: 'the entries are only cached; they would be looked up again',
  },
  {
    file: 'src/asm/cfg/optimize-jumps.ts',
    before:
      "return end === name ? instruction : { ...instruction, reference: { kind: 'label', label: end } as const };",
    after:
      "return false ? instruction : { ...instruction, reference: { kind: 'label', label: end } as const };",
    reason: 'an instruction that keeps its label is copied',
  },
  {
    file: 'src/asm/isa.ts',
    before: 'const table: Form[][] = Array.from({ length: 256 }, () => []);',
    after: 'const table: Form[][] = Array.from({ length: (256 + 1) }, () => []);',
    reason: 'no opcode is 256',
  },
  {
    file: 'src/asm/encode.ts',
    before: '(src & 15) === src &&',
    after: '(src & (15 + 1)) === src &&',
    reason: 'if this fast check fails, a slow check follows',
  },
  {
    file: 'src/asm/elf.ts',
    before: 'for (; number > 0; number = this.#next[number] as number) yield this.#name(number - 1);',
    after: 'for (; number > (0 + 1); number = this.#next[number] as number) yield this.#name(number - 1);',
    reason: 'number 1 is the null symbol, which is no function',
  },
  {
    file: 'src/asm/text/instruction.ts',
    before: 'return { imm: (Number(before.imm) | spaceOf(text, at)) >>> 0 };',
    after: 'return { imm: (Number(before.imm) | spaceOf(text, at)) << 0 };',
    reason: 'the encoder accepts the 32 bits as a signed and as an unsigned number',
  },
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
    file: 'src/asm/append-subprograms.ts',
    before: 'return items.some((item) => subprogramOf(item) !== undefined);',
    after: 'return items.some((item) => []);',
    reason: 'without subprograms the rest of the function copies the list',
  },
  {
    file: 'src/asm/hooks.ts',
    before: 'return { name: symbol, prototype: id === undefined ? undefined : kernel?.prototypeOf(id) };',
    after: 'return { name: symbol, prototype: id === undefined ? undefined : kernel!.prototypeOf(id) };',
    reason: 'an id implies kernel types',
  },
  {
    file: 'src/asm/layout/key.ts',
    before: 'if (isObject(key) && this.#padding.some((isPadding, at) => isPadding && bytes[at] !== 0))',
    after: 'if (isObject(key) && this.#padding.some((isPadding, at) => isPadding && bytes[at] !== (0 - 1)))',
    reason: 'remembering bytes with zero padding has no effect: encode() produces the same bytes',
  },
  {
    file: 'src/asm/text/map-line.ts',
    before: 'const at = (group: string): number => found.indices?.groups?.[group]?.[0] ?? 0;',
    after: 'const at = (group: string): number => found.indices!.groups?.[group]?.[0] ?? 0;',
    reason: 'the pattern has the flag d, so a match has indices',
  },
];

/** The entry of a mutant that is known to be equivalent. */
export function equivalentOf(mutant: Mutant): Equivalent | undefined {
  return EQUIVALENT.find(
    ({ file, before, after }) => file === mutant.file && before === mutant.before && after === mutant.after,
  );
}
