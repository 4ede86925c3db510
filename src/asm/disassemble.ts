/**
 * Prints instructions as the kernel does in the verifier's log, and bpftool in its dumps.
 *
 * Source: kernel/bpf/disasm.c; tools/bpf/bpftool/xlated_dumper.c for maps and functions.
 */
import { helperName } from './helper-names.ts';
import type { Instruction, Reference } from './instruction.ts';
import { PLACEHOLDER } from './isa/form.ts';
import { distanceField, type Form, formOf } from './isa.ts';

/**
 * Returns the kernel's text of an instruction with its opcode: `(b7) r6 = 7`.
 *
 * A map shows its name if the instruction has a reference to it (`map[counts]`), otherwise its number as an
 * id (`map[id:7]`). A jump shows its distance (`pc+2`), or its label before assembly. An unknown opcode shows
 * as in the kernel: `BUG_ldx_99`.
 *
 * @example
 * import { disassemble, mov, r6 } from 'tsbpf/asm';
 * disassemble(mov(r6, 7)); // '(b7) r6 = 7'
 */
export function disassemble(instruction: Instruction): string {
  const form = formOf(instruction);
  return form === undefined ? bug(instruction) : `(${OPCODES[form.opcode]}) ${print(instruction, form)}`;
}

/**
 * Returns the kernel's text of an instruction without its opcode: `r6 = 7`. See `disassemble`.
 *
 * @example
 * import { instructionText, mov, r6 } from 'tsbpf/asm';
 * instructionText(mov(r6, 7)); // 'r6 = 7'
 */
export function instructionText(instruction: Instruction): string {
  const form = formOf(instruction);
  return form === undefined ? bug(instruction) : print(instruction, form);
}

const OPCODES = Array.from({ length: 256 }, (_, opcode) => opcode.toString(16).padStart(2, '0'));

/** The classes that the kernel names for an unknown opcode. */
const NAMED_CLASSES = ['ld_', 'ldx_', 'st_'];

function bug({ opcode }: Instruction): string {
  return `BUG_${NAMED_CLASSES[opcode & 7] ?? ''}${OPCODES[opcode] ?? hex(opcode)}`;
}

/** The parts of a form's text, in the order `literals[0]`, `printers[0]`, `literals[1]` and so on. */
interface Template {
  readonly literals: readonly string[];
  readonly printers: readonly Printer[];
}

type Printer = (instruction: Instruction) => string;

/** Made when a form is first printed: most runs print no instruction. */
const templates = new Map<Form, Template>();

function templateOf(form: Form): Template {
  const known = templates.get(form);
  if (known !== undefined) return known;
  const literals: string[] = [];
  const printers: Printer[] = [];
  let end = 0;
  for (const found of form.text.matchAll(PLACEHOLDER)) {
    literals.push(form.text.slice(end, found.index));
    end = found.index + found[0].length;
    printers.push(printerOf(form, found[1] as string));
  }
  const template = { literals: [...literals, form.text.slice(end)], printers };
  templates.set(form, template);
  return template;
}

function print(instruction: Instruction, form: Form): string {
  const { literals, printers } = templateOf(form);
  let text = literals[0] as string;
  for (let i = 0; i < printers.length; i++) {
    text += (printers[i] as Printer)(instruction);
    text += literals[i + 1] as string;
  }
  return text;
}

function printerOf(form: Form, name: string): Printer {
  if (name === 'target') return distanceField(form) === 'off' ? printTarget : printFarTarget;
  const printer = PRINTERS[name];
  if (printer === undefined)
    throw new TypeError(`the instruction table has an unknown placeholder '${name}'`);
  return printer;
}

const printTarget: Printer = ({ off, reference }) => labelOf(reference) ?? `pc${signed(off)}`;
const printFarTarget: Printer = ({ imm, reference }) => labelOf(reference) ?? `pc${signed(imm)}`;

function labelOf(reference: Reference | undefined): string | undefined {
  if (reference?.kind === 'subprogram') return reference.subprogram.name;
  return reference?.kind === 'label' ? reference.label : undefined;
}

/** The printers of all other placeholders. */
const PRINTERS: Readonly<Record<string, Printer>> = {
  dst: ({ dst }) => String(dst),
  src: ({ src }) => String(src),
  off: ({ off }) => signed(off),
  module: ({ off }) => String(off),
  imm: ({ imm }) => String(imm),
  high: ({ high }) => String(high),
  uimm: ({ imm }) => `0x${hex(imm)}`,
  imm64: ({ imm, high = 0 }) =>
    `0x${high === 0 ? hex(imm) : ((BigInt(high >>> 0) << 32n) | BigInt(imm >>> 0)).toString(16)}`,
  'imm.hi': ({ imm }) => String(imm >>> 16),
  'imm.lo': ({ imm }) => String(imm & 0xffff),
  distance: ({ imm, reference }) => labelOf(reference) ?? signed(imm),
  helper: ({ imm }) => helperText(imm),
  map: ({ imm, reference }) =>
    reference !== undefined && 'map' in reference ? reference.map.name : `id:${imm}`,
};

function helperText(id: number): string {
  const name = helperName(id);
  return `${name === undefined ? 'unknown' : `bpf_${name}`}#${id}`;
}

function signed(value: number): string {
  return value < 0 ? String(value) : `+${value}`;
}

function hex(value: number): string {
  return (value >>> 0).toString(16);
}
