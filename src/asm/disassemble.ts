/**
 * Instructions as the kernel prints them, in the verifier's log and in bpftool's dumps.
 *
 * Source: kernel/bpf/disasm.c, tools/bpf/bpftool/xlated_dumper.c for what maps and functions look like.
 */
import { helperName } from './helper-names.ts';
import type { Instruction } from './instruction.ts';
import { distanceField, type Form, formOf } from './isa.ts';

/**
 * `(b7) r6 = 7`. A map that is named by a reference shows its name (`map[attempts]`), one that isn't what stands in its
 * place, as bpftool shows an id (`map[id:7]`). A jump shows its distance (`pc+2`), or its label until it is assembled. What is
 * no instruction that we know shows as the kernel shows it, `(ff) BUG_ff`.
 */
export function disassemble(instruction: Instruction): string {
  return `(${hex(instruction.opcode).padStart(2, '0')}) ${textOf(instruction)}`;
}

/** The text of `disassemble` without the opcode: `r6 = 7`. */
export function textOf(instruction: Instruction): string {
  const form = formOf(instruction);
  if (form === undefined) return `BUG_${hex(instruction.opcode).padStart(2, '0')}`;
  return form.text.replace(PLACEHOLDER, (whole, prefix: string | undefined, name: string) => {
    const label = name === 'target' && instruction.reference?.kind === 'label' && instruction.reference.label;
    if (label) return label;
    return (prefix ?? '') + (PRINTERS[name]?.(instruction, form) ?? whole);
  });
}

/** A placeholder; "pc" before a distance is part of it, since a label stands in the place of both. */
const PLACEHOLDER = /(pc)?\{([a-z0-9.]+)\}/g;

/** How each placeholder of the table's texts is printed. */
const PRINTERS: Readonly<Record<string, (instruction: Instruction, form: Form) => string>> = {
  dst: ({ dst }) => String(dst),
  src: ({ src }) => String(src),
  off: ({ off }) => signed(off),
  imm: ({ imm }) => String(imm),
  high: ({ high }) => String(high),
  uimm: ({ imm }) => `0x${hex(imm)}`,
  imm64: ({ imm, high = 0 }) => `0x${((BigInt(high >>> 0) << 32n) | BigInt(imm >>> 0)).toString(16)}`,
  'imm.hi': ({ imm }) => String(imm >>> 16),
  'imm.lo': ({ imm }) => String(imm & 0xffff),
  target: ({ off, imm }, form) => signed(distanceField(form) === 'off' ? off : imm),
  helper: ({ imm }) => helperText(imm),
  map: ({ imm, reference }) =>
    reference === undefined || reference.kind === 'label' ? `id:${imm}` : reference.map.name,
};

function helperText(id: number): string {
  const name = helperName(id);
  return name === undefined ? 'unknown' : `bpf_${name}`;
}

function signed(value: number): string {
  return value < 0 ? String(value) : `+${value}`;
}

function hex(value: number): string {
  return (value >>> 0).toString(16);
}
