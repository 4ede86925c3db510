/** Programs as lines of text, for comparison in assembler tests. */
import { assemble } from '../../src/asm/assemble.ts';
import { disassemble } from '../../src/asm/disassemble.ts';
import type { Item } from '../../src/asm/instruction.ts';

/**
 * The text of each instruction, without opcodes. Labels precede their instructions; jumps and calls of
 * subprograms use them.
 */
export function textsOf(items: readonly Item[]): string[] {
  return assemble(items).instructions.flatMap(({ instruction, labels, target }) => {
    const text = disassemble(instruction).replace(/^\(..\) /, '');
    return [
      ...labels.map((name) => `${name}:`),
      target ? text.replace(/(goto|call) .*$/, `$1 ${target}`) : text,
    ];
  });
}
