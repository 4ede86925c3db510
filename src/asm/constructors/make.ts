/** Makes instructions from the instruction table: every constructor fills a form with checked operands. */
import type { Instruction, Reference, Register } from '../instruction.ts';
import { allForms, distanceField, type Field, type FieldName, type Form } from '../isa.ts';
import { once } from '../once.ts';
import { checkNumber, checkRegister, checkWidth, type NumberKind, takesLabel } from '../operands.ts';

/** The operands for the fields of a form that are not fixed. */
export type InstructionArguments = Readonly<Partial<Record<FieldName, InstructionArgument>>>;

/** A register, a number, or a label. */
export type InstructionArgument = Register | number | string;

const byName = once(() => {
  const forms = new Map<string, Form[]>();
  for (const form of allForms()) {
    const others = forms.get(form.name);
    if (others) others.push(form);
    else forms.set(form.name, [form]);
  }
  return forms;
});

/** The forms of one constructor. */
function formsNamed(name: string): readonly Form[] {
  const forms = byName().get(name);
  if (forms === undefined) throw new TypeError(`the instruction table has no '${name}'`);
  return forms;
}

/** The form of a constructor that has only one. As with all four, the first call reads the table. */
export function formNamed(name: string): () => Form {
  return once(() => {
    const [form, another] = formsNamed(name);
    if (form === undefined || another !== undefined)
      throw new TypeError(`the instruction table has several forms of '${name}', or none`);
    return form;
  });
}

/** The forms of a constructor, by size. */
export interface Sizes {
  /** The sizes, ascending. */
  readonly sizes: readonly number[];
  of(width: { readonly size: number }): Form;
}

/** The forms of `name` by size. */
export function formsBySize(name: string): () => Sizes {
  return once(() => {
    const forms: Form[] = [];
    for (const form of formsNamed(name)) forms[form.size ?? 0] = form;
    const sizes = Object.keys(forms).map(Number);
    return { sizes, of: (width) => forms[width?.size] ?? (forms[checkWidth(name, width, sizes)] as Form) };
  });
}

/** The two forms of `name`: in one the field is an operand, in the other it is fixed. */
export function formsByOperand(
  name: string,
  field: FieldName,
): () => { readonly operand: Form; readonly fixed: Form } {
  return once(() => {
    const forms = formsNamed(name);
    const operand = forms.find((form) => typeof form[field] === 'string');
    const fixed = forms.find((form) => typeof form[field] === 'number');
    if (operand === undefined || fixed === undefined || forms.length !== 2)
      throw new TypeError(`the instruction table has no two forms of ${name}, which differ in ${field}`);
    return { operand, fixed };
  });
}

/** The form of `name` with a register as second operand, and the form with an immediate. */
export function registerAndImmediate(
  name: string,
): () => { readonly register: Form; readonly immediate: Form } {
  const forms = formsByOperand(name, 'src');
  return once(() => ({ register: forms().operand, immediate: forms().fixed }));
}

/**
 * Makes an instruction of a form from checked operands. A label among them, or otherwise `reference`, becomes
 * its reference.
 */
export function make(form: Form, operands: InstructionArguments, reference?: Reference): Instruction {
  const { opcode, high } = form;
  const dst = register(form, 'dst', form.dst, operands.dst);
  const src = register(form, 'src', form.src, operands.src);
  const off = number(form, form.off, operands.off);
  const imm = number(form, form.imm, operands.imm);
  const named = labelIn(form, operands) ?? reference;
  if (high === undefined)
    return named === undefined
      ? { opcode, dst, src, off, imm }
      : { opcode, dst, src, off, imm, reference: named };
  const wide = { opcode, dst, src, off, imm, high: number(form, high, operands.high) };
  return named === undefined ? wide : { ...wide, reference: named };
}

/** The number of a register, or the fixed value of the field. */
function register(
  form: Form,
  field: 'dst' | 'src',
  kind: Field,
  value: InstructionArgument | undefined,
): number {
  if (typeof kind === 'number') return kind;
  const role = kind === 'base' ? 'base' : ROLES[field];
  return checkRegister(form.name, role, value as Register, form.writes.includes(field));
}

const ROLES = { dst: 'destination', src: 'source' } as const;

/** The bits of a number, or the fixed value of the field; zero for a label. */
function number(form: Form, kind: Field, value: InstructionArgument | undefined): number {
  if (typeof kind === 'number') return kind;
  if (typeof value === 'string' && takesLabel(kind)) return 0;
  // A number above 2^31-1 is allowed if only its bits count; the field holds the same bits.
  return checkNumber(form.name, kind as NumberKind, value as number) | 0;
}

function labelIn(form: Form, { off, imm }: InstructionArguments): Reference | undefined {
  const field = distanceField(form);
  const label = field === 'off' ? off : field === 'imm' ? imm : undefined;
  return typeof label === 'string' ? { kind: 'label', label } : undefined;
}
