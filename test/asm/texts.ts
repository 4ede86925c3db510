/** Programs as lines of text: what tests of the assembler compare. */
import { assemble } from '../../src/asm/assemble.ts';
import { disassemble } from '../../src/asm/disassemble.ts';
import type { Item } from '../../src/asm/instruction.ts';

/** The text of each instruction, without the opcodes; jumps and calls of subprograms by their labels, which stand before what they name. */
export function textsOf(items: readonly Item[]): string[] {
  return assemble(items).instructions.flatMap(({ instruction, labels, target }) => {
    const text = disassemble(instruction).replace(/^\(..\) /, '');
    return [
      ...labels.map((name) => `${name}:`),
      target ? text.replace(/(goto|call) .*$/, `$1 ${target}`) : text,
    ];
  });
}
