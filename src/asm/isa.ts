/**
 * The instruction set as one table: a row is one form of an instruction, and constructors, decoder and
 * disassembler all go by it. A new instruction is a new row.
 *
 * Sources: RFC 9669; kernel/bpf/disasm.c for the text; kernel/bpf/verifier.c for what is accepted.
 */
import { ARITHMETIC_FORMS } from './isa/arithmetic.ts';
import { CONTROL_FORMS } from './isa/control.ts';
import { FIELDS, type Field, type FieldName, type Form } from './isa/form.ts';
import { MEMORY_FORMS } from './isa/memory.ts';
import { takesLabel } from './operands.ts';

export type { Field, FieldName, Flow, Form, Written } from './isa/form.ts';

/** The whole instruction set, family by family. */
export const FORMS: readonly Form[] = [...ARITHMETIC_FORMS, ...CONTROL_FORMS, ...MEMORY_FORMS];

const byOpcode = new Map<number, Form[]>();
for (const each of FORMS) {
  const others = byOpcode.get(each.opcode);
  if (others) others.push(each);
  else byOpcode.set(each.opcode, [each]);
}

/** All forms that share an opcode byte; none where the byte is no instruction. */
export function formsOf(opcode: number): readonly Form[] {
  return byOpcode.get(opcode) ?? [];
}

/** The form whose fixed fields are those of `instruction` and whose registers exist, or undefined. */
export function formOf(instruction: Fields): Form | undefined {
  return formsOf(instruction.opcode).find((each) =>
    FIELDS.every((name) => holds(each[name], instruction[name])),
  );
}

/** The numbers of an instruction, all that tells its form. */
export type Fields = Readonly<Record<'opcode' | Exclude<FieldName, 'high'>, number>> & {
  readonly high?: number;
};

function holds(field: Field | undefined, value: number | undefined): boolean {
  if (field === undefined || value === undefined) return field === value;
  if (field === 'register' || field === 'base') return value <= 10;
  return typeof field === 'string' || field === value;
}

/** The field that holds the distance of a jump, a subprogram call or a function's load. */
export function distanceField(form: Form): 'off' | 'imm' | undefined {
  return (['off', 'imm'] as const).find((name) => {
    const field = form[name];
    return typeof field === 'string' && takesLabel(field);
  });
}
