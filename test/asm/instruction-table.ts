/**
 * Generates docs/instructions.md from the instruction table; the test beside it tells how to renew the page.
 */

import { arithmeticForms } from '../../src/asm/isa/arithmetic.ts';
import { controlForms } from '../../src/asm/isa/control.ts';
import { CALLER_SAVED } from '../../src/asm/isa/form.ts';
import { memoryForms } from '../../src/asm/isa/memory.ts';
import { allForms, type Field, type Form } from '../../src/asm/isa.ts';
import { type Kind, limitsOf } from '../../src/asm/operands.ts';

const HEAD = `# Instructions

Every form of an instruction, from the table in \`src/asm/isa\`: the constructor, the opcode byte, the
fields, the registers that it reads and writes, its other effects, the first Linux that has it, and
its text. The text is that of bpftool and the verifier, and \`tsbpf asm\` reads it.

*reads* and *writes* list registers: \`dst\` and \`src\` are the operands, \`arguments\` is one register of
r1 to r5 for each parameter of the callee. A register after *loses* cannot be read until another
instruction sets it. *affects* lists effects other than register writes.

If the running kernel lacks an instruction, the loader's error names the instruction and its first
Linux. The loader probes for instructions, since distributions backport them. Instructions of
*compilers* are written by LLVM and gcc, and no kernel accepts them; instructions of *dumps* are added
by the kernel to loaded programs.
`;

const SECTIONS: readonly (readonly [title: string, forms: readonly Form[]])[] = [
  ['Arithmetic', arithmeticForms()],
  ['Jumps, calls and exits', controlForms()],
  ['Loads, stores and atomics', memoryForms()],
];

/** The page. */
export function instructionTable(): string {
  return [
    HEAD,
    ...SECTIONS.map(([title, forms]) => section(title, forms)),
    limits(),
    `\nThere are ${allForms().length} forms; kernels accept ${allForms().filter(({ since }) => since).length} of them.\n`,
  ].join('\n');
}

const COLUMNS = [
  'constructor',
  'opcode',
  'dst',
  'src',
  'off',
  'imm',
  'reads',
  'writes',
  'affects',
  'Linux',
  'text',
];

function section(title: string, forms: readonly Form[]): string {
  return [`## ${title}\n`, row(COLUMNS), `|${'---|'.repeat(COLUMNS.length)}\n`, ...forms.map(formRow)].join(
    '',
  );
}

function formRow(form: Form): string {
  const { name, opcode, dst, src, off, imm, high, reads, affects, since, onlyIn, text } = form;
  return row([
    onlyIn === 'dumps' ? '' : `\`${name}\``,
    opcode.toString(16).padStart(2, '0'),
    ...[dst, src, off].map(String),
    high === undefined ? inHex(imm) : `${imm}, ${high}`,
    reads.join(', '),
    written(form),
    affects.join(', '),
    since ?? `only in ${onlyIn}`,
    `\`${text.replaceAll('|', '\\|')}\``,
  ]);
}

/** The written registers, without r1 to r5 of calls. */
function written({ writes }: Form): string {
  const lost: readonly string[] = CALLER_SAVED.slice(1);
  const set = writes.filter((register) => !lost.includes(register)).join(', ');
  return writes.length > lost.length ? `${set}, loses r1–r5` : set;
}

/** Formats a fixed field; large numbers are codes, in hexadecimal. */
function inHex(field: Field): string {
  return typeof field === 'number' && field > 9 ? `0x${field.toString(16)}` : String(field);
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |\n`;
}

/** The limits of each kind of number in the tables. */
function limits(): string {
  const kinds = new Set(allForms().flatMap(({ off, imm, high }) => [off, imm, high]));
  const numbers = [...kinds].filter((kind) => typeof kind === 'string') as Exclude<
    Kind,
    'register' | 'base'
  >[];
  return [
    '## Operands\n\n',
    'A `register` is r0 to r10, but r10 is never written. A `base` is a register that holds an address.\n\n',
    row(['operand', 'min', 'max', '']),
    `|${'---|'.repeat(4)}\n`,
    ...numbers.sort().map((kind) => {
      const { min, max, nonzero, step, label } = limitsOf(kind);
      const notes = [nonzero && 'not 0', step && `a multiple of ${step}`, label && 'or a label'];
      return row([`\`${kind}\``, String(min), String(max), notes.filter(Boolean).join(', ')]);
    }),
  ].join('');
}
