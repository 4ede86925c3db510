/**
 * The instruction set as one table. A row is one form of an instruction: constructors, decoder, both text
 * forms, the loader's feature checks and docs/instructions.md derive from it. A new instruction is a new row.
 *
 * Sources: RFC 9669; kernel/bpf/disasm.c for the text; kernel/bpf/verifier.c for what the kernel accepts.
 */
import { arithmeticForms } from './isa/arithmetic.ts';
import { controlForms } from './isa/control.ts';
import type { Field, FieldName, Form } from './isa/form.ts';
import { memoryForms } from './isa/memory.ts';
import { once } from './once.ts';
import { limitsOf, takesLabel } from './operands.ts';

export { FIELDS, type Field, type FieldName, type Form } from './isa/form.ts';

/** Returns the whole instruction set, by family. */
export const allForms = once((): readonly Form[] => [
  ...arithmeticForms(),
  ...controlForms(),
  ...memoryForms(),
]);

const byOpcode = once(() => {
  const table: Form[][] = Array.from({ length: 256 }, () => []);
  for (const each of allForms()) table[each.opcode]?.push(each);
  return table;
});

/** Returns all forms with an opcode; none if the opcode is unknown. */
export function formsOf(opcode: number): readonly Form[] {
  return byOpcode()[opcode] ?? [];
}

/** Returns the form that matches the fixed fields of an instruction, or undefined. Registers must exist. */
export function formOf(instruction: Fields): Form | undefined {
  for (const each of formsOf(instruction.opcode)) if (isOf(each, instruction)) return each;
  return undefined;
}

/** The numeric fields of an instruction, which determine its form. */
export type Fields = Readonly<Record<'opcode' | Exclude<FieldName, 'high'>, number>> & {
  readonly high?: number;
};

function isOf(form: Form, { dst, src, off, imm, high }: Fields): boolean {
  return (
    holds(form.dst, dst) &&
    holds(form.src, src) &&
    holds(form.off, off) &&
    holds(form.imm, imm) &&
    (form.high === undefined || high === undefined ? form.high === high : holds(form.high, high))
  );
}

function holds(field: Field, value: number): boolean {
  if (typeof field === 'number') return field === value;
  if (field === 'register' || field === 'base') return value <= 10;
  return value !== 0 || limitsOf(field).zeroIsOtherForm !== true;
}

const distances = once(() => {
  const fields = new Map<Form, 'off' | 'imm'>();
  for (const each of allForms())
    for (const name of ['off', 'imm'] as const) {
      const field = each[name];
      if (typeof field === 'string' && takesLabel(field)) fields.set(each, name);
    }
  return fields;
});

/**
 * Returns the field with the distance of a jump, of a call of a subprogram, or of a load of a function's
 * address; undefined for other forms.
 */
export function distanceField(form: Form): 'off' | 'imm' | undefined {
  return distances().get(form);
}
